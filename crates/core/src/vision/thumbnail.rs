//! Small pictures of large ones.

use super::resize::{Rectangle, resized_window};
use crate::error::Result;
use image::RgbImage;

/// Resizes the longer side to `longer` pixels and the other one in proportion; each side keeps at least one pixel.
///
/// # Errors
/// [`Error::Picture`](crate::Error::Picture) if the picture is empty, or the result would have more than 2²⁴ pixels.
///
/// ```
/// use alexnet_vgg_core::vision::{RgbImage, thumbnail};
///
/// let picture = RgbImage::new(30, 600);
/// assert_eq!(thumbnail(&picture, 224)?.dimensions(), (11, 224));
/// # Ok::<(), alexnet_vgg_core::Error>(())
/// ```
pub fn thumbnail(picture: &RgbImage, longer: u32) -> Result<RgbImage> {
    let (width, height) = picture.dimensions();
    let most = u64::from(width.max(height).max(1));
    let [width, height] =
        [width, height].map(|side| (u64::from(side) * u64::from(longer) / most).max(1) as u32);
    let all = Rectangle::whole((width, height));
    resized_window(picture, Rectangle::whole(picture.dimensions()), all.size(), all)
}
