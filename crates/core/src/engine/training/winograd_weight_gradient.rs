//! The gradient of the weights by Winograd's algorithm: a quarter of the multiplications for 3×3 kernels, and a sixth
//! for 5×5.
//!
//! F(4×4, 3×3) and F(4×4, 5×5) compute an output tile as `Aᵀ [(G w Gᵀ) ⊙ (Bᵀ x B)] A`, so the weights' gradient is
//! `Gᵀ [Σ (Bᵀ x B) ⊙ (A dy Aᵀ)] G`, a sum over all tiles of all images. The tiles go through in chunks that fit the
//! cache; each of the 36 or 64 products of a tile is a sum of outer products, of channels of the input and of the output.
//! The sums of at most [`TILES_PER_SUM`] tiles are added to those before: one long sum is ten times less exact.
//! Nothing here depends on the number of threads.
#![allow(unsafe_code)]

use super::gradient_microkernel::{Positions, add_outer_products};
use super::run_items::run_items;
use crate::engine::algorithm::Algorithm;
use crate::engine::feature_map::FeatureMap;
use crate::engine::minimal_filtering::{F4x3, F4x5, MinimalFilter, filter_transform};
use crate::engine::simd::{BLOCK, CheckedPtr, Isa, Simd, dispatch};

/// The side of the output's tiles.
const M: usize = 4;
/// Taps of the largest kernel.
const MAX_TAPS: usize = 25;
const TILES_PER_SUM: usize = 64;
/// Values of a chunk's transformed tiles: half of a usual L3 cache.
const CHUNK_VALUES: usize = 4 << 20;
/// Tiles that an item transforms: enough that taking an item costs little in comparison.
const TILES_PER_ITEM: usize = 32;

#[derive(Clone, Copy, Debug)]
pub struct WinogradWeightGradient {
    isa: Isa,
    algorithm: Algorithm,
    kernel: usize,
    /// The input with its border, and the output's gradient, both padded to whole tiles.
    pub input: FeatureMap,
    pub gradient: FeatureMap,
    batch: usize,
    groups: usize,
    /// Tiles in a column and in a row of an image.
    tiles: [usize; 2],
}

/// Where a chunk of transformed tiles lies: `[product][block of channels][tile][16]`.
#[derive(Clone, Copy)]
struct Transformed {
    ptr: CheckedPtr,
    product_stride: usize,
    block_stride: usize,
}

impl WinogradWeightGradient {
    /// The algorithm for kernels of this side, and stride 1.
    pub fn algorithm(kernel: usize) -> Option<Algorithm> {
        match kernel {
            3 => Some(Algorithm::F4x3),
            5 => Some(Algorithm::F4x5),
            _ => None,
        }
    }

    /// For the maps of an input and of an output's gradient, with stride 1.
    pub fn new(
        isa: Isa,
        algorithm: Algorithm,
        [mut input, mut gradient]: [FeatureMap; 2],
        padding: usize,
        batch: usize,
        groups: usize,
    ) -> Self {
        let kernel = algorithm.tile_size().map_or(1, |size| size.kernel);
        let tiles = algorithm.tiles([gradient.height, gradient.width]);
        let [rows, columns] = tiles.map(|tiles| tiles * M);
        input.pad(padding, rows + kernel - 1, columns + kernel - 1);
        gradient.pad(0, rows, columns);
        Self { isa, algorithm, kernel, input, gradient, batch, groups, tiles }
    }

    fn tile_count(&self) -> usize {
        self.batch * self.tiles[0] * self.tiles[1]
    }

    /// Tiles of a chunk.
    fn chunk(&self) -> usize {
        let values_per_tile =
            self.algorithm.products() * (self.input.blocks() + self.gradient.blocks()) * BLOCK;
        let sums = (CHUNK_VALUES / values_per_tile / TILES_PER_SUM).max(1);
        (sums * TILES_PER_SUM).min(self.tile_count())
    }

    /// Values from one product of a chunk to the next: an odd number of cache lines, see
    /// [`WinogradConvolution`](crate::engine::winograd::WinogradConvolution).
    fn product_stride(&self, map: &FeatureMap) -> usize {
        ((map.blocks() * self.chunk()) | 1) * BLOCK
    }

    /// Blocks of input channels of a group.
    fn input_blocks(&self) -> usize {
        self.input.blocks() / self.groups
    }

    /// Blocks of output channels of a group.
    fn output_blocks(&self) -> usize {
        self.gradient.blocks() / self.groups
    }

    /// Values of one product's sums: `[block of outputs][input channel][16]`.
    fn sums_stride(&self) -> usize {
        self.gradient.blocks() * self.input_blocks() * BLOCK * BLOCK
    }

