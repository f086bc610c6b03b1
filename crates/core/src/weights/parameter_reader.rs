//! Reads the values of a weights file: those of a network's parameters, or of tensors by name.

use super::checksum::HashedRanges;
use super::matched_tensors::{MatchedTensors, NetworkPart, ParameterSource};
use super::naming::Naming;
use super::tensor_entry::is_float;
use super::tensor_matching::match_network;
use super::weights_file::Weights;
use crate::architecture::{Architecture, Parameter, Role};
#[cfg(doc)]
use crate::error::Error;
use crate::error::Result;
use crate::metadata::Metadata;
use std::ops::Range;

/// Which part of a weights file is loaded into a network. The default is all of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LoadOptions {
    /// Loads only the convolutional part, and leaves the classifier at its initial values, as transfer
    /// learning does. The file may have a classifier of any shape; neither it nor the labels are read.
    pub features_only: bool,
}

impl LoadOptions {
    /// Only the convolutional part: see [`features_only`](Self::features_only).
    pub fn features() -> Self {
        Self { features_only: true }
    }

    fn part(self) -> NetworkPart {
        if self.features_only { NetworkPart::Features } else { NetworkPart::Whole }
    }
}

/// Reads the parameters of one network from a weights file, in any order and in pieces of any size. Call
/// [`finish`](Self::finish) at the end.
///
/// ```
/// use alexnet_vgg_core::architecture::VggConfig;
/// use alexnet_vgg_core::weights::{LoadOptions, SaveOptions, Weights, save};
///
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("tiny.safetensors");
/// let vgg = VggConfig::vgg11().with_width(0.05).with_num_classes(10).architecture()?;
/// save(&vgg, &Default::default(), &path, &SaveOptions::default(), |parameter, rows| {
///     Ok(vec![0.5; rows.len() * parameter.shape[1..].iter().product::<usize>()])
/// })?;
///
/// let weights = Weights::open(&path)?;
/// let mut reader = weights.reader(&vgg, LoadOptions::default())?;
/// for parameter in vgg.parameters() {
///     let first_row = reader.rows(parameter, 0..1)?;
///     assert!(first_row.is_some_and(|values| values[0] == 0.5));
/// }
/// reader.finish()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct ParameterReader<'a> {
    weights: &'a Weights,
    matched: MatchedTensors,
    metadata: Metadata,
    hashed: HashedRanges,
}

impl ParameterReader<'_> {
    /// Rows of a parameter's first dimension, flat, in PyTorch's order, as f32; `None` for a parameter
    /// that is not loaded, such as those of the classifier with [`LoadOptions::features`].
    ///
    /// # Errors
    /// [`Error::NotFinite`] for NaN and infinity, [`Error::WeightsFormat`] for a negative variance, and
    /// [`Error::Io`].
    pub fn rows(&mut self, parameter: &Parameter, rows: Range<usize>) -> Result<Option<Vec<f32>>> {
        if !self.matched.parameters.contains_key(&parameter.key) {
            return Ok(None);
        }
        self.required_rows(parameter, rows).map(Some)
    }

    /// The same as [`rows`](Self::rows), but a parameter that is not loaded is an
    /// [`Error::WeightsFormat`].
    pub(crate) fn required_rows(
        &mut self,
        parameter: &Parameter,
        rows: Range<usize>,
    ) -> Result<Vec<f32>> {
        self.weights.parameter_rows(&self.matched, parameter, rows, &mut self.hashed)
    }

    /// Verifies the checksums of the file, if it has any, and returns its metadata. Whatever has
    /// not been read yet is read for that.
    ///
    /// # Errors
    /// [`Error::WeightsFormat`] for a wrong checksum, and [`Error::Io`].
    pub fn finish(self) -> Result<Metadata> {
        self.weights.verify_remaining(&self.hashed)?;
        Ok(self.metadata)
    }
}

