//! A picture file, from wherever it may come, to upright RGB pixels.

use crate::error::{Error, Result};
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageReader, Limits, RgbImage};
use std::fs::File;
use std::io::{BufRead, BufReader, Cursor, Seek};
use std::path::Path;

/// The longest side, in pixels: more than any camera has.
const LONGEST_SIDE: u32 = 50_000;
/// What a decoder may allocate, in bytes: a picture of 170 megapixels.
const MEMORY: u64 = 512 << 20;

/// Reads a picture file: JPEG, PNG, WebP, GIF, BMP, TIFF or PNM, recognised by its content.
///
/// EXIF orientation is applied. Grey becomes RGB, alpha is dropped (as Pillow's `convert("RGB")`
/// does), 16 bits become 8, CMYK becomes RGB; of an animation it is the first frame.
///
/// # Errors
/// [`Error::Io`] if the file cannot be read, [`Error::Picture`] if it is not a whole picture, or one
/// with a side above 50,000 pixels or more than 512 MiB of pixels.
pub fn decode_file(path: impl AsRef<Path>) -> Result<RgbImage> {
    let path = path.as_ref();
    let file = File::open(path).map_err(Error::io(path))?;
    if file.metadata().map_err(Error::io(path))?.is_dir() {
        return Err(not_a_picture(path.display().to_string(), "a folder".into()));
    }
    decode_from(BufReader::new(file), &path.display().to_string())
}

/// As [`decode_file`], from memory.
///
/// # Errors
/// [`Error::Picture`], as for [`decode_file`].
pub fn decode(bytes: &[u8]) -> Result<RgbImage> {
    decode_from(Cursor::new(bytes), "memory")
}

fn decode_from(reader: impl BufRead + Seek, place: &str) -> Result<RgbImage> {
    let failed = |error: image::ImageError| not_a_picture(place.into(), error.to_string());
    let mut limits = Limits::default();
    limits.max_image_width = Some(LONGEST_SIDE);
    limits.max_image_height = Some(LONGEST_SIDE);
    limits.max_alloc = Some(MEMORY);

    let reader = ImageReader::new(reader).with_guessed_format();
    let mut reader = reader.map_err(|error| failed(error.into()))?;
    reader.limits(limits.clone());
    let mut decoder = reader.into_decoder().map_err(failed)?;
    // Not every decoder counts the picture itself.
    limits.reserve(decoder.total_bytes()).map_err(failed)?;
    let (width, height) = decoder.dimensions();
    if width == 0 || height == 0 {
        return Err(not_a_picture(place.into(), format!("{width}x{height} pixels")));
    }
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let mut picture = DynamicImage::from_decoder(decoder).map_err(failed)?;
    picture.apply_orientation(orientation);
    Ok(picture.into_rgb8())
}

fn not_a_picture(place: String, found: String) -> Error {
    let expected = format!(
        "a whole picture (JPEG, PNG, WebP, GIF, BMP, TIFF, PNM) of at most {LONGEST_SIDE} pixels a side"
    );
    Error::Picture { place, expected, found }
}
