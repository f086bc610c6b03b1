//! A picture file, from wherever it may come, to upright RGB pixels.

use crate::error::{Error, Result};
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageReader, Limits, RgbImage};
use std::fs::File;
use std::io::{Cursor, Read};
use std::path::Path;

/// The longest side, in pixels: more than any camera has.
const LONGEST_SIDE: u32 = 50_000;
/// Bytes of the file, and of the pixels as RGB or as the file has them.
const MEMORY: u64 = 512 << 20;

/// Reads a picture file: JPEG, PNG, WebP, GIF, BMP, TIFF or PNM, recognized by its content.
///
/// EXIF orientation is applied. Gray becomes RGB, alpha is dropped (as Pillow's `convert("RGB")`
/// does), 16 bits become 8, CMYK becomes RGB; of an animation it is the first frame.
///
/// # Errors
/// [`Error::Io`] if the file cannot be read, [`Error::Picture`] if it is not a whole picture, or one
/// with a side above 50,000 pixels or more than 512 MiB of pixels.
pub fn decode_file(path: impl AsRef<Path>) -> Result<RgbImage> {
    let path = path.as_ref();
    let place = path.display().to_string();
    let file = File::open(path).map_err(Error::io(path))?;
    let info = file.metadata().map_err(Error::io(path))?;
    if info.is_dir() {
        return Err(not_a_picture(place, "a folder".into()));
    }
    let mut bytes = Vec::new();
    file.take(MEMORY + 1).read_to_end(&mut bytes).map_err(Error::io(path))?;
    if bytes.len() as u64 > MEMORY {
        return Err(not_a_picture(place, format!("a file of more than {MEMORY} bytes")));
    }
    decode_from(&bytes, &place)
}

/// As [`decode_file`], from memory.
///
/// # Errors
/// [`Error::Picture`], as for [`decode_file`].
pub fn decode(bytes: &[u8]) -> Result<RgbImage> {
    decode_from(bytes, "memory")
}

fn decode_from(bytes: &[u8], place: &str) -> Result<RgbImage> {
    let failed = |error: image::ImageError| not_a_picture(place.into(), error.to_string());
    let mut limits = Limits::default();
    limits.max_image_width = Some(LONGEST_SIDE);
    limits.max_image_height = Some(LONGEST_SIDE);
    limits.max_alloc = Some(MEMORY);

    if bytes.starts_with(&[0xff, 0xd8]) && !jpeg_is_whole(bytes) {
        return Err(not_a_picture(place.into(), "a JPEG without its end".into()));
    }
    if bytes.starts_with(b"RIFF") && !riff_is_whole(bytes) {
        return Err(not_a_picture(place.into(), "a chunk that is longer than the file".into()));
    }
    let reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format();
    let mut reader = reader.map_err(|error| failed(error.into()))?;
    reader.limits(limits.clone());
    let mut decoder = reader.into_decoder().map_err(failed)?;
    // Not every decoder counts the picture itself, and none that it becomes RGB.
    let (width, height) = decoder.dimensions();
    let rgb = 3 * u64::from(width) * u64::from(height);
    limits.reserve(rgb.max(decoder.total_bytes())).map_err(failed)?;
    if width == 0 || height == 0 {
        return Err(not_a_picture(place.into(), format!("{width}x{height} pixels")));
    }
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let mut picture = DynamicImage::from_decoder(decoder).map_err(failed)?;
    picture.apply_orientation(orientation);
    Ok(picture.into_rgb8())
}

/// Whether a JPEG reaches its end marker (what follows that, such as the film of a motion photo, is
/// no part of it). The decoder fills what is missing of a truncated file with gray, in silence.
fn jpeg_is_whole(bytes: &[u8]) -> bool {
    const END_OF_IMAGE: u8 = 0xd9;
    let mut rest = bytes;
    loop {
        // In the pixels of a scan, 0xff is followed by 0; the other three are markers without a
        // segment: restarts, a filler, and the start of the file.
        let marker = rest
            .windows(2)
            .position(|pair| pair[0] == 0xff && !matches!(pair[1], 0 | 0xd0..=0xd7 | 0xff | 0xd8));
        let Some(at) = marker else { return false };
        if rest[at + 1] == END_OF_IMAGE {
            return true;
        }
        let Some(&[high, low]) = rest.get(at + 2..at + 4) else { return false };
        let length = usize::from(u16::from_be_bytes([high, low]));
        let Some(after) = rest.get(at + 2 + length..) else { return false };
        rest = after;
    }
}

/// Whether every chunk of a WebP file is there as long as it says. The decoder reserves what a
/// chunk's header asks for, up to 4 GiB.
fn riff_is_whole(bytes: &[u8]) -> bool {
    const FILE_HEADER: usize = 12;
    let mut rest = bytes.get(FILE_HEADER..).unwrap_or_default();
    while let Some((header, after)) = rest.split_first_chunk::<8>() {
        let [.., a, b, c, d] = *header;
        let length = u32::from_le_bytes([a, b, c, d]) as usize;
        if after.len() < length {
            return false;
        }
        // Chunks are padded to an even length.
        rest = after.get(length + length % 2..).unwrap_or_default();
    }
    true
}

fn not_a_picture(place: String, found: String) -> Error {
    let expected = format!(
        "a whole picture (JPEG, PNG, WebP, GIF, BMP, TIFF, PNM) of at most {LONGEST_SIDE} pixels a side"
    );
    Error::Picture { place, expected, found }
}
