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

    if bytes.starts_with(&[0xff, 0xd8]) && !jpeg_ends(bytes) {
        return Err(not_a_picture(place.into(), "a JPEG without its end".into()));
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

/// Whether the last scan of a JPEG is followed by an end marker. The decoder fills what is missing
/// of a truncated file with grey and says nothing. (Within a scan, 0xff is never followed by these.)
fn jpeg_ends(bytes: &[u8]) -> bool {
    let last = |marker: u8| bytes.windows(2).rposition(|pair| pair == [0xff, marker]);
    const START_OF_SCAN: u8 = 0xda;
    const END_OF_IMAGE: u8 = 0xd9;
    last(END_OF_IMAGE) > last(START_OF_SCAN)
}

fn not_a_picture(place: String, found: String) -> Error {
    let expected = format!(
        "a whole picture (JPEG, PNG, WebP, GIF, BMP, TIFF, PNM) of at most {LONGEST_SIDE} pixels a side"
    );
    Error::Picture { place, expected, found }
}
