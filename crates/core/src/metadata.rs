//! What is known about trained weights besides their values.

use crate::error::Result;
use crate::vision::{Labels, Preset};

/// The metadata of trained weights: how their pictures were preprocessed, and what their classes are
/// called. It goes with the weights from a file to a network and back to a file. A field is `None` if
/// it is not known.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metadata {
    /// The preprocessing that the weights were trained with.
    pub preset: Option<Preset>,
    /// The names of the classes, in the order of the logits.
    pub labels: Option<Labels>,
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

    /// This metadata, with the fields that are `None` taken from `other`.
    pub fn or(&self, other: &Self) -> Self {
        Self {
            preset: self.preset.as_ref().or(other.preset.as_ref()).cloned(),
            labels: self.labels.as_ref().or(other.labels.as_ref()).cloned(),
        }
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
