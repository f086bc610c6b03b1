//! Winograd convolution, in three steps and two schedules.
//!
//! The input is cut into overlapping tiles. Each is transformed (`V = Bᵀ d B`); for each of its n²
//! elements, a small matrix product with the transformed weights sums over all input channels
//! (`M = V U`); and the result is transformed back (`Aᵀ m A`), with bias, ReLU and a following 2×2 max
//! pool while the outputs are in registers. V, U and M are the names of Lavin and Gray (2016).
//!
//! - `fused`: a worker takes as many tiles as fit in its cache, and does all three steps with them. V
//!   never leaves the cache; the weights are read once per item. Best for large maps.
//! - `non_fused`: one step after the other for the whole batch. V and M go through memory, but each weight
//!   is read once, by one core. Best for small maps with many channels.
//! - `tile`: the transforms of one tile; `tile_transforms`: of many, in `f32`; `quantized_tiles`: of many, to and from
//!   16-bit integers.
#![allow(unsafe_code)]

mod fused;
mod non_fused;
mod quantized_tiles;
mod tile;
mod tile_transforms;

pub(super) use fused::FusedWinograd;
pub(super) use non_fused::{
    NonFusedWinograd, QUANTIZED_TILES_PER_ITEM, TILES_PER_ITEM, WinogradInputTransform,
    WinogradOutputTransform, WinogradProducts,
};

use super::algorithm::Algorithm;
use super::feature_map::FeatureMap;
use super::integer_microkernel::{HALF_BLOCK, IntegerOutput, IntegerProduct, multiply_integers};
use super::integer_packing::IntegerWeights;
use super::microkernel::{OutputPanel, PanelWeights, StridedInput, multiply_panel};
use super::packed_convolution::{PackedConvolution, Panel};
use super::simd::{BLOCK, CheckedPtr};
use super::stage::Work;
use quantized_tiles::{QuantizedTiles, dequantize_outputs, quantize_inputs};
use std::sync::Arc;
use tile_transforms::{transform_inputs, transform_outputs};

/// Blocks of input channels that are summed before their sum is added to the others: in one sum, the rounding of hundreds of
/// channels is the larger part of the error. Each sum takes about as long as one more channel.
const BLOCKS_OF_SUM: usize = 4;
/// The same for tiles of nine inputs, whose outputs amplify rounding errors the most.
const BLOCKS_OF_SUM_OF_LARGEST_TILES: usize = 2;

/// A convolution by Winograd's algorithm: what both schedules share.
#[derive(Debug, Clone)]
pub(super) struct WinogradConvolution {
    pub convolution: Arc<PackedConvolution>,
    pub algorithm: Algorithm,
    pub input: FeatureMap,
    /// After the pool, if it is fused.
    pub output: FeatureMap,
    pub batch: usize,
    pub relu: bool,
    /// Whether a 2×2 max pool with stride 2 is fused.
    pub pool: bool,
    /// Tiles in a column and in a row of an image.
    pub tiles: [usize; 2],
}

impl WinogradConvolution {
    /// Tiles of the whole batch.
    pub(super) fn tile_count(&self) -> usize {
        self.batch * self.tiles[0] * self.tiles[1]
    }

    /// n²: matrix products.
    fn products(&self) -> usize {
        self.algorithm.products()
    }

    /// `(image, row, column)` of a tile.
    fn tile_position(&self, tile: usize) -> (usize, usize, usize) {
        let [rows, columns] = self.tiles;
        (tile / (rows * columns), tile / columns % rows, tile % columns)
    }

    /// The multiplications of a number of tiles, and the vectors of V and M.
    fn work(&self, tiles: usize) -> Work {
        let (conv, tiles) = (&self.convolution, tiles as f64);
        let outputs = conv.outputs.next_multiple_of(BLOCK);
        let vectors = self.products() * (self.input_blocks() + outputs / BLOCK);
        let multiply_adds = (self.products() * conv.inner_len(self.algorithm)) as f64;
        Work {
            multiply_adds: conv.f32_multiply_adds(tiles * multiply_adds * outputs as f64),
            vectors: tiles * vectors as f64,
            ..Work::default()
        }
    }

