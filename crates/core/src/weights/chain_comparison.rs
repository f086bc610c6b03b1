//! Compares a chain of layers with a network, layer by layer.

use super::checksum::HashedRanges;
use super::file_source::FileSource;
use super::layer_chain::{Chain, ChainLayer, Operation};
use super::layer_comparison::{described, is_of_kind, is_same};
use super::tensor_entry::TensorEntry;
use crate::architecture::{Architecture, Layer, PoolWindows, Section, Step};
use crate::error::Result;

/// The first layer in which a chain differs from a network.
pub(super) struct Difference {
    pub expected: String,
    pub found: String,
}

/// A chain next to a network.
pub(super) struct Comparison<'a> {
    /// The layers that a file has: dropout does nothing in it, and the adaptive pool has other forms.
    expected: Vec<&'a Step>,
    architecture: &'a Architecture,
    chain: &'a Chain,
    source: &'a FileSource,
    /// How many of the expected layers were found.
    pub same: usize,
    /// The key of each layer with parameters, and the index of the chain's layer.
    pub matches: Vec<(String, usize)>,
}

impl<'a> Comparison<'a> {
    pub fn new(architecture: &'a Architecture, chain: &'a Chain, source: &'a FileSource) -> Self {
        let is_expected = |step: &&Step| {
            !matches!(step.layer, Layer::Dropout { .. } | Layer::AdaptiveAvgPool { .. })
        };
        let expected = architecture.steps().iter().filter(is_expected).collect();
        Self { expected, architecture, chain, source, same: 0, matches: Vec::new() }
    }

    /// Compares all layers, and returns the first difference.
    ///
    /// # Errors
    /// Those of reading the weights of an adaptive pool.
    pub fn run(&mut self) -> Result<Option<Difference>> {
        for (index, layer) in self.chain.layers.iter().enumerate() {
            let is_right = match &layer.operation {
                Operation::Layer(found) => self.is_next(found),
                Operation::Softmax => self.expected.get(self.same).is_none(),
                // Of a vector it does nothing.
                Operation::Flatten => self.is_after_features(),
                _ => self.is_between_sections() && self.is_adaptive_pool(&layer.operation)?,
            };
            if !is_right {
                return Ok(Some(self.difference(Some(layer))));
            }
            if let Operation::Layer(_) = layer.operation {
                let key = &self.expected[self.same].key;
                self.matches.push((key.clone(), index));
                self.same += 1;
            }
        }
        // The features alone are a file without a classifier.
        let is_whole = self.expected.get(self.same).is_none() || self.is_between_sections();
        Ok(if is_whole { None } else { Some(self.difference(None)) })
    }

    fn is_after_features(&self) -> bool {
        self.expected.get(self.same).is_none_or(|next| next.section == Section::Classifier)
    }

    /// Whether all features, and nothing of the classifier, were found.
    fn is_between_sections(&self) -> bool {
        let before = self.same.checked_sub(1).map(|last| self.expected[last].section);
        before == Some(Section::Features) && self.is_after_features()
    }

    fn is_next(&self, found: &Layer) -> bool {
        let Some(next) = self.expected.get(self.same) else { return false };
        // The first linear layer sees the whole map.
        let window = if self.is_between_sections() { self.architecture.pool } else { [1, 1] };
        is_same(&next.layer, found, window)
    }

    /// Whether the layer that differs is of the expected kind.
    pub fn is_next_of_its_kind(&self) -> bool {
        let index = self.matches.last().map_or(0, |(_, index)| index + 1);
        let next = self.expected.get(self.same).map(|step| &step.layer);
        next.is_some_and(|next| is_of_kind(next, self.chain.layers.get(index)))
    }

    /// Whether an average is the network's adaptive pool for the input of the file.
    fn is_adaptive_pool(&self, operation: &Operation) -> Result<bool> {
        if let Operation::AveragePool { kernel: [1, 1], stride: [1, 1] } = operation {
            return Ok(true);
        }
        let map = self.chain.map_before_pool(self.architecture);
        let Some([height, width]) = map else { return Ok(false) };
        let [rows, columns] = self.architecture.pool;
        let rows = PoolWindows { length: height, count: rows };
        let columns = PoolWindows { length: width, count: columns };
        match operation {
            Operation::AveragePool { kernel, stride } => Ok(rows.uniform()
                == Some([kernel[0], stride[0]])
                && columns.uniform() == Some([kernel[1], stride[1]])),
            Operation::GlobalAveragePool => Ok(self.architecture.pool == [1, 1]),
            Operation::WindowWeights { columns: right, rows: left } => {
                Ok(self.are_weights(left, rows, |[i, j]| [i, j])?
                    && self.are_weights(right, columns, |[i, j]| [j, i])?)
            }
            _ => Ok(false),
        }
    }

    /// Whether a matrix has the weights of the windows; `index` gives the window and the position of an element.
    fn are_weights(
        &self,
        matrix: &TensorEntry,
        windows: PoolWindows,
        index: impl Fn([usize; 2]) -> [usize; 2],
    ) -> Result<bool> {
        let &[rows, columns] = matrix.shape() else { return Ok(false) };
        if index([rows, columns]) != [windows.count, windows.length] {
            return Ok(false);
        }
        let values = matrix.rows(self.source, 0..rows, &mut HashedRanges::default())?;
        Ok(values.iter().enumerate().all(|(at, &value)| {
            let [window, position] = index([at / columns, at % columns]);
            value == windows.weight(window, position)
        }))
    }

    fn difference(&self, found: Option<&ChainLayer>) -> Difference {
        let expected = match self.expected.get(self.same) {
            Some(next) => format!("{} as {} ({})", described(&next.layer), next.name, next.key),
            None => "no more layers".into(),
        };
        let found = match found {
            Some(layer) => match &layer.operation {
                Operation::Layer(found) => format!("{} as {:?}", described(found), layer.name),
                Operation::AveragePool { kernel, stride } => {
                    format!("an average pool of {kernel:?}, stride {stride:?}, as {:?}", layer.name)
                }
                Operation::GlobalAveragePool => format!("a global average as {:?}", layer.name),
                Operation::WindowWeights { .. } => format!("matrix products as {:?}", layer.name),
                Operation::Flatten => format!("a flattened map as {:?}", layer.name),
                Operation::Softmax => format!("a softmax as {:?}", layer.name),
            },
            None => "no more layers".into(),
        };
        Difference { expected, found }
    }
}
