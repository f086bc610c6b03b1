//! Batch norm by fixed statistics: a scale and a shift for each channel.

use super::pooled_memory::{computed, try_computed};
use super::unary::{Unary, apply};
use alexnet_vgg_core::engine::training::BatchNorm;
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;
use burn_flex::FlexTensor;
use std::sync::Arc;

#[derive(Clone, Debug)]
struct ScaleAndShift {
    kernel: BatchNorm,
    shape: [usize; 4],
    scale: Arc<[f32]>,
    shift: Arc<[f32]>,
}

/// `x * scale + shift` of `[N, C, H, W]` on Flex, or the input where burn has to compute it. Scale and shift, `[C]`, are
/// constants.
pub fn scale_and_shift<B: Backend>(
    x: Tensor<B, 4>,
    scale: &[f32],
    shift: &[f32],
) -> Result<Tensor<B, 4>, Tensor<B, 4>> {
    let shape @ [batch, channels, height, width] = x.dims();
    match BatchNorm::new(batch, channels, height * width, 0.0) {
        Ok(kernel) => {
            let (scale, shift) = (scale.into(), shift.into());
            apply(&ScaleAndShift { kernel, shape, scale, shift }, x)
        }
        Err(_) => Err(x),
    }
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
