//! The non-fused schedule: each step for the whole batch, one after the other.
#![allow(unsafe_code)]

use super::tile_transforms::transform_inputs;
use super::{ItemTiles, ProductTiles, Weights, WinogradConvolution};
use crate::engine::simd::{BLOCK, CheckedPtr};
use crate::engine::stage::Stage;
use crate::engine::workspace::Workspace;

/// A convolution whose V and M of the whole batch are in memory: `[product][block][tile][16]`.
#[derive(Debug, Clone)]
pub(in crate::engine) struct NonFusedWinograd {
    pub winograd: WinogradConvolution,
    /// Index of V's buffer in the workspace.
    pub v: usize,
    /// Index of M's buffer in the workspace.
    pub m: usize,
    /// Index of the buffer of the tiles' scales, which only integers have.
    pub scales: usize,
}

impl NonFusedWinograd {
    fn v_stride(&self) -> usize {
        self.winograd.v_stride(self.winograd.tile_count())
    }

    fn m_stride(&self) -> usize {
        let blocks = self.winograd.convolution.outputs.div_ceil(BLOCK);
        WinogradConvolution::m_stride(blocks, self.winograd.tile_count())
    }

    /// Values of V, of M and of the scales.
    pub fn lens(&self) -> [usize; 3] {
        let is_integer = self.winograd.convolution.is_integer();
        let [v, m] = [self.v_stride(), self.m_stride()]
            .map(|stride| stride.saturating_mul(self.winograd.products()));
        [v, m, if is_integer { self.winograd.tile_count() } else { 0 }]
    }
}

/// Tiles that an item transforms: enough that taking an item costs little in comparison.
const TILES_PER_ITEM: usize = 32;

/// Tiles that an item quantizes, with all their channels.
const QUANTIZED_TILES_PER_ITEM: usize = 4;

/// The first step: V.
#[derive(Debug)]
pub(in crate::engine) struct WinogradInputTransform(pub NonFusedWinograd);

impl Stage for WinogradInputTransform {
    fn items(&self) -> usize {
        let w = &self.0.winograd;
        if w.convolution.is_integer() {
            w.tile_count().div_ceil(QUANTIZED_TILES_PER_ITEM)
        } else {
            w.input_blocks() * w.tile_count().div_ceil(TILES_PER_ITEM)
        }
    }

    fn scratch_len(&self) -> usize {
        self.0.winograd.input_scratch_len()
    }

    fn run(&self, item: usize, worker: usize, workspace: &Workspace) {
        let Some(weights) = self.0.winograd.weights() else { return };
        let input = workspace.buffer(self.0.winograd.input.buffer);
        let v = workspace.buffer(self.0.v);
        let scales = workspace.buffer(self.0.scales);
        let scratch = workspace.scratch(worker);
        // SAFETY: the plan chose an available instruction set, padded the input to whole tiles and
        // reserved V and the scales. No two items share a tile of a block, and with integers no tile.
        unsafe {
            match weights {
                Weights::Floats(_) => input_transform(&self.0, item, input, v),
                Weights::Integers(_) => {
                    quantize(&self.0, item, [input, v, scales, scratch], weights)
                }
            }
        }
    }
}

/// # Safety
/// As for [`transform_inputs`], for the item's tiles.
unsafe fn input_transform(stage: &NonFusedWinograd, item: usize, input: CheckedPtr, v: CheckedPtr) {
    let w = &stage.winograd;
    let chunks = w.tile_count().div_ceil(TILES_PER_ITEM);
    let (block, first) = (item / chunks, item % chunks * TILES_PER_ITEM);
    let count = TILES_PER_ITEM.min(w.tile_count() - first);
    let v = v.add((block * w.tile_count() + first) * BLOCK);
    // SAFETY: guaranteed by the caller.
    unsafe { transform_inputs(w, block, first, count, input, v, stage.v_stride()) }
}

/// # Safety
/// As for [`WinogradConvolution::transform_inputs`], for the item's tiles.
unsafe fn quantize(
    stage: &NonFusedWinograd,
    item: usize,
    [input, v, scales, scratch]: [CheckedPtr; 4],
    weights: Weights<'_>,
) {
    let w = &stage.winograd;
    let first = item * QUANTIZED_TILES_PER_ITEM;
    let count = QUANTIZED_TILES_PER_ITEM.min(w.tile_count() - first);
    let tiles = ItemTiles { first, count, capacity: w.tile_count(), v_stride: stage.v_stride() };
    let (v, scales) = (v.add(first * w.v_block_len()), scales.add(first));
    // SAFETY: guaranteed by the caller.
    unsafe { w.transform_inputs(tiles, [input, v, scales, scratch], weights) }
}

