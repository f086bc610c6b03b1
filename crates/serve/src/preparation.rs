//! From a picture's file to what a network takes: decoded, resized, normalized.

use crate::problem::{NOT_A_PICTURE, Problem};
use alexnet_vgg_core::predict::Classifier;
use alexnet_vgg_core::vision::{NormalizedViews, WholeImage, decode};
use image::ImageReader;
use std::io::Cursor;
use std::time::{Duration, Instant};

/// A picture, ready for the network.
pub struct Prepared {
    pub views: NormalizedViews,
    /// For its heat map, if one is wanted.
    pub heat_map: Option<WholeImage>,
    /// Width and height, in pixels, upright.
    pub size: (u32, u32),
    pub time: Duration,
}

/// A heat map's short side, as a multiple of the network's input: the larger, the finer.
const HEAT_MAP_SCALE: u32 = 2;

/// Decodes a picture of at most so many pixels, and prepares it.
pub fn prepare(
    bytes: &[u8],
    classifier: &Classifier,
    wants_heat_map: bool,
    max_pixels: u64,
) -> Result<Prepared, Problem> {
    let start = Instant::now();
    if bytes.is_empty() {
        let detail = "an empty body; expected the bytes of a picture's file";
        return Err(Problem::new(NOT_A_PICTURE, detail));
    }
    expect_pixels(bytes, max_pixels)?;
    let photo = decode(bytes)?;
    let views = classifier.prepare(&photo)?;
    let scale = HEAT_MAP_SCALE * classifier.preset().crop;
    let heat_map =
        wants_heat_map.then(|| classifier.prepare_heat_map(&photo, scale)).transpose()?;
    Ok(Prepared { views, heat_map, size: photo.dimensions(), time: start.elapsed() })
}

/// Checks the size that a picture's header states, before memory is used for its pixels. A header that cannot be read is
/// left to the decoder, which has a limit of its own.
fn expect_pixels(bytes: &[u8], max_pixels: u64) -> Result<(), Problem> {
    let reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format();
    let Some((width, height)) = reader.ok().and_then(|reader| reader.into_dimensions().ok()) else {
        return Ok(());
    };
    if u64::from(width) * u64::from(height) <= max_pixels {
        return Ok(());
    }
    let limit = max_pixels / 1_000_000;
    let detail = format!(
        "{width}x{height} pixels; expected at most {limit} million: make the picture smaller (the network \
         sees a few hundred pixels a side)"
    );
    Err(Problem::new(NOT_A_PICTURE, detail).with("limit_pixels", max_pixels))
}
