//! The non-fused schedule: each step for the whole batch, one after the other.
#![allow(unsafe_code)]

use super::tile_transforms::transform_inputs;
use super::{ItemTiles, PanelOfProduct, ProductTiles, Weights, WinogradConvolution};
use crate::engine::division::Division;
use crate::engine::microkernel::rows_in_time;
use crate::engine::packed_convolution::PackedConvolution;
use crate::engine::simd::{BLOCK, CheckedPtr};
use crate::engine::stage::{Stage, Work};
use crate::engine::workspace::Workspace;
use std::ops::Range;

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

/// Tiles that an item transforms for few threads: enough that taking an item costs little in comparison.
pub(in crate::engine) const TILES_PER_ITEM: usize = 32;

/// Tiles that an item quantizes for few threads, with all their channels.
pub(in crate::engine) const QUANTIZED_TILES_PER_ITEM: usize = 4;

/// Some tiles of a block of channels: an item of the transforms.
struct TilesOfBlock {
    block: usize,
    first: usize,
    count: usize,
}

impl NonFusedWinograd {
    /// Items that the tiles of a block are divided into.
    fn chunks(&self, tiles_per_item: usize) -> usize {
        self.winograd.tile_count().div_ceil(tiles_per_item)
    }

    fn tiles_of_block(&self, item: usize, tiles_per_item: usize) -> TilesOfBlock {
        let chunks = self.chunks(tiles_per_item);
        let (block, first) = (item / chunks, item % chunks * tiles_per_item);
        let count = tiles_per_item.min(self.winograd.tile_count() - first);
        TilesOfBlock { block, first, count }
    }

    /// The work of transforming some tiles of a block: each vector of V or M is on its way between two
    /// stages.
    fn transform_work(&self, item: usize, tiles_per_item: usize) -> Work {
        let tiles = self.tiles_of_block(item, tiles_per_item).count;
        let vectors = (tiles * self.winograd.products()) as f64;
        Work { vectors, moved_bytes: vectors * (4 * BLOCK) as f64, ..Work::default() }
    }
}

/// The first step: V.
#[derive(Debug)]
pub(in crate::engine) struct WinogradInputTransform {
    pub convolution: NonFusedWinograd,
    pub tiles_per_item: usize,
}

impl Stage for WinogradInputTransform {
    fn items(&self) -> usize {
        let blocks = if self.convolution.winograd.convolution.is_integer() {
            // A tile's scale is that of all its channels.
            1
        } else {
            self.convolution.winograd.input_blocks()
        };
        blocks * self.convolution.chunks(self.tiles_per_item)
    }

    fn work(&self, item: usize) -> Work {
        let work = self.convolution.transform_work(item, self.tiles_per_item);
        if self.convolution.winograd.convolution.is_integer() {
            let blocks = self.convolution.winograd.input_blocks() as f64;
            let moved_bytes = work.moved_bytes * blocks / 2.0;
            Work { vectors: work.vectors * blocks, moved_bytes, ..work }
        } else {
            work
        }
    }

    fn scratch_len(&self) -> usize {
        self.convolution.winograd.input_scratch_len()
    }

    fn run(&self, item: usize, worker: usize, workspace: &Workspace) {
        let Some(weights) = self.convolution.winograd.weights() else { return };
        let input = workspace.buffer(self.convolution.winograd.input.buffer);
        let v = workspace.buffer(self.convolution.v);
        let scales = workspace.buffer(self.convolution.scales);
        let scratch = workspace.scratch(worker);
        let tiles = self.convolution.tiles_of_block(item, self.tiles_per_item);
        // SAFETY: the plan chose an available instruction set, padded the input to whole tiles and
        // reserved V and the scales. No two items share a tile of a block, and with integers no tile.
        unsafe {
            match weights {
                Weights::Floats(_) => input_transform(&self.convolution, tiles, input, v),
                Weights::Integers(_) => {
                    quantize(&self.convolution, tiles, [input, v, scales, scratch], weights)
                }
            }
        }
    }
}

/// # Safety
/// As for [`transform_inputs`], for these tiles.
unsafe fn input_transform(
    stage: &NonFusedWinograd,
    TilesOfBlock { block, first, count }: TilesOfBlock,
    input: CheckedPtr,
    v: CheckedPtr,
) {
    let w = &stage.winograd;
    let v = v.add((block * w.tile_count() + first) * BLOCK);
    // SAFETY: guaranteed by the caller.
    unsafe { transform_inputs(w, block, first, count, input, v, stage.v_stride()) }
}

/// # Safety
/// As for [`WinogradConvolution::transform_inputs`], for these tiles.
unsafe fn quantize(
    stage: &NonFusedWinograd,
    TilesOfBlock { first, count, .. }: TilesOfBlock,
    [input, v, scales, scratch]: [CheckedPtr; 4],
    weights: Weights<'_>,
) {
    let w = &stage.winograd;
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
    /// Threads that take items.
    threads: usize,
}

impl WinogradProducts {
    /// Panels of an item for few threads: up to four items for each product, so that no thread waits long
    /// for the last ones.
    pub fn most_panels(convolution: &PackedConvolution) -> usize {
        convolution.panels().div_ceil(4).max(1)
    }

