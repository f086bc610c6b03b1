//! An image mirrored or rotated, without a copy where that is possible.

use super::level_table::LevelTable;
use crate::error::{Error, Result};
use image::RgbImage;
use serde::{Deserialize, Serialize};

/// How a whole image is mirrored or rotated before it is cropped.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Orientation {
    /// Unchanged.
    Upright,
    /// Left and right exchanged.
    FlipHorizontal,
    /// Top and bottom exchanged.
    FlipVertical,
    /// Mirrored along the diagonal from the top left: rows become columns.
    Transpose,
    /// Mirrored along the diagonal from the top right.
    Transverse,
    /// Rotated about its center with bilinear interpolation, as by Pillow's `rotate` without `expand`:
    /// the size stays the same, and the uncovered corners are filled.
    Rotate {
        /// Angle, counterclockwise.
        degrees: f64,
        /// Red, green and blue of the uncovered corners.
        fill: [u8; 3],
    },
}

impl std::fmt::Display for Orientation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Upright => f.write_str("upright"),
            Self::FlipHorizontal => f.write_str("hflip"),
            Self::FlipVertical => f.write_str("vflip"),
            Self::Transpose => f.write_str("transpose"),
            Self::Transverse => f.write_str("transverse"),
            Self::Rotate { degrees, .. } => write!(f, "rotate:{degrees}"),
        }
    }
}

impl Orientation {
    pub(super) fn validate(&self) -> Result<()> {
        match *self {
            Self::Rotate { degrees, .. } if !degrees.is_finite() => Err(Error::Setting {
                place: "rotation".into(),
                expected: "a finite number of degrees".into(),
                found: degrees.to_string(),
            }),
            _ => Ok(()),
        }
    }
}

/// A view of an image in some orientation: the same pixels, read in another order. A rotated image must
/// already be rotated; it is read as it is.
pub(super) struct OrientedImage<'a> {
    levels: &'a [u8],
    pub width: u32,
    pub height: u32,
    /// Index of the pixel that is now at the top left, and the strides to the pixels on its right and below.
    origin: isize,
    right: isize,
    down: isize,
}

impl<'a> OrientedImage<'a> {
    pub fn new(image: &'a RgbImage, orientation: Orientation) -> Self {
        let (width, height) = image.dimensions();
        let (row, last) = (width as isize, (width as isize) * (height as isize) - 1);
        let (origin, right, down) = match orientation {
            Orientation::Upright | Orientation::Rotate { .. } => (0, 1, row),
            Orientation::FlipHorizontal => (row - 1, -1, row),
            Orientation::FlipVertical => (last + 1 - row, 1, -row),
            Orientation::Transpose => (0, row, 1),
            Orientation::Transverse => (last, -row, -1),
        };
        let (width, height) = match orientation {
            Orientation::Transpose | Orientation::Transverse => (height, width),
            _ => (width, height),
        };
        Self { levels: image.as_raw(), width, height, origin, right, down }
    }

    /// Index of the first level (red) of a pixel.
    fn index(&self, x: u32, y: u32) -> usize {
        (self.origin + x as isize * self.right + y as isize * self.down) as usize * 3
    }

    /// Writes a window as `[C, height, width]`, each level looked up in its channel's table. `values` must
    /// have exactly that length.
    pub fn normalize(
        &self,
        channels: &[LevelTable],
        [left, top]: [u32; 2],
        [width, height]: [u32; 2],
        values: &mut [f32],
    ) {
        let (width, height) = (width as usize, height as usize);
        for (channel, plane) in channels.iter().zip(values.chunks_exact_mut(width * height)) {
            for (y, row) in (top..).zip(plane.chunks_exact_mut(width)) {
                let mut index = (self.index(left, y) + channel.color) as isize;
                for value in row {
                    *value = channel.values[usize::from(self.levels[index as usize])];
                    index += 3 * self.right;
                }
            }
        }
    }

    /// A window, copied.
    pub fn pixels(&self, [left, top]: [u32; 2], [width, height]: [u32; 2]) -> RgbImage {
        RgbImage::from_fn(width, height, |x, y| {
            let index = self.index(left + x, top + y);
            image::Rgb(std::array::from_fn(|color| self.levels[index + color]))
        })
    }
}
