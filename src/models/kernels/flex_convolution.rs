//! A convolution on burn's backend Flex, with and without autodiff.

use super::pooled_memory::{computed, try_computed};
use super::supported_convolution::Kernels;
use alexnet_vgg_core::engine::training::ConvolutionShape;
use burn::backend::Autodiff;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::tensor::ops::{ConvOptions, FloatTensor, ModuleOps};
use burn_flex::{Flex, FlexTensor};

/// The output; `None` for tensors that are not f32, or without memory.
pub fn forward(
    kernels: &Kernels,
    x: &FlexTensor,
    weight: &FlexTensor,
    bias: &FlexTensor,
) -> Option<FlexTensor> {
    let [x, weight, bias] = [x, weight, bias].map(FlexTensor::to_contiguous);
    let (input, weight, bias) = (x.as_slice()?, weight.as_slice()?, bias.as_slice()?);
    let output = try_computed(kernels.output, |output| {
        kernels.convolution.forward(input, weight, bias, output)
    });
    output.ok()
}

/// The output, with its backward pass recorded.
pub fn tracked<C: CheckpointStrategy>(
    kernels: &Kernels,
    x: FloatTensor<Autodiff<Flex, C>>,
    weight: FloatTensor<Autodiff<Flex, C>>,
    bias: FloatTensor<Autodiff<Flex, C>>,
) -> Option<FloatTensor<Autodiff<Flex, C>>> {
    let y = forward(kernels, &x.primitive, &weight.primitive, &bias.primitive)?;
    let nodes = [x.node.clone(), weight.node.clone(), bias.node.clone()];
    Some(match ConvolutionGradients.prepare::<C>(nodes).compute_bound().stateful() {
        OpsKind::Tracked(prepared) => {
            let [input, weight] = [x.primitive, weight.primitive];
            prepared.finish(Saved { kernels: kernels.clone(), input, weight }, y)
        }
        OpsKind::UnTracked(prepared) => prepared.finish(y),
    })
}

/// The backward pass of a convolution.
#[derive(Debug)]
struct ConvolutionGradients;

#[derive(Clone, Debug)]
struct Saved {
    kernels: Kernels,
    input: FlexTensor,
    weight: FlexTensor,
}

impl Backward<Flex, 3> for ConvolutionGradients {
    type State = Saved;

    fn backward(self, ops: Ops<Saved, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let [input, weight, bias] = ops.parents;
        let gradient = grads.consume::<Flex>(&ops.node).to_contiguous();
        let saved = ops.state;
        if let Some(node) = input {
            grads.register::<Flex>(node.id, saved.input_gradient(&gradient));
        }
        if let Some(node) = weight {
            grads.register::<Flex>(node.id, saved.weight_gradient(&gradient));
        }
        if let Some(node) = bias {
            grads.register::<Flex>(node.id, saved.bias_gradient(&gradient));
        }
    }
}

impl Saved {
    fn input_gradient(&self, gradient: &FlexTensor) -> FlexTensor {
        let ConvolutionShape {
            batch, inputs, size: [height, width], stride, padding, groups, ..
        } = *self.kernels.convolution.shape();
        if !self.kernels.convolution.has_input_gradient() {
            let options = ConvOptions::new([stride; 2], [padding; 2], [1; 2], groups);
            let (x, weight) = (self.input.clone(), self.weight.clone());
            return <Flex as ModuleOps<Flex>>::conv2d_x_backward(
                x,
                weight,
                gradient.clone(),
                options,
            );
        }
        let weight = self.weight.to_contiguous();
        computed([batch, inputs, height, width], |values| {
            self.kernels.convolution.input_gradient(f32s(gradient), f32s(&weight), values)
        })
    }

    fn weight_gradient(&self, gradient: &FlexTensor) -> FlexTensor {
        let ConvolutionShape { inputs, outputs, kernel, groups, .. } =
            *self.kernels.convolution.shape();
        let input = self.input.to_contiguous();
        computed([outputs, inputs / groups, kernel, kernel], |values| {
            self.kernels.convolution.weight_gradient(f32s(&input), f32s(gradient), values)
        })
    }

    fn bias_gradient(&self, gradient: &FlexTensor) -> FlexTensor {
        computed([self.kernels.convolution.shape().outputs], |values| {
            self.kernels.convolution.bias_gradient(f32s(gradient), values)
        })
    }
}

/// The forward pass has checked that it is contiguous and f32.
fn f32s(tensor: &FlexTensor) -> &[f32] {
    tensor.as_slice().unwrap_or_default()
}
