//! Applies operations lazily, so that pixels that a later crop discards are never computed.

use super::color_jitter;
use super::operation::Operation;
use crate::error::{Error, Result, expect_finite};
use crate::vision::level_table::LevelTable;
use crate::vision::orientation::{Orientation, OrientedImage};
use crate::vision::preset::Preset;
use crate::vision::resize::{Rectangle, resized_window};
use crate::vision::rotate::rotate;
use image::{Rgb, RgbImage, imageops};
use std::borrow::Cow;

/// Applies operations to a photo, one after the other. Only the pixels of the result are computed.
///
/// # Errors
/// [`Error::Picture`] for a crop outside the image or a result of more than 16 million pixels;
/// [`Error::Setting`] for a size of 0, a negative factor, or a hue beyond half a turn;
/// [`Error::NotFinite`] for a shift that is not finite.
pub fn apply(photo: &RgbImage, operations: &[Operation]) -> Result<RgbImage> {
    let mut image = LazyImage::new(photo);
    operations.iter().try_for_each(|&operation| image.apply(operation))?;
    image.into_pixels()
}

/// An image with pending operations. A resize is delayed until the crops after it are known; flips and
/// shifts are delayed to the end, where normalization does them at no cost.
pub(super) struct LazyImage<'a> {
    source: Cow<'a, RgbImage>,
    /// The part of the source that is resized.
    region: Rectangle,
    /// Width and height that the region is resized to.
    size: (u32, u32),
    /// The part of the resized region that is kept.
    window: Rectangle,
    flipped: bool,
    shift: [f32; 3],
}

impl<'a> LazyImage<'a> {
    pub fn new(photo: &'a RgbImage) -> Self {
        Self::from_source(Cow::Borrowed(photo), [0.0; 3])
    }

    fn from_source(source: Cow<'a, RgbImage>, shift: [f32; 3]) -> Self {
        let size = source.dimensions();
        let whole = Rectangle::whole(size);
        Self { source, region: whole, size, window: whole, flipped: false, shift }
    }

    pub fn apply(&mut self, operation: Operation) -> Result<()> {
        match operation {
            Operation::Resize { width: 0, .. } | Operation::Resize { height: 0, .. } => {
                return Err(out_of_range(operation, "a size of at least 1x1"));
            }
            Operation::Resize { width, height } => self.resize((width, height))?,
            Operation::Crop(part) => self.crop(part)?,
            Operation::HorizontalFlip => self.flipped = !self.flipped,
            Operation::Rotate(degrees) if degrees.is_finite() => {
                let image = self.materialize()?;
                *image = rotate(image, degrees, [0; 3]);
            }
            Operation::Rotate(_) => return Err(out_of_range(operation, "a finite angle")),
            Operation::Brightness(factor) => {
                color_jitter::brightness(self.materialize()?, expect_factor(operation, factor)?);
            }
            Operation::Contrast(factor) => {
                color_jitter::contrast(self.materialize()?, expect_factor(operation, factor)?);
            }
            Operation::Saturation(factor) => {
                color_jitter::saturation(self.materialize()?, expect_factor(operation, factor)?);
            }
            Operation::Hue(turn) if (-0.5..=0.5).contains(&turn) => {
                color_jitter::hue(self.materialize()?, turn);
            }
            Operation::Hue(_) => return Err(out_of_range(operation, "-0.5 to 0.5")),
            Operation::Shift(by) => {
                self.shift.iter_mut().zip(by).for_each(|(shift, by)| *shift += by);
                expect_finite("color shift", &self.shift)?;
            }
        }
        Ok(())
    }

    fn crop(&mut self, part: Rectangle) -> Result<()> {
        part.expect_within(self.window.size())?;
        let left =
            if self.flipped { self.window.width - part.width - part.left } else { part.left };
        self.window = nested(self.window, Rectangle { left, ..part });
        Ok(())
    }

    fn resize(&mut self, size: (u32, u32)) -> Result<()> {
        let is_resized = self.size != self.region.size();
        if is_resized || self.flipped {
            self.materialize()?;
        }
        self.region = nested(self.region, self.window);
        self.size = size;
        self.window = Rectangle::whole(size);
        Ok(())
    }

    /// Computes the pixels as they are now, except for the shift, so that they can be changed.
    fn materialize(&mut self) -> Result<&mut RgbImage> {
        let mut image = if self.is_materialized() {
            std::mem::take(&mut self.source)
        } else {
            Cow::Owned(self.window_pixels()?)
        };
        if self.flipped {
            imageops::flip_horizontal_in_place(image.to_mut());
        }
        *self = Self::from_source(image, self.shift);
        Ok(self.source.to_mut())
    }

    /// Whether neither a crop nor a resize is pending.
    fn is_materialized(&self) -> bool {
        let whole = Rectangle::whole(self.source.dimensions());
        self.region == whole && self.window == whole && self.size == whole.size()
    }

    fn window_pixels(&self) -> Result<RgbImage> {
        resized_window(&self.source, self.region, self.size, self.window)
    }

    /// The final pixels, with the shift rounded to levels and clamped to 0 to 255.
    fn into_pixels(mut self) -> Result<RgbImage> {
        let shift = self.shift;
        let image = self.materialize()?;
        if shift != [0.0; 3] {
            for Rgb(rgb) in image.pixels_mut() {
                // The conversion saturates.
                rgb.iter_mut()
                    .zip(shift)
                    .for_each(|(level, shift)| *level = (f32::from(*level) + shift).round() as u8);
            }
        }
        Ok(std::mem::take(image))
    }

    /// Writes the image as normalized `[3, H, W]` values; `values` must have exactly that length.
    pub fn normalize(&self, preset: &Preset, values: &mut [f32]) -> Result<()> {
        let pixels = if self.is_materialized() {
            Cow::Borrowed(self.source.as_ref())
        } else {
            Cow::Owned(self.window_pixels()?)
        };
        let orientation =
            if self.flipped { Orientation::FlipHorizontal } else { Orientation::Upright };
        let channels = LevelTable::for_channels(preset, self.shift);
        let (width, height) = pixels.dimensions();
        let image = OrientedImage::new(&pixels, orientation);
        image.normalize(&channels, [0, 0], [width, height], values);
        Ok(())
    }
}

/// A rectangle within a rectangle, in the coordinates of the outer one's image.
fn nested(outer: Rectangle, inner: Rectangle) -> Rectangle {
    Rectangle { left: outer.left + inner.left, top: outer.top + inner.top, ..inner }
}

/// The factor as f32, which Pillow blends in.
fn expect_factor(operation: Operation, factor: f64) -> Result<f32> {
    if factor >= 0.0 && (factor as f32).is_finite() {
        Ok(factor as f32)
    } else {
        Err(out_of_range(operation, "a finite factor of at least 0"))
    }
}

fn out_of_range(operation: Operation, expected: &str) -> Error {
    Error::Setting {
        place: "operation".into(),
        expected: expected.into(),
        found: format!("{operation:?}"),
    }
}
