//! Finds the registered network that a chain of layers is.

use super::checksum::HashedRanges;
use super::file_source::FileSource;
use super::layer_chain::{Chain, ChainLayer, Operation};
use super::tensor_entry::TensorEntry;
use crate::architecture::{
    Architecture, Head, Layer, NetworkConfig, PoolWindows, Section, Step, Table,
};
use crate::error::Result;
use std::mem::discriminant;

/// The network that has most layers in common with a chain.
pub(super) struct NearestNetwork {
    pub table: Table,
    /// The key of each layer with parameters, and the index of the chain's layer.
    pub matches: Vec<(String, usize)>,
    /// The first difference, if it is not this network.
    pub difference: Option<Difference>,
}

/// The first layer in which a chain differs from a network.
pub(super) struct Difference {
    pub expected: String,
    pub found: String,
}

/// The network whose layers are those of the chain, or the nearest one. Only the kinds of layers and their settings are
/// compared; the shapes of the tensors are compared when they are loaded.
///
/// # Errors
/// Those of reading the weights of an adaptive pool.
pub(super) fn matching_network(chain: &Chain, source: &FileSource) -> Result<NearestNetwork> {
    // How many layers are the same, and whether the next is at least of the same kind.
    let mut nearest: Option<((usize, bool), NearestNetwork)> = None;
    for config in NetworkConfig::all() {
        // The 2012 network has another padding for each of them.
        for size in [config.table().input[1], 227, 224] {
            let config = config.clone().for_input([size; 2]);
            let head = head(chain, &config.table());
            let architecture = config.with_head(head)?.architecture()?;
            let mut comparison = Comparison::new(&architecture, chain, source);
            let difference = comparison.run()?;
            let is_match = difference.is_none();
            let same = (comparison.same, comparison.is_next_of_its_kind());
            let network = NearestNetwork {
                table: architecture.table().clone(),
                matches: comparison.matches,
                difference,
            };
            if is_match {
                return Ok(network);
            }
            // Of equals the first, which is the simplest.
            if nearest.as_ref().is_none_or(|(most, _)| same > *most) {
                nearest = Some((same, network));
            }
        }
    }
    // There are networks, and so one of them is the nearest.
    let nothing = || NearestNetwork {
        table: NetworkConfig::all()[0].table(),
        matches: Vec::new(),
        difference: Some(Difference { expected: "layers".into(), found: "none".into() }),
    };
    Ok(nearest.map_or_else(nothing, |(_, network)| network))
}

/// A head of as many linear layers as the chain has, on a map of the size that its average pool has. (The sizes of the
/// layers are not compared here.)
fn head(chain: &Chain, published: &Table) -> Head {
    let is_linear =
        |layer: &&ChainLayer| matches!(layer.operation, Operation::Layer(Layer::Linear { .. }));
    let linear = chain.layers.iter().filter(is_linear).count();
    let pool = chain.layers.iter().find_map(|layer| pool(&layer.operation, chain, published));
    let is_linear = |layer: &&Layer| matches!(layer, Layer::Linear { .. });
    let published_count = published.classifier.iter().filter(is_linear).count();
    let pool = pool.unwrap_or(published.pool);
    let is_published = pool == published.pool && [0, published_count].contains(&linear);
    if is_published || !chain.has_output {
        return Head::Published;
    }
    let linear = if linear == 0 { published_count } else { linear };
    Head::new(pool, vec![1; linear - 1])
}

/// The size of the map after an average pool; `None` for another operation.
fn pool(operation: &Operation, chain: &Chain, network: &Table) -> Option<[usize; 2]> {
    match operation {
        Operation::GlobalAveragePool => Some([1, 1]),
        Operation::WindowWeights { columns, rows } => {
            Some([*rows.shape().first()?, *columns.shape().get(1)?])
        }
        Operation::AveragePool { kernel, stride } if *kernel != [1, 1] => {
            let [height, width] = chain.map_before_pool(network)?;
            let count = |length: usize, kernel: usize, stride: usize| {
                Some(length.checked_sub(kernel)?.checked_div(stride)? + 1)
            };
            Some([count(height, kernel[0], stride[0])?, count(width, kernel[1], stride[1])?])
        }
        _ => None,
    }
}

/// A chain beside a network.
struct Comparison<'a> {
    /// The layers that a file has: dropout does nothing in it, and the adaptive pool has other forms.
    expected: Vec<&'a Step>,
    architecture: &'a Architecture,
    chain: &'a Chain,
    source: &'a FileSource,
    /// How many of the expected layers were found.
    same: usize,
    matches: Vec<(String, usize)>,
}

impl<'a> Comparison<'a> {
    fn new(architecture: &'a Architecture, chain: &'a Chain, source: &'a FileSource) -> Self {
        let is_expected = |step: &&Step| {
            !matches!(step.layer, Layer::Dropout { .. } | Layer::AdaptiveAvgPool { .. })
        };
        let expected = architecture.steps().iter().filter(is_expected).collect();
        Self { expected, architecture, chain, source, same: 0, matches: Vec::new() }
    }

    fn run(&mut self) -> Result<Option<Difference>> {
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
    fn is_next_of_its_kind(&self) -> bool {
        let index = self.matches.last().map_or(0, |(_, index)| index + 1);
        match (self.expected.get(self.same), self.chain.layers.get(index)) {
            (Some(next), Some(ChainLayer { operation: Operation::Layer(found), .. })) => {
                discriminant(&next.layer) == discriminant(found)
            }
            _ => false,
        }
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

/// Whether a layer of a file is that of a table. `window` is the size of the map that a linear layer sees.
fn is_same(expected: &Layer, found: &Layer, window: [usize; 2]) -> bool {
    match (*expected, *found) {
        (
            Layer::Conv { kernel, stride, padding, groups, .. },
            Layer::Conv { kernel: k, stride: s, padding: p, groups: g, .. },
        ) => (kernel, stride, padding, groups) == (k, s, p, g),
        // Fully convolutional: a convolution over the whole map.
        (Layer::Linear { .. }, Layer::Conv { kernel, padding: 0, groups: 1, .. }) => {
            [kernel; 2] == window
        }
        (Layer::Linear { .. }, Layer::Linear { .. }) => true,
        (
            Layer::Lrn { size, alpha, beta, k, groups },
            Layer::Lrn { size: size_found, alpha: a, beta: b, k: k_found, groups: g },
        ) => {
            (size, groups) == (size_found, g)
                && [(alpha, a), (beta, b), (k, k_found)].into_iter().all(is_close)
        }
        (expected, found) => expected == found,
    }
}

/// Equal but for the rounding to f32.
fn is_close((expected, found): (f64, f64)) -> bool {
    (expected - found).abs() <= 1e-6 * expected.abs()
}

/// A layer with all that is compared. The number of outputs is not.
fn described(layer: &Layer) -> String {
    match *layer {
        Layer::Conv { kernel, stride, padding, groups, .. } => {
            let groups = if groups > 1 { format!(", groups {groups}") } else { String::new() };
            format!("a {kernel}x{kernel} convolution of stride {stride}, padding {padding}{groups}")
        }
        Layer::Lrn { size, alpha, beta, k, groups } => {
            let groups = if groups > 1 { format!(", groups {groups}") } else { String::new() };
            format!(
                "LRN over {size} with k = {k}, alpha = {alpha:.3e} (not divided), beta = {beta}{groups}"
            )
        }
        Layer::MaxPool { kernel, stride } => {
            format!("a {kernel}x{kernel} max pool of stride {stride}")
        }
        Layer::Linear { .. } => "a linear layer".into(),
        other => other.to_string(),
    }
}
