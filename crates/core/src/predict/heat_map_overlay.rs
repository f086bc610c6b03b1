//! Draws a heat map over its photo, with the bounding box of the maximum.

use super::heat_map::HeatMap;
use crate::error::{Error, Result};
use image::{Rgb, RgbImage, Rgba, RgbaImage};

/// The color map from the smallest to the largest value: violet, red, yellow. The lightness in Oklab rises
/// evenly from 0.18 to 0.95, so that equal differences look equal, also in black and white.
const COLOR_MAP: [[u8; 3]; 9] = [
    [18, 0, 60],
    [59, 1, 91],
    [109, 1, 103],
    [163, 5, 97],
    [205, 50, 75],
    [238, 95, 32],
    [249, 149, 10],
    [255, 198, 28],
    [247, 249, 65],
];
/// Opacity of the map over the photo, which is drawn in gray.
const OPACITY: f64 = 0.5;
const WHITE: Rgb<u8> = Rgb([255; 3]);
const BLACK: Rgb<u8> = Rgb([0; 3]);
/// The box's lines are one pixel wide for every 200 pixels of the photo's shorter side.
const SIDE_PER_LINE_WIDTH: u32 = 200;

impl HeatMap {
    /// Draws the map over its photo, which may have any size: the photo in gray, the interpolated map in
    /// color, from violet for the smallest value to yellow for the largest, and the box of
    /// [`localize`](Self::localize) in white. The drawing has the size of the photo.
    ///
    /// The photo must show exactly what the network saw. If the network saw a crop, pass the crop, such as
    /// [`Preset::pixels`](crate::vision::Preset::pixels).
    ///
    /// # Errors
    /// [`Error::Picture`] for a photo without pixels.
    pub fn draw(&self, photo: &RgbImage) -> Result<RgbImage> {
        expect_pixels(photo.dimensions())?;
        let mut drawing = self.blend(photo);
        self.draw_box(&mut drawing);
        Ok(drawing)
    }

    /// The map without the photo, to be laid over it: in the colors of [`draw`](Self::draw), transparent for the smallest
    /// value and opaque for the largest. It shows the same part of the photo as the input, in any size.
    ///
    /// # Errors
    /// [`Error::Picture`] for a size without pixels.
    pub fn overlay(&self, width: u32, height: u32) -> Result<RgbaImage> {
        expect_pixels((width, height))?;
        let fractions = self.fractions(width, height);
        Ok(RgbaImage::from_fn(width, height, |x, y| {
            let fraction = fractions(x, y);
            let [red, green, blue] = color(fraction).map(|level| level.round() as u8);
            Rgba([red, green, blue, (255.0 * fraction).round() as u8])
        }))
    }

    /// Where in the range of the values each pixel of an image of this size is, 0 to 1.
    fn fractions(&self, width: u32, height: u32) -> impl Fn(u32, u32) -> f64 {
        let map = self.interpolate(height as usize, width as usize);
        let [smallest, largest] = self.range().map(f64::from);
        move |x, y| {
            let value = map.at(y as usize, x as usize);
            if largest > smallest { (value - smallest) / (largest - smallest) } else { 0.0 }
        }
    }

    /// The map in color over the photo in gray.
    fn blend(&self, photo: &RgbImage) -> RgbImage {
        let (width, height) = photo.dimensions();
        let fractions = self.fractions(width, height);
        RgbImage::from_fn(width, height, |x, y| {
            let [red, green, blue] = photo.get_pixel(x, y).0.map(f64::from);
            // ITU-R BT.601, as in Pillow.
            let gray = 0.299 * red + 0.587 * green + 0.114 * blue;
            Rgb(color(fractions(x, y))
                .map(|level| (OPACITY * level + (1.0 - OPACITY) * gray).round() as u8))
        })
    }

    /// Draws the bounding box: white between two black lines, so that it is visible on any background. It is
    /// left out if it is so small that it would hide what it encloses.
    fn draw_box(&self, drawing: &mut RgbImage) {
        let (width, height) = drawing.dimensions();
        let line = (width.min(height) / SIDE_PER_LINE_WIDTH).max(1);
        let [left, top, right, bottom] = self.localize(self.threshold()).to_pixels(width, height);
        if (right - left).min(bottom - top) < 10 * line {
            return;
        }
        for y in top..bottom {
            for x in left..right {
                let to_edge = (x - left).min(right - 1 - x).min(y - top).min(bottom - 1 - y);
                match to_edge / line {
                    0 | 2 => drawing.put_pixel(x, y, BLACK),
                    1 => drawing.put_pixel(x, y, WHITE),
                    _ => {}
                }
            }
        }
    }
}

fn expect_pixels((width, height): (u32, u32)) -> Result<()> {
    if width > 0 && height > 0 {
        return Ok(());
    }
    Err(Error::Picture {
        place: "heat map".into(),
        expected: "a photo of at least one pixel".into(),
        found: format!("{width}x{height}"),
    })
}

/// Red, green and blue, 0 to 255, of a fraction of the range, 0 to 1.
fn color(fraction: f64) -> [f64; 3] {
    let position = fraction.clamp(0.0, 1.0) * (COLOR_MAP.len() - 1) as f64;
    let before = (position as usize).min(COLOR_MAP.len() - 2);
    let (from, to) = (COLOR_MAP[before].map(f64::from), COLOR_MAP[before + 1].map(f64::from));
    std::array::from_fn(|i| from[i] + (to[i] - from[i]) * (position - before as f64))
}