    /// Space of sixteen channels of V, in `f32` values.
    fn v_block_len(&self) -> usize {
        if self.convolution.is_integer() { HALF_BLOCK } else { BLOCK }
    }

    /// From one product's V to the next, with space for `tiles`.
    fn v_stride(&self, tiles: usize) -> usize {
        odd_lines(self.input_blocks() * tiles * self.v_block_len())
    }

    /// From one product's M to the next, with space for `blocks` of channels of `tiles`.
    fn m_stride(blocks: usize, tiles: usize) -> usize {
        odd_lines(blocks * tiles * BLOCK)
    }

    fn blocks_of_sum(&self) -> usize {
        let has_largest_tiles = self.algorithm.tile_size().is_some_and(|size| size.inputs >= 9);
        if has_largest_tiles { BLOCKS_OF_SUM_OF_LARGEST_TILES } else { BLOCKS_OF_SUM }
    }

    /// Where a tile's inputs begin.
    fn input_offset(&self, block: usize, tile: usize) -> usize {
        let side = self.algorithm.tile_size().map_or(1, |size| size.outputs);
        let (image, y, x) = self.tile_position(tile);
        self.input.padded_offset(image, block, y * side, x * side)
    }

    /// Blocks of input channels of all groups.
    fn input_blocks(&self) -> usize {
        self.convolution.groups * self.convolution.input_blocks()
    }