    /// Divides the products into items of so many panels.
    pub fn new(convolution: NonFusedWinograd, panels_per_item: usize, division: &Division) -> Self {
        let conv = &convolution.winograd.convolution;
        let tile_bytes = conv.input_blocks() * convolution.winograd.v_block_len() * 4;
        let mr = conv.isa.mr();
        let tiles_at_once = (division.machine.l2_bytes / 2 / tile_bytes / mr).max(1) * mr;
        Self { convolution, panels_per_item, tiles_at_once, threads: division.threads }
    }

    /// The product of an item, and its panels.
    fn part(&self, item: usize) -> (usize, Range<usize>) {
        let panels = self.convolution.winograd.convolution.panels();
        let first = item % self.chunks() * self.panels_per_item;
        (item / self.chunks(), first..(first + self.panels_per_item).min(panels))
    }

    /// The panel that the thread will probably compute after that one: it takes the next item that no other thread has.
    fn next_panel(&self, item: usize, panel: usize) -> Option<PanelOfProduct> {
        let (product, panels) = self.part(item);
        let (product, index) = if panel + 1 < panels.end {
            (product, panel + 1)
        } else {
            let next = item + self.threads;
            if next >= self.items() {
                return None;
            }
            let (product, panels) = self.part(next);
            (product, panels.start)
        };
        Some(PanelOfProduct { panel: self.convolution.winograd.convolution.panel(index), product })
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

    /// An item reads all of the product's V, and its weights once, for as many tiles as fit in the cache.
    fn work(&self, item: usize) -> Work {
        let w = &self.convolution.winograd;
        let conv = &*w.convolution;
        let blocks: usize = self.part(item).1.map(|index| conv.panel(index).blocks).sum();
        let tiles = w.tile_count();
        let (inner, outputs) = (conv.inner_len(w.algorithm), (blocks * BLOCK) as f64);
        let value_bytes = if conv.is_integer() { 2.0 } else { 4.0 };
        let weight_bytes = value_bytes * inner as f64 * outputs;
        let rereads = (tiles.div_ceil(self.tiles_at_once) - 1) as f64;
        let multiply_adds = rows_in_time(conv.isa, tiles) as f64 * inner as f64 * outputs;
        Work {
            multiply_adds: conv.f32_multiply_adds(multiply_adds),
            new_bytes: weight_bytes,
            cached_bytes: rereads * weight_bytes + value_bytes * (inner * tiles) as f64,
            moved_bytes: 4.0 * tiles as f64 * outputs,
            ..Work::default()
        }
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
    let (p, panels) = stage.part(item);
    let v = v.add(p * stage.convolution.v_stride());
    let m = m.add(p * stage.convolution.m_stride());
    let mut first = 0;
    while first < w.tile_count() {
        let count = stage.tiles_at_once.min(w.tile_count() - first);
        for index in panels.clone() {
            let panel = conv.panel(index);
            let this = PanelOfProduct { panel, product: p };
            let next = stage.next_panel(item, index);
            let v = v.add(first * w.v_block_len());
            let m = m.add((panel.first_block * w.tile_count() + first) * BLOCK);
            let tiles = ProductTiles { count, capacity: w.tile_count() };
            // SAFETY: guaranteed by the caller.
            unsafe { w.multiply(weights, this, next, tiles, [v, m]) };
        }
        first += count;
    }
}

/// The third step: the outputs.
#[derive(Debug)]
pub(in crate::engine) struct WinogradOutputTransform {
    pub convolution: NonFusedWinograd,
    pub tiles_per_item: usize,
}

impl Stage for WinogradOutputTransform {
    fn items(&self) -> usize {
        self.convolution.winograd.output.blocks() * self.convolution.chunks(self.tiles_per_item)
    }

    fn work(&self, item: usize) -> Work {
        self.convolution.transform_work(item, self.tiles_per_item)
    }

    fn run(&self, item: usize, _: usize, workspace: &Workspace) {
        let Some(weights) = self.convolution.winograd.weights() else { return };
        let output = workspace.buffer(self.convolution.winograd.output.buffer);
        let m = workspace.buffer(self.convolution.m);
        let scales = workspace.buffer(self.convolution.scales);
        let tiles = self.convolution.tiles_of_block(item, self.tiles_per_item);
        // SAFETY: the plan chose an available instruction set and reserved M. No two items share a tile
        // of a block.
        unsafe { output_transform(&self.convolution, tiles, [m, scales, output], weights) }
    }
}

/// # Safety
/// As for [`WinogradConvolution::transform_outputs`], for these tiles.
unsafe fn output_transform(
    stage: &NonFusedWinograd,
    TilesOfBlock { block, first, count }: TilesOfBlock,
    [m, scales, output]: [CheckedPtr; 3],
    weights: Weights<'_>,
) {
    let w = &stage.winograd;
    let m = m.add((block * w.tile_count() + first) * BLOCK);
    let pointers = [scales.add(first), output];
    // SAFETY: guaranteed by the caller.
    unsafe {
        w.transform_outputs(block, [first, count], m, stage.m_stride(), pointers, weights);
    }
}
