//! Values with a shape: the input and output of networks.

use crate::error::{Error, Result};

/// A dense array of f32 values: what networks take and return where there is no tensor framework.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    /// The shape, batch first: `[N, C, H, W]` or `[N, features]`.
    pub shape: Vec<usize>,
    /// The values, as many as the product of the shape, in row-major order (the last dimension varies
    /// fastest).
    pub values: Vec<f32>,
}

impl Array {
    /// An array of zeros.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] if the values do not fit in memory.
    pub fn zeros(shape: &[usize]) -> Result<Self> {
        Ok(Self { shape: shape.into(), values: zeros(shape)? })
    }
}

/// As many zeros as an array of this shape has, or an error if they do not fit in memory.
pub(crate) fn zeros(shape: &[usize]) -> Result<Vec<f32>> {
    let length = shape.iter().try_fold(1usize, |product, &dim| product.checked_mul(dim));
    let mut zeros = Vec::new();
    match length.map(|length| (length, zeros.try_reserve_exact(length))) {
        Some((length, Ok(()))) => {
            zeros.resize(length, 0.0);
            Ok(zeros)
        }
        _ => Err(Error::OutOfMemory { what: format!("an array of shape {shape:?}") }),
    }
}
