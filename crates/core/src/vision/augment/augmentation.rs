//! A list of random steps, and its application to photos.

use super::lazy_image::{LazyImage, apply};
use super::operation::Operation;
use super::sample::Sample;
use super::sampler::Sampler;
use super::step::{KnownShape, Step};
use crate::array::{Array, zeros};
use crate::error::{Error, Result};
use crate::vision::pca_color::ColorPca;
use crate::vision::preset::Preset;
use image::RgbImage;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// A list of random steps that turns a photo of any size into a square input of the network.
///
/// ```
/// use alexnet_vgg_core::vision::{Preset, RgbImage, augment::{Augmentation, Sample, Step}};
///
/// let photo = RgbImage::new(500, 375);
/// let sample = Sample { seed: 1, epoch: 0, index: 42 };
/// let mut values = Vec::new();
/// Augmentation::alexnet().values(&photo, sample, &Preset::imagenet(), &mut values)?;
/// assert_eq!(values.len(), 3 * 224 * 224);
///
/// // Your own steps, here for 28x28 digits.
/// let shifted = Augmentation {
///     name: "shifted".into(),
///     steps: vec![Step::ScaleJitter { shortest: 64, longest: 72 }, Step::RandomCrop { side: 64 }],
/// };
/// let digit = RgbImage::new(28, 28);
/// assert_eq!(shifted.picture(&digit, sample)?.dimensions(), (64, 64));
/// # Ok::<(), alexnet_vgg_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Augmentation {
    /// `alexnet`, `vgg`, `torchvision`, or the name of your own.
    pub name: String,
    /// The steps, in order.
    pub steps: Vec<Step>,
}

impl Augmentation {
    /// The AlexNet paper's (section 4.1): random 224×224 crops of the center 256×256 of the photo, horizontal
    /// flips, and PCA color augmentation with ImageNet's components.
    ///
    /// The paper counts 2048 = 32 * 32 * 2 crops and reflections; there are 33 * 33 * 2.
    pub fn alexnet() -> Self {
        Self::paper("alexnet", vec![Step::Resize { short: 256 }, Step::CenterCrop { side: 256 }])
    }

    /// The VGG paper's multi-scale augmentation (section 3.1): scale jitter of the short side from 256 to 512,
    /// random 224×224 crops, and flips and colors as for AlexNet.
    pub fn vgg() -> Self {
        Self::paper("vgg", vec![Step::ScaleJitter { shortest: 256, longest: 512 }])
    }

    /// The VGG paper's augmentation at a fixed scale S (the short side in pixels): 256 or 384 in the paper.
    pub fn vgg_single_scale(short: u32) -> Self {
        Self::paper(&format!("vgg_{short}"), vec![Step::Resize { short }])
    }

    /// The augmentation of torchvision's reference training of AlexNet and VGG: `RandomResizedCrop(224)` and
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

    /// These steps, followed by those that both papers end with.
    fn paper(name: &str, mut steps: Vec<Step>) -> Self {
        steps.extend([
            Step::RandomCrop { side: 224 },
            Step::HorizontalFlip { probability: 0.5 },
            Step::pca_color(),
        ]);
        Self { name: name.into(), steps }
    }

    /// The augmentation with this name: `alexnet`, `vgg` or `torchvision`.
    ///
    /// # Errors
    /// [`Error::UnknownName`] with the list of names if there is no such augmentation.
    pub fn by_name(name: &str) -> Result<Self> {
        let all = [Self::alexnet(), Self::vgg(), Self::torchvision()];
        let known = all.each_ref().map(|augmentation| augmentation.name.as_str()).join(", ");
        let found = all.into_iter().find(|augmentation| augmentation.name == name);
        found.ok_or_else(|| Error::UnknownName {
            kind: "augmentation".into(),
            name: name.into(),
            known,
        })
    }

    /// The same augmentation for crops of `side` pixels. The lengths of all steps are scaled in proportion:
    /// `alexnet()` with a crop of 64 resizes to 73. An augmentation that is [not valid](Self::validate) is
    /// returned unchanged.
    pub fn with_crop(mut self, side: u32) -> Self {
        let Ok(crop) = self.crop().map(u64::from) else { return self };
        for length in self.steps.iter_mut().flat_map(Step::lengths) {
            let scaled = (u64::from(*length) * u64::from(side) + crop / 2) / crop;
            *length = u32::try_from(scaled).unwrap_or(u32::MAX);
        }
        self
    }

    /// The same augmentation with the color components of another data set in every [`Step::PcaColor`].
    pub fn with_color_pca(mut self, pca: ColorPca) -> Self {
        for step in &mut self.steps {
            if let Step::PcaColor { colors, .. } = step {
                *colors = pca;
            }
        }
        self
    }

