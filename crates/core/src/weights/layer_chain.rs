//! The layers of a file that holds a network and not only its tensors: a chain, as Caffe's and ONNX's readers find it.

use super::chain_matching::{NearestNetwork, matching_network};
use super::file_contents::FileContents;
use super::file_format::Format;
use super::file_metadata::{INPUT_SIZE, NETWORK};
use super::file_source::FileSource;
use super::format_error::FormatError;
use super::strided_view::StridedView;
use super::tensor_entry::TensorEntry;
use crate::architecture::{BiasInit, Init, Layer, Table, WeightInit};
use crate::error::Result;
use std::collections::BTreeMap;

/// What a layer of a file does.
#[derive(Clone, Debug)]
pub(super) enum Operation {
    /// A layer of a table. Its initialization means nothing here, and neither does the number of its outputs, which the
    /// tensors have.
    Layer(Layer),
    /// The average of windows, `[height, width]`.
    AveragePool {
        kernel: [usize; 2],
        stride: [usize; 2],
    },
    /// The average of the whole map.
    GlobalAveragePool,
    /// The adaptive pool as two matrix products: with the weights of the windows' columns, and of their rows.
    WindowWeights {
        columns: TensorEntry,
        rows: TensorEntry,
    },
    /// From a map to a vector.
    Flatten,
    Softmax,
}

/// A layer of a file.
#[derive(Clone, Debug)]
pub(super) struct ChainLayer {
    /// Its name in the file, for errors.
    pub name: String,
    pub operation: Operation,
    /// Its tensors by the names of PyTorch's attributes, in PyTorch's order.
    pub tensors: Vec<(&'static str, TensorEntry)>,
}

/// The layers of a file, in forward order.
#[derive(Debug, Default)]
pub(super) struct Chain {
    pub layers: Vec<ChainLayer>,
    /// Height and width of the input, if the file states them.
    pub input: Option<[usize; 2]>,
    /// Whether the file states its output, as ONNX does. A file of Caffe that was cut between two layers is a network of
    /// fewer layers.
    pub has_output: bool,
}

/// The initialization of layers that are only compared.
pub(super) const NO_INIT: Init =
    Init { weight: WeightInit::TorchDefault, bias: BiasInit::TorchDefault };

impl ChainLayer {
    pub fn new(name: &str, operation: Operation) -> Self {
        Self { name: name.into(), operation, tensors: Vec::new() }
    }

    /// A layer of a table, with its tensors.
    pub fn of(name: &str, layer: Layer, tensors: Vec<(&'static str, TensorEntry)>) -> Self {
        Self { name: name.into(), operation: Operation::Layer(layer), tensors }
    }
}

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
        metadata.insert(NETWORK.into(), table.name.clone());
        metadata.insert(INPUT_SIZE.into(), table.input[1].to_string());
        let contents =
            FileContents { format, tensors, metadata, container: None, checksums: Vec::new() };
        Ok((contents, table))
    }
}

/// The weights of a convolution over a whole map as those of a linear layer.
fn as_linear(view: &StridedView) -> StridedView {
    let inputs = view.shape.iter().skip(1).product();
    StridedView::contiguous(&[view.shape.first().copied().unwrap_or(0), inputs])
}
