//! TIFFs that `image` does not read: palettes, two to four bits, gray with alpha, YCbCr, 32-bit integers, and floats.

use image::metadata::Orientation;
use image::{DynamicImage, RgbImage};
use std::io::Cursor;
use tiff::decoder::{Decoder, DecodingResult, Limits};
use tiff::tags::{
    CompressionMethod, PhotometricInterpretation, PlanarConfiguration, SampleFormat, Tag,
};
use tiff::{ColorType, TiffError};

/// The brightest level of a picture whose floats are levels, at the least.
const BRIGHT: f64 = 16.0;

/// Of extra samples (TIFF 6.0, page 31).
const ASSOCIATED_ALPHA: u16 = 1;

/// What its tags say about a sample, which is a number of a pixel.
struct Samples {
    color: PhotometricInterpretation,
    bits: u16,
    format: SampleFormat,
    compression: CompressionMethod,
    are_planes: bool,
    /// Whether the colors are multiplied by alpha.
    is_premultiplied: bool,
    subsampling: Vec<u16>,
}

/// Decodes a TIFF, turned as its orientation says, if it is of a kind that `image` does not read; `None` is a usual one.
/// `expect_memory` is asked about the size of the picture, and about the most bytes that it takes at once.
pub(super) fn decode_unusual(
    bytes: &[u8],
    max_bytes: u64,
    expect_memory: impl FnOnce([u32; 2], u64) -> Result<(), String>,
) -> Result<Option<RgbImage>, String> {
    let mut decoder = Decoder::new(Cursor::new(bytes)).map_err(text)?;
    let samples = samples(&mut decoder).map_err(text)?;
    if is_usual(&mut decoder, &samples) {
        return Ok(None);
    }
    expect_known(&samples)?;
    let (width, height) = decoder.dimensions().map_err(text)?;
    let count = decoder.find_tag_unsigned::<u16>(Tag::SamplesPerPixel).map_err(text)?;
    let pixels = u64::from(width) * u64::from(height);
    // The samples, the same as levels, and the pixels.
    let sample_bytes = u64::from(samples.bits.div_ceil(8)) + 1;
    expect_memory([width, height], pixels * (u64::from(count.unwrap_or(1)) * sample_bytes + 3))?;
    let orientation = decoder.find_tag_unsigned::<u8>(Tag::Orientation).ok().flatten();

    let palette = palette(&mut decoder, &samples)?;
    let indices = if palette.is_some() { Some(as_gray(bytes, &mut decoder)?) } else { None };
    let mut decoder =
        Decoder::new(Cursor::new(indices.as_deref().unwrap_or(bytes))).map_err(text)?;
    let mut limits = Limits::default();
    limits.decoding_buffer_size = max_bytes as usize;
    limits.intermediate_buffer_size = max_bytes as usize;
    decoder = decoder.with_limits(limits);
    let values = decoder.read_image().map_err(text)?;
    let levels = levels(values, samples.bits, width as usize, palette.is_some())?;
    let image =
        RgbImage::from_raw(width, height, colors(&levels, pixels as usize, &samples, palette)?);
    let mut image =
        DynamicImage::from(image.ok_or("a TIFF with fewer pixels than its header says")?);
    image.apply_orientation(
        orientation.and_then(Orientation::from_exif).unwrap_or(Orientation::NoTransforms),
    );
    Ok(Some(image.into_rgb8()))
}

fn text(error: TiffError) -> String {
    format!("a TIFF that cannot be read: {error}")
}

fn samples(decoder: &mut Decoder<Cursor<&[u8]>>) -> Result<Samples, TiffError> {
    let mut first = |tag: Tag| -> Result<Option<u16>, TiffError> {
        let values = decoder.find_tag_unsigned_vec::<u16>(tag)?;
        Ok(values.and_then(|values| values.first().copied()))
    };
    let color = first(Tag::PhotometricInterpretation)?;
    let color = color.and_then(PhotometricInterpretation::from_u16);
    let planes = first(Tag::PlanarConfiguration)?.and_then(PlanarConfiguration::from_u16);
    Ok(Samples {
        color: color.unwrap_or(PhotometricInterpretation::BlackIsZero),
        bits: first(Tag::BitsPerSample)?.unwrap_or(1),
        format: SampleFormat::from_u16_exhaustive(first(Tag::SampleFormat)?.unwrap_or(1)),
        compression: CompressionMethod::from_u16_exhaustive(first(Tag::Compression)?.unwrap_or(1)),
        are_planes: planes == Some(PlanarConfiguration::Planar),
        is_premultiplied: first(Tag::ExtraSamples)? == Some(ASSOCIATED_ALPHA),
        subsampling: decoder.find_tag_unsigned_vec(Tag::ChromaSubsampling)?.unwrap_or(vec![2, 2]),
    })
}

