//! Compares a layer of a file with one of a table, and describes it.

use super::layer_chain::{ChainLayer, Operation};
use crate::architecture::Layer;
use std::mem::discriminant;

/// Whether a layer of a file is that of a table. `window` is the size of the map that a linear layer sees.
pub(super) fn is_same(expected: &Layer, found: &Layer, window: [usize; 2]) -> bool {
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

/// Whether a layer of a chain is of the same kind as one of a table, whatever its settings.
pub(super) fn is_of_kind(expected: &Layer, found: Option<&ChainLayer>) -> bool {
    match found {
        Some(ChainLayer { operation: Operation::Layer(found), .. }) => {
            discriminant(expected) == discriminant(found)
        }
        _ => false,
    }
}

/// Equal but for the rounding to f32.
fn is_close((expected, found): (f64, f64)) -> bool {
    (expected - found).abs() <= 1e-6 * expected.abs()
}

/// A layer with all that is compared. The number of outputs is not.
pub(super) fn described(layer: &Layer) -> String {
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
