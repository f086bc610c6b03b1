//! Winograd's convolution, in three steps and two schedules.
//!
//! A map is cut into tiles that overlap. Each is transformed (`V = Bᵀ d B`), multiplied product by
//! product with the transformed weights over all input channels (n² small products of matrices,
//! `M = V U`), and transformed back (`Aᵀ m A`), with bias, ReLU and, where it follows, the 2×2 max
//! pool while the outputs are in registers.
//!
//! - [`Fused`]: a worker takes as many tiles as its cache holds, and does all three steps with them.
//!   V never leaves the cache, the weights are read once for each item. Best for large maps.
//! - [`Transform`], [`Multiply`], [`Restore`]: one step after the other for the whole batch. V and M go
//!   through memory, but each weight is read once, by one core. Best for small maps with many channels.
#![allow(unsafe_code)]

mod steps;
mod tile;

use super::convolution::{Algorithm, Convolution, Outputs};
use super::map::Map;
use super::product::{Target, Walk, product};
use super::simd::{BLOCK, Place, Simd, dispatch};
use super::stage::{Memory, Stage};
use std::sync::Arc;
use steps::{restore, transform};
pub(super) use tile::{F2x3, F4x3, F4x5, F5x3, F6x3, weight_matrix};

/// One convolution by Winograd's algorithm: what both schedules share.
#[derive(Debug, Clone)]
pub(super) struct Winograd {
    pub convolution: Arc<Convolution>,
    pub algorithm: Algorithm,
    pub input: Map,
    /// Of the pool, if there is one.
    pub output: Map,
    pub batch: usize,
    pub relu: bool,
    /// A 2×2 max pool with stride 2 follows.
    pub pool: bool,
    /// Tiles in a column and a row of an image.
    pub tiles: [usize; 2],
}

impl Winograd {
    pub fn count(&self) -> usize {
        self.batch * self.tiles[0] * self.tiles[1]
    }

    /// Products for each tile.
    fn products(&self) -> usize {
        self.algorithm.products()
    }

    /// `(image, y, x)` of a tile.
    fn place(&self, tile: usize) -> (usize, usize, usize) {
        let [rows, columns] = self.tiles;
        (tile / (rows * columns), tile / columns % rows, tile % columns)
    }

    /// Numbers of V or M of one product, with `blocks` of channels and room for `tiles`. Odd multiples
    /// of a cache line: powers of two would put all products of a tile into the same few places of the
    /// cache.
    fn stride(blocks: usize, tiles: usize) -> usize {
        ((blocks * tiles) | 1) * BLOCK
    }

    fn input_blocks(&self) -> usize {
        self.convolution.groups * self.convolution.input_blocks()
    }

    fn weights(&self) -> Option<Place> {
        self.convolution.packed(self.algorithm).ok().map(|packed| packed.place())
    }

    /// Where the weights of a product of one of the convolution's parts begin.
    fn piece(&self, weights: Place, part: Outputs, product: usize) -> Place {
        let step = self.convolution.steps(self.algorithm) * BLOCK;
        weights.add((part.first * self.products() + part.width * product) * step)
    }

    fn walk(&self, tiles: usize) -> Walk {
        Walk {
            blocks: self.convolution.input_blocks(),
            block_stride: tiles * BLOCK,
            rows: 1,
            row_stride: 0,
            length: BLOCK,
            step: BLOCK,
        }
    }
}

/// Calls a kernel with the tile of an algorithm.
macro_rules! with_tile {
    ($algorithm:expr, $kernel:ident :: <$s:ident> ($($argument:expr),*)) => {
        match $algorithm {
            Algorithm::F2x3 => $kernel::<$s, 4, 2, F2x3>($($argument),*),
            Algorithm::F4x3 => $kernel::<$s, 6, 4, F4x3>($($argument),*),
            Algorithm::F5x3 => $kernel::<$s, 7, 5, F5x3>($($argument),*),
            Algorithm::F6x3 => $kernel::<$s, 8, 6, F6x3>($($argument),*),
            Algorithm::F4x5 => $kernel::<$s, 8, 4, F4x5>($($argument),*),
            Algorithm::Direct => {}
        }
    };
}

/// All three steps for a few tiles at a time.
#[derive(Debug)]
pub(super) struct Fused {
    pub winograd: Winograd,
    /// Among which the tiles are divided, as evenly as they can be.
    pub items: usize,
}

impl Fused {
    /// Tiles of an item, at most.
    fn tiles(&self) -> usize {
        self.winograd.count().div_ceil(self.items)
    }

