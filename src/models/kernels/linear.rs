//! The product of a linear layer, on Flex.

use super::pooled_memory::{computed, try_computed};
use crate::backend::cast;
use alexnet_vgg_core::engine::training::Linear;
use burn::backend::Autodiff;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::{
    BalancedCheckpointing, CheckpointStrategy, NoCheckpointing,
};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;
use burn::tensor::ops::FloatTensor;
use burn_flex::{Flex, FlexTensor};

/// Multiplies vectors, `[N, in]`, by the rows of a weight, `[out, in]`: `[N, out]`. `None` where burn has to.
pub fn multiply<B: Backend>(x: &Tensor<B, 2>, weight: &Tensor<B, 2>) -> Option<Tensor<B, 2>> {
    let ([batch, inputs], [outputs, _]) = (x.dims(), weight.dims());
    let linear = Linear::new(batch, inputs, outputs).ok()?;
    let plain = || {
        let (x, weight) = (cast::to::<B, Flex, 2>(x)?, cast::to::<B, Flex, 2>(weight)?);
        cast::from::<B, Flex, 2>(forward(&linear, [batch, outputs], &x, &weight)?)
    };
    plain()
        .or_else(|| tracked::<B, NoCheckpointing>(&linear, [batch, outputs], x, weight))
        .or_else(|| tracked::<B, BalancedCheckpointing>(&linear, [batch, outputs], x, weight))
}

/// `None` for tensors that are not f32, or without memory.
fn forward(
    linear: &Linear,
    output: [usize; 2],
    x: &FlexTensor,
    weight: &FlexTensor,
) -> Option<FlexTensor> {
    let [x, weight] = [x, weight].map(FlexTensor::to_contiguous);
    let (input, weight) = (x.as_slice()?, weight.as_slice()?);
    try_computed(output, |output| linear.forward(input, weight, output)).ok()
}

/// The output, with its backward pass recorded.
fn tracked<B: Backend, C: CheckpointStrategy>(
    linear: &Linear,
    output: [usize; 2],
    x: &Tensor<B, 2>,
    weight: &Tensor<B, 2>,
) -> Option<Tensor<B, 2>> {
    let x: FloatTensor<Autodiff<Flex, C>> = cast::to::<B, Autodiff<Flex, C>, 2>(x)?;
    let weight: FloatTensor<Autodiff<Flex, C>> = cast::to::<B, Autodiff<Flex, C>, 2>(weight)?;
    let y = forward(linear, output, &x.primitive, &weight.primitive)?;
    let nodes = [x.node, weight.node];
    let y = match Gradient.prepare::<C>(nodes).compute_bound().stateful() {
        OpsKind::Tracked(prepared) => {
            let [x, weight] = [x.primitive, weight.primitive].map(|it| it.to_contiguous());
            prepared.finish(Saved { linear: *linear, x, weight }, y)
        }
        OpsKind::UnTracked(prepared) => prepared.finish(y),
    };
    cast::from::<B, Autodiff<Flex, C>, 2>(y)
}

/// The backward pass of the product.
#[derive(Debug)]
struct Gradient;

#[derive(Clone, Debug)]
struct Saved {
    linear: Linear,
    x: FlexTensor,
    weight: FlexTensor,
}

impl Backward<Flex, 2> for Gradient {
    type State = Saved;

    fn backward(self, ops: Ops<Saved, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
        let [input, weight] = ops.parents;
        let gradient = grads.consume::<Flex>(&ops.node).to_contiguous();
        let Saved { linear, x, weight: rows } = ops.state;
        // The forward pass has checked that they are f32.
        let [dy, x_values, rows_values] =
            [&gradient, &x, &rows].map(|it| it.as_slice().unwrap_or_default());
        if let Some(node) = input {
            let shape = [linear.batch(), linear.inputs()];
            let dx = computed(shape, |dx| linear.input_gradient(dy, rows_values, dx));
            grads.register::<Flex>(node.id, dx);
        }
        if let Some(node) = weight {
            let shape = [linear.outputs(), linear.inputs()];
            let dw = computed(shape, |dw| linear.weight_gradient(x_values, dy, dw));
            grads.register::<Flex>(node.id, dw);
        }
    }
}
