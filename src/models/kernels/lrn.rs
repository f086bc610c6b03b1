//! Local response normalization.

use super::pooled_memory::{computed, try_computed};
use super::unary::{Unary, apply};
use alexnet_vgg_core::engine::training::Lrn;
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;
use burn_flex::FlexTensor;

#[derive(Clone, Debug)]
struct Normalization {
    lrn: Lrn,
    shape: [usize; 4],
}

/// Normalizes `[N, C, H, W]` on Flex, or returns the input where burn has to.
pub fn lrn<B: Backend>(lrn: Lrn, x: Tensor<B, 4>) -> Result<Tensor<B, 4>, Tensor<B, 4>> {
    let shape = x.dims();
    if shape.contains(&0) { Err(x) } else { apply(&Normalization { lrn, shape }, x) }
}

impl Unary for Normalization {
    /// The input.
    type Saved = FlexTensor;

    fn forward(&self, x: &FlexTensor) -> Option<(FlexTensor, FlexTensor)> {
        let x = x.to_contiguous();
        let input = x.as_slice()?;
        let y = try_computed(self.shape, |output| self.lrn.forward(input, output)).ok()?;
        Some((y, x))
    }

    fn backward(&self, x: FlexTensor, gradient: &FlexTensor) -> FlexTensor {
        let [x, dy] = [&x, gradient].map(|tensor| tensor.as_slice().unwrap_or_default());
        computed(self.shape, |dx| self.lrn.input_gradient(x, dy, dx))
    }
}