    /// Values of memory for the transformed inputs and gradients of a chunk, and for the sums.
    pub fn lens(&self) -> [usize; 3] {
        let transformed = [&self.input, &self.gradient]
            .map(|map| self.algorithm.products() * self.product_stride(map));
        [transformed[0], transformed[1], self.algorithm.products() * self.sums_stride()]
    }

    /// Computes the gradient, `[outputs, inputs / groups, k, k]`, from the two maps.
    pub fn compute(
        &self,
        [input, gradient]: [CheckedPtr; 2],
        [inputs, gradients, sums]: [CheckedPtr; 3],
        weight: &mut [f32],
    ) {
        let chunk = self.chunk();
        let transformed = |ptr: CheckedPtr, map: &FeatureMap| Transformed {
            ptr,
            product_stride: self.product_stride(map),
            block_stride: chunk * BLOCK,
        };
        let inputs = transformed(inputs, &self.input);
        let gradients = transformed(gradients, &self.gradient);
        for first in (0..self.tile_count()).step_by(chunk) {
            let count = chunk.min(self.tile_count() - first);
            let parts = count.div_ceil(TILES_PER_ITEM);
            run_items((self.input.blocks() + self.gradient.blocks()) * parts, |item, _| {
                let (block, start) = (item / parts, item % parts * TILES_PER_ITEM);
                let tiles = [first + start, start, TILES_PER_ITEM.min(count - start)];
                match block.checked_sub(self.input.blocks()) {
                    None => self.transform_inputs(block, tiles, input, inputs),
                    Some(block) => self.transform_gradients(block, tiles, gradient, gradients),
                }
            });
            run_items(self.algorithm.products(), |product, _| {
                self.add_products(product, first == 0, count, inputs, gradients, sums);
            });
        }
        let output_len = self.input.channels / self.groups * self.kernel * self.kernel;
        assert_eq!(weight.len(), self.gradient.channels * output_len, "weights");
        let weight = Weights {
            ptr: CheckedPtr::new(weight.as_mut_ptr(), weight.len()),
            inputs: self.input.channels / self.groups,
            outputs: self.gradient.channels,
        };
        run_items(self.gradient.blocks() * self.input_blocks(), |item, _| {
            let (block, first) = (item / self.input_blocks(), item % self.input_blocks() * BLOCK);
            self.transform_back(block, first, sums, &weight);
        });
    }

    /// Image, row and column of a tile.
    fn tile_position(&self, tile: usize) -> (usize, usize, usize) {
        let [rows, columns] = self.tiles;
        (tile / (rows * columns), tile / columns % rows, tile % columns)
    }

    /// Transforms a block of channels of the input. `tiles` are the first tile, its place in the chunk, and how many.
    fn transform_inputs(
        &self,
        block: usize,
        tiles: [usize; 3],
        input: CheckedPtr,
        to: Transformed,
    ) {
        // SAFETY: the memory was reserved for these shapes, and no two items share a tile of a block.
        unsafe {
            dispatch!(self.isa, transform_input_tiles(
                this: &WinogradWeightGradient = self, block: usize = block, tiles: [usize; 3] = tiles,
                input: CheckedPtr = input, to: Transformed = to,
            ))
        }
    }

    /// The same for a block of channels of the output's gradient.
    fn transform_gradients(
        &self,
        block: usize,
        tiles: [usize; 3],
        gradient: CheckedPtr,
        to: Transformed,
    ) {
        // SAFETY: as above.
        unsafe {
            dispatch!(self.isa, transform_gradient_tiles(
                this: &WinogradWeightGradient = self, block: usize = block, tiles: [usize; 3] = tiles,
                gradient: CheckedPtr = gradient, to: Transformed = to,
            ))
        }
    }

    /// Adds one product of `count` tiles to its sums, which are new in the first chunk.
    fn add_products(
        &self,
        product: usize,
        is_first: bool,
        count: usize,
        inputs: Transformed,
        gradients: Transformed,
        sums: CheckedPtr,
    ) {
        let sums = sums.add(product * self.sums_stride());
        let nr_blocks = self.isa.nr_blocks();
        // SAFETY: the memory was reserved for these shapes, and only this item accesses the product's sums.
        unsafe {
            for group in 0..self.groups {
                for panel in (0..self.output_blocks()).step_by(nr_blocks) {
                    let blocks = nr_blocks.min(self.output_blocks() - panel);
                    let output = group * self.output_blocks() + panel;
                    for block in 0..self.input_blocks() {
                        let input = group * self.input_blocks() + block;
                        for start in (0..count).step_by(TILES_PER_SUM) {
                            let positions = Positions {
                                rows: 1,
                                columns: TILES_PER_SUM.min(count - start),
                                input_step: BLOCK,
                                input_row_stride: 0,
                                gradient_row_stride: 0,
                                gradient_block_stride: gradients.block_stride,
                                sums_block_stride: self.input_blocks() * BLOCK * BLOCK,
                                is_first: is_first && start == 0,
                            };
                            add_outer_products(
                                self.isa,
                                BLOCK,
                                blocks,
                                &positions,
                                inputs.at(product, input, start),
                                gradients.at(product, output, start),
                                sums.add((output * self.input_blocks() + block) * BLOCK * BLOCK),
                            );
                        }
                    }
                }
            }
        }
    }

