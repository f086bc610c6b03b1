//! The fused schedule: all three steps for a few tiles at a time.
#![allow(unsafe_code)]

use super::WinogradConvolution;
use super::tile_transforms::{transform_inputs, transform_outputs};
use crate::engine::microkernel::{OutputPanel, multiply_panel};
use crate::engine::simd::{BLOCK, CheckedPtr};
use crate::engine::stage::Stage;
use crate::engine::workspace::Workspace;

/// A convolution whose V and M never leave the caches.
#[derive(Debug)]
pub(in crate::engine) struct FusedWinograd {
    pub winograd: WinogradConvolution,
    /// Items, among which the tiles are divided as evenly as possible.
    pub items: usize,
}

impl FusedWinograd {
    /// The most tiles in an item.
    fn tiles(&self) -> usize {
        self.winograd.tile_count().div_ceil(self.items)
    }

    /// Values of an item's V.
    fn v_len(&self) -> usize {
        let stride =
            WinogradConvolution::product_stride(self.winograd.input_blocks(), self.tiles());
        self.winograd.products() * stride
    }
}

impl Stage for FusedWinograd {
    fn items(&self) -> usize {
        self.items
    }

    /// V, and M of one panel.
    fn scratch_len(&self) -> usize {
        let blocks = self.winograd.convolution.isa.nr_blocks();
        let m_stride = WinogradConvolution::product_stride(blocks, self.tiles());
        self.v_len() + self.winograd.products() * m_stride
    }

    fn run(&self, item: usize, worker: usize, workspace: &Workspace) {
        let Some(weights) = self.winograd.weights() else { return };
        let input = workspace.buffer(self.winograd.input.buffer);
        let output = workspace.buffer(self.winograd.output.buffer);
        let scratch = workspace.scratch(worker);
        // SAFETY: the plan chose an available instruction set and padded the input to whole tiles. The
        // scratch memory belongs to this worker, and no two items share a tile.
        unsafe { convolve(self, item, input, weights, output, scratch) }
    }
}

/// # Safety
/// As for [`multiply_panel`], for the item's tiles.
unsafe fn convolve(
    stage: &FusedWinograd,
    item: usize,
    input: CheckedPtr,
    weights: CheckedPtr,
    output: CheckedPtr,
    scratch: CheckedPtr,
) {
    let w = &stage.winograd;
    let conv = &*w.convolution;
    let start = |item: usize| (item as u64 * w.tile_count() as u64 / stage.items as u64) as usize;
    let [first, end] = [start(item), start(item + 1)];
    let (count, tiles) = (end - first, stage.tiles());
    let v_stride = WinogradConvolution::product_stride(w.input_blocks(), tiles);
    let m_stride = WinogradConvolution::product_stride(conv.isa.nr_blocks(), tiles);
    let m = scratch.add(stage.v_len());
    let strides = w.strides(tiles);
    // SAFETY: guaranteed by the caller.
    unsafe {
        for block in 0..w.input_blocks() {
            let v = scratch.add(block * tiles * BLOCK);
            transform_inputs(w, block, first, count, input, v, v_stride);
        }
        for index in 0..conv.panels() {
            let panel = conv.panel(index);
            let group_offset = panel.group * conv.input_blocks() * tiles * BLOCK;
            for p in 0..w.products() {
                let product = OutputPanel {
                    ptr: m.add(p * m_stride),
                    block_stride: tiles * BLOCK,
                    bias: None,
                    relu: false,
                };
                multiply_panel(
                    conv.isa,
                    count,
                    panel.blocks,
                    &strides,
                    scratch.add(p * v_stride + group_offset),
                    w.product_weights(weights, panel, p),
                    product,
                );
            }
            for j in 0..panel.blocks {
                let m = m.add(j * tiles * BLOCK);
                let block = panel.first_block + j;
                transform_outputs(w, block, first, count, m, m_stride, output);
            }
        }
    }
}
