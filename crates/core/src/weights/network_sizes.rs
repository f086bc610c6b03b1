//! The sizes that the layers of a file give a network: its width, head, classes and input channels.

use super::file_layers::{FileLayer, FileLayers};
use super::matched_tensors::NetworkPart;
use super::tensor_entry::TensorEntry;
use crate::architecture::{Head, Layer, NetworkConfig, Table};

/// `config` with the sizes of a file's layers, at the width that gives it their channels. `None` if there is no such
/// width, or if the layers are of another network.
pub(super) fn with_sizes(
    config: &NetworkConfig,
    layers: &FileLayers,
    tensors: &[TensorEntry],
    part: NetworkPart,
) -> Option<NetworkConfig> {
    let published = published(config)?;
    let found = FoundSizes::new(&published, layers, tensors)?;
    let config = config.clone().with_in_channels(found.in_channels);
    let channels = outputs(&published.features);
    let width_of_channels = || common_width(&channels, &found.channels);
    let Some(head) = found.head.filter(|_| part == NetworkPart::Whole) else {
        return Some(config.with_width(width_of_channels()?));
    };
    let mut hidden = outputs(&published.classifier);
    hidden.pop();
    let config = config.with_num_classes(head.classes);
    // The hidden layers are wider than the others, and tell the width more precisely.
    let [all, all_found] = [
        [channels.clone(), hidden].concat(),
        [found.channels.clone(), head.hidden.clone()].concat(),
    ];
    if head.pool == published.pool
        && let Some(width) = common_width(&all, &all_found)
    {
        return config.with_width(width).with_head(Head::Published).ok();
    }
    let width = width_of_channels()?;
    config.with_width(width).with_head(Head::new(head.pool, head.hidden)).ok()
}

/// The network of `config` with a file's own number of channels in each layer, as after pruning.
pub(super) fn with_channels(
    config: &NetworkConfig,
    layers: &FileLayers,
    tensors: &[TensorEntry],
) -> Option<NetworkConfig> {
    let found = FoundSizes::new(&published(config)?, layers, tensors)?;
    let mut config = config.clone().with_width(1.0).with_in_channels(found.in_channels);
    if let Some(head) = found.head {
        config = config.with_num_classes(head.classes);
        config = config.with_head(Head::new(head.pool, head.hidden)).ok()?;
    }
    let mut table = config.table();
    let convolutions = table.features.iter_mut().filter_map(|layer| match layer {
        Layer::Conv { out, .. } => Some(out),
        _ => None,
    });
    convolutions.zip(found.channels).for_each(|(out, found)| *out = found);
    Some(NetworkConfig::Custom(table))
}

/// The table of a config at its full width, with the published head. `None` for a custom table, whose sizes are
/// its own.
fn published(config: &NetworkConfig) -> Option<Table> {
    config.clone().with_head(Head::Published).ok().map(|config| config.with_width(1.0).table())
}

/// The outputs of all convolutions and linear layers.
fn outputs(layers: &[Layer]) -> Vec<usize> {
    let outputs = layers.iter().filter_map(|layer| match *layer {
        Layer::Conv { out, .. } | Layer::Linear { out, .. } => Some(out),
        _ => None,
    });
    outputs.collect()
}

/// The width at which all of these numbers of channels become those that were found. Scaled numbers are rounded
/// to even ones, so each gives a range of widths.
fn common_width(original: &[usize], found: &[usize]) -> Option<f64> {
    if original.len() != found.len() || found.iter().any(|found| found % 2 == 1) {
        return None;
    }
    let (mut least, mut limit, mut widest) = (0.0, f64::INFINITY, (0, 0));
    for (&original, &found) in original.iter().zip(found) {
        widest = widest.max((original, found));
        let (original, found) = (original as f64, found as f64);
        if found > 2.0 {
            least = f64::max(least, (found - 1.0) / original);
        }
        limit = f64::min(limit, (found + 1.0) / original);
    }
    let width = widest.1 as f64 / widest.0 as f64;
    if least >= limit {
        return None;
    }
    let is_common = (least..limit).contains(&width);
    Some(if is_common { width } else { f64::midpoint(least, limit) })
}

/// The sizes of a file's layers, if their number and kernels are those of a network.
struct FoundSizes {
    in_channels: usize,
    /// The outputs of the convolutions.
    channels: Vec<usize>,
    /// `None` for a file of the features alone.
    head: Option<FoundHead>,
}

struct FoundHead {
    pool: [usize; 2],
    hidden: Vec<usize>,
    classes: usize,
}

impl FoundSizes {
    fn new(published: &Table, layers: &FileLayers, tensors: &[TensorEntry]) -> Option<Self> {
        let kernels = published.features.iter().filter_map(|layer| match *layer {
            Layer::Conv { kernel, .. } => Some([kernel; 2]),
            _ => None,
        });
        let kernels = Vec::from_iter(kernels);
        let (convolutions, head) = layers.convolutions.split_at_checked(kernels.len())?;
        let shapes = |layers: &[FileLayer]| -> Vec<Vec<usize>> {
            layers.iter().map(|layer| layer.weight_shape(tensors).to_vec()).collect()
        };
        let convolutions = shapes(convolutions);
        if !convolutions.iter().zip(kernels).all(|(shape, kernel)| shape[2..] == kernel) {
            return None;
        }
        let channels = Vec::from_iter(convolutions.iter().map(|shape| shape[0]));
        let head = [shapes(head), shapes(&layers.linear)].concat();
        let head = match head.as_slice() {
            [] => None,
            [first, .., last] | [first @ last] => Some(FoundHead {
                pool: pool(*channels.last()?, first, head.len() == 1)?,
                hidden: head[..head.len() - 1].iter().map(|shape| shape[0]).collect(),
                classes: last[0],
            }),
        };
        // An AlexNet with another pool is one for other images, with other strides, which no tensor shows.
        let is_alexnet =
            published.features.iter().any(|layer| matches!(layer, Layer::Conv { stride: 4, .. }));
        if is_alexnet && head.as_ref().is_some_and(|head| head.pool != published.pool) {
            return None;
        }
        Some(Self { in_channels: convolutions[0][1], channels, head })
    }
}

/// The size of the map that the first linear layer takes, from the shape of its weight: `[out, in]`, or as a
/// convolution `[out, C, height, width]`. A convolution of 1×1 is the same before the average and behind it only if
/// no activation follows.
fn pool(channels: usize, first: &[usize], is_only: bool) -> Option<[usize; 2]> {
    match *first {
        [_, _, 1, 1] if !is_only => None,
        [_, inputs, height, width] => (inputs == channels).then_some([height, width]),
        [_, inputs] => {
            let cells = inputs.checked_div(channels).filter(|cells| cells * channels == inputs)?;
            let side = cells.isqrt();
            (side * side == cells && side > 0).then_some([side; 2])
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::architecture::VggConfig;

    #[test]
    fn channels_tell_the_width() {
        for width in [0.0625, 0.05, 0.1, 1.0 / 3.0, 0.7, 1.0, 1.5] {
            let table = VggConfig::vgg16().with_width(width).table();
            let channels = outputs(&VggConfig::vgg16().table().features);
            let found = common_width(&channels, &outputs(&table.features)).expect("a width");
            assert_eq!(VggConfig::vgg16().with_width(found).table().features, table.features);
        }
        assert_eq!(common_width(&[64, 128], &[32, 48]), None);
        assert_eq!(common_width(&[64, 128], &[33, 66]), None);
    }
}
