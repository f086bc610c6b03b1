//! The fused schedule: all three steps for a few tiles at a time.
#![allow(unsafe_code)]

use super::{ItemTiles, PanelOfProduct, ProductTiles, Weights, WinogradConvolution};
use crate::engine::microkernel::rows_in_time;
use crate::engine::simd::{BLOCK, CheckedPtr};
use crate::engine::stage::{Stage, Work};
use crate::engine::workspace::Workspace;

/// A convolution whose V and M never leave the caches.
#[derive(Debug)]
pub(in crate::engine) struct FusedWinograd {
    pub winograd: WinogradConvolution,
    /// Items, among which the tiles are divided as evenly as possible.
    pub items: usize,
    /// Whether the weights stay in the L3 cache from one item to the next.
    pub keeps_weights_in_cache: bool,
}

impl FusedWinograd {
    /// The tiles of an item: the first, and how many.
    fn part(&self, item: usize) -> [usize; 2] {
        let tiles = self.winograd.tile_count() as u64;
        let start = |item: usize| (item as u64 * tiles / self.items as u64) as usize;
        [start(item), start(item + 1) - start(item)]
    }

    /// The most tiles in an item.
    fn tiles(&self) -> usize {
        self.winograd.tile_count().div_ceil(self.items)
    }

    /// Values of an item's V.
    fn v_len(&self) -> usize {
        self.winograd.products() * self.winograd.v_stride(self.tiles())
    }

    /// From one product's M to the next, of one panel.
    fn m_stride(&self) -> usize {
        WinogradConvolution::m_stride(self.winograd.convolution.isa.nr_blocks(), self.tiles())
    }
}

impl Stage for FusedWinograd {
    fn items(&self) -> usize {
        self.items
    }

    /// Each item reads all weights; only the first reading is from memory, if they stay in the cache.
    fn work(&self, item: usize) -> Work {
        let [_, count] = self.part(item);
        let Work { multiply_adds, vectors, .. } = self.winograd.work(count);
        let rows = rows_in_time(self.winograd.convolution.isa, count) as f64 / count.max(1) as f64;
        let bytes = self.winograd.convolution.weight_bytes(self.winograd.algorithm) as f64;
        let new = if self.keeps_weights_in_cache { bytes / self.items as f64 } else { bytes };
        Work {
            multiply_adds: multiply_adds * rows,
            new_bytes: new,
            cached_bytes: bytes - new,
            vectors,
            ..Work::default()
        }
    }

    /// V, M of one panel, the scales of the tiles, and what the first step needs.
    fn scratch_len(&self) -> usize {
        let m_len = self.winograd.products() * self.m_stride();
        let scales_len = self.tiles().next_multiple_of(BLOCK);
        self.v_len() + m_len + scales_len + self.winograd.input_scratch_len()
    }

    fn run(&self, item: usize, worker: usize, workspace: &Workspace) {
        let Some(weights) = self.winograd.weights() else { return };
        let input = workspace.buffer(self.winograd.input.buffer);
        let output = workspace.buffer(self.winograd.output.buffer);
        let scratch = workspace.scratch(worker);
        // SAFETY: the plan chose an available instruction set and padded the input to whole tiles. The
        // scratch memory belongs to this worker, and no two items share a tile.
        unsafe { convolve(self, item, [input, output, scratch], weights) }
    }
}

/// # Safety
/// As for [`WinogradConvolution::multiply`], for the item's tiles.
unsafe fn convolve(
    stage: &FusedWinograd,
    item: usize,
    [input, output, scratch]: [CheckedPtr; 3],
    weights: Weights<'_>,
) {
    let w = &stage.winograd;
    let [first, count] = stage.part(item);
    let tiles = ProductTiles { count, capacity: stage.tiles() };
    let (v_stride, m_stride) = (w.v_stride(tiles.capacity), stage.m_stride());
    let (v, m) = (scratch, scratch.add(stage.v_len()));
    let scales = m.add(w.products() * m_stride);
    let of_item = ItemTiles { first, count: tiles.count, capacity: tiles.capacity, v_stride };
    // SAFETY: guaranteed by the caller.
    unsafe {
        let scratch = scales.add(tiles.capacity.next_multiple_of(BLOCK));
        w.transform_inputs(of_item, [input, v, scales, scratch], weights);
        for index in 0..w.convolution.panels() {
            let panel = w.convolution.panel(index);
            for p in 0..w.products() {
                let this = PanelOfProduct { panel, product: p };
                let pointers = [v.add(p * v_stride), m.add(p * m_stride)];
                w.multiply(weights, this, None, tiles, pointers);
            }
            for j in 0..panel.blocks {
                let m = m.add(j * tiles.capacity * BLOCK);
                let block = panel.first_block + j;
                w.transform_outputs(
                    block,
                    [first, tiles.count],
                    m,
                    m_stride,
                    [scales, output],
                    weights,
                );
            }
        }
    }
}
