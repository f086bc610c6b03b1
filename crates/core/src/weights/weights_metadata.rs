//! What a weights file states about its weights: the preset, the labels, the recipe, and the accuracy.

use super::file_metadata::{
    self, ACCURACY, LABELS, NETWORK, PRESET, RECIPE, check_labels, labels_from_json,
    preset_from_text,
};
use super::lpips_parts::lpips_scaling;
use super::matched_tensors::NetworkPart;
use super::normalization::normalization;
use super::weights_file::Weights;
use crate::architecture::Architecture;
use crate::error::{Error, Result};
use crate::metadata::Metadata;
use crate::vision::{Channels, Labels, Preset};

impl Weights {
    /// The preset that the weights were trained with: its name, or the whole preset as JSON, under the
    /// key `preset` of the file's metadata (safetensors only); or that of a layer in front of the network which
    /// normalizes its input, so that the network here takes what that layer returns. `None` if the file does not
    /// state it, or if another program wrote something else under that key: see [`notices`](Self::notices).
    ///
    /// # Errors
    /// [`Error::WeightsMetadata`] if this crate wrote the file, and there is no preset of that name, or its
    /// numbers are not valid.
    pub fn preset(&self) -> Result<Option<Preset>> {
        let preset = self.contents.metadata.get(PRESET).map(|text| preset_from_text(text));
        match self.ours(preset.transpose())? {
            Some(preset) => Ok(Some(preset)),
            None => self.normalization(),
        }
    }

    /// The preset of a layer that normalizes the input, or of LPIPS' that scales it.
    fn normalization(&self) -> Result<Option<Preset>> {
        let (parts, is_of_lpips) = match normalization(&self.contents) {
            Some(parts) => (parts, false),
            None => match lpips_scaling(&self.contents) {
                Some(parts) => (parts, true),
                None => return Ok(None),
            },
        };
        let [mean, std] = parts.map(|part| {
            let values = self.values(&part.name)?;
            let missing = || self.format_error(format!("three values of {}", part.name), "fewer");
            values.first_chunk::<3>().copied().ok_or_else(missing)
        });
        let (mut mean, mut std) = (mean?, std?);
        if is_of_lpips {
            // Of levels from -1 to 1, and here they are from 0 to 1.
            mean = mean.map(|shift| f32::midpoint(1.0, shift));
            std = std.map(|scale| scale / 2.0);
        }
        let imagenet = Preset::imagenet();
        let is_close = |(a, b): (&f32, &f32)| (a - b).abs() < 1e-4;
        if mean.iter().zip(&imagenet.mean).chain(std.iter().zip(&imagenet.std)).all(is_close) {
            return Ok(Some(imagenet));
        }
        // Of levels from 0 to 255, or from 0 to 1.
        let white = if mean.iter().chain(&std).any(|&value| value > 1.0) { 255.0 } else { 1.0 };
        // Photos are more red than blue on average, so the smaller mean is that of blue.
        let channels = if mean[0] < mean[2] { Channels::Bgr } else { Channels::Rgb };
        let name = "stated in the file".into();
        let preset = Preset { name, channels, white, mean, std, ..imagenet };
        preset.validate()?;
        Ok(Some(preset))
    }

    /// The names of the classes: a JSON list under the key `labels` of the file's metadata (safetensors
    /// only). `None` if the file does not state them, or if another program wrote something else under that
    /// key: see [`notices`](Self::notices).
    ///
    /// # Errors
    /// [`Error::WeightsMetadata`] if this crate wrote the file, and it is not a list of names of at most 512
    /// bytes each.
    pub fn labels(&self) -> Result<Option<Labels>> {
        self.ours(self.parsed_labels())
    }

    /// The recipe that the weights were trained with, as text, under the key `recipe` of the file's metadata. `None` if
    /// another program wrote the file, or it does not state one.
    pub fn recipe(&self) -> Option<&str> {
        self.own_text(RECIPE)
    }

    /// The accuracy after training, in words, under the key `accuracy` of the file's metadata. `None` if another program
    /// wrote the file, or it does not state one.
    pub fn accuracy(&self) -> Option<&str> {
        self.own_text(ACCURACY)
    }

    fn own_text(&self, key: &str) -> Option<&str> {
        let text = self.contents.metadata.get(key).map(String::as_str);
        text.filter(|_| self.is_ours())
    }

    /// What was decided about the file and a user may want to decide differently, in words: parameters that are
    /// computed as weight normalization, an average of the weights that was left aside, or a `preset` or `labels`
    /// that another program wrote, in a form of its own.
    pub fn notices(&self) -> Vec<String> {
        let mut notices = self.contents.notices.clone();
        notices.extend(self.unused_metadata());
        notices
    }

    fn unused_metadata(&self) -> Vec<String> {
        if self.is_ours() {
            return Vec::new();
        }
        let preset = self.contents.metadata.get(PRESET).map(|text| preset_from_text(text));
        let preset = preset.transpose().map(drop).err();
        let labels = self.parsed_labels().map(drop).err();
        let notice = |error| {
            format!("not used, because it is not this library's: {}", self.metadata_error(error))
        };
        [preset, labels].into_iter().flatten().map(notice).collect()
    }

    /// The labels, if they are in our form, and one for each class if the file is another program's.
    fn parsed_labels(&self) -> Result<Option<Labels>> {
        let Some(text) = self.contents.metadata.get(LABELS) else { return Ok(None) };
        let labels = labels_from_json(text)?;
        if !self.is_ours()
            && let Some(identity) = self.identify().filter(|identity| !identity.features_only)
            && let Some(network) = identity.networks.first()
        {
            check_labels(&labels, &network.architecture()?)?;
        }
        Ok(Some(labels))
    }

    /// Whether this crate wrote the metadata.
    fn is_ours(&self) -> bool {
        self.contents.metadata.contains_key(NETWORK)
    }

    /// An entry that cannot be read is an error only if this crate wrote it.
    fn ours<T>(&self, entry: Result<Option<T>>) -> Result<Option<T>> {
        match entry {
            Err(_) if !self.is_ours() => Ok(None),
            entry => entry.map_err(|error| self.metadata_error(error)),
        }
    }

    /// The metadata of a network that is loaded from this file. The features of a file fit any classifier,
    /// but its labels, recipe, and accuracy belong to its own, so without the classifier only the preset is left.
    pub(super) fn metadata_for(
        &self,
        architecture: &Architecture,
        part: NetworkPart,
    ) -> Result<Metadata> {
        let preset = self.preset()?;
        if part == NetworkPart::Features || architecture.classifier.is_empty() {
            return Ok(Metadata::default().with_preset(preset));
        }
        let checked = |labels: Labels| check_labels(&labels, architecture).map(|()| labels);
        let labels = self.ours(self.labels()?.map(checked).transpose())?;
        let [recipe, accuracy] = [self.recipe(), self.accuracy()].map(|it| it.map(str::to_string));
        Ok(Metadata { preset, labels, recipe, accuracy })
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
