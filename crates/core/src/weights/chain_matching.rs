//! Finds the registered network that a chain of layers is.

use super::chain_comparison::{Comparison, Difference};
use super::file_source::FileSource;
use super::layer_chain::{Chain, ChainLayer, Operation};
use super::layer_comparison::{is_of_kind, is_same};
use crate::architecture::{Head, Layer, NetworkConfig, Table};
use crate::error::Result;

/// The network that has most layers in common with a chain.
pub(super) struct NearestNetwork {
    pub table: Table,
    /// The key of each layer with parameters, and the index of the chain's layer.
    pub matches: Vec<(String, usize)>,
    /// The first difference, if it is not this network.
    pub difference: Option<Difference>,
}

/// How many layers of a network a chain begins with, and whether its next one is at least of the same kind.
type Common = (usize, bool);

/// The network whose layers are those of the chain, or the nearest one. Only the kinds of layers and their settings are
/// compared; the shapes of the tensors are compared when they are loaded.
///
/// # Errors
/// Those of reading the weights of an adaptive pool.
pub(super) fn matching_network(chain: &Chain, source: &FileSource) -> Result<NearestNetwork> {
    let mut nearest: Option<(Common, NetworkConfig)> = None;
    for config in designs() {
        // Most networks differ in their features, which the bare table has.
        let common = match differing_features(chain, &config.table()) {
            Some(common) => common,
            None => {
                let (common, network) = compared(&config, chain, source)?;
                if network.difference.is_none() {
                    return Ok(network);
                }
                common
            }
        };
        // Of equals the first, which is the simplest.
        if nearest.as_ref().is_none_or(|(most, _)| common > *most) {
            nearest = Some((common, config));
        }
    }
    // There are networks, and so one of them is the nearest.
    let nearest = nearest.map_or_else(|| NetworkConfig::all().swap_remove(0), |(_, it)| it);
    Ok(compared(&nearest, chain, source)?.1)
}

/// All networks, the AlexNets for each size of images: some have another padding for each of them.
fn designs() -> impl Iterator<Item = NetworkConfig> {
    NetworkConfig::all().into_iter().flat_map(|config| {
        let others = [227, 224].map(|size| config.clone().for_input([size; 2]));
        let others: Vec<_> = others.into_iter().filter(|other| *other != config).collect();
        std::iter::once(config).chain(others)
    })
}

/// What a chain has in common with the features of a network; `None` if it has all of them.
fn differing_features(chain: &Chain, table: &Table) -> Option<Common> {
    let mut layers = chain.layers.iter();
    for (index, expected) in table.features.iter().enumerate() {
        let found = layers.next();
        let is_same = match found {
            Some(ChainLayer { operation: Operation::Layer(found), .. }) => {
                is_same(expected, found, [1, 1])
            }
            _ => false,
        };
        if !is_same {
            return Some((index, is_of_kind(expected, found)));
        }
    }
    None
}

/// A chain compared with one network.
fn compared(
    config: &NetworkConfig,
    chain: &Chain,
    source: &FileSource,
) -> Result<(Common, NearestNetwork)> {
    let head = head(chain, &config.table());
    let architecture = config.clone().with_head(head)?.architecture()?;
    let mut comparison = Comparison::new(&architecture, chain, source);
    let difference = comparison.run()?;
    let common = (comparison.same, comparison.is_next_of_its_kind());
    let matches = comparison.matches;
    Ok((common, NearestNetwork { table: architecture.table().clone(), matches, difference }))
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
