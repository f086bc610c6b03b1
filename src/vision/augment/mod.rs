//! Training-time augmentation, as data: the AlexNet paper's (section 4.1), the VGG paper's (section
//! 3.1), torchvision's, and lists of your own.
//!
//! An [`Augmentation`] is a list of random [`Step`]s. What they do to a photo is drawn first, as a list
//! of [`Operation`]s that holds nothing random any more, and then done. What is drawn depends on a
//! [`Sample`] and the photo's size alone, so that a training run is the same on any number of threads
//! and can go on from the middle.

mod color_jitter;
mod draw;
mod operation;
mod step;

pub use super::principal_colors::{ColorStatistics, PrincipalColors};
pub use super::resize::Rectangle;
pub use operation::{Operation, apply};
pub use step::Step;

use super::Preset;
use crate::backend::Limits;
use crate::error::{Error, Result};
use burn::tensor::backend::Backend;
use burn::tensor::{Tensor, TensorData};
use draw::Draw;
use image::RgbImage;
use operation::Frame;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use step::Known;

/// One visit of training to one photo. The same three numbers draw the same augmentation (to the last
/// bit on one platform: logarithms are the system's).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Sample {
    /// Of the training run.
    pub seed: u64,
    /// How often all photos were seen before.
    pub epoch: u64,
    /// The photo's place in the data set, whatever the order of an epoch is.
    pub index: u64,
}

/// A list of random steps, from a photo of any size to a square of the network's input.
///
/// ```
/// use alexnet_vgg::vision::{Preset, RgbImage, augment::{Augmentation, Sample, Step}};
///
/// let photo = RgbImage::new(500, 375);
/// let sample = Sample { seed: 1, epoch: 0, index: 42 };
/// let mut values = Vec::new();
/// Augmentation::alexnet().values(&photo, sample, &Preset::imagenet(), &mut values)?;
/// assert_eq!(values.len(), 3 * 224 * 224);
///
/// // Your own, here for digits of 28x28.
/// let shifted = Augmentation {
///     name: "shifted".into(),
///     steps: vec![Step::ScaleJitter { shortest: 64, longest: 72 }, Step::RandomCrop { side: 64 }],
/// };
/// let digit = RgbImage::new(28, 28);
/// assert_eq!(shifted.picture(&digit, sample)?.dimensions(), (64, 64));
/// # Ok::<(), alexnet_vgg::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Augmentation {
    /// `alexnet`, `vgg` or `torchvision`, or what you call yours.
    pub name: String,
    /// What is done, one after the other.
    pub steps: Vec<Step>,
}

impl Augmentation {
    /// The AlexNet paper's (section 4.1): the square of 256 in the middle of the photo, a 224 of it
    /// from anywhere, horizontal reflections, and the principal colors of ImageNet.
    ///
    /// The paper counts 2048 = 32 * 32 * 2 crops and reflections; there are 33 * 33 * 2.
    pub fn alexnet() -> Self {
        Self::paper("alexnet", vec![Step::Resize { short: 256 }, Step::CenterCrop { side: 256 }])
    }

    /// The VGG paper's (section 3.1), multi-scale: the photo's short side anything from 256 to 512, a
    /// 224 from anywhere in it, and reflections and colors as AlexNet.
    pub fn vgg() -> Self {
        Self::paper("vgg", vec![Step::ScaleJitter { shortest: 256, longest: 512 }])
    }

    /// The VGG paper's at a single scale S: 256 or 384 in the paper.
    pub fn vgg_single_scale(short: u32) -> Self {
        Self::paper(&format!("vgg_{short}"), vec![Step::Resize { short }])
    }

    /// What torchvision's references train its AlexNet and VGG with: `RandomResizedCrop(224)` and
    /// `RandomHorizontalFlip()`.
    pub fn torchvision() -> Self {
        Self {
            name: "torchvision".into(),
            steps: vec![
                Step::RandomResizedCrop { side: 224, scale: [0.08, 1.0], ratio: [0.75, 4.0 / 3.0] },
                Step::HorizontalFlip { probability: 0.5 },
            ],
        }
    }

    /// What both papers end with.
    fn paper(name: &str, mut steps: Vec<Step>) -> Self {
        steps.extend([
            Step::RandomCrop { side: 224 },
            Step::HorizontalFlip { probability: 0.5 },
            Step::pca_color(),
        ]);
        Self { name: name.into(), steps }
    }

    /// The augmentation of that name: `alexnet`, `vgg` or `torchvision`.
    ///
    /// # Errors
    /// [`Error::Setting`], which lists the names.
    pub fn by_name(name: &str) -> Result<Self> {
        let all = [Self::alexnet(), Self::vgg(), Self::torchvision()];
        let known = all.each_ref().map(|augmentation| augmentation.name.as_str()).join(", ");
        let found = all.into_iter().find(|augmentation| augmentation.name == name);
        found.ok_or_else(|| Error::Setting {
            place: "augmentation".into(),
            expected: known,
            found: name.into(),
        })
    }

