//! What is known about trained weights besides their values.

use crate::architecture::Architecture;
use crate::error::{Error, Result};
use crate::vision::{Labels, Preset};

/// The metadata of trained weights: how their pictures were preprocessed, what their classes are
/// called, and how they were trained. It goes with the weights from a file to a network and back to a
/// file. A field is `None` if it is not known.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metadata {
    /// The preprocessing that the weights were trained with.
    pub preset: Option<Preset>,
    /// The names of the classes, in the order of the logits.
    pub labels: Option<Labels>,
    /// The recipe that the weights were trained with, as text: the package `alexnet-vgg-burn` writes TOML, which its
    /// `Recipe::parse` reads.
    pub recipe: Option<String>,
    /// The accuracy after training, in words: `99.50% of 2004 validation pictures`.
    pub accuracy: Option<String>,
}

impl Metadata {
    /// The same metadata with another preset.
    pub fn with_preset(self, preset: impl Into<Option<Preset>>) -> Self {
        Self { preset: preset.into(), ..self }
    }

    /// The same metadata with other labels.
    pub fn with_labels(self, labels: impl Into<Option<Labels>>) -> Self {
        Self { labels: labels.into(), ..self }
    }

    /// The same metadata with another recipe.
    pub fn with_recipe(self, recipe: impl Into<Option<String>>) -> Self {
        Self { recipe: recipe.into(), ..self }
    }

    /// The same metadata with another accuracy.
    pub fn with_accuracy(self, accuracy: impl Into<Option<String>>) -> Self {
        Self { accuracy: accuracy.into(), ..self }
    }

    /// This metadata, with the fields that are `None` taken from `other`.
    pub fn or(&self, other: &Self) -> Self {
        Self {
            preset: self.preset.as_ref().or(other.preset.as_ref()).cloned(),
            labels: self.labels.as_ref().or(other.labels.as_ref()).cloned(),
            recipe: self.recipe.as_ref().or(other.recipe.as_ref()).cloned(),
            accuracy: self.accuracy.as_ref().or(other.accuracy.as_ref()).cloned(),
        }
    }

    /// The preprocessing for a network: `given`, which must not contradict this metadata, or else what this states, or
    /// else Caffe's for `alexnet_caffe` and `caffenet`, and ImageNet's for all others; [for as many
    /// channels](Preset::for_channels) as the network takes. For networks that are designed for 227×227 pixels, presets of
    /// 224×224 become larger.
    ///
    /// # Errors
    /// [`Error::PresetMismatch`](crate::Error::PresetMismatch) as for [`expect_preset`](Self::expect_preset), and
    /// [`Error::Setting`](crate::Error::Setting) for a network that takes no photos.
    pub fn preset_for(&self, given: Option<Preset>, network: &Architecture) -> Result<Preset> {
        let [channels, side, _] = network.input;
        let for_network = |preset: Preset| {
            let preset = preset.for_channels(channels)?;
            if (preset.crop, side) != (224, 227) {
                return Ok::<_, Error>(preset);
            }
            Ok(Preset { name: format!("{} at 227", preset.name), crop: 227, ..preset })
        };
        let stated = self.preset.clone().map(for_network).transpose()?;
        let given = given.map(for_network).transpose()?;
        if let Some(given) = &given {
            given.expect_is(stated.as_ref(), &network.name)?;
        }
        let is_of_caffe = matches!(network.name.as_str(), "alexnet_caffe" | "caffenet");
        let usual = || if is_of_caffe { Preset::caffe() } else { Preset::imagenet() };
        given.or(stated).map_or_else(|| for_network(usual()), Ok)
    }

    /// Checks that the weights of `network` were trained on pictures that were preprocessed with
    /// `preset`. `Ok` if the preset of the weights is not known.
    ///
    /// # Errors
    /// [`Error::PresetMismatch`](crate::Error::PresetMismatch) if they were trained with another preset:
    /// the predictions would be wrong, without any sign of it.
    pub fn expect_preset(&self, preset: &Preset, network: &str) -> Result<()> {
        preset.expect_is(self.preset.as_ref(), network)
    }
}

impl From<Preset> for Metadata {
    fn from(preset: Preset) -> Self {
        Self::default().with_preset(preset)
    }
}
