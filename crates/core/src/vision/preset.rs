//! Preprocessing as data: how an image must be resized, cropped and normalized for a set of weights.
//!
//! This file describes it; `preprocess` carries it out.

use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};

/// Largest `resize` of a preset, and largest scale of a view or augmentation step, in pixels.
pub(super) const LARGEST_SIDE: u32 = 4096;

/// The order of the color channels in `[N, 3, H, W]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Channels {
    /// Red, green, blue.
    Rgb,
    /// Blue, green, red: OpenCV's order, and therefore Caffe's.
    Bgr,
}

/// How images are preprocessed, as data. A preset belongs to a set of weights: with another preset, the
/// same weights give worse predictions and no error.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Preset {
    /// `imagenet`, `caffe`, or the name of your own.
    pub name: String,
    /// Length of the short side after resizing, in pixels.
    pub resize: u32,
    /// Side of the center crop, in pixels; at most `resize`.
    pub crop: u32,
    /// Order of the color channels.
    pub channels: Channels,
    /// The value of a fully bright channel (level 255) before the mean is subtracted.
    pub white: f32,
    /// Subtracted from each channel, in the order of `channels`, on the scale of `white`.
    pub mean: [f32; 3],
    /// Each channel is divided by this after the mean is subtracted, in the order of `channels`.
    pub std: [f32; 3],
}

impl Preset {
    /// The preset of torchvision's published weights: RGB from 0 to 1, normalized by ImageNet's mean and
    /// standard deviation; short side 256, center crop 224.
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

    /// The preset of weights trained in Caffe, such as those the VGG authors released: BGR from 0 to 255
    /// with the mean subtracted.
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

    /// The preset with this name: `imagenet` or `caffe`.
    ///
    /// # Errors
    /// [`Error::UnknownName`] with the list of names if there is no such preset.
    pub fn by_name(name: &str) -> Result<Self> {
        let all = [Self::imagenet(), Self::caffe()];
        let known = all.each_ref().map(|preset| preset.name.as_str()).join(", ");
        let found = all.into_iter().find(|preset| preset.name == name);
        found.ok_or_else(|| Error::UnknownName { kind: "preset".into(), name: name.into(), known })
    }

    /// Checks the numbers: `1 <= crop <= resize <= 4096`; `white`, `mean` and `std` finite; `std` above 0.
    /// Every function that uses a preset checks it first.
    ///
    /// # Errors
    /// [`Error::Setting`] with the offending numbers.
    pub fn validate(&self) -> Result<()> {
        let wrong = |expected: String, found: String| {
            Err(Error::Setting { place: format!("preset {}", self.name), expected, found })
        };
        if !(1..=self.resize).contains(&self.crop) || self.resize > LARGEST_SIDE {
            return wrong(
                format!("1 <= crop <= resize <= {LARGEST_SIDE}"),
                format!("crop {}, resize {}", self.crop, self.resize),
            );
        }
        let mut numbers = [self.white].into_iter().chain(self.mean).chain(self.std);
        if !numbers.all(f32::is_finite) || self.std.iter().any(|&std| std <= 0.0) {
            return wrong(
                "finite numbers, and std > 0".into(),
                format!("white {}, mean {:?}, std {:?}", self.white, self.mean, self.std),
            );
        }
        Ok(())
    }

    /// Checks that this is the preset that the weights of `network` were trained with; always `Ok` if
    /// that is unknown (`None`).
    pub(crate) fn expect_is(&self, trained_with: Option<&Self>, network: &str) -> Result<()> {
        match trained_with {
            Some(wanted) if wanted != self => Err(Error::PresetMismatch {
                network: network.into(),
                trained_with: wanted.name.clone(),
                found: self.name.clone(),
            }),
            _ => Ok(()),
        }
    }
}
