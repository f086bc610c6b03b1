//! From image files, trusted or not, to upright RGB pixels.

#[cfg(feature = "jpeg")]
use super::jpeg;
use super::other_formats;
use crate::error::{Error, Result};
use exif::{In, Tag, Value};
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits, RgbImage};
use std::fs::File;
use std::io::{Cursor, Read};
use std::path::Path;

/// The longest side that is accepted, in pixels: more than any camera's photos have.
const MAX_SIDE: u32 = 50_000;
/// The most bytes of the file, and of its pixels, as RGB and in the file's own format.
const MAX_BYTES: u64 = 512 << 20;

/// Reads an image file: JPEG, PNG, WebP, GIF, BMP, TIFF or PNM, recognized by its content.
///
/// The EXIF orientation is applied, as by Pillow's `exif_transpose`; one that is only in XMP or in a text chunk is not.
/// Gray and CMYK are converted to RGB, 16 bits to 8, alpha is dropped (as by Pillow's `convert("RGB")`), and only the
/// first frame of an animation is read.
///
/// # Errors
/// [`Error::Io`] if the file cannot be read; [`Error::Picture`] if it is not a complete image of a format
/// that is compiled in, has a side above 50,000 pixels, or takes more than 512 MiB.
pub fn decode_file(path: impl AsRef<Path>) -> Result<RgbImage> {
    let path = path.as_ref();
    let place = path.display().to_string();
    let file = File::open(path).map_err(Error::io(path))?;
    let info = file.metadata().map_err(Error::io(path))?;
    if info.is_dir() {
        return Err(not_an_image(place, "a folder".into()));
    }
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(Error::io(path))?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(not_an_image(place, format!("a file of more than {MAX_BYTES} bytes")));
    }
    decode_from(&bytes, &place)
}

/// Decodes an image file in memory, like [`decode_file`].
///
/// # Errors
/// [`Error::Picture`] as for [`decode_file`].
pub fn decode(bytes: &[u8]) -> Result<RgbImage> {
    decode_from(bytes, "memory")
}

fn decode_from(bytes: &[u8], place: &str) -> Result<RgbImage> {
    let refuse = |found: String| not_an_image(place.into(), found);
    if bytes.starts_with(b"RIFF") && !riff_is_whole(bytes) {
        return Err(refuse("a truncated WebP (a chunk is longer than the file)".into()));
    }
    #[cfg(feature = "jpeg")]
    let is_usual = !bytes.starts_with(&[0xff, 0xd8]) || {
        if !jpeg::is_whole(bytes) {
            return Err(refuse("a truncated JPEG (no end marker)".into()));
        }
        jpeg::is_usual(bytes).map_err(refuse)?
    };
    #[cfg(feature = "jpeg")]
    if !is_usual {
        let mut image = jpeg::decode_unusual(bytes, expect_memory).map_err(refuse)?;
        image.apply_orientation(exif_orientation(bytes));
        return Ok(image.into_rgb8());
    }
    decode_usual(bytes)
        .map_err(|found| refuse(other_formats::describe(bytes).map_or(found, String::from)))
}

/// By the `image` crate.
fn decode_usual(bytes: &[u8]) -> Result<RgbImage, String> {
    let failed = |error: image::ImageError| error.to_string();
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_SIDE);
    limits.max_image_height = Some(MAX_SIDE);
    limits.max_alloc = Some(MAX_BYTES);

    let reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format();
    let mut reader = reader.map_err(|error| failed(error.into()))?;
    reader.limits(limits);
    let is_tiff = reader.format() == Some(ImageFormat::Tiff);
    let mut decoder = reader.into_decoder().map_err(failed)?;
    // Not every decoder counts its own output toward the limit, and none counts the conversion to RGB.
    let (width, height) = decoder.dimensions();
    let rgb = 3 * u64::from(width) * u64::from(height);
    expect_memory([width, height], rgb.max(decoder.total_bytes()))?;
    // The EXIF reader would copy a whole TIFF.
    let orientation = if is_tiff {
        decoder.orientation().unwrap_or(Orientation::NoTransforms)
    } else {
        exif_orientation(bytes)
    };
    let mut image = DynamicImage::from_decoder(decoder).map_err(failed)?;
    image.apply_orientation(orientation);
    Ok(image.into_rgb8())
}

/// Checks the size of a picture, and the bytes that it takes at once.
fn expect_memory([width, height]: [u32; 2], bytes: u64) -> Result<(), String> {
    let sides = 1..=MAX_SIDE;
    if !sides.contains(&width) || !sides.contains(&height) {
        return Err(format!("{width}x{height} pixels"));
    }
    if bytes <= MAX_BYTES {
        return Ok(());
    }
    let [found, limit] = [bytes, MAX_BYTES].map(|bytes| bytes >> 20);
    Err(format!("{width}x{height} pixels, which take {found} MiB; the limit is {limit} MiB"))
}

/// The orientation in the EXIF data, wherever in the file it is; as far as it can be read.
fn exif_orientation(bytes: &[u8]) -> Orientation {
    let exif = exif::Reader::new()
        .continue_on_error(true)
        .read_from_container(&mut Cursor::new(bytes))
        .or_else(|error| error.distill_partial_result(|_| {}));
    let exif = exif.ok();
    let field = exif.as_ref().and_then(|exif| exif.get_field(Tag::Orientation, In::PRIMARY));
    // Of other types, it is not one for Pillow either.
    let number = field.and_then(|field| match &field.value {
        Value::Short(values) => values.first().and_then(|value| (*value).try_into().ok()),
        Value::Long(values) => values.first().and_then(|value| (*value).try_into().ok()),
        _ => None,
    });
    number.and_then(Orientation::from_exif).unwrap_or(Orientation::NoTransforms)
}

/// Whether every chunk of a WebP file is as long as its header says. The decoder would allocate whatever a
/// header asks for, up to 4 GiB.
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

fn not_an_image(place: String, found: String) -> Error {
    let expected = format!(
        "a complete image (JPEG, PNG, WebP, GIF, BMP, TIFF or PNM) of at most {MAX_SIDE} pixels per side"
    );
    Error::Picture { place, expected, found }
}
