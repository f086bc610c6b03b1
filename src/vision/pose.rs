//! A picture turned or mirrored, without a copy where that is possible.

use super::preprocess::Levels;
use crate::error::{Error, Result};
use image::RgbImage;
use serde::{Deserialize, Serialize};

/// How a whole picture is turned before anything is cut from it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pose {
    /// As it is.
    Upright,
    /// Left and right exchanged.
    FlipHorizontal,
    /// Top and bottom exchanged.
    FlipVertical,
    /// Mirrored at the diagonal from the top left: rows become columns.
    Transpose,
    /// Mirrored at the other diagonal.
    Transverse,
    /// Turned about its center, bilinearly, as Pillow's `rotate` does without `expand`: what was
    /// outside of the picture is `fill`.
    Rotate {
        /// Counter-clockwise.
        degrees: f64,
        /// Red, green and blue of the corners that the picture does not reach.
        fill: [u8; 3],
    },
}

impl std::fmt::Display for Pose {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Pose::Upright => f.write_str("upright"),
            Pose::FlipHorizontal => f.write_str("hflip"),
            Pose::FlipVertical => f.write_str("vflip"),
            Pose::Transpose => f.write_str("transpose"),
            Pose::Transverse => f.write_str("transverse"),
            Pose::Rotate { degrees, .. } => write!(f, "rotate:{degrees}"),
        }
    }
}

impl Pose {
    pub(super) fn validate(&self) -> Result<()> {
        match *self {
            Pose::Rotate { degrees, .. } if !degrees.is_finite() => Err(Error::Setting {
                place: "rotation".into(),
                expected: "a finite number of degrees".into(),
                found: degrees.to_string(),
            }),
            _ => Ok(()),
        }
    }
}

/// A picture in a pose: the same pixels, walked in another order. (What is rotated has been before.)
pub(super) struct Posed<'a> {
    levels: &'a [u8],
    pub width: u32,
    pub height: u32,
    /// Index of the pixel that is top left now, and the steps to the one on its right and below it.
    origin: isize,
    right: isize,
    down: isize,
}

impl<'a> Posed<'a> {
    pub fn new(picture: &'a RgbImage, pose: Pose) -> Self {
        let (width, height) = picture.dimensions();
        let (row, last) = (width as isize, (width as isize) * (height as isize) - 1);
        let (origin, right, down) = match pose {
            Pose::Upright | Pose::Rotate { .. } => (0, 1, row),
            Pose::FlipHorizontal => (row - 1, -1, row),
            Pose::FlipVertical => (last + 1 - row, 1, -row),
            Pose::Transpose => (0, row, 1),
            Pose::Transverse => (last, -row, -1),
        };
        let (width, height) = match pose {
            Pose::Transpose | Pose::Transverse => (height, width),
            _ => (width, height),
        };
        Self { levels: picture.as_raw(), width, height, origin, right, down }
    }

    /// Where the levels of a pixel begin.
    fn at(&self, x: u32, y: u32) -> usize {
        (self.origin + x as isize * self.right + y as isize * self.down) as usize * 3
    }

    /// A window, channel after channel: the value of each level is in the channel's table. `values` has
    /// room for it.
    pub fn normalize(
        &self,
        channels: &[Levels; 3],
        [left, top]: [u32; 2],
        [width, height]: [u32; 2],
        values: &mut [f32],
    ) {
        let (width, height) = (width as usize, height as usize);
        for (channel, plane) in channels.iter().zip(values.chunks_exact_mut(width * height)) {
            for (y, row) in (top..).zip(plane.chunks_exact_mut(width)) {
                let mut at = (self.at(left, y) + channel.color) as isize;
                for value in row {
                    *value = channel.values[usize::from(self.levels[at as usize])];
                    at += 3 * self.right;
                }
            }
        }
    }

    pub fn pixels(&self, [left, top]: [u32; 2], [width, height]: [u32; 2]) -> RgbImage {
        RgbImage::from_fn(width, height, |x, y| {
            let at = self.at(left + x, top + y);
            image::Rgb(std::array::from_fn(|color| self.levels[at + color]))
        })
    }
}

/// Pillow's `Image.rotate(degrees, BILINEAR, fillcolor=fill)`: its matrix, its bilinear filter (which
/// repeats the border's pixels half a pixel outwards), and its rounding, which cuts.
pub(super) fn rotate(picture: &RgbImage, degrees: f64, fill: [u8; 3]) -> RgbImage {
    // At right angles the sine is to be 0, not 1e-17: Pillow rounds so.
    let round = |value: f64| (value * 1e15).round() / 1e15;
    let angle = -degrees.rem_euclid(360.0).to_radians();
    let (sine, cosine) = (round(angle.sin()), round(angle.cos()));
    let (width, height) = picture.dimensions();
    let (center_x, center_y) = (f64::from(width) / 2.0, f64::from(height) / 2.0);
    let first_x = cosine * -center_x + sine * -center_y + center_x;
    let first_y = -sine * -center_x + cosine * -center_y + center_y;
    RgbImage::from_fn(width, height, |x, y| {
        let (x, y) = (f64::from(x) + 0.5, f64::from(y) + 0.5);
        let (from_x, from_y) = (cosine * x + sine * y + first_x, -sine * x + cosine * y + first_y);
        let inside =
            (0.0..f64::from(width)).contains(&from_x) && (0.0..f64::from(height)).contains(&from_y);
        match inside {
            true => image::Rgb(bilinear(picture, from_x - 0.5, from_y - 0.5)),
            false => image::Rgb(fill),
        }
    })
}

fn bilinear(picture: &RgbImage, x: f64, y: f64) -> [u8; 3] {
    let (left, top) = (x.floor(), y.floor());
    let clip = |at: f64, length: u32| at.clamp(0.0, f64::from(length - 1)) as u32;
    let columns = [clip(left, picture.width()), clip(left + 1.0, picture.width())];
    let rows = [clip(top, picture.height()), clip(top + 1.0, picture.height())];
    let between = |a: f64, b: f64, share: f64| a + (b - a) * share;
    std::array::from_fn(|color| {
        let level = |row, column| f64::from(picture.get_pixel(column, row)[color]);
        let [above, below] =
            rows.map(|row| between(level(row, columns[0]), level(row, columns[1]), x - left));
        between(above, below, y - top) as u8
    })
}
