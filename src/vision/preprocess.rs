//! What was done to the training pictures must be done to every picture: resize, crop, normalize.

use super::pose::{Pose, Posed};
use super::views::Views;
use crate::backend::Limits;
use crate::error::{Error, Result};
use burn::tensor::backend::Backend;
use burn::tensor::{Tensor, TensorData};
use image::RgbImage;
use serde::{Deserialize, Serialize};

/// The order of the colors in `[N, 3, H, W]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Channels {
    /// Red, green, blue.
    Rgb,
    /// Blue, green, red: what OpenCV reads, and so Caffe.
    Bgr,
}

/// How pictures become input, as data. It belongs to the weights: the same weights with another
/// preset give worse answers and no error.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Preset {
    /// `imagenet` or `caffe`.
    pub name: String,
    /// The short side after resizing, in pixels.
    pub resize: u32,
    /// Side of the square cut from the center, in pixels; at most `resize`.
    pub crop: u32,
    /// Order of the colors.
    pub channels: Channels,
    /// The value of a full pixel (255).
    pub white: f32,
    /// Subtracted, in the order of `channels`, on the scale of `white`.
    pub mean: [f32; 3],
    /// Divided by, after that.
    pub std: [f32; 3],
}

impl Preset {
    /// torchvision's published weights: RGB from 0 to 1, normalized by ImageNet's mean and standard
    /// deviation; short side 256, center 224.
    pub fn imagenet() -> Self {
        Self {
            name: "imagenet".into(),
            resize: 256,
            crop: 224,
            channels: Channels::Rgb,
            white: 1.0,
            mean: [0.485, 0.456, 0.406],
            std: [0.229, 0.224, 0.225],
        }
    }

    /// Weights trained in Caffe, as the VGG authors released them: BGR from 0 to 255, the mean
    /// subtracted.
    pub fn caffe() -> Self {
        Self {
            name: "caffe".into(),
            channels: Channels::Bgr,
            white: 255.0,
            mean: [103.939, 116.779, 123.68],
            std: [1.0; 3],
            ..Self::imagenet()
        }
    }

    /// The preset of that name.
    ///
    /// # Errors
    /// [`Error::Setting`], which lists the names.
    pub fn by_name(name: &str) -> Result<Self> {
        let all = [Self::imagenet(), Self::caffe()];
        let known = all.each_ref().map(|preset| preset.name.as_str()).join(", ");
        let found = all.into_iter().find(|preset| preset.name == name);
        found.ok_or_else(|| Error::Setting {
            place: "preset".into(),
            expected: known,
            found: name.into(),
        })
    }

    /// `Ok` if the numbers make sense: `1 <= crop <= resize <= 4096`, and finite `white`, `mean` and
    /// `std`, the last above 0. All that uses a preset asks this first.
    ///
    /// # Errors
    /// [`Error::Setting`] with the number that does not.
    pub fn validate(&self) -> Result<()> {
        const LARGEST_SIDE: u32 = 4096;
        let wrong = |expected: String, found: String| {
            Err(Error::Setting { place: format!("preset {}", self.name), expected, found })
        };
        if !(1..=self.resize).contains(&self.crop) || self.resize > LARGEST_SIDE {
            return wrong(
                format!("1 <= crop <= resize <= {LARGEST_SIDE}"),
                format!("crop {}, resize {}", self.crop, self.resize),
            );
        }
        let mut levels = [self.white].into_iter().chain(self.mean).chain(self.std);
        if !levels.all(f32::is_finite) || self.std.iter().any(|&std| std <= 0.0) {
            return wrong(
                "finite numbers, and std > 0".into(),
                format!("white {}, mean {:?}, std {:?}", self.white, self.mean, self.std),
            );
        }
        Ok(())
    }

    /// `Ok` if it is the preset that a network's weights were trained with, or if nobody knows that.
    pub(crate) fn expect_is(&self, trained_with: Option<&Self>, network: &str) -> Result<()> {
        match trained_with {
            Some(wanted) if wanted != self => Err(Error::Setting {
                place: format!("preset of {network}"),
                expected: format!("{:?}, which the weights were trained with", wanted.name),
                found: format!("{:?}", self.name),
            }),
            _ => Ok(()),
        }
    }

    /// The pixels that the network will see: resized and cropped, not yet normalized.
    ///
    /// Resizing is Pillow's antialiased bilinear, which torchvision uses, to the bit: the triangle
    /// filter is as wide as the reduction, so no pixel of the photo is skipped. Sizes round as in
    /// torchvision.
    ///
    /// # Errors
    /// [`Error::Setting`] if [the preset is not valid](Self::validate), and [`Error::Picture`] for a
    /// picture so narrow that resizing it would take gigabytes.
    pub fn pixels(&self, photo: &RgbImage) -> Result<RgbImage> {
        self.view(photo, Views::center().as_slice()[0])
    }

    /// Photos to `[N, 3, crop, crop]`.
    ///
    /// # Errors
    /// As for [`pixels`](Self::pixels), [`Error::Setting`] if there is no photo, and
    /// [`Error::Backend`] for more photos than the device takes in a tensor.
    pub fn batch<B: Backend>(
        &self,
        photos: &[RgbImage],
        device: &B::Device,
    ) -> Result<Tensor<B, 4>> {
        self.validate()?;
        if photos.is_empty() {
            return Err(Error::Setting {
                place: "batch".into(),
                expected: "at least one photo".into(),
                found: "none".into(),
            });
        }
        let side = self.crop as usize;
        let shape = [photos.len(), 3, side, side];
        let elements = shape.iter().product();
        Limits::of::<B>(device)?
            .expect_tensor(format_args!("photos {shape:?}"), elements as u64)?;
        let mut values = Vec::with_capacity(elements);
        let center = Views::center();
        for photo in photos {
            values.extend(self.views(photo, &center)?.squares);
        }
        Ok(Tensor::from_data(TensorData::new(values, shape), device))
    }

    /// A picture of `[3, H, W]` values: as [`levels`](Self::levels) says; `flipped` exchanges left and
    /// right.
    pub(super) fn normalize(
        &self,
        pixels: &RgbImage,
        shift: [f32; 3],
        flipped: bool,
        values: &mut [f32],
    ) {
        let pose = if flipped { Pose::FlipHorizontal } else { Pose::Upright };
        let (width, height) = pixels.dimensions();
        Posed::new(pixels, pose).normalize(&self.levels(shift), [0, 0], [width, height], values);
    }

    /// What the levels of each channel become, with torchvision's operations in torchvision's order.
    /// `shift` is added to red, green and blue before, in levels of 255.
    pub(super) fn levels(&self, shift: [f32; 3]) -> [Levels; 3] {
        std::array::from_fn(|channel| {
            let color = match self.channels {
                Channels::Rgb => channel,
                Channels::Bgr => 2 - channel,
            };
            let (mean, std, shift) = (self.mean[channel], self.std[channel], shift[color]);
            let scaled = |level: usize| (level as f32 + shift) / 255.0 * self.white;
            let values = std::array::from_fn(|level| (scaled(level) - mean) / std);
            Levels { color, values }
        })
    }
}

/// What the levels of a channel become: a pixel has 256, a picture has more pixels.
pub(super) struct Levels {
    /// Of the picture, which this channel shows.
    pub color: usize,
    /// By level.
    pub values: [f32; 256],
}