    /// Checks that all settings are in range and that every photo becomes a square of the same size. Every
    /// function that uses an augmentation checks it first.
    ///
    /// # Errors
    /// [`Error::Setting`] with the offending step.
    pub fn validate(&self) -> Result<()> {
        self.crop().map(drop)
    }

    /// The side of the square that every photo becomes, in pixels.
    ///
    /// # Errors
    /// As for [`validate`](Self::validate).
    pub fn crop(&self) -> Result<u32> {
        let mut shape = KnownShape::default();
        for (index, step) in self.steps.iter().enumerate() {
            shape.after(step).map_err(|expected| Error::Setting {
                place: format!("augmentation {}, step {}", self.name, index + 1),
                expected,
                found: format!("{step:?}"),
            })?;
        }
        shape.square.ok_or_else(|| Error::Setting {
            place: format!("augmentation {}", self.name),
            expected: "a crop after the last resize, so that all photos end up the same size"
                .into(),
            found: format!("{:?}", self.steps),
        })
    }

    /// Draws the operations for one sample of a photo with this size (width and height): to look at them, or
    /// to apply the same ones to something else, such as a mask.
    ///
    /// # Errors
    /// [`Error::Setting`] if the augmentation is [not valid](Self::validate), and [`Error::Picture`] for a
    /// photo without pixels or smaller than its crop.
    pub fn draw(&self, size: (u32, u32), sample: Sample) -> Result<Vec<Operation>> {
        self.validate()?;
        let mut sampler = Sampler::new(size, sample)?;
        self.steps.iter().try_for_each(|step| sampler.step(step))?;
        Ok(sampler.operations)
    }

    /// The augmented sample as an image of `crop` by `crop` pixels, to look at. A color shift is rounded to
    /// whole levels and clamped at black and white.
    ///
    /// # Errors
    /// As for [`draw`](Self::draw).
    pub fn picture(&self, photo: &RgbImage, sample: Sample) -> Result<RgbImage> {
        apply(photo, &self.draw(photo.dimensions(), sample)?)
    }

    /// Appends the augmented sample to `out`, as `[C, crop, crop]` values normalized as by
    /// [`Preset::batch`]. The preset's `resize` and `crop` are not used: the augmentation has its own.
    ///
    /// # Errors
    /// As for [`draw`](Self::draw), and [`Error::Setting`] if the preset is not valid. `out` is unchanged
    /// then.
    pub fn values(
        &self,
        photo: &RgbImage,
        sample: Sample,
        preset: &Preset,
        out: &mut Vec<f32>,
    ) -> Result<()> {
        let side = self.crop()? as usize;
        let start = out.len();
        out.resize(start + preset.channels.count() * side * side, 0.0);
        self.write(photo, sample, preset, &mut out[start..]).inspect_err(|_| out.truncate(start))
    }

    /// A batch of augmented samples, `[N, C, crop, crop]`, computed on rayon's threads.
    ///
    /// # Errors
    /// As for [`values`](Self::values); [`Error::Setting`] if there are no photos, or not exactly
    /// one sample for each photo; and [`Error::OutOfMemory`] for more photos than fit in memory.
    pub fn batch(&self, photos: &[RgbImage], samples: &[Sample], preset: &Preset) -> Result<Array> {
        if photos.is_empty() || photos.len() != samples.len() {
            return Err(Error::Setting {
                place: "batch".into(),
                expected: "at least one photo and one sample for each".into(),
                found: format!("{} photos and {} samples", photos.len(), samples.len()),
            });
        }
        let side = self.crop()? as usize;
        let channels = preset.channels.count();
        let shape = vec![photos.len(), channels, side, side];
        let mut values = zeros(&shape)?;
        (values.par_chunks_exact_mut(channels * side * side))
            .zip(photos.par_iter().zip(samples))
            .try_for_each(|(values, (photo, &sample))| self.write(photo, sample, preset, values))?;
        Ok(Array { shape, values })
    }

    /// Writes the augmented sample into `[C, crop, crop]` values.
    fn write(
        &self,
        photo: &RgbImage,
        sample: Sample,
        preset: &Preset,
        values: &mut [f32],
    ) -> Result<()> {
        preset.validate()?;
        let photo = &*preset.recolored(photo);
        let mut image = LazyImage::new(photo);
        let operations = self.draw(photo.dimensions(), sample)?;
        operations.into_iter().try_for_each(|operation| image.apply(operation))?;
        image.normalize(preset, values)
    }
}
