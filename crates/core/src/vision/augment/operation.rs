//! Deterministic image operations: what random steps turn into for one photo.

use crate::vision::resize::Rectangle;
use serde::{Deserialize, Serialize};

/// An operation that [`Augmentation::draw`](super::Augmentation::draw) drew. Each gives, bit for bit, what
/// Pillow and torchvision make of a Pillow image.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Operation {
    /// Antialiased bilinear resizing to this size, in pixels.
    Resize {
        /// The new width.
        width: u32,
        /// The new height.
        height: u32,
    },
    /// Crops the current image to a rectangle.
    Crop(Rectangle),
    /// Exchanges left and right.
    HorizontalFlip,
    /// Turns the image counterclockwise around its center by this angle in degrees, with bilinear interpolation. Its size
    /// stays the same; what was outside is black.
    Rotate(f64),
    /// Blends with black: 0 is black, 1 the unchanged image, 2 twice as bright.
    Brightness(f64),
    /// Blends with the image's mean gray: 0 is gray, 1 the unchanged image.
    Contrast(f64),
    /// Blends with the grayscale image: 0 is grayscale, 1 the unchanged image.
    Saturation(f64),
    /// Rotates the color wheel by a fraction of a turn, from -0.5 to 0.5.
    Hue(f64),
    /// Adds to red, green and blue of each pixel after all other operations, in (fractional) levels of 255.
    Shift([f32; 3]),
}