    fn v(&self) -> usize {
        self.winograd.products() * Winograd::stride(self.winograd.input_blocks(), self.tiles())
    }
}

impl Stage for Fused {
    fn items(&self) -> usize {
        self.items
    }

    fn own(&self) -> usize {
        let width = self.winograd.convolution.isa.width();
        self.v() + self.winograd.products() * Winograd::stride(width, self.tiles())
    }

    fn run(&self, item: usize, worker: usize, memory: &Memory) {
        let Some(weights) = self.winograd.weights() else { return };
        let input = memory.place(self.winograd.input.buffer);
        let output = memory.place(self.winograd.output.buffer);
        let own = memory.own(worker);
        // SAFETY: the plan chose an instruction set that is there and reserved the maps for whole
        // tiles; the worker's own memory is its own, and no two items share a tile.
        unsafe {
            dispatch!(self.winograd.convolution.isa, fused(
                stage: &Fused = self, item: usize = item, input: Place = input,
                weights: Place = weights, output: Place = output, own: Place = own,
            ))
        }
    }
}

/// # Safety
/// As for [`product`], for the item's tiles.
#[inline(always)]
unsafe fn fused<S: Simd>(
    stage: &Fused,
    item: usize,
    input: Place,
    weights: Place,
    output: Place,
    own: Place,
) {
    let w = &stage.winograd;
    let conv = &*w.convolution;
    let start = |item: usize| (item as u64 * w.count() as u64 / stage.items as u64) as usize;
    let [first, end] = [start(item), start(item + 1)];
    let (count, tiles) = (end - first, stage.tiles());
    let v_stride = Winograd::stride(w.input_blocks(), tiles);
    let m_stride = Winograd::stride(S::WIDTH, tiles);
    let m = own.add(stage.v());
    let walk = w.walk(tiles);
    // SAFETY: the caller's.
    unsafe {
        for block in 0..w.input_blocks() {
            let v = own.add(block * tiles * BLOCK);
            with_tile!(w.algorithm, transform::<S>(w, block, first, count, input, v, v_stride));
        }
        for index in 0..conv.parts() {
            let part = conv.part(index);
            let of_group = part.group * conv.input_blocks() * tiles * BLOCK;
            for p in 0..w.products() {
                let target = Target {
                    at: m.add(p * m_stride),
                    block_stride: tiles * BLOCK,
                    bias: None,
                    relu: false,
                };
                product::<S>(
                    count,
                    part.width,
                    &walk,
                    own.add(p * v_stride + of_group),
                    w.piece(weights, part, p),
                    target,
                );
            }
            for j in 0..part.width {
                let m = m.add(j * tiles * BLOCK);
                with_tile!(
                    w.algorithm,
                    restore::<S>(w, part.first + j, first, count, m, m_stride, output)
                );
            }
        }
    }
}

/// The whole batch, step by step: the buffers of V and M, in which tiles lie as they are counted.
#[derive(Debug, Clone)]
pub(super) struct Phases {
    pub winograd: Winograd,
    /// Buffers in the scratch memory.
    pub v: usize,
    pub m: usize,
}

impl Phases {
    fn v_stride(&self) -> usize {
        Winograd::stride(self.winograd.input_blocks(), self.winograd.count())
    }

    fn m_stride(&self) -> usize {
        Winograd::stride(self.winograd.convolution.outputs.div_ceil(BLOCK), self.winograd.count())
    }

    /// Numbers of V and of M.
    pub fn lengths(&self) -> [usize; 2] {
        [self.v_stride(), self.m_stride()]
            .map(|stride| stride.saturating_mul(self.winograd.products()))
    }
}

/// Tiles that an item transforms: enough to be worth fetching it.
const TILES_AT_ONCE: usize = 32;

/// The first step: V.
#[derive(Debug)]
pub(super) struct Transform(pub Phases);

impl Stage for Transform {
    fn items(&self) -> usize {
        self.0.winograd.input_blocks() * self.0.winograd.count().div_ceil(TILES_AT_ONCE)
    }

    fn run(&self, item: usize, _: usize, memory: &Memory) {
        let input = memory.place(self.0.winograd.input.buffer);
        let v = memory.place(self.0.v);
        // SAFETY: as in `Fused`; no two items share a tile of a block.
        unsafe {
            dispatch!(self.0.winograd.convolution.isa, transform_item(
                phases: &Phases = &self.0, item: usize = item, input: Place = input, v: Place = v,
            ))
        }
    }
}

