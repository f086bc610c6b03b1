//! From image files, trusted or not, to upright RGB pixels.

#[cfg(feature = "gif")]
use super::gif;
use super::other_formats;
#[cfg(feature = "tiff")]
use super::tiff;
#[cfg(feature = "webp")]
use super::webp;
#[cfg(feature = "jpeg")]
use super::{jpeg, jpeg_scans};
use crate::error::{Error, Result};
use exif::{In, Tag, Value};
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits, RgbImage};
#[cfg(feature = "jpeg")]
use std::borrow::Cow;
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
/// first frame of an animation is read. What comes after the end of a picture is ignored.
///
/// TIFFs have levels of several scales. 16 bits are 0 to 65,535 for black to white. Integers of 32 bits are on the scale of
/// the largest in the file: 0 to 255, 0 to 65,535, or all 32 bits. Floats are 0 to 1, or 0 to 255 if one of them is at
/// least 16; others are refused.
///
/// A JPEG whose data are damaged is refused, as far as that can be noticed: decoders make different pictures of it.
///
/// # Errors
/// [`Error::Io`] if the file cannot be read; [`Error::Picture`] if it is not a complete image of a format
/// that is compiled in, has a side above 50,000 pixels, or takes more than 512 MiB. It says which of these it is.
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
    let image = match bytes {
        #[cfg(feature = "jpeg")]
        [0xff, 0xd8, ..] => decode_jpeg(bytes),
        #[cfg(feature = "gif")]
        [b'G', b'I', b'F', b'8', ..] => gif::decode(bytes, expect_memory),
        #[cfg(feature = "tiff")]
        [b'I', b'I', b'*' | b'+', 0, ..] | [b'M', b'M', 0, b'*' | b'+', ..] => decode_tiff(bytes),
        #[cfg(feature = "webp")]
        [b'R', b'I', b'F', b'F', ..] => {
            webp::readable(bytes).and_then(|file| decode_usual(&file, exif_orientation(bytes)))
        }
        _ => decode_usual(bytes, exif_orientation(bytes)),
    };
    image.map_err(|found| {
        let found = other_formats::describe(bytes).map_or(found, String::from);
        not_an_image(place.into(), found)
    })
}

#[cfg(feature = "jpeg")]
fn decode_jpeg(bytes: &[u8]) -> Result<RgbImage, String> {
    const END_OF_IMAGE: [u8; 2] = [0xff, 0xd9];
    let is_usual = jpeg::is_usual(bytes)?;
    let expect_size = |[width, height]: [u32; 2]| {
        expect_memory([width, height], 3 * u64::from(width) * u64::from(height))
    };
    let end = jpeg_scans::check(bytes, expect_size)?;
    let orientation = exif_orientation(bytes);
    // What is behind the pixels might be taken for more of them.
    let marked: Cow<[u8]> = match end.is_marked {
        true => bytes.into(),
        false => [&bytes[..end.at], &END_OF_IMAGE].concat().into(),
    };
    if is_usual {
        return decode_usual(&marked, orientation);
    }
    let mut image = jpeg::decode_unusual(&marked, expect_memory)?;
    image.apply_orientation(orientation);
    Ok(image.into_rgb8())
}

#[cfg(feature = "tiff")]
fn decode_tiff(bytes: &[u8]) -> Result<RgbImage, String> {
    match tiff::decode_unusual(bytes, MAX_BYTES, expect_memory)? {
        Some(image) => Ok(image),
        // The EXIF reader would copy the whole file.
        None => decode_usual(bytes, Orientation::NoTransforms),
    }
}

/// By the `image` crate.
fn decode_usual(bytes: &[u8], orientation: Orientation) -> Result<RgbImage, String> {
    let mut limits = Limits::default();
    limits.max_alloc = Some(MAX_BYTES);
    let reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format();
    let mut reader = reader.map_err(|error| error.to_string())?;
    reader.limits(limits);
    let is_tiff = reader.format() == Some(ImageFormat::Tiff);
    let mut decoder = reader.into_decoder().map_err(failed)?;
    // Not every decoder counts its own output toward the limit, and none counts the conversion to RGB.
    let (width, height) = decoder.dimensions();
    let rgb = 3 * u64::from(width) * u64::from(height);
    expect_memory([width, height], rgb.max(decoder.total_bytes()))?;
    let orientation = match is_tiff {
        true => decoder.orientation().unwrap_or(Orientation::NoTransforms),
        false => orientation,
    };
    let mut image = DynamicImage::from_decoder(decoder).map_err(failed)?;
    image.apply_orientation(orientation);
    Ok(image.into_rgb8())
}

fn failed(error: ImageError) -> String {
    match error {
        ImageError::Limits(_) => {
            format!("a picture that takes more memory than the limit, {} MiB", MAX_BYTES >> 20)
        }
        other => other.to_string(),
    }
}

/// Checks the size of a picture, and the bytes that it takes at once.
fn expect_memory([width, height]: [u32; 2], bytes: u64) -> Result<(), String> {
    let sides = 1..=MAX_SIDE;
    if !sides.contains(&width) || !sides.contains(&height) {
        return Err(format!("{width}x{height} pixels; the limit is 1 to {MAX_SIDE} a side"));
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

fn not_an_image(place: String, found: String) -> Error {
    let expected = "a complete image (JPEG, PNG, WebP, GIF, BMP, TIFF or PNM)".into();
    Error::Picture { place, expected, found }
}
