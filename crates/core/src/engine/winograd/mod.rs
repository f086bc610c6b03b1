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
//! - `tile_transforms`: the transforms of whole tiles.
#![allow(unsafe_code)]

mod fused;
mod non_fused;
mod tile_transforms;

pub(super) use fused::FusedWinograd;
pub(super) use non_fused::{
    NonFusedWinograd, WinogradInputTransform, WinogradOutputTransform, WinogradProducts,
};

use super::algorithm::Algorithm;
use super::feature_map::FeatureMap;
use super::microkernel::StridedInput;
use super::packed_convolution::{PackedConvolution, Panel};
use super::simd::{BLOCK, CheckedPtr};
use std::sync::Arc;

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
    fn tile_count(&self) -> usize {
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

    /// Values from one product's V or M to the next, with space for `blocks` of channels of `tiles` tiles.
    /// It is an odd number of cache lines: a power of two would map all elements of a tile to the same
    /// few sets of the cache.
    fn product_stride(blocks: usize, tiles: usize) -> usize {
        ((blocks * tiles) | 1) * BLOCK
    }

    /// Blocks of input channels of all groups.
    fn input_blocks(&self) -> usize {
        self.convolution.groups * self.convolution.input_blocks()
    }

    fn weights(&self) -> Option<CheckedPtr> {
        self.convolution.packed(self.algorithm).ok().map(|packed| packed.ptr())
    }

    /// The weights of one product of a panel.
    fn product_weights(&self, weights: CheckedPtr, panel: Panel, product: usize) -> CheckedPtr {
        let block_len = self.convolution.inner_len(self.algorithm) * BLOCK;
        weights.add((panel.first_block * self.products() + panel.blocks * product) * block_len)
    }

    /// How the microkernel reads V, which has space for `tiles`.
    fn strides(&self, tiles: usize) -> StridedInput {
        StridedInput {
            blocks: self.convolution.input_blocks(),
            block_stride: tiles * BLOCK,
            rows: 1,
            row_stride: 0,
            row_len: BLOCK,
            pixel_stride: BLOCK,
        }
    }
}
