//! Which of burn's convolutions the engine has kernels for.

use alexnet_vgg_core::engine::training::{Convolution, ConvolutionShape};
use burn::nn::PaddingConfig2d;
use burn::nn::conv::Conv2d;
use burn::tensor::backend::Backend;

/// A convolution that the engine has kernels for.
#[derive(Clone, Debug)]
pub struct Kernels {
    pub convolution: Convolution,
    /// `[N, K, H', W']`
    pub output: [usize; 4],
}

/// The kernels for an input, `[N, C, H, W]`; `None` for what the engine does not compute.
pub fn kernels_for<B: Backend>(
    conv: &Conv2d<B>,
    [batch, inputs, height, width]: [usize; 4],
) -> Option<Kernels> {
    let [outputs, _, kernel, kernel_width] = conv.weight.dims();
    let [stride, horizontal_stride] = conv.stride;
    let PaddingConfig2d::Explicit(padding, left, bottom, right) = conv.padding else {
        return None;
    };
    let is_square = kernel == kernel_width
        && stride == horizontal_stride
        && [left, bottom, right].iter().all(|side| *side == padding)
        && conv.dilation == [1, 1];
    let groups = conv.groups;
    let size = [height, width];
    let shape = ConvolutionShape { batch, inputs, outputs, size, kernel, stride, padding, groups };
    let [height, width] = shape.output_size().ok().filter(|_| is_square)?;
    let convolution = Convolution::new(shape).ok()?;
    Some(Kernels { convolution, output: [batch, outputs, height, width] })
}