    /// `Gᵀ s G` of the sums of a block of output channels and up to sixteen input channels from `first` on.
    fn transform_back(&self, block: usize, first: usize, sums: CheckedPtr, weight: &Weights) {
        // SAFETY: the instruction set is one that this machine has; no thread writes the sums any more, and no two
        // items share weights.
        unsafe {
            dispatch!(self.isa, transform_sums(
                this: &WinogradWeightGradient = self, block: usize = block, first: usize = first,
                sums: CheckedPtr = sums, weight: &Weights = weight,
            ))
        }
    }
}

/// Weights, `[outputs, inputs, k, k]`.
#[derive(Clone, Copy)]
struct Weights {
    ptr: CheckedPtr,
    inputs: usize,
    outputs: usize,
}

impl Transformed {
    /// The first channel of a block in a tile of the chunk.
    #[inline(always)]
    fn at(&self, product: usize, block: usize, tile: usize) -> CheckedPtr {
        self.ptr.add(product * self.product_stride + block * self.block_stride + tile * BLOCK)
    }
}

/// `Bᵀ x B` of tiles.
///
/// # Safety
/// `S` must be available, the tiles inside the map and the chunk, and no other thread may access them there.
#[inline(always)]
unsafe fn transform_input_tiles<S: Simd>(
    this: &WinogradWeightGradient,
    block: usize,
    tiles: [usize; 3],
    input: CheckedPtr,
    to: Transformed,
) {
    // SAFETY: guaranteed by the caller.
    unsafe {
        match this.kernel {
            5 => input_tiles::<S, F4x5, 8>(this, block, tiles, input, to),
            _ => input_tiles::<S, F4x3, 6>(this, block, tiles, input, to),
        }
    }
}

/// # Safety
/// As for [`transform_input_tiles`].
#[inline(always)]
unsafe fn input_tiles<S: Simd, F: MinimalFilter<N, M>, const N: usize>(
    this: &WinogradWeightGradient,
    block: usize,
    [first, place, count]: [usize; 3],
    input: CheckedPtr,
    to: Transformed,
) {
    for tile in 0..count {
        let (image, y, x) = this.tile_position(first + tile);
        let from = input.add(this.input.padded_offset(image, block, y * M, x * M));
        let row_stride = this.input.row_stride();
        // SAFETY: guaranteed by the caller.
        unsafe {
            let mut half = [[S::splat(0.0); N]; N];
            for column in 0..N {
                let mut values = [S::splat(0.0); N];
                for (row, value) in values.iter_mut().enumerate() {
                    *value = from.add(row * row_stride + column * BLOCK).load::<S>();
                }
                let values = F::transform_input::<S>(values);
                half.iter_mut().zip(values).for_each(|(half, value)| half[column] = value);
            }
            for (row, half) in half.into_iter().enumerate() {
                let values = F::transform_input::<S>(half);
                for (column, value) in values.into_iter().enumerate() {
                    to.at(row * N + column, block, place + tile).store::<S>(value);
                }
            }
        }
    }
}

/// `A dy Aᵀ` of tiles.
///
/// # Safety
/// As for [`transform_input_tiles`].
#[inline(always)]
unsafe fn transform_gradient_tiles<S: Simd>(
    this: &WinogradWeightGradient,
    block: usize,
    tiles: [usize; 3],
    gradient: CheckedPtr,
    to: Transformed,
) {
    // SAFETY: guaranteed by the caller.
    unsafe {
        match this.kernel {
            5 => gradient_tiles::<S, F4x5, 8>(this, block, tiles, gradient, to),
            _ => gradient_tiles::<S, F4x3, 6>(this, block, tiles, gradient, to),
        }
    }
}

