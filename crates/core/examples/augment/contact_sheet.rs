//! A contact sheet: many small pictures on one.

use alexnet_vgg_core::vision::RgbImage;
use image::{Rgb, imageops};

/// Side of a cell of the sheet, and the gap between two cells, in pixels.
pub const CELL: u32 = 224;
const GAP: u32 = 8;
const BACKGROUND: Rgb<u8> = Rgb([255; 3]);
/// Limits a sheet to 256 MiB.
const MAX_PIXELS: u64 = (256 << 20) / 3;

/// Width and height of the sheet, in pixels; an error if it is too large.
pub fn size(rows: &[Vec<RgbImage>]) -> Result<[u32; 2], String> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let size =
        [columns, rows.len()].map(|cells| cells as u64 * u64::from(CELL + GAP) + u64::from(GAP));
    if size[0].saturating_mul(size[1]) > MAX_PIXELS {
        return Err(format!(
            "contact sheet: expected at most {MAX_PIXELS} pixels, found {}x{}; \
             pass fewer photos or a smaller --count",
            size[0], size[1]
        ));
    }
    Ok(size.map(|side| side as u32))
}

/// Draws rows of thumbnails, each in the middle of its cell.
pub fn draw(rows: &[Vec<RgbImage>]) -> Result<RgbImage, String> {
    let [width, height] = size(rows)?;
    let mut sheet = RgbImage::from_pixel(width, height, BACKGROUND);
    let places = || (GAP..).step_by((CELL + GAP) as usize);
    for (row, top) in rows.iter().zip(places()) {
        for (picture, left) in row.iter().zip(places()) {
            let (width, height) = picture.dimensions();
            let [x, y] = [(left, width), (top, height)].map(|(at, side)| at + (CELL - side) / 2);
            imageops::replace(&mut sheet, picture, x.into(), y.into());
        }
    }
    Ok(sheet)
}
