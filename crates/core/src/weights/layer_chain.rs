//! The layers of a file that holds a network and not only its tensors: a chain, as Caffe's and ONNX's readers find it.

use super::tensor_entry::TensorEntry;
use crate::architecture::{BiasInit, Init, Layer, Section, Shape, Table, WeightInit};

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

impl Chain {
    /// Height and width of the map before a network's adaptive pool, if the file states those of the input.
    pub fn map_before_pool(&self, network: &Table) -> Option<[usize; 2]> {
        let steps = network.walk(self.input?).ok()?;
        let pool = steps.iter().find(|step| step.section == Section::AvgPool)?;
        match pool.input {
            Shape::Map([_, height, width]) => Some([height, width]),
            Shape::Vector(_) => None,
        }
    }
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
