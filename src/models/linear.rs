//! Fully connected layers that keep their weight as it is in PyTorch's files.

use super::Parameter;
#[cfg(feature = "flex")]
use super::kernels;
use crate::Result;
use burn::module::{Module, Param};
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;
use std::ops::Range;

/// A fully connected layer that keeps its weight `[out, in]`, as it is in PyTorch's files.
///
/// burn's own `Linear` keeps `[in, out]`, so loading would transpose 494 MB of VGG's weights. This one
/// computes `(W · xᵀ)ᵀ`, for which no backend copies the weight.
///
/// A large weight is kept in several tensors of whole rows, of 128 MiB at most: VGG's first linear layer
/// has 392 MiB, and many GPUs take no more than 128 in a tensor. It is cut in the same way on every
/// device, so that a record saved on one loads on any other.
#[derive(Module, Debug)]
pub struct Linear<B: Backend> {
    /// Rows of the weight, together `[out, in]`; a single tensor up to 128 MiB.
    pub weight: Vec<Param<Tensor<B, 2>>>,
    /// `[out]`
    pub bias: Param<Tensor<B, 1>>,
}

impl<B: Backend> Linear<B> {
    /// Asks `tensor` for the weight in chunks of whole rows.
    pub(super) fn new(
        weight: &Parameter,
        bias: Param<Tensor<B, 1>>,
        mut tensor: impl FnMut(Range<usize>) -> Result<Param<Tensor<B, 2>>>,
    ) -> Result<Self> {
        let weight = weight.row_chunks().map(&mut tensor);
        Ok(Self { weight: weight.collect::<Result<_>>()?, bias })
    }

    /// `[N, in]` to `[N, out]`.
    pub fn forward(&self, x: Tensor<B, 2>) -> Tensor<B, 2> {
        let product = |rows: &Param<Tensor<B, 2>>| multiply(&x, rows.val());
        let out = match self.weight.as_slice() {
            [whole] => product(whole),
            chunks => Tensor::cat(chunks.iter().map(product).collect(), 1),
        };
        out + self.bias.val().unsqueeze()
    }
}

/// `[N, in]` times `[out, in]`, to `[N, out]`: on the engine's kernels where they apply.
fn multiply<B: Backend>(x: &Tensor<B, 2>, rows: Tensor<B, 2>) -> Tensor<B, 2> {
    #[cfg(feature = "flex")]
    if let Some(out) = kernels::multiply(x, &rows) {
        return out;
    }
    rows.matmul(x.clone().transpose()).transpose()
}
