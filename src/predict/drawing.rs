//! A heat map as a picture: over the photo, with a box around what it found, a line above, and a
//! legend below.

use super::heat_map::HeatMap;
use crate::error::{Error, Result};
use crate::vision::lettering;
use image::{Rgb, RgbImage};

/// From the smallest to the largest number: evenly spaced in Oklab's lightness, 0.18 to 0.95, from
/// violet over red to yellow, so that equal differences look equal, in print as well.
const COLORS: [[u8; 3]; 9] = [
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
/// How much of a pixel is the map's color; the rest is the photo in gray.
const OPACITY: f64 = 0.5;
const PAPER: Rgb<u8> = Rgb([255; 3]);
const INK: Rgb<u8> = Rgb([0; 3]);
/// Lines that a title may take.
const MOST_LINES: usize = 3;
/// The photo's shorter side in pixels for each dot of a letter.
const SIDE_PER_DOT: u32 = 200;

impl HeatMap {
    /// The map over the photo that it was made of, whatever its size: the photo in gray, the map in
    /// colors, interpolated, the box of [`localize`](Self::localize) drawn in white; above it the
    /// title, in three lines at most, below it the colors from the smallest number to the largest.
    /// What is not ASCII in the title becomes `?`.
    ///
    /// The photo must show what the network saw and no more:
    /// [`Preset::pixels`](crate::vision::Preset::pixels), if that cut it.
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
        let numbers = self.range().map(number);
        let words: u32 = numbers.iter().map(|number| lettering::width(number, scale)).sum();
        let wide = width.max(words + 4 * margin);
        let title = lettering::lines(&self.title, wide - 2 * margin, scale, MOST_LINES);
        let above = line * title.len() as u32;
        let bar = 4 * margin;
        let mut canvas = RgbImage::from_pixel(wide, above + height + bar + line, PAPER);

        for (text, row) in title.iter().zip(0..) {
            lettering::write(&mut canvas, text, [margin, margin + row * line], scale, INK);
        }
        self.paint(&mut canvas, photo, above);
        self.mark(&mut canvas, [width, height], above, scale);
        self.legend(&mut canvas, above + height + margin, scale, &numbers);
        Ok(canvas)
    }

    /// The map over the photo in gray, `above` pixels from the upper edge.
    fn paint(&self, canvas: &mut RgbImage, photo: &RgbImage, above: u32) {
        let map = self.over(photo.height() as usize, photo.width() as usize);
        let [smallest, largest] = self.range().map(f64::from);
        for (x, y, pixel) in photo.enumerate_pixels() {
            let value = map.at(y as usize, x as usize);
            let share =
                if largest > smallest { (value - smallest) / (largest - smallest) } else { 0.0 };
            let [red, green, blue] = pixel.0.map(f64::from);
            // ITU-R BT.601, as Pillow makes gray.
            let gray = 0.299 * red + 0.587 * green + 0.114 * blue;
            let mixed =
                color(share).map(|level| (OPACITY * level + (1.0 - OPACITY) * gray).round() as u8);
            canvas.put_pixel(x, y + above, Rgb(mixed));
        }
    }

    /// The box: white, between two lines of ink, so that it shows on any ground. Left out where it
    /// would hide all that is in it.
    fn mark(&self, canvas: &mut RgbImage, [width, height]: [u32; 2], above: u32, scale: u32) {
        let [left, top, right, bottom] = self.localize(self.share).on(width, height);
        if (right - left).min(bottom - top) < 10 * scale {
            return;
        }
        let rings = [(0, INK), (scale, PAPER), (2 * scale, INK)];
        for (inset, color) in rings {
            let (left, top) = (left + inset, top + inset);
            let (right, bottom) = (right - inset, bottom - inset);
            let (across, down) = ([right - left, scale], [scale, bottom - top]);
            for (corner, sides) in [
                ([left, top], across),
                ([left, bottom - scale], across),
                ([left, top], down),
                ([right - scale, top], down),
            ] {
                lettering::fill(canvas, [corner[0], corner[1] + above], sides, color);
            }
        }
    }

    /// The colors from left to right, and the numbers at their ends.
    fn legend(&self, canvas: &mut RgbImage, top: u32, scale: u32, [low, high]: &[String; 2]) {
        let margin = 3 * scale;
        let (left, right) = (margin, canvas.width() - margin);
        for x in left..right {
            let share = f64::from(x - left) / f64::from((right - left - 1).max(1));
            let color = Rgb(color(share).map(|level| level.round() as u8));
            lettering::fill(canvas, [x, top], [1, 3 * margin], color);
        }
        let below = top + 3 * margin + scale;
        lettering::write(canvas, low, [left, below], scale, INK);
        let start = right - lettering::width(high, scale);
        lettering::write(canvas, high, [start, below], scale, INK);
    }
}

/// Red, green and blue, 0 to 255, of a share of the range, 0 to 1.
fn color(share: f64) -> [f64; 3] {
    let place = share.clamp(0.0, 1.0) * (COLORS.len() - 1) as f64;
    let before = (place as usize).min(COLORS.len() - 2);
    let (from, to) = (COLORS[before].map(f64::from), COLORS[before + 1].map(f64::from));
    std::array::from_fn(|i| from[i] + (to[i] - from[i]) * (place - before as f64))
}

/// Three or more digits that count.
fn number(value: f32) -> String {
    match value.abs() {
        0.0 => "0".into(),
        0.01..100.0 => format!("{value:.2}"),
        100.0..100_000.0 => format!("{value:.0}"),
        _ => format!("{value:.2e}"),
    }
}
