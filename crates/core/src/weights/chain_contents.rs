//! From the chain of layers in a file to its tensors, under the names of the network that it is.

use super::chain_matching::{NearestNetwork, matching_network};
use super::file_contents::FileContents;
use super::file_format::Format;
use super::file_metadata::{INPUT_SIZE, NETWORK};
use super::file_source::FileSource;
use super::format_error::FormatError;
use super::layer_chain::{Chain, ChainLayer, Operation};
use super::strided_view::StridedView;
use super::tensor_entry::TensorEntry;
use crate::architecture::{Layer, Table};
use crate::error::Result;
use std::collections::BTreeMap;

impl Chain {
    /// The tensors under torchvision's names, and the network in the metadata, beside whatever else the file states
    /// (`metadata`); and the network's table, with the published sizes.
    ///
    /// # Errors
    /// [`Error::WeightsFormat`](crate::Error::WeightsFormat) if the layers are not those of a registered network.
    pub fn contents(
        self,
        source: &FileSource,
        format: Format,
        mut metadata: BTreeMap<String, String>,
    ) -> Result<(FileContents, Table)> {
        let NearestNetwork { table, matches, difference } = matching_network(&self, source)?;
        if let Some(difference) = difference {
            let expected = format!(
                "the layers of a known network; the nearest is {}, which has {}",
                table.name, difference.expected
            );
            return Err(source.error(format.name(), FormatError::new(expected, difference.found)));
        }
        let mut tensors = Vec::new();
        for (key, index) in matches {
            let layer = &self.layers[index];
            for (attribute, entry) in &layer.tensors {
                let view = match (&layer.operation, attribute) {
                    (Operation::Layer(Layer::Conv { .. }), &"weight")
                        if key.starts_with("classifier.") =>
                    {
                        as_linear(&entry.view)
                    }
                    _ => entry.view.clone(),
                };
                tensors.push(TensorEntry {
                    name: format!("{key}.{attribute}"),
                    view,
                    ..entry.clone()
                });
            }
        }
        self.expect_map(&table, &tensors).map_err(|error| source.error(format.name(), error))?;
        metadata.insert(NETWORK.into(), table.name.clone());
        metadata.insert(INPUT_SIZE.into(), table.input[1].to_string());
        let (notices, checksums) = (Vec::new(), Vec::new());
        let contents =
            FileContents { format, tensors, metadata, container: None, notices, checksums };
        Ok((contents, table))
    }
}

impl Chain {
    /// Checks that the first linear layer takes the whole map: that of the average pool, or else that of the input, for
    /// which Caffe and `ceil_mode` round the size of pooled maps up, and a fully convolutional network has more than
    /// one answer.
    fn expect_map(&self, table: &Table, tensors: &[TensorEntry]) -> Result<(), FormatError> {
        let weights = || tensors.iter().filter(|tensor| tensor.name.ends_with(".weight"));
        let last = weights().rfind(|tensor| tensor.name.starts_with("features."));
        let linear = weights().find(|tensor| tensor.name.starts_with("classifier."));
        let (Some(&[channels, ..]), Some(&[_, inputs])) =
            (last.map(TensorEntry::shape), linear.map(TensorEntry::shape))
        else {
            return Ok(());
        };
        let is_pool = |layer: &ChainLayer| {
            matches!(
                layer.operation,
                Operation::AveragePool { .. }
                    | Operation::GlobalAveragePool
                    | Operation::WindowWeights { .. }
            )
        };
        let map = if self.input.is_none() || self.layers.iter().any(is_pool) {
            Some(table.pool)
        } else {
            self.map_before_pool(table)
        };
        let [height, width] = map.unwrap_or_default();
        if channels.checked_mul(height * width) == Some(inputs) {
            return Ok(());
        }
        let expected = format!(
            "a first linear layer for the map of {height}x{width} that the input gives ({} inputs)",
            channels.saturating_mul(height * width)
        );
        Err(FormatError::new(expected, format!("{inputs} inputs")))
    }
}

/// The weights of a convolution over a whole map as those of a linear layer.
fn as_linear(view: &StridedView) -> StridedView {
    let inputs = view.shape.iter().skip(1).product();
    StridedView::contiguous(&[view.shape.first().copied().unwrap_or(0), inputs])
}
