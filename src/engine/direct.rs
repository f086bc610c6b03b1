//! Convolution by its definition, without a matrix of patches.
//!
//! The microkernel walks the map itself: block of channels, row of the kernel, and in a row all its
//! columns and channels, which lie together. That suits what Winograd does not: the first layer with
//! its three channels, strides, kernels of 1×1 and 11×11.
#![allow(unsafe_code)]

use super::convolution::{Algorithm, Convolution};
use super::map::Map;
use super::product::{Target, Walk, product};
use super::simd::{BLOCK, Place, Simd, dispatch};
use super::stage::{Memory, Stage};
use std::sync::Arc;

/// Pixels that an item computes at least: its weights stay in the cache for them.
const PIXELS: usize = 112;

#[derive(Debug)]
pub(super) struct Direct {
    pub convolution: Arc<Convolution>,
    pub input: Map,
    pub output: Map,
    pub batch: usize,
    pub relu: bool,
}

impl Direct {
    fn rows(&self) -> usize {
        PIXELS.div_ceil(self.output.width).min(self.output.height)
    }

    fn chunks(&self) -> usize {
        self.output.height.div_ceil(self.rows())
    }
}

impl Stage for Direct {
    fn items(&self) -> usize {
        self.convolution.parts() * self.batch * self.chunks()
    }

    fn run(&self, item: usize, _: usize, memory: &Memory) {
        let Ok(weights) = self.convolution.packed(Algorithm::Direct) else { return };
        let (input, output) = (memory.place(self.input.buffer), memory.place(self.output.buffer));
        let weights = weights.place();
        // SAFETY: the plan chose an instruction set that is there. The map was reserved for this
        // kernel, stride and padding, the weights were packed for it, and no two items share a row of
        // the same outputs.
        unsafe {
            dispatch!(self.convolution.isa, convolve(
                stage: &Direct = self, item: usize = item,
                input: Place = input, weights: Place = weights, output: Place = output,
            ))
        }
    }
}

/// # Safety
/// As for [`product`], for the item's rows.
#[inline(always)]
unsafe fn convolve<S: Simd>(
    stage: &Direct,
    item: usize,
    input: Place,
    weights: Place,
    output: Place,
) {
    let (from, to, conv) = (&stage.input, &stage.output, &*stage.convolution);
    // Images before outputs: as many rows as can be see the same weights.
    let chunks = stage.chunks();
    let (part, rest) = (item / (stage.batch * chunks), item % (stage.batch * chunks));
    let (image, chunk) = (rest / chunks, rest % chunks);
    let part = conv.part(part);
    let walk = Walk {
        blocks: conv.input_blocks(),
        block_stride: from.block_stride(),
        rows: conv.kernel,
        row_stride: from.row_stride(),
        length: conv.kernel * from.interleave,
        step: conv.stride * from.interleave,
    };
    let weights = weights.add(part.first * BLOCK * walk.steps());
    let first_block = part.group * conv.input_blocks();
    let bias = conv.bias.place().add(part.first * BLOCK);
    let end = ((chunk + 1) * stage.rows()).min(to.height);
    let mut y = chunk * stage.rows();
    while y < end {
        let window = from.padded(image, first_block, y * conv.stride, 0);
        let target = Target {
            at: output.add(to.at(image, part.first, y, 0)),
            block_stride: to.block_stride(),
            bias: Some(bias),
            relu: stage.relu,
        };
        // SAFETY: the caller's.
        unsafe { product::<S>(to.width, part.width, &walk, input.add(window), weights, target) };
        y += 1;
    }
}
