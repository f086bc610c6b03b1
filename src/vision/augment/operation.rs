//! What is done to one photo: operations with nothing random in them.

use super::color_jitter;
use crate::error::{Error, Result};
use crate::predict::expect_finite;
use crate::vision::Preset;
use crate::vision::resize::{Rectangle, resized_window};
use image::{Rgb, RgbImage, imageops};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// What [`Augmentation::draw`](super::Augmentation::draw) drew. Each is to the bit what Pillow and
/// torchvision do to a picture of Pillow's.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Operation {
    /// Antialiased bilinear resizing to that size, in pixels.
    Resize {
        /// The new width.
        width: u32,
        /// The new height.
        height: u32,
    },
    /// What is in the rectangle, as the picture lies then.
    Crop(Rectangle),
    /// Left and right exchanged.
    HorizontalFlip,
    /// A blend with black: 0 is black, 1 the picture, 2 twice as bright.
    Brightness(f64),
    /// A blend with the picture's mean gray.
    Contrast(f64),
    /// A blend with the picture in gray.
    Saturation(f64),
    /// A turn of the color wheel, from -0.5 to 0.5.
    Hue(f64),
    /// Red, green and blue added to each pixel at the very end, in levels of 255 and fractions of them.
    Shift([f32; 3]),
}

/// A picture of the photo after these operations. Only the pixels that are in it are computed.
///
/// # Errors
/// [`Error::Picture`] for a rectangle that is not in the picture, and for more than 16 million pixels;
/// [`Error::Setting`] for factors below 0 or a hue beyond a half, [`Error::NotFinite`] for a shift that
/// is no number.
pub fn apply(photo: &RgbImage, operations: &[Operation]) -> Result<RgbImage> {
    let mut frame = Frame::of(photo);
    operations.iter().try_for_each(|&operation| frame.then(operation))?;
    frame.picture()
}

/// A photo, and what is still to be done to it. Resizing waits for the crops that follow, so that no
/// pixel is computed and thrown away; a flip waits for the end, where it costs nothing.
pub(super) struct Frame<'a> {
    photo: Cow<'a, RgbImage>,
    /// Of the photo.
    region: Rectangle,
    /// Width and height that the region is resized to.
    size: (u32, u32),
    /// Of the resized region.
    window: Rectangle,
    flipped: bool,
    shift: [f32; 3],
}

impl<'a> Frame<'a> {
    pub fn of(photo: &'a RgbImage) -> Self {
        Self::around(Cow::Borrowed(photo), [0.0; 3])
    }

    fn around(photo: Cow<'a, RgbImage>, shift: [f32; 3]) -> Self {
        let size = photo.dimensions();
        let whole = Rectangle::whole(size);
        Self { photo, region: whole, size, window: whole, flipped: false, shift }
    }

    pub fn then(&mut self, operation: Operation) -> Result<()> {
        match operation {
            Operation::Resize { width: 0, .. } | Operation::Resize { height: 0, .. } => {
                return Err(out_of_range(operation, "a size of at least 1x1"));
            }
            Operation::Resize { width, height } => self.resize((width, height))?,
            Operation::Crop(part) => self.crop(part)?,
            Operation::HorizontalFlip => self.flipped = !self.flipped,
            Operation::Brightness(factor) => {
                color_jitter::brightness(self.settled()?, expect_factor(operation, factor)?);
            }
            Operation::Contrast(factor) => {
                color_jitter::contrast(self.settled()?, expect_factor(operation, factor)?);
            }
            Operation::Saturation(factor) => {
                color_jitter::saturation(self.settled()?, expect_factor(operation, factor)?);
            }
            Operation::Hue(turn) if (-0.5..=0.5).contains(&turn) => {
                color_jitter::hue(self.settled()?, turn);
            }
            Operation::Hue(_) => return Err(out_of_range(operation, "-0.5 to 0.5")),
            Operation::Shift(by) => {
                self.shift.iter_mut().zip(by).for_each(|(shift, by)| *shift += by);
                expect_finite("shift of the colors", &self.shift)?;
            }
        }
        Ok(())
    }

    fn crop(&mut self, part: Rectangle) -> Result<()> {
        part.expect_within(self.window.size())?;
        let left = match self.flipped {
            true => self.window.width - part.width - part.left,
            false => part.left,
        };
        self.window = within(self.window, Rectangle { left, ..part });
        Ok(())
    }

    fn resize(&mut self, size: (u32, u32)) -> Result<()> {
        let is_resized = self.size != self.region.size();
        if is_resized || self.flipped {
            self.settled()?;
        }
        self.region = within(self.region, self.window);
        self.size = size;
        self.window = Rectangle::whole(size);
        Ok(())
    }

    /// The picture as it is now, to be changed.
    fn settled(&mut self) -> Result<&mut RgbImage> {
        let mut picture = match self.is_settled() {
            true => std::mem::take(&mut self.photo),
            false => Cow::Owned(self.pixels()?),
        };
        if self.flipped {
            imageops::flip_horizontal_in_place(picture.to_mut());
        }
        *self = Self::around(picture, self.shift);
        Ok(self.photo.to_mut())
    }

    fn is_settled(&self) -> bool {
        let whole = Rectangle::whole(self.photo.dimensions());
        self.region == whole && self.window == whole && self.size == whole.size()
    }

    fn pixels(&self) -> Result<RgbImage> {
        resized_window(&self.photo, self.region, self.size, self.window)
    }

    fn picture(mut self) -> Result<RgbImage> {
        let shift = self.shift;
        let picture = self.settled()?;
        if shift != [0.0; 3] {
            for Rgb(rgb) in picture.pixels_mut() {
                // The conversion cuts off at 0 and 255.
                rgb.iter_mut()
                    .zip(shift)
                    .for_each(|(level, shift)| *level = (f32::from(*level) + shift).round() as u8);
            }
        }
        Ok(std::mem::take(picture))
    }

    /// `[3, H, W]` values of the picture, as many as `values` has room for.
    pub fn normalize(&self, preset: &Preset, values: &mut [f32]) -> Result<()> {
        let pixels = match self.is_settled() {
            true => Cow::Borrowed(self.photo.as_ref()),
            false => Cow::Owned(self.pixels()?),
        };
        preset.normalize(&pixels, self.shift, self.flipped, values);
        Ok(())
    }
}

/// A part of a part.
fn within(outer: Rectangle, inner: Rectangle) -> Rectangle {
    Rectangle { left: outer.left + inner.left, top: outer.top + inner.top, ..inner }
}

/// As f32, which Pillow blends in.
fn expect_factor(operation: Operation, factor: f64) -> Result<f32> {
    match factor >= 0.0 && (factor as f32).is_finite() {
        true => Ok(factor as f32),
        false => Err(out_of_range(operation, "a finite factor, at least 0")),
    }
}

fn out_of_range(operation: Operation, expected: &str) -> Error {
    Error::Setting {
        place: "operation".into(),
        expected: expected.into(),
        found: format!("{operation:?}"),
    }
}
