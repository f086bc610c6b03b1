//! Draws a heat map over its photo, with the bounding box of the maximum, a title above and a legend
//! below.

use super::heat_map::HeatMap;
use crate::error::{Error, Result};
use crate::vision::lettering;
use image::{Rgb, RgbImage};

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
const PAPER: Rgb<u8> = Rgb([255; 3]);
const INK: Rgb<u8> = Rgb([0; 3]);
/// Most lines of a title.
const MAX_TITLE_LINES: usize = 3;
/// The dots of the letters are one pixel wide for every 200 pixels of the photo's shorter side.
const SIDE_PER_DOT: u32 = 200;

impl HeatMap {
    /// Draws the map over its photo, which may have any size: the photo in gray, the interpolated map in
    /// color, and the box of [`localize`](Self::localize) in white. The title, of at most three lines, is
    /// above, and the color map with the smallest and the largest value below. Characters of the title
    /// outside ASCII become `?`.
    ///
    /// The photo must show exactly what the network saw. If the network saw a crop, pass the crop, such as
    /// [`Preset::pixels`](crate::vision::Preset::pixels).
    ///
    /// # Errors
    /// [`Error::Picture`] for a photo without pixels.
    pub fn draw(&self, photo: &RgbImage) -> Result<RgbImage> {
        let (width, height) = photo.dimensions();
        if width == 0 || height == 0 {
            return Err(Error::Picture {
                place: "heat map".into(),
                expected: "a photo of at least one pixel".into(),
                found: format!("{width}x{height}"),
            });
        }
        let scale = (width.min(height) / SIDE_PER_DOT).max(1);
        let margin = 3 * scale;
        let line = lettering::height(scale) + 2 * margin;
        let numbers = self.range().map(format_number);
        let numbers_width: u32 = numbers.iter().map(|number| lettering::width(number, scale)).sum();
        let canvas_width = width.max(numbers_width + 4 * margin);
        let title =
            lettering::lines(self.title(), canvas_width - 2 * margin, scale, MAX_TITLE_LINES);
        let above = line * title.len() as u32;
        let bar = 4 * margin;
        let mut canvas = RgbImage::from_pixel(canvas_width, above + height + bar + line, PAPER);

        for (text, row) in title.iter().zip(0..) {
            lettering::write(&mut canvas, text, [margin, margin + row * line], scale, INK);
        }
        self.draw_map(&mut canvas, photo, above);
        self.draw_box(&mut canvas, [width, height], above, scale);
        self.draw_legend(&mut canvas, above + height + margin, scale, &numbers);
        Ok(canvas)
    }

    /// Draws the map over the photo in gray, `above` pixels from the top of the canvas.
    fn draw_map(&self, canvas: &mut RgbImage, photo: &RgbImage, above: u32) {
        let map = self.interpolate(photo.height() as usize, photo.width() as usize);
        let [smallest, largest] = self.range().map(f64::from);
        for (x, y, pixel) in photo.enumerate_pixels() {
            let value = map.at(y as usize, x as usize);
            let fraction =
                if largest > smallest { (value - smallest) / (largest - smallest) } else { 0.0 };
            let [red, green, blue] = pixel.0.map(f64::from);
            // ITU-R BT.601, as in Pillow.
            let gray = 0.299 * red + 0.587 * green + 0.114 * blue;
            let mixed = color(fraction)
                .map(|level| (OPACITY * level + (1.0 - OPACITY) * gray).round() as u8);
            canvas.put_pixel(x, y + above, Rgb(mixed));
        }
    }

    /// Draws the bounding box: white between two black lines, so that it is visible on any background. It is
    /// left out if it is so small that it would hide what it encloses.
    fn draw_box(&self, canvas: &mut RgbImage, [width, height]: [u32; 2], above: u32, scale: u32) {
        let [left, top, right, bottom] = self.localize(self.threshold()).to_pixels(width, height);
        if (right - left).min(bottom - top) < 10 * scale {
            return;
        }
        let rings = [(0, INK), (scale, PAPER), (2 * scale, INK)];
        for (inset, color) in rings {
            let (left, top) = (left + inset, top + inset);
            let (right, bottom) = (right - inset, bottom - inset);
            let (horizontal, vertical) = ([right - left, scale], [scale, bottom - top]);
            for (corner, sides) in [
                ([left, top], horizontal),
                ([left, bottom - scale], horizontal),
                ([left, top], vertical),
                ([right - scale, top], vertical),
            ] {
                lettering::fill(canvas, [corner[0], corner[1] + above], sides, color);
            }
        }
    }

    /// Draws the color map from left to right, with the numbers at its ends.
    fn draw_legend(&self, canvas: &mut RgbImage, top: u32, scale: u32, [low, high]: &[String; 2]) {
        let margin = 3 * scale;
        let (left, right) = (margin, canvas.width() - margin);
        for x in left..right {
            let fraction = f64::from(x - left) / f64::from((right - left - 1).max(1));
            let color = Rgb(color(fraction).map(|level| level.round() as u8));
            lettering::fill(canvas, [x, top], [1, 3 * margin], color);
        }
        let below = top + 3 * margin + scale;
        lettering::write(canvas, low, [left, below], scale, INK);
        let start = right - lettering::width(high, scale);
        lettering::write(canvas, high, [start, below], scale, INK);
    }
}

/// Red, green and blue, 0 to 255, of a fraction of the range, 0 to 1.
fn color(fraction: f64) -> [f64; 3] {
    let position = fraction.clamp(0.0, 1.0) * (COLOR_MAP.len() - 1) as f64;
    let before = (position as usize).min(COLOR_MAP.len() - 2);
    let (from, to) = (COLOR_MAP[before].map(f64::from), COLOR_MAP[before + 1].map(f64::from));
    std::array::from_fn(|i| from[i] + (to[i] - from[i]) * (position - before as f64))
}

/// A number with at least three significant digits.
fn format_number(value: f32) -> String {
    match value.abs() {
        0.0 => "0".into(),
        0.01..100.0 => format!("{value:.2}"),
        100.0..100_000.0 => format!("{value:.0}"),
        _ => format!("{value:.2e}"),
    }
}
