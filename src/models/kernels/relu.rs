//! ReLU.

use super::pooled_memory::{computed, try_computed};
use super::unary::{Unary, apply};
use alexnet_vgg_core::engine::training;
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;
use burn_flex::FlexTensor;
use std::convert::Infallible;

#[derive(Clone, Debug)]
struct Relu;

/// ReLU on Flex, or the input where burn has to compute it.
pub fn relu<B: Backend, const D: usize>(x: Tensor<B, D>) -> Result<Tensor<B, D>, Tensor<B, D>> {
    apply(&Relu, x)
}

impl Unary for Relu {
    /// The output.
    type Saved = FlexTensor;

    fn forward(&self, x: &FlexTensor) -> Option<(FlexTensor, FlexTensor)> {
        let x = x.to_contiguous();
        let input = x.as_slice()?;
        let Ok(y) = try_computed([input.len()], |output| {
            training::relu(input, output);
            Ok::<(), Infallible>(())
        });
        let y = y.reshape(x.layout().shape().clone());
        Some((y.clone(), y))
    }

    fn backward(&self, output: FlexTensor, gradient: &FlexTensor) -> FlexTensor {
        let [y, dy] = [&output, gradient].map(|tensor| tensor.as_slice().unwrap_or_default());
        let dx = computed([y.len()], |values| {
            training::relu_gradient(y, dy, values);
            Ok(())
        });
        dx.reshape(output.layout().shape().clone())
    }
}
