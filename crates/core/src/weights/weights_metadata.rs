//! The preset and the labels that a weights file states.

use super::file_metadata::{
    self, LABELS, PRESET, check_labels, labels_from_json, preset_from_text,
};
use super::matched_tensors::NetworkPart;
use super::weights_file::Weights;
use crate::architecture::Architecture;
use crate::error::{Error, Result};
use crate::metadata::Metadata;
use crate::vision::{Labels, Preset};

impl Weights {
    /// The preset that the weights were trained with: its name, or the whole preset as JSON, under the
    /// key `preset` of the file's metadata (safetensors only). `None` if the file does not state it.
    ///
    /// # Errors
    /// [`Error::WeightsMetadata`] if there is no preset of that name, or its numbers are not valid.
    pub fn preset(&self) -> Result<Option<Preset>> {
        let Some(text) = self.contents.metadata.get(PRESET) else { return Ok(None) };
        preset_from_text(text).map(Some).map_err(|error| self.metadata_error(error))
    }

    /// The names of the classes: a JSON list under the key `labels` of the file's metadata (safetensors
    /// only). `None` if the file does not state them.
    ///
    /// # Errors
    /// [`Error::WeightsMetadata`] if it is not a list of names of at most 512 bytes each.
    pub fn labels(&self) -> Result<Option<Labels>> {
        let Some(text) = self.contents.metadata.get(LABELS) else { return Ok(None) };
        labels_from_json(text).map(Some).map_err(|error| self.metadata_error(error))
    }

    /// The metadata of a network that is loaded from this file. The features of a file fit any classifier,
    /// but its labels fit only its own, so without the classifier the labels are left out.
    pub(super) fn metadata_for(
        &self,
        architecture: &Architecture,
        part: NetworkPart,
    ) -> Result<Metadata> {
        let preset = self.preset()?;
        if part == NetworkPart::Features || architecture.classifier.is_empty() {
            return Ok(Metadata { preset, labels: None });
        }
        let labels = self.labels()?;
        if let Some(labels) = &labels {
            check_labels(labels, architecture).map_err(|error| self.metadata_error(error))?;
        }
        Ok(Metadata { preset, labels })
    }

    /// The same file with its preset, which is known from elsewhere.
    ///
    /// # Errors
    /// [`Error::PresetMismatch`] if the file states another preset.
    #[cfg(feature = "hub")]
    pub(crate) fn with_preset(mut self, preset: &Preset) -> Result<Self> {
        let place = self.source.path().display().to_string();
        preset.expect_is(self.preset()?.as_ref(), &place)?;
        self.contents.metadata.insert(PRESET.into(), preset.name.clone());
        Ok(self)
    }

    fn metadata_error(&self, error: Error) -> Error {
        file_metadata::error_in_file(self.source.path(), error)
    }
}