    /// The packed weights, which the plan has prepared.
    fn weights(&self) -> Option<Weights<'_>> {
        if self.convolution.is_integer() {
            self.convolution.integers(self.algorithm).ok().map(Weights::Integers)
        } else {
            self.convolution.packed(self.algorithm).ok().map(|packed| Weights::Floats(packed.ptr()))
        }
    }

    /// Values of scratch memory of the first step, which only integers need.
    fn input_scratch_len(&self) -> usize {
        if self.convolution.is_integer() {
            self.input_blocks() * self.products() * BLOCK
        } else {
            0
        }
    }

    /// The first step, for all blocks of some tiles. Only integers have `scales` and need scratch memory.
    ///
    /// # Safety
    /// The convolution's instruction set must be available, and no other thread may access the tiles' V and scales and the
    /// scratch memory.
    unsafe fn transform_inputs(
        &self,
        tiles: ItemTiles,
        [input, v, scales, scratch]: [CheckedPtr; 4],
        weights: Weights<'_>,
    ) {
        let block_stride = tiles.capacity * self.v_block_len();
        let ItemTiles { first, count, v_stride: product_stride, .. } = tiles;
        // SAFETY: guaranteed by the caller.
        unsafe {
            match weights {
                Weights::Floats(_) => {
                    for block in 0..self.input_blocks() {
                        let v = v.add(block * block_stride);
                        transform_inputs(self, block, first, count, input, v, product_stride);
                    }
                }
                Weights::Integers(weights) => {
                    let tiles = QuantizedTiles {
                        first,
                        count,
                        v,
                        product_stride,
                        block_stride,
                        scales,
                        scratch,
                    };
                    quantize_inputs(self, tiles, input, weights);
                }
            }
        }
    }

    /// The third step, for `count` tiles of a block of channels from `first` on.
    ///
    /// # Safety
    /// As for [`transform_inputs`](Self::transform_inputs), for the tiles' outputs.
    unsafe fn transform_outputs(
        &self,
        block: usize,
        [first, count]: [usize; 2],
        m: CheckedPtr,
        m_stride: usize,
        [scales, output]: [CheckedPtr; 2],
        weights: Weights<'_>,
    ) {
        // SAFETY: guaranteed by the caller.
        unsafe {
            match weights {
                Weights::Floats(_) => {
                    transform_outputs(self, block, first, count, m, m_stride, output);
                }
                Weights::Integers(weights) => {
                    let tiles = [first, count];
                    dequantize_outputs(self, block, tiles, m, m_stride, [scales, output], weights);
                }
            }
        }
    }

    /// The products of a panel with some tiles: one of the n² matrix products. Meanwhile, the weights of the `next`
    /// panel are fetched, or those that follow in memory.
    ///
    /// # Safety
    /// The convolution's instruction set must be available; V and M must have space for the tiles; and no other thread
    /// may access this part of M.
    unsafe fn multiply(
        &self,
        weights: Weights<'_>,
        this: PanelOfProduct,
        next: Option<PanelOfProduct>,
        tiles: ProductTiles,
        [v, m]: [CheckedPtr; 2],
    ) {
        let conv = &*self.convolution;
        let v_block = tiles.capacity * self.v_block_len();
        let panel = this.panel;
        let v = v.add(panel.group * conv.input_blocks() * v_block);
        let weight_len = conv.inner_len(self.algorithm) * self.v_block_len();
        let offset = |PanelOfProduct { panel, product }: PanelOfProduct| {
            (panel.first_block * self.products() + panel.blocks * product) * weight_len
        };
        let panel_weights = |weights: CheckedPtr| {
            let ptr = weights.add(offset(this));
            match next {
                Some(next) => PanelWeights { ptr, next: weights.add(offset(next)) },
                None => PanelWeights::in_sequence(ptr),
            }
        };
        // SAFETY: guaranteed by the caller.
        unsafe {
            match weights {
                Weights::Floats(weights) => {
                    self.multiply_floats(panel_weights(weights), panel.blocks, tiles, [v, m]);
                }
                Weights::Integers(weights) => {
                    let product = IntegerProduct {
                        rows: tiles.count,
                        columns: panel.blocks,
                        segments: conv.input_blocks(),
                        segment_stride: v_block,
                        pairs: HALF_BLOCK,
                        row_stride: HALF_BLOCK,
                    };
                    let block_stride = tiles.capacity * BLOCK;
                    let output = IntegerOutput { ptr: m, block_stride, scaling: None };
                    let weights = panel_weights(weights.weights.ptr());
                    multiply_integers(conv.isa, product, v, weights, output);
                }
            }
        }
    }

    /// # Safety
    /// As for [`multiply`](Self::multiply).
    unsafe fn multiply_floats(
        &self,
        weights: PanelWeights,
        blocks: usize,
        tiles: ProductTiles,
        [v, m]: [CheckedPtr; 2],
    ) {
        let strides = StridedInput {
            blocks: self.convolution.input_blocks(),
            block_stride: tiles.capacity * BLOCK,
            rows: 1,
            row_stride: 0,
            row_len: BLOCK,
            pixel_stride: BLOCK,
            blocks_of_sum: self.blocks_of_sum(),
        };
        let block_stride = tiles.capacity * BLOCK;
        let output = OutputPanel { ptr: m, block_stride, bias: None, relu: false };
        let isa = self.convolution.isa;
        // SAFETY: guaranteed by the caller.
        unsafe { multiply_panel(isa, tiles.count, blocks, &strides, v, weights, output) }
    }
}

/// A convolution's packed weights.
#[derive(Clone, Copy)]
enum Weights<'a> {
    Floats(CheckedPtr),
    Integers(&'a IntegerWeights),
}

/// A panel of one of the n² products.
#[derive(Clone, Copy)]
struct PanelOfProduct {
    panel: Panel,
    product: usize,
}

/// The tiles of an item, and where their V lies.
#[derive(Clone, Copy)]
struct ItemTiles {
    first: usize,
    count: usize,
    /// Tiles that V has space for.
    capacity: usize,
    v_stride: usize,
}

/// The tiles of a matrix product.
#[derive(Clone, Copy)]
struct ProductTiles {
    count: usize,
    /// Tiles that V and M have space for.
    capacity: usize,
}

/// At least `len`, and an odd number of cache lines: a power of two would map all elements of a tile to the same few
/// sets of the cache.
fn odd_lines(len: usize) -> usize {
    (len.div_ceil(BLOCK) | 1) * BLOCK
}
