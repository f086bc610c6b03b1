//! Direct convolution, without an im2col matrix.
//!
//! The microkernel reads the feature map in place: for each block of channels and each row of the kernel,
//! all of the row's columns and channels are contiguous. This covers what Winograd's algorithm does not
//! suit: the first layer with its three channels, strides, and kernels of 1×1 and 11×11.
#![allow(unsafe_code)]

use super::algorithm::Algorithm;
use super::feature_map::FeatureMap;
use super::microkernel::{OutputPanel, StridedInput, multiply_panel};
use super::packed_convolution::PackedConvolution;
use super::simd::{BLOCK, CheckedPtr};
use super::stage::Stage;
use super::workspace::Workspace;
use std::sync::Arc;

/// The fewest pixels that an item computes, while its weights stay in the cache.
const MIN_PIXELS: usize = 112;

/// A convolution, with a fused ReLU if `relu` is set.
#[derive(Debug)]
pub(super) struct DirectConvolution {
    pub convolution: Arc<PackedConvolution>,
    pub input: FeatureMap,
    pub output: FeatureMap,
    pub batch: usize,
    pub relu: bool,
}

impl DirectConvolution {
    /// Rows of an item.
    fn rows(&self) -> usize {
        MIN_PIXELS.div_ceil(self.output.width).min(self.output.height)
    }

    /// Items that an image is divided into.
    fn chunks(&self) -> usize {
        self.output.height.div_ceil(self.rows())
    }
}

impl Stage for DirectConvolution {
    fn items(&self) -> usize {
        self.convolution.panels() * self.batch * self.chunks()
    }

    fn run(&self, item: usize, _: usize, workspace: &Workspace) {
        let Ok(weights) = self.convolution.packed(Algorithm::Direct) else { return };
        let input = workspace.buffer(self.input.buffer);
        let output = workspace.buffer(self.output.buffer);
        let weights = weights.ptr();
        // SAFETY: the plan chose an available instruction set, padded the input for this kernel and
        // stride, and packed the weights for this algorithm. No two items share a row of a panel.
        unsafe { convolve(self, item, input, weights, output) }
    }
}

/// # Safety
/// As for [`multiply_panel`], for the item's rows.
unsafe fn convolve(
    stage: &DirectConvolution,
    item: usize,
    input: CheckedPtr,
    weights: CheckedPtr,
    output: CheckedPtr,
) {
    let (from, to, conv) = (&stage.input, &stage.output, &*stage.convolution);
    // Consecutive items share a panel: as many rows as possible use the same weights.
    let chunks = stage.chunks();
    let (panel, rest) = (item / (stage.batch * chunks), item % (stage.batch * chunks));
    let (image, chunk) = (rest / chunks, rest % chunks);
    let panel = conv.panel(panel);
    let strides = StridedInput {
        blocks: conv.input_blocks(),
        block_stride: from.block_stride(),
        rows: conv.kernel,
        row_stride: from.row_stride(),
        row_len: conv.kernel * from.channels_per_block,
        pixel_stride: conv.stride * from.channels_per_block,
    };
    let weights = weights.add(panel.first_block * BLOCK * strides.inner_len());
    let first_input_block = panel.group * conv.input_blocks();
    let bias = conv.bias.ptr().add(panel.first_block * BLOCK);
    let end = ((chunk + 1) * stage.rows()).min(to.height);
    let mut y = chunk * stage.rows();
    while y < end {
        let window = from.padded_offset(image, first_input_block, y * conv.stride, 0);
        let row = OutputPanel {
            ptr: output.add(to.offset(image, panel.first_block, y, 0)),
            block_stride: to.block_stride(),
            bias: Some(bias),
            relu: stage.relu,
        };
        // SAFETY: guaranteed by the caller.
        unsafe {
            let input = input.add(window);
            multiply_panel(conv.isa, to.width, panel.blocks, &strides, input, weights, row);
        }
        y += 1;
    }
}
