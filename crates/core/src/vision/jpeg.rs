//! JPEGs that the usual decoder would refuse or, worse, get wrong; recognized by their headers.
//!
//! zune-jpeg 0.5.15 mixes up colors where a baseline file has a scan for each component (its issue 422), or where the
//! luma is subsampled and the chroma is not (issue 273), and refuses sampling by 3. All of these are in the
//! standard (ITU-T T.81), and jpeg-decoder reads them as libjpeg-turbo does.

use image::{DynamicImage, RgbImage};
use jpeg_decoder::{Decoder, PixelFormat};

const PROGRESSIVE: u8 = 2;
/// The process of frames that build on each other.
const HIERARCHICAL: u8 = 5;

/// What the headers say up to the first scan.
struct Headers {
    width: u16,
    height: u16,
    /// The number of the frame's marker: 0 is baseline, 2 is progressive.
    process: u8,
    bits: u8,
    /// Horizontal and vertical factors of each component.
    sampling: Vec<[u8; 2]>,
    /// Components of the first scan.
    scan_components: usize,
    is_arithmetic: bool,
}

/// Whether the usual decoder reads a JPEG correctly. The error says what kind of JPEG nothing here reads.
pub(super) fn is_usual(bytes: &[u8]) -> Result<bool, String> {
    // What has no headers is for the usual decoder to refuse.
    let Some(headers) = headers(bytes) else { return Ok(true) };
    let refuse =
        |kind: &str| Err(format!("{kind}; save it as an ordinary JPEG with an image editor"));
    match headers.process {
        0..=2 if headers.bits == 8 => {}
        0..=2 => return refuse("a JPEG of more than 8 bits per value"),
        3 => return refuse("a lossless JPEG"),
        _ => return refuse("a hierarchical JPEG"),
    }
    if headers.is_arithmetic {
        let recode = "`jpegtran in.jpg > out.jpg` makes an ordinary JPEG of it, without loss";
        return Err(format!("a JPEG with arithmetic coding; {recode}"));
    }
    let is_progressive = headers.process == PROGRESSIVE;
    let has_all = headers.scan_components == headers.sampling.len();
    let largest = headers.sampling.iter().fold([1; 2], |[h, v], [a, b]| [h.max(*a), v.max(*b)]);
    let is_luma_finest = headers.sampling.first().is_none_or(|first| *first == largest);
    let is_by_3 = headers.sampling.iter().flatten().any(|factor| *factor == 3);
    Ok((is_progressive || has_all) && is_luma_finest && !is_by_3)
}

fn headers(bytes: &[u8]) -> Option<Headers> {
    let mut found = Headers {
        width: 0,
        height: 0,
        process: 0,
        bits: 8,
        sampling: Vec::new(),
        scan_components: 0,
        is_arithmetic: false,
    };
    let mut rest = bytes.strip_prefix(&[0xff, 0xd8])?;
    loop {
        // Fill bytes may stand before a marker.
        let start = rest.iter().position(|byte| *byte != 0xff)?;
        let (&marker, after) = rest.get(start..)?.split_first()?;
        // Decoders disagree about what has no place here: markers without a segment, and a zero.
        if start == 0 || matches!(marker, 0 | 1 | 0xd0..=0xd9) {
            return None;
        }
        let (length, _) = after.split_first_chunk::<2>()?;
        let length = usize::from(u16::from_be_bytes(*length));
        let segment = after.get(2..length)?;
        rest = after.get(length..)?;
        match marker {
            // DAC.
            0xcc => found.is_arithmetic = true,
            // DHT and JPG, which are no frames.
            0xc4 | 0xc8 => {}
            // DHP and EXP.
            0xde | 0xdf => found.process = HIERARCHICAL,
            0xc0..=0xcf => {
                // The upper half of the processes is the lower one with arithmetic coding.
                found.process = found.process.max(marker & 7);
                found.is_arithmetic |= marker >= 0xc9;
                let (&[bits, y1, y0, x1, x0, _], components) = segment.split_first_chunk()?;
                found.bits = bits;
                found.height = u16::from_be_bytes([y1, y0]);
                found.width = u16::from_be_bytes([x1, x0]);
                let components = components.chunks_exact(3);
                found.sampling = components.map(|it| [it[1] >> 4, it[1] & 15]).collect();
            }
            // SOS.
            0xda => {
                found.scan_components = usize::from(*segment.first()?);
                return Some(found);
            }
            _ => {}
        }
    }
}

/// Decodes a JPEG that is not [usual](is_usual), in color or gray. `expect_memory` is asked beforehand about the size of
/// the picture, and about the most bytes that it takes at once.
pub(super) fn decode_unusual(
    bytes: &[u8],
    expect_memory: impl FnOnce([u32; 2], u64) -> Result<(), String>,
) -> Result<DynamicImage, String> {
    let headers = headers(bytes).ok_or("a JPEG without a header")?;
    let size = [headers.width, headers.height].map(u32::from);
    // Each component may be as fine as the picture, and has a level for each sample. A progressive file also has a
    // coefficient for each, twice. Then come the pixels.
    let samples: u64 = size.iter().map(|side| u64::from(side.next_multiple_of(32))).product();
    let bytes_per_sample = if headers.process == PROGRESSIVE { 5 } else { 2 };
    expect_memory(size, samples * (bytes_per_sample * headers.sampling.len() as u64 + 3))?;
    let mut decoder = Decoder::new(bytes);
    decoder.read_info().map_err(|error| error.to_string())?;
    let found = decoder.info().map(|info| [info.width, info.height].map(u32::from));
    if found != Some(size) {
        return Err("a JPEG with a damaged header".into());
    }
    let pixels = decoder.decode().map_err(|error| error.to_string())?;
    let info = decoder.info().ok_or("a JPEG without pixels")?;
    let (width, height) = (info.width.into(), info.height.into());
    let image = match info.pixel_format {
        PixelFormat::RGB24 => RgbImage::from_raw(width, height, pixels).map(DynamicImage::from),
        PixelFormat::L8 => {
            image::GrayImage::from_raw(width, height, pixels).map(DynamicImage::from)
        }
        PixelFormat::L16 | PixelFormat::CMYK32 => {
            return Err("a CMYK JPEG with an unusual order of its parts; save it as RGB".into());
        }
    };
    image.ok_or_else(|| "a JPEG with fewer pixels than its header says".into())
}
