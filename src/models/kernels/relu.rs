//! ReLU.

use super::pooled_memory::{SharedValues, try_computed_shared};
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
    /// The output. The gradient takes its place.
    type Saved = SharedValues;

    fn forward(&self, x: &FlexTensor) -> Option<(FlexTensor, SharedValues)> {
        let x = x.to_contiguous();
        let input = x.as_slice()?;
        let Ok((y, values)) = try_computed_shared([input.len()], |output| {
            training::relu(input, output);
            Ok::<(), Infallible>(())
        });
        Some((y.reshape(x.layout().shape().clone()), values))
    }

    fn backward(&self, output: SharedValues, gradient: &FlexTensor) -> FlexTensor {
        let dy = gradient.as_slice().unwrap_or_default();
        let dx = output.replaced([dy.len()], |values| training::relu_gradient(dy, values));
        dx.reshape(gradient.layout().shape().clone())
    }
}