    /// The same for crops of `side` pixels: all sides of all steps in proportion, so that `alexnet()`
    /// for 64 resizes to 73. One that is [not valid](Self::validate) stays as it is.
    pub fn with_crop(mut self, side: u32) -> Self {
        let Ok(crop) = self.crop().map(u64::from) else { return self };
        for length in self.steps.iter_mut().flat_map(Step::sides) {
            let scaled = (u64::from(*length) * u64::from(side) + crop / 2) / crop;
            *length = u32::try_from(scaled).unwrap_or(u32::MAX);
        }
        self
    }

    /// The same with the principal colors of another data set, in every [`Step::PcaColor`].
    pub fn with_colors(mut self, new: PrincipalColors) -> Self {
        for step in &mut self.steps {
            if let Step::PcaColor { colors, .. } = step {
                *colors = new;
            }
        }
        self
    }

    /// `Ok` if all settings are in their range, and every photo ends as a square of the same size. All
    /// that uses an augmentation asks this first.
    ///
    /// # Errors
    /// [`Error::Setting`] with the step that is wrong.
    pub fn validate(&self) -> Result<()> {
        self.crop().map(drop)
    }

    /// The side of the square that every photo becomes, in pixels.
    ///
    /// # Errors
    /// As for [`validate`](Self::validate).
    pub fn crop(&self) -> Result<u32> {
        let mut known = Known::default();
        for (index, step) in self.steps.iter().enumerate() {
            known.then(step).map_err(|expected| Error::Setting {
                place: format!("augmentation {}, step {}", self.name, index + 1),
                expected,
                found: format!("{step:?}"),
            })?;
        }
        known.square.ok_or_else(|| Error::Setting {
            place: format!("augmentation {}", self.name),
            expected: "a crop at its end, so that all photos end in one size".into(),
            found: format!("{:?}", self.steps),
        })
    }

    /// What is done to a photo of `size` (width and height) in a sample, with nothing random left in
    /// it: for a look, or to do the same to something that belongs to the photo.
    ///
    /// # Errors
    /// [`Error::Setting`] if the augmentation is [not valid](Self::validate), and [`Error::Picture`] for
    /// a photo without pixels, or one that is not resized and smaller than its crop.
    pub fn draw(&self, size: (u32, u32), sample: Sample) -> Result<Vec<Operation>> {
        self.validate()?;
        let mut draw = Draw::new(size, sample)?;
        self.steps.iter().try_for_each(|step| draw.step(step))?;
        Ok(draw.operations)
    }

    /// The sample as a picture, `crop` by `crop` pixels, for a look: a shift of the colors is rounded
    /// to whole levels, and cut off at black and white.
    ///
    /// # Errors
    /// As for [`draw`](Self::draw).
    pub fn picture(&self, photo: &RgbImage, sample: Sample) -> Result<RgbImage> {
        apply(photo, &self.draw(photo.dimensions(), sample)?)
    }

    /// Appends the sample's `[3, crop, crop]` values to `out`, normalized as [`Preset::batch`] does.
    /// (The preset's own `resize` and `crop` are for answers, and not used here.)
    ///
    /// # Errors
    /// As for [`draw`](Self::draw), and [`Error::Setting`] if the preset is not valid. Nothing is
    /// appended then.
    pub fn values(
        &self,
        photo: &RgbImage,
        sample: Sample,
        preset: &Preset,
        out: &mut Vec<f32>,
    ) -> Result<()> {
        let side = self.crop()? as usize;
        let start = out.len();
        out.resize(start + 3 * side * side, 0.0);
        self.write(photo, sample, preset, &mut out[start..]).inspect_err(|_| out.truncate(start))
    }

    /// Photos and their samples to `[N, 3, crop, crop]`, on rayon's threads.
    ///
    /// # Errors
    /// As for [`values`](Self::values), [`Error::Setting`] if there is no photo or not a sample for
    /// each, and [`Error::Backend`] for more photos than the device takes in a tensor.
    pub fn batch<B: Backend>(
        &self,
        photos: &[RgbImage],
        samples: &[Sample],
        preset: &Preset,
        device: &B::Device,
    ) -> Result<Tensor<B, 4>> {
        if photos.is_empty() || photos.len() != samples.len() {
            return Err(Error::Setting {
                place: "batch".into(),
                expected: "at least one photo, and a sample for each".into(),
                found: format!("{} photos and {} samples", photos.len(), samples.len()),
            });
        }
        let side = self.crop()? as usize;
        let shape = [photos.len(), 3, side, side];
        let elements = shape.iter().product::<usize>();
        let limits = Limits::of::<B>(device)?;
        limits.expect_tensor(format_args!("photos {shape:?}"), elements as u64)?;
        limits.expect_memory(format_args!("photos {shape:?}"), elements as u64)?;
        let mut values = vec![0.0; elements];
        (values.par_chunks_exact_mut(3 * side * side))
            .zip(photos.par_iter().zip(samples))
            .try_for_each(|(values, (photo, &sample))| self.write(photo, sample, preset, values))?;
        Ok(Tensor::from_data(TensorData::new(values, shape), device))
    }

    /// Into the values of one photo.
    fn write(
        &self,
        photo: &RgbImage,
        sample: Sample,
        preset: &Preset,
        values: &mut [f32],
    ) -> Result<()> {
        preset.validate()?;
        let mut frame = Frame::of(photo);
        let operations = self.draw(photo.dimensions(), sample)?;
        operations.into_iter().try_for_each(|operation| frame.then(operation))?;
        frame.normalize(preset, values)
    }
}