fn is_usual(decoder: &mut Decoder<Cursor<&[u8]>>, samples: &Samples) -> bool {
    let is_known = match decoder.colortype() {
        Ok(ColorType::Gray(bits)) => matches!(bits, 1 | 8 | 16),
        Ok(ColorType::RGB(bits) | ColorType::RGBA(bits) | ColorType::CMYK(bits)) => bits <= 16,
        _ => false,
    };
    is_known && samples.format == SampleFormat::Uint && !samples.is_premultiplied
}

fn expect_known(samples: &Samples) -> Result<(), String> {
    use PhotometricInterpretation::{BlackIsZero, RGB, RGBPalette, WhiteIsZero, YCbCr};
    let is_integer = samples.format == SampleFormat::Uint;
    let is_known = match samples.color {
        BlackIsZero | WhiteIsZero if is_integer => matches!(samples.bits, 2 | 4 | 8 | 16 | 32),
        RGB if is_integer => samples.bits == 32 || samples.is_premultiplied && samples.bits != 1,
        BlackIsZero | WhiteIsZero | RGB => samples.bits >= 16,
        RGBPalette => is_integer && matches!(samples.bits, 1 | 2 | 4 | 8),
        YCbCr => is_integer && samples.bits == 8,
        _ => false,
    };
    if !is_known || samples.are_planes {
        let planes = if samples.are_planes { ", a plane for each color" } else { "" };
        let Samples { color, bits, format, .. } = samples;
        return Err(format!(
            "a TIFF of a kind that is not read ({color:?}, {bits} bits, {format:?}{planes}); save it as PNG"
        ));
    }
    let is_jpeg = samples.compression == CompressionMethod::ModernJPEG;
    if samples.color == YCbCr && !is_jpeg && samples.subsampling != [1, 1] {
        return Err("a TIFF with subsampled YCbCr outside of JPEG; save it as PNG".into());
    }
    Ok(())
}

/// Red, green and blue of each index.
fn palette(
    decoder: &mut Decoder<Cursor<&[u8]>>,
    samples: &Samples,
) -> Result<Option<Vec<[u8; 3]>>, String> {
    if samples.color != PhotometricInterpretation::RGBPalette {
        return Ok(None);
    }
    let map = decoder.get_tag_u16_vec(Tag::ColorMap).map_err(text)?;
    let count = 1 << samples.bits;
    if map.len() != 3 * count {
        return Err(format!("a TIFF with a palette of {} values, not of {}", map.len(), 3 * count));
    }
    let color = |index| [0, 1, 2].map(|color| (map[color * count + index] >> 8) as u8);
    Ok(Some((0..count).map(color).collect()))
}

/// The same file, which says that its indices are levels of gray: the decoder refuses palettes.
fn as_gray(bytes: &[u8], decoder: &mut Decoder<Cursor<&[u8]>>) -> Result<Vec<u8>, String> {
    let unknown = || "a TIFF whose palette is in an unusual place; save it as PNG".to_string();
    let is_big_endian = bytes.starts_with(b"MM");
    let number = |at: usize| -> Option<u16> {
        let two = *bytes.get(at..)?.first_chunk()?;
        Some(if is_big_endian { u16::from_be_bytes(two) } else { u16::from_le_bytes(two) })
    };
    let is_big_tiff = bytes.get(2..4).is_some_and(|version| version.contains(&43));
    let pointer = decoder.ifd_pointer().ok_or_else(unknown)?;
    let start = usize::try_from(pointer.0).map_err(|_| unknown())?;
    if is_big_tiff {
        return Err(unknown());
    }
    let count = number(start).ok_or_else(unknown)?;
    let tag = Tag::PhotometricInterpretation.to_u16();
    let entry = (0..usize::from(count))
        .map(|entry| start + 2 + 12 * entry)
        .find(|at| number(*at) == Some(tag))
        .ok_or_else(unknown)?;
    let mut gray = bytes.to_vec();
    let value = if is_big_endian { 1u16.to_be_bytes() } else { 1u16.to_le_bytes() };
    gray.get_mut(entry + 8..entry + 10).ok_or_else(unknown)?.copy_from_slice(&value);
    Ok(gray)
}

/// A level, 0 to 255, for each sample; or its index in a palette.
fn levels(
    values: DecodingResult,
    bits: u16,
    width: usize,
    are_indices: bool,
) -> Result<Vec<u8>, String> {
    match values {
        DecodingResult::U8(values) if bits < 8 => Ok(unpacked(&values, bits, width, are_indices)),
        DecodingResult::U8(values) => Ok(values),
        DecodingResult::U16(values) => integer_levels(&values),
        DecodingResult::U32(values) => integer_levels(&values),
        DecodingResult::I16(values) => integer_levels(&values),
        DecodingResult::I32(values) => integer_levels(&values),
        DecodingResult::F16(values) => float_levels(&values),
        DecodingResult::F32(values) => float_levels(&values),
        DecodingResult::F64(values) => float_levels(&values),
        _ => Err("a TIFF of an unusual type of numbers; save it as PNG".into()),
    }
}

