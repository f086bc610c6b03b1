//! Untrained weights for networks of which only the time matters.

use alexnet_vgg_core::Result;
use alexnet_vgg_core::architecture::{FreshWeights, Parameter};
use std::ops::Range;

/// Rows of a parameter: the same values at every call.
pub fn rows(parameter: &Parameter, rows: Range<usize>) -> Result<Vec<f32>> {
    Ok(FreshWeights::new(0).rows(parameter, rows))
}