/// The second step: M.
#[derive(Debug)]
pub(in crate::engine) struct WinogradProducts {
    convolution: NonFusedWinograd,
    /// Panels that an item computes.
    panels_per_item: usize,
    /// Tiles whose V stays in the cache while an item goes through its panels.
    tiles_at_once: usize,
}

impl WinogradProducts {
    /// Divides the products into items, for an L2 cache of that size.
    pub fn new(convolution: NonFusedWinograd, l2_bytes: usize) -> Self {
        let conv = &convolution.winograd.convolution;
        let tile_bytes = conv.input_blocks() * convolution.winograd.v_block_len() * 4;
        let mr = conv.isa.mr();
        let tiles_at_once = (l2_bytes / 2 / tile_bytes / mr).max(1) * mr;
        // Two or more items for each product, so that no thread waits long for the last ones.
        let panels_per_item = conv.panels().div_ceil(4).max(1);
        Self { convolution, panels_per_item, tiles_at_once }
    }

    /// Items that the panels of a product are divided into.
    fn chunks(&self) -> usize {
        self.convolution.winograd.convolution.panels().div_ceil(self.panels_per_item)
    }
}

impl Stage for WinogradProducts {
    fn items(&self) -> usize {
        self.convolution.winograd.products() * self.chunks()
    }

    fn run(&self, item: usize, _: usize, workspace: &Workspace) {
        let Some(weights) = self.convolution.winograd.weights() else { return };
        let v = workspace.buffer(self.convolution.v);
        let m = workspace.buffer(self.convolution.m);
        // SAFETY: the plan chose an available instruction set and reserved V and M. No two items share a
        // panel of a product.
        unsafe { multiply(self, item, v, weights, m) }
    }
}

/// # Safety
/// As for [`WinogradConvolution::multiply`], for the item's panels.
unsafe fn multiply(
    stage: &WinogradProducts,
    item: usize,
    v: CheckedPtr,
    weights: Weights<'_>,
    m: CheckedPtr,
) {
    let w = &stage.convolution.winograd;
    let conv = &*w.convolution;
    let (p, chunk) = (item / stage.chunks(), item % stage.chunks());
    let end = ((chunk + 1) * stage.panels_per_item).min(conv.panels());
    let v = v.add(p * stage.convolution.v_stride());
    let m = m.add(p * stage.convolution.m_stride());
    let mut first = 0;
    while first < w.tile_count() {
        let count = stage.tiles_at_once.min(w.tile_count() - first);
        for index in chunk * stage.panels_per_item..end {
            let panel = conv.panel(index);
            let v = v.add(first * w.v_block_len());
            let m = m.add((panel.first_block * w.tile_count() + first) * BLOCK);
            let tiles = ProductTiles { count, capacity: w.tile_count() };
            // SAFETY: guaranteed by the caller.
            unsafe { w.multiply(weights, panel, p, tiles, [v, m]) };
        }
        first += count;
    }
}

/// The third step: the outputs.
#[derive(Debug)]
pub(in crate::engine) struct WinogradOutputTransform(pub NonFusedWinograd);

impl Stage for WinogradOutputTransform {
    fn items(&self) -> usize {
        self.0.winograd.output.blocks() * self.0.winograd.tile_count().div_ceil(TILES_PER_ITEM)
    }

    fn run(&self, item: usize, _: usize, workspace: &Workspace) {
        let Some(weights) = self.0.winograd.weights() else { return };
        let output = workspace.buffer(self.0.winograd.output.buffer);
        let m = workspace.buffer(self.0.m);
        let scales = workspace.buffer(self.0.scales);
        // SAFETY: the plan chose an available instruction set and reserved M. No two items share a tile
        // of a block.
        unsafe { output_transform(&self.0, item, [m, scales, output], weights) }
    }
}

/// # Safety
/// As for [`WinogradConvolution::transform_outputs`], for the item's tiles.
unsafe fn output_transform(
    stage: &NonFusedWinograd,
    item: usize,
    [m, scales, output]: [CheckedPtr; 3],
    weights: Weights<'_>,
) {
    let w = &stage.winograd;
    let chunks = w.tile_count().div_ceil(TILES_PER_ITEM);
    let (block, first) = (item / chunks, item % chunks * TILES_PER_ITEM);
    let count = TILES_PER_ITEM.min(w.tile_count() - first);
    let m = m.add((block * w.tile_count() + first) * BLOCK);
    let pointers = [scales.add(first), output];
    // SAFETY: guaranteed by the caller.
    unsafe {
        w.transform_outputs(block, [first, count], m, stage.m_stride(), pointers, weights);
    }
}