impl Weights {
    /// Matches the file with a network. All differences are found here, before any value is read.
    ///
    /// # Errors
    /// [`Error::WeightsMismatch`] with every difference; [`Error::WeightsMetadata`] for a preset or labels
    /// that are not valid; [`Error::LabelsMismatch`] if there is not one label for each class.
    pub fn reader(
        &self,
        architecture: &Architecture,
        options: LoadOptions,
    ) -> Result<ParameterReader<'_>> {
        let part = options.part();
        let matched = self.match_network(architecture, part)?;
        let metadata = self.metadata_for(architecture, part)?;
        Ok(ParameterReader { weights: self, matched, metadata, hashed: HashedRanges::default() })
    }

    /// The naming of this file's tensors; `None` if the layers have names of their own, and were recognized by their
    /// order and shapes.
    ///
    /// # Errors
    /// [`Error::WeightsMismatch`] if they are not those of this network. If it has no classifier, the file may have
    /// any.
    pub fn naming(&self, architecture: &Architecture) -> Result<Option<Naming>> {
        let part = NetworkPart::of(architecture);
        self.match_network(architecture, part).map(|matched| matched.naming)
    }

    /// All values of a tensor, by its name in the file, flat, in PyTorch's order. f16, bf16 and f64 are
    /// converted to f32.
    ///
    /// # Errors
    /// [`Error::WeightsFormat`] if there is no such tensor or it has another type, [`Error::NotFinite`] for
    /// NaN and infinity, and [`Error::Io`].
    pub fn values(&self, name: &str) -> Result<Vec<f32>> {
        self.tensor_rows(name, None)
    }

    /// Rows of a tensor's first dimension, otherwise the same as [`values`](Self::values).
    ///
    /// # Errors
    /// As for [`values`](Self::values), and [`Error::WeightsFormat`] for rows that the tensor does not
    /// have.
    pub fn values_of_rows(&self, name: &str, rows: Range<usize>) -> Result<Vec<f32>> {
        self.tensor_rows(name, Some(rows))
    }

    fn tensor_rows(&self, name: &str, rows: Option<Range<usize>>) -> Result<Vec<f32>> {
        let tensor = self.contents.tensors.iter().find(|tensor| tensor.name == name);
        let Some(tensor) = tensor else {
            return Err(self.format_error(format!("a tensor {name:?}"), "none of that name"));
        };
        if !is_float(tensor.dtype) {
            let expected = format!("F32, F16, BF16 or F64 as the type of {name:?}");
            return Err(self.format_error(expected, tensor.dtype.to_string()));
        }
        let count = tensor.shape().first().copied().unwrap_or(1);
        let rows = rows.unwrap_or(0..count);
        if rows.start > rows.end || rows.end > count {
            let expected = format!("rows {rows:?} of {name:?}");
            return Err(self.format_error(expected, format!("{count} rows")));
        }
        let mut hashed = HashedRanges::default();
        let values = tensor.rows(&self.source, rows, &mut hashed)?;
        for stored in tensor.sources() {
            self.verify_storage_at(stored.first_byte(), &hashed)?;
        }
        Ok(values)
    }

    pub(super) fn match_network(
        &self,
        architecture: &Architecture,
        part: NetworkPart,
    ) -> Result<MatchedTensors> {
        match_network(&self.contents, self.source.path(), architecture, part)
    }

    /// Rows of a parameter that was matched.
    pub(super) fn parameter_rows(
        &self,
        matched: &MatchedTensors,
        parameter: &Parameter,
        rows: Range<usize>,
        hashed: &mut HashedRanges,
    ) -> Result<Vec<f32>> {
        let missing = || self.format_error(parameter.key.as_str(), "no such tensor");
        let index = match matched.parameters.get(&parameter.key).ok_or_else(missing)? {
            ParameterSource::Tensor(index) => *index,
            // Of a bias, so a row is a single value.
            ParameterSource::Zeros => return Ok(vec![0.0; rows.len()]),
        };
        let tensor = &self.contents.tensors[index];
        let values = tensor.rows(&self.source, rows, hashed)?;
        // Its square root would be NaN, which the next ReLU would turn into 0.
        match values.iter().find(|&&value| parameter.role == Role::RunningVar && value < 0.0) {
            Some(negative) => {
                let expected = format!("variances of at least 0 in {}", tensor.name);
                Err(self.format_error(expected, negative.to_string()))
            }
            None => Ok(values),
        }
    }
}