/// Rows of whole bytes, which hold several samples each.
fn unpacked(values: &[u8], bits: u16, width: usize, are_indices: bool) -> Vec<u8> {
    let (bits, per_byte) = (usize::from(bits), 8 / usize::from(bits));
    let largest = 255 >> (8 - bits);
    let scale = if are_indices { 1 } else { 255 / largest };
    let sample = |row: &[u8], x: usize| {
        let shift = 8 - bits * (x % per_byte + 1);
        (row[x / per_byte] >> shift & largest) * scale
    };
    let rows = values.chunks_exact(width.div_ceil(per_byte));
    rows.flat_map(|row| (0..width).map(move |x| sample(row, x))).collect()
}

fn integer_levels<T: Copy + Into<i64>>(values: &[T]) -> Result<Vec<u8>, String> {
    let all = || values.iter().map(|&value| value.into());
    let [smallest, largest] = [all().min().unwrap_or(0), all().max().unwrap_or(0)];
    let level: fn(i64) -> u8 = match largest {
        _ if smallest < 0 => {
            return Err(format!("a TIFF with negative levels, down to {smallest}; save it as PNG"));
        }
        // Of 16 bits, they are on the scale of all other files of 16 bits.
        ..256 if size_of::<T>() > 2 => |value| value as u8,
        ..65_536 => |value| ((value + 128) / 257) as u8,
        _ => |value| (value >> 24) as u8,
    };
    Ok(all().map(level).collect())
}

fn float_levels<T: Copy + Into<f64>>(values: &[T]) -> Result<Vec<u8>, String> {
    let all = || values.iter().map(|&value| value.into());
    let largest = all().fold(0.0, f64::max);
    let scale = if largest <= 1.0 { 255.0 } else { 1.0 };
    let is_known = largest <= 1.0 || (BRIGHT..=255.0).contains(&largest);
    if !is_known || all().any(|value| value.is_nan() || value < 0.0) {
        return Err("a TIFF whose floats are neither 0 to 1 nor 0 to 255; save it as PNG".into());
    }
    Ok(all().map(|value| (value * scale).round() as u8).collect())
}

/// From the levels of a pixel to red, green and blue.
type ToRgb = Box<dyn Fn(&[u8]) -> [u8; 3]>;

/// Red, green and blue of every pixel.
fn colors(
    levels: &[u8],
    pixels: usize,
    samples: &Samples,
    palette: Option<Vec<[u8; 3]>>,
) -> Result<Vec<u8>, String> {
    let count = levels.len() / pixels;
    let color: ToRgb = match (samples.color, palette, count) {
        (_, Some(palette), 1..) => Box::new(move |pixel| palette[usize::from(pixel[0])]),
        (PhotometricInterpretation::YCbCr, _, 3..) => Box::new(rgb_of_ycbcr),
        (PhotometricInterpretation::RGB, _, 4..) if samples.is_premultiplied => Box::new(divided),
        (PhotometricInterpretation::RGB, _, 3..) => {
            Box::new(|pixel| [pixel[0], pixel[1], pixel[2]])
        }
        (
            PhotometricInterpretation::BlackIsZero | PhotometricInterpretation::WhiteIsZero,
            _,
            1..,
        ) => Box::new(|pixel| [pixel[0]; 3]),
        _ => return Err("a TIFF with fewer pixels than its header says".into()),
    };
    Ok(levels.chunks_exact(count).flat_map(color).collect())
}

/// Red, green and blue without the alpha by which they were multiplied.
fn divided(pixel: &[u8]) -> [u8; 3] {
    let alpha = u16::from(pixel[3]);
    let color = |level: u8| (u16::from(level) * 255).checked_div(alpha).unwrap_or(0).min(255) as u8;
    [color(pixel[0]), color(pixel[1]), color(pixel[2])]
}

/// As in JPEG.
fn rgb_of_ycbcr(pixel: &[u8]) -> [u8; 3] {
    let [y, cb, cr] = [(pixel[0], 0.0), (pixel[1], 128.0), (pixel[2], 128.0)]
        .map(|(value, zero)| f32::from(value) - zero);
    let rgb = [y + 1.402 * cr, y - 0.344_136 * cb - 0.714_136 * cr, y + 1.772 * cb];
    rgb.map(|value| value.round() as u8)
}
