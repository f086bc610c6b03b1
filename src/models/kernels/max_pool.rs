//! Max pooling.

use super::pooled_memory::{computed, try_computed};
use super::unary::{Unary, apply};
use alexnet_vgg_core::engine::training::MaxPool;
use burn::nn::PaddingConfig2d;
use burn::nn::pool::MaxPool2d;
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;
use burn_flex::FlexTensor;
use std::convert::Infallible;
use std::sync::Arc;

#[derive(Clone, Debug)]
struct Pool {
    pool: MaxPool,
    input: [usize; 4],
    output: [usize; 4],
}

/// Pools `[N, C, H, W]` on Flex, or returns the input where burn has to.
pub fn max_pool<B: Backend>(
    layer: &MaxPool2d,
    x: Tensor<B, 4>,
) -> Result<Tensor<B, 4>, Tensor<B, 4>> {
    let ([kernel, kernel_width], [stride, stride_width]) = (layer.kernel_size, layer.stride);
    let is_plain = kernel == kernel_width
        && stride == stride_width
        && matches!(layer.padding, PaddingConfig2d::Valid | PaddingConfig2d::Explicit(0, 0, 0, 0))
        && layer.dilation == [1, 1]
        && !layer.ceil_mode;
    let input @ [batch, channels, height, width] = x.dims();
    match MaxPool::new([height, width], kernel, stride) {
        Ok(pool) if is_plain && batch * channels > 0 => {
            let [height, width] = pool.output_size();
            apply(&Pool { pool, input, output: [batch, channels, height, width] }, x)
        }
        _ => Err(x),
    }
}

impl Unary for Pool {
    /// The place of each output in its window.
    type Saved = Arc<Vec<u8>>;

    fn forward(&self, x: &FlexTensor) -> Option<(FlexTensor, Arc<Vec<u8>>)> {
        let x = x.to_contiguous();
        let input = x.as_slice()?;
        let mut places = vec![0; self.output.iter().product()];
        let Ok(y) = try_computed(self.output, |output| {
            self.pool.forward(input, output, &mut places);
            Ok::<(), Infallible>(())
        });
        Some((y, Arc::new(places)))
    }

    fn backward(&self, places: Arc<Vec<u8>>, gradient: &FlexTensor) -> FlexTensor {
        computed(self.input, |values| {
            let gradient = gradient.as_slice().unwrap_or_default();
            self.pool.input_gradient(&places, gradient, values);
            Ok(())
        })
    }
}
