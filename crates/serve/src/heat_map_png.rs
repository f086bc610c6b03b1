//! A heat map as a transparent picture, to be laid over its photo.

use crate::problem::Problem;
use alexnet_vgg_core::predict::HeatMap;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use image::ImageFormat;
use std::io::Cursor;

/// The longer side, in pixels. A map has few cells, so that more would show nothing more.
const LONGER_SIDE: u32 = 256;

/// The address (`data:`) of a PNG with the aspect ratio of a photo of this size.
pub fn data_address(map: &HeatMap, (width, height): (u32, u32)) -> Result<String, Problem> {
    let longer = width.max(height).max(1);
    let scaled = |side: u32| {
        let side = u64::from(side) * u64::from(LONGER_SIDE) / u64::from(longer);
        u32::try_from(side).unwrap_or(LONGER_SIDE).max(1)
    };
    let overlay = map.overlay(scaled(width), scaled(height))?;
    let mut png = Vec::new();
    let written = overlay.write_to(&mut Cursor::new(&mut png), ImageFormat::Png);
    written.map_err(|error| {
        Problem::internal(format!("the heat map could not be written: {error}"))
    })?;
    Ok(format!("data:image/png;base64,{}", STANDARD.encode(png)))
}
