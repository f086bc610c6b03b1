//! What was done to the training pictures must be done to every picture: resize, crop, normalise.

use super::views::Views;
use crate::backend::Limits;
use crate::error::{Error, Result};
use burn::tensor::backend::Backend;
use burn::tensor::{Tensor, TensorData};
use fast_image_resize::images::TypedImage;
use fast_image_resize::pixels::F32x3;
use fast_image_resize::{FilterType, ResizeAlg, ResizeOptions, Resizer};
use image::RgbImage;
use serde::{Deserialize, Serialize};

/// The order of the colours in `[N, 3, H, W]`.
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
    /// Side of the square cut from the centre, in pixels; at most `resize`.
    pub crop: u32,
    /// Order of the colours.
    pub channels: Channels,
    /// The value of a full pixel (255).
    pub white: f32,
    /// Subtracted, in the order of `channels`, on the scale of `white`.
    pub mean: [f32; 3],
    /// Divided by, after that.
    pub std: [f32; 3],
}

impl Preset {
    /// torchvision's published weights: RGB from 0 to 1, normalised by ImageNet's mean and standard
    /// deviation; short side 256, centre 224.
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

    /// The pixels that the network will see: resized and cropped, not yet normalised.
    ///
    /// Resizing is Pillow's antialiased bilinear, which torchvision uses: the triangle filter is as
    /// wide as the reduction, so no pixel of the photo is skipped. Sizes round as in torchvision.
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

    /// What the levels of each channel become, with torchvision's operations in torchvision's order.
    pub(super) fn levels(&self) -> [Levels; 3] {
        std::array::from_fn(|channel| {
            let colour = match self.channels {
                Channels::Rgb => channel,
                Channels::Bgr => 2 - channel,
            };
            let (mean, std) = (self.mean[channel], self.std[channel]);
            let scaled = |level: usize| level as f32 / 255.0 * self.white;
            let values = std::array::from_fn(|level| (scaled(level) - mean) / std);
            Levels { colour, values }
        })
    }
}

/// What the levels of a channel become.
pub(super) struct Levels {
    /// Of the picture, which this channel shows.
    pub colour: usize,
    /// By level.
    pub values: [f32; 256],
}

/// Short side to `short`, the long side in proportion, rounded down as in torchvision.
pub(super) fn resize(photo: &RgbImage, short: u32) -> Result<RgbImage> {
    /// Pixels of the resized picture, where 256 x 384 is usual: 200 MB in f32.
    const MOST_PIXELS: u64 = 1 << 24;
    let (width, height) = photo.dimensions();
    let too_narrow = || Error::Picture {
        place: "resize".into(),
        expected: format!("at most {MOST_PIXELS} pixels once the short side is {short}"),
        found: format!("a picture of {width}x{height}"),
    };
    if width.min(height) == 0 {
        return Err(too_narrow());
    }
    let long = u64::from(short) * u64::from(width.max(height)) / u64::from(width.min(height));
    if long * u64::from(short) > MOST_PIXELS {
        return Err(too_narrow());
    }
    let (to_width, to_height) = match width <= height {
        true => (short, long as u32),
        false => (long as u32, short),
    };
    let narrow = one_pass(photo.as_raw(), [width, height], [to_width, height])?;
    let pixels = one_pass(&narrow, [to_width, height], [to_width, to_height])?;
    RgbImage::from_raw(to_width, to_height, pixels).ok_or_else(too_narrow)
}

/// Resizes in one direction and rounds to whole levels, as Pillow does after each of its two
/// passes. The filter runs in f32: in 8 bits, its coefficients are too coarse to round alike.
fn one_pass(pixels: &[u8], from: [u32; 2], to: [u32; 2]) -> Result<Vec<u8>> {
    if from == to {
        return Ok(pixels.to_vec());
    }
    /// Rows at once, so that a large photo is never whole in f32.
    const BAND: u32 = 64;
    let bilinear = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear));
    let rows = if from[1] == to[1] { BAND.min(from[1]) } else { from[1] };
    let mut resizer = Resizer::new();
    let mut resized = Vec::with_capacity(3 * to[0] as usize * to[1] as usize);
    for band in pixels.chunks(3 * from[0] as usize * rows as usize) {
        let height = (band.len() / (3 * from[0] as usize)) as u32;
        let to_height = if from[1] == to[1] { height } else { to[1] };
        let (levels, _) = band.as_chunks::<3>();
        let levels = levels.iter().map(|&rgb| F32x3::new(rgb.map(f32::from))).collect();
        let source = TypedImage::from_pixels(from[0], height, levels).map_err(failed)?;
        let mut target = TypedImage::new(to[0], to_height);
        resizer.resize_typed(&source, &mut target, &bilinear).map_err(failed)?;
        // The conversion saturates to 0..=255.
        resized
            .extend(target.pixels().iter().flat_map(|rgb| rgb.0.map(|level| (level + 0.5) as u8)));
    }
    Ok(resized)
}

fn failed(reason: impl std::fmt::Display) -> Error {
    Error::Picture {
        place: "resize".into(),
        expected: "a picture of 8-bit RGB".into(),
        found: reason.to_string(),
    }
}

/// Half of it, where a half pixel rounds to the even side: Python's `round`, and so torchvision's
/// centre crop.
pub(super) fn half_to_even(length: u32) -> u32 {
    let half = length / 2;
    half + (length % 2) * (half % 2)
}
