//! Batch norm by fixed statistics: a scale and a shift for each channel.

use super::pooled_memory::{computed, try_computed};
use super::unary::{Unary, apply};
use crate::backend::cast;
use alexnet_vgg_core::engine::training::BatchNorm;
use burn::backend::Autodiff;
use burn::backend::autodiff::checkpoint::strategy::{
    BalancedCheckpointing, CheckpointStrategy, NoCheckpointing,
};
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;
use burn::tensor::ops::FloatTensor;
use burn_flex::{Flex, FlexTensor};
use std::sync::Arc;

#[derive(Clone, Debug)]
struct ScaleAndShift {
    kernel: BatchNorm,
    shape: [usize; 4],
    scale: Arc<[f32]>,
    shift: Arc<[f32]>,
}

/// `x * scale + shift` of `[N, C, H, W]` on Flex, or the input where burn has to compute it, as for a scale or a shift,
/// `[C]`, with a gradient.
pub fn scale_and_shift<B: Backend>(
    x: Tensor<B, 4>,
    scale: &Tensor<B, 1>,
    shift: &Tensor<B, 1>,
) -> Result<Tensor<B, 4>, Tensor<B, 4>> {
    let shape @ [batch, channels, height, width] = x.dims();
    let kernel = BatchNorm::new(batch, channels, height * width, 0.0).ok();
    let operation = kernel.and_then(|kernel| {
        let (scale, shift) = (constants(scale)?, constants(shift)?);
        Some(ScaleAndShift { kernel, shape, scale, shift })
    });
    match operation {
        Some(operation) => apply(&operation, x),
        None => Err(x),
    }
}

/// The values of a tensor without a gradient on Flex.
fn constants<B: Backend>(tensor: &Tensor<B, 1>) -> Option<Arc<[f32]>> {
    let plain = cast::to::<B, Flex, 1>(tensor)
        .or_else(|| untracked::<B, NoCheckpointing>(tensor))
        .or_else(|| untracked::<B, BalancedCheckpointing>(tensor))?;
    plain.to_contiguous().as_slice().map(Arc::from)
}

fn untracked<B: Backend, C: CheckpointStrategy>(tensor: &Tensor<B, 1>) -> Option<FlexTensor> {
    let tensor: FloatTensor<Autodiff<Flex, C>> = cast::to::<B, Autodiff<Flex, C>, 1>(tensor)?;
    tensor.node.requirement.is_none().then_some(tensor.primitive)
}

impl Unary for ScaleAndShift {
    type Saved = ();

    fn forward(&self, x: &FlexTensor) -> Option<(FlexTensor, ())> {
        let x = x.to_contiguous();
        let input = x.as_slice()?;
        let y = try_computed(self.shape, |output| {
            self.kernel.scale_and_shift(input, &self.scale, &self.shift, output)
        });
        Some((y.ok()?, ()))
    }

    fn backward(&self, (): (), gradient: &FlexTensor) -> FlexTensor {
        let no_shift = vec![0.0; self.shift.len()];
        computed(self.shape, |dx| {
            let gradient = gradient.as_slice().unwrap_or_default();
            self.kernel.scale_and_shift(gradient, &self.scale, &no_shift, dx)
        })
    }
}