/// # Safety
/// As for [`product`], for the item's tiles.
#[inline(always)]
unsafe fn transform_item<S: Simd>(phases: &Phases, item: usize, input: Place, v: Place) {
    let w = &phases.winograd;
    let chunks = w.count().div_ceil(TILES_AT_ONCE);
    let (block, first) = (item / chunks, item % chunks * TILES_AT_ONCE);
    let count = TILES_AT_ONCE.min(w.count() - first);
    let v = v.add((block * w.count() + first) * BLOCK);
    // SAFETY: the caller's.
    unsafe {
        with_tile!(w.algorithm, transform::<S>(w, block, first, count, input, v, phases.v_stride()))
    }
}

/// The second step: M.
#[derive(Debug)]
pub(super) struct Multiply {
    pub phases: Phases,
    /// Parts of the outputs that an item computes.
    pub parts: usize,
    /// Tiles whose V stays in the cache meanwhile.
    pub at_once: usize,
}

impl Multiply {
    fn chunks(&self) -> usize {
        self.phases.winograd.convolution.parts().div_ceil(self.parts)
    }
}

impl Stage for Multiply {
    fn items(&self) -> usize {
        self.phases.winograd.products() * self.chunks()
    }

    fn run(&self, item: usize, _: usize, memory: &Memory) {
        let Some(weights) = self.phases.winograd.weights() else { return };
        let (v, m) = (memory.place(self.phases.v), memory.place(self.phases.m));
        // SAFETY: as in `Fused`; no two items share outputs of a product.
        unsafe {
            dispatch!(self.phases.winograd.convolution.isa, multiply(
                stage: &Multiply = self, item: usize = item, v: Place = v, weights: Place = weights, m: Place = m,
            ))
        }
    }
}

/// # Safety
/// As for [`product`], for the item's outputs.
#[inline(always)]
unsafe fn multiply<S: Simd>(stage: &Multiply, item: usize, v: Place, weights: Place, m: Place) {
    let phases = &stage.phases;
    let w = &phases.winograd;
    let conv = &*w.convolution;
    let (p, chunk) = (item / stage.chunks(), item % stage.chunks());
    let end = ((chunk + 1) * stage.parts).min(conv.parts());
    let walk = w.walk(w.count());
    let (v, m) = (v.add(p * phases.v_stride()), m.add(p * phases.m_stride()));
    let mut first = 0;
    while first < w.count() {
        let count = stage.at_once.min(w.count() - first);
        for index in chunk * stage.parts..end {
            let part = conv.part(index);
            let target = Target {
                at: m.add((part.first * w.count() + first) * BLOCK),
                block_stride: w.count() * BLOCK,
                bias: None,
                relu: false,
            };
            let of_group = (part.group * conv.input_blocks() * w.count() + first) * BLOCK;
            let weights = w.piece(weights, part, p);
            // SAFETY: the caller's.
            unsafe { product::<S>(count, part.width, &walk, v.add(of_group), weights, target) };
        }
        first += count;
    }
}

/// The third step: the outputs.
#[derive(Debug)]
pub(super) struct Restore(pub Phases);

impl Stage for Restore {
    fn items(&self) -> usize {
        self.0.winograd.output.blocks() * self.0.winograd.count().div_ceil(TILES_AT_ONCE)
    }

    fn run(&self, item: usize, _: usize, memory: &Memory) {
        let output = memory.place(self.0.winograd.output.buffer);
        let m = memory.place(self.0.m);
        // SAFETY: as in `Fused`; no two items share a tile of a block.
        unsafe {
            dispatch!(self.0.winograd.convolution.isa, restore_item(
                phases: &Phases = &self.0, item: usize = item, m: Place = m, output: Place = output,
            ))
        }
    }
}

/// # Safety
/// As for [`product`], for the item's tiles.
#[inline(always)]
unsafe fn restore_item<S: Simd>(phases: &Phases, item: usize, m: Place, output: Place) {
    let w = &phases.winograd;
    let chunks = w.count().div_ceil(TILES_AT_ONCE);
    let (block, first) = (item / chunks, item % chunks * TILES_AT_ONCE);
    let count = TILES_AT_ONCE.min(w.count() - first);
    let m = m.add((block * w.count() + first) * BLOCK);
    // SAFETY: the caller's.
    unsafe {
        with_tile!(w.algorithm, restore::<S>(w, block, first, count, m, phases.m_stride(), output))
    }
}
