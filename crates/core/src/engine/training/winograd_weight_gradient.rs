//! The gradient of the weights of 3×3 kernels by Winograd's algorithm: a quarter of the multiplications.
//!
//! F(4×4, 3×3) computes an output tile as `Aᵀ [(G w Gᵀ) ⊙ (Bᵀ x B)] A`, so the weights' gradient is
//! `Gᵀ [Σ (Bᵀ x B) ⊙ (A dy Aᵀ)] G`, a sum over all tiles of all images. The tiles go through in chunks that fit the
//! cache; each of the 36 products of a tile is a sum of outer products, of channels of the input and of the output.
//! The sums of at most [`TILES_PER_SUM`] tiles are added to those before: one long sum is ten times less exact.
//! Nothing here depends on the number of threads.
#![allow(unsafe_code)]

use super::gradient_microkernel::{Positions, add_outer_products};
use super::run_items::run_items;
use crate::engine::algorithm::Algorithm;
use crate::engine::feature_map::FeatureMap;
use crate::engine::minimal_filtering::{F4x3, MinimalFilter, filter_transform};
use crate::engine::simd::{BLOCK, CheckedPtr, Isa, Simd, dispatch};

/// Sides of the output's and of the input's tiles, and of the kernel.
const M: usize = 4;
const N: usize = 6;
const R: usize = 3;
const PRODUCTS: usize = N * N;
const TILES_PER_SUM: usize = 64;
/// Values of a chunk's transformed tiles: half of a usual L3 cache.
const CHUNK_VALUES: usize = 4 << 20;
/// Tiles that an item transforms: enough that taking an item costs little in comparison.
const TILES_PER_ITEM: usize = 32;

#[derive(Clone, Copy, Debug)]
pub struct WinogradWeightGradient {
    isa: Isa,
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
    /// For the maps of an input and of an output's gradient, with stride 1.
    pub fn new(
        isa: Isa,
        [mut input, mut gradient]: [FeatureMap; 2],
        padding: usize,
        batch: usize,
        groups: usize,
    ) -> Self {
        let tiles = Algorithm::F4x3.tiles([gradient.height, gradient.width]);
        let [rows, columns] = tiles.map(|tiles| tiles * M);
        input.pad(padding, rows + R - 1, columns + R - 1);
        gradient.pad(0, rows, columns);
        Self { isa, input, gradient, batch, groups, tiles }
    }

    fn tile_count(&self) -> usize {
        self.batch * self.tiles[0] * self.tiles[1]
    }

    /// Tiles of a chunk.
    fn chunk(&self) -> usize {
        let values_per_tile = PRODUCTS * (self.input.blocks() + self.gradient.blocks()) * BLOCK;
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
        let transformed =
            [&self.input, &self.gradient].map(|map| PRODUCTS * self.product_stride(map));
        [transformed[0], transformed[1], PRODUCTS * self.sums_stride()]
    }

    /// Computes the gradient, `[outputs, inputs / groups, 3, 3]`, from the two maps.
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
            run_items(PRODUCTS, |product, _| {
                self.add_products(product, first == 0, count, inputs, gradients, sums);
            });
        }
        let output_len = self.input.channels / self.groups * R * R;
        assert_eq!(weight.len(), self.gradient.channels * output_len, "weights");
        let weight = CheckedPtr::new(weight.as_mut_ptr(), weight.len());
        run_items(self.gradient.blocks(), |block, _| self.transform_back(block, sums, weight));
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
            if is_first {
                for at in 0..self.sums_stride() {
                    sums.add(at).write(0.0);
                }
            }
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

    /// `Gᵀ s G` of the sums of a block of output channels.
    fn transform_back(&self, block: usize, sums: CheckedPtr, weight: CheckedPtr) {
        let g = filter_transform(Algorithm::F4x3);
        let inputs = self.input.channels / self.groups;
        let outputs = BLOCK.min(self.gradient.channels - block * BLOCK);
        for input in 0..inputs {
            let at = sums.add((block * self.input_blocks() * BLOCK + input) * BLOCK);
            // `s G`
            let mut half = [[[0.0f64; BLOCK]; R]; N];
            for (row, half) in half.iter_mut().enumerate() {
                for (column, g) in g.iter().enumerate() {
                    let at = at.add((row * N + column) * self.sums_stride());
                    for lane in 0..BLOCK {
                        // SAFETY: inside the sums, which no thread writes any more.
                        let value = f64::from(unsafe { at.add(lane).read() });
                        half.iter_mut().zip(g).for_each(|(half, g)| half[lane] += value * g);
                    }
                }
            }
            for (tap_row, tap_column) in
                (0..R).flat_map(|row| (0..R).map(move |column| (row, column)))
            {
                let mut taps = [0.0f64; BLOCK];
                for (half, g) in half.iter().zip(&g) {
                    for (tap, value) in taps.iter_mut().zip(&half[tap_column]) {
                        *tap += g[tap_row] * value;
                    }
                }
                for (lane, tap) in taps.iter().enumerate().take(outputs) {
                    let output = block * BLOCK + lane;
                    let to = weight.add(((output * inputs + input) * R + tap_row) * R + tap_column);
                    // SAFETY: inside the weights, and only this item accesses these output channels.
                    unsafe { to.write(*tap as f32) }
                }
            }
        }
    }
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
                let values = <F4x3 as MinimalFilter<N, M>>::transform_input::<S>(values);
                half.iter_mut().zip(values).for_each(|(half, value)| half[column] = value);
            }
            for (row, half) in half.into_iter().enumerate() {
                let values = <F4x3 as MinimalFilter<N, M>>::transform_input::<S>(half);
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
                let values = F4x3::transform_gradient::<S>(values);
                half.iter_mut().zip(values).for_each(|(half, value)| half[column] = value);
            }
            for (row, half) in half.into_iter().enumerate() {
                let values = F4x3::transform_gradient::<S>(half);
                for (column, value) in values.into_iter().enumerate() {
                    to.at(row * N + column, block, place + tile).store::<S>(value);
                }
            }
        }
    }
}