/// # Safety
/// As for [`transform_input_tiles`].
#[inline(always)]
unsafe fn gradient_tiles<S: Simd, F: MinimalFilter<N, M>, const N: usize>(
    this: &WinogradWeightGradient,
    block: usize,
    [first, place, count]: [usize; 3],
    gradient: CheckedPtr,
    to: Transformed,
) {
    for tile in 0..count {
        let (image, y, x) = this.tile_position(first + tile);
        let from = gradient.add(this.gradient.offset(image, block, y * M, x * M));
        let row_stride = this.gradient.row_stride();
        // SAFETY: guaranteed by the caller.
        unsafe {
            let mut half = [[S::splat(0.0); M]; N];
            for column in 0..M {
                let mut values = [S::splat(0.0); M];
                for (row, value) in values.iter_mut().enumerate() {
                    *value = from.add(row * row_stride + column * BLOCK).load::<S>();
                }
                let values = F::transform_gradient::<S>(values);
                half.iter_mut().zip(values).for_each(|(half, value)| half[column] = value);
            }
            for (row, half) in half.into_iter().enumerate() {
                let values = F::transform_gradient::<S>(half);
                for (column, value) in values.into_iter().enumerate() {
                    to.at(row * N + column, block, place + tile).store::<S>(value);
                }
            }
        }
    }
}

/// `Gᵀ s G` of the sums of a block of output channels and up to sixteen input channels from `first` on.
///
/// # Safety
/// `S` must be available, no thread may write the sums, and no other thread may access these weights.
#[inline(always)]
unsafe fn transform_sums<S: Simd>(
    this: &WinogradWeightGradient,
    block: usize,
    first: usize,
    sums: CheckedPtr,
    weight: &Weights,
) {
    // SAFETY: guaranteed by the caller.
    unsafe {
        match this.kernel {
            5 => sums_to_taps::<S, F4x5, 8, 5>(this, block, first, sums, weight),
            _ => sums_to_taps::<S, F4x3, 6, 3>(this, block, first, sums, weight),
        }
    }
}

/// # Safety
/// As for [`transform_sums`].
#[inline(always)]
unsafe fn sums_to_taps<S: Simd, F: MinimalFilter<N, M>, const N: usize, const R: usize>(
    this: &WinogradWeightGradient,
    block: usize,
    first: usize,
    sums: CheckedPtr,
    weight: &Weights,
) {
    let g = filter_transform::<N, M, R, F>();
    let sums = sums.add((block * this.input_blocks() * BLOCK + first) * BLOCK);
    let inputs = BLOCK.min(weight.inputs - first);
    let outputs = BLOCK.min(weight.outputs - block * BLOCK);
    // The taps of all input channels, `[input][row][column]`, are a row of each output channel's weights.
    let mut taps = [[0.0; BLOCK]; BLOCK * MAX_TAPS];
    // SAFETY: guaranteed by the caller; everything is inside the sums and the weights.
    unsafe {
        let zero = S::load_wide([0.0; BLOCK].as_ptr());
        for (input, taps) in taps.chunks_exact_mut(R * R).enumerate().take(inputs) {
            // `Gᵀ s`
            let mut half = [[zero; N]; R];
            for (row, weights) in g.iter().enumerate() {
                for column in 0..N {
                    let at = sums.add((row * N + column) * this.sums_stride() + input * BLOCK);
                    let sum = S::widen(at.load::<S>());
                    for (half, weight) in half.iter_mut().zip(weights) {
                        half[column] = S::add_scaled(half[column], *weight, sum);
                    }
                }
            }
            for (half, taps) in half.iter().zip(taps.chunks_exact_mut(R)) {
                for (column, tap) in taps.iter_mut().enumerate() {
                    let mut sum = zero;
                    for (value, weights) in half.iter().zip(&g) {
                        sum = S::add_scaled(sum, weights[column], *value);
                    }
                    S::store(tap.as_mut_ptr(), S::narrow(sum));
                }
            }
        }
        let row_len = inputs * R * R;
        for (tile, columns) in taps[..row_len].chunks(BLOCK).enumerate() {
            let mut vectors = [S::splat(0.0); BLOCK];
            for (vector, values) in vectors.iter_mut().zip(columns) {
                *vector = S::load(values.as_ptr());
            }
            for (lane, row) in S::transpose(vectors).into_iter().enumerate().take(outputs) {
                let output = block * BLOCK + lane;
                let to = weight.ptr.add((output * weight.inputs + first) * R * R + tile * BLOCK);
                let mut values = [0.0; BLOCK];
                S::store(values.as_mut_ptr(), row);
                for (at, value) in values.into_iter().enumerate().take(columns.len()) {
                    to.add(at).write(value);
                }
            }
        }
    }
}
