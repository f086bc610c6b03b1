//! The kernels of linear layers, for weights `[out, in]`.
//!
//! The outputs are sums of vectors whose lanes are images: a weight is multiplied by the values of sixteen images at once,
//! and no lanes have to be added up. For the gradients the lanes are inputs, and four rows of the weights are read or
//! written at once: the inputs and their gradients are packed as `[in / 16][N][16]`, the output gradients as `[out, N]`.
#![allow(unsafe_code)]

use crate::engine::simd::{BLOCK, CheckedPtr, Isa, Simd, dispatch};
use std::ops::Range;

/// Rows of the weights that are read or written at once.
const ROWS: usize = 4;

/// Calls a kernel with the first `row` of each [`ROWS`] rows, and then with each that is left.
macro_rules! for_rows {
    ($rows:expr, $kernel:ident :: <$s:ident> ($sizes:ident, row, $($argument:expr),*)) => {
        let (mut row, end) = ($rows.start, $rows.end);
        while row < end {
            if row + ROWS <= end {
                $kernel::<$s, ROWS>($sizes, row, $($argument),*);
                row += ROWS;
            } else {
                $kernel::<$s, 1>($sizes, row, $($argument),*);
                row += 1;
            }
        }
    };
}

/// The sizes of a linear layer.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    pub batch: usize,
    pub inputs: usize,
    pub outputs: usize,
}

/// A part of the weights: some outputs, and some blocks of inputs.
pub struct Band {
    pub rows: Range<usize>,
    pub blocks: Range<usize>,
}

/// A product of weights and vectors whose lanes are images: adds the sum of `weight[row, term] * vectors[term]` over the
/// terms to the sums of each row.
#[derive(Clone, Copy)]
pub struct Product {
    pub weight: CheckedPtr,
    /// From one row of the weights to the next.
    pub stride: usize,
    /// `[terms][lanes]`
    pub vectors: CheckedPtr,
    /// `[rows][lanes]`
    pub sums: CheckedPtr,
    pub rows: usize,
    pub terms: usize,
    /// A multiple of 16.
    pub lanes: usize,
}

impl Product {
    /// Computes it.
    pub fn add(self, isa: Isa) {
        // SAFETY: the lengths were checked against the sizes, and no two threads have the same sums.
        unsafe { dispatch!(isa, add_product(product: Product = self)) }
    }
}

/// Some values of images, `[N, values]`, and the same with the images as lanes, `[values][lanes]`.
#[derive(Clone, Copy)]
pub struct Lanes {
    pub images: CheckedPtr,
    pub batch: usize,
    pub values: usize,
    pub lanes: CheckedPtr,
}

impl Lanes {
    /// From images to lanes. Those beyond the batch are 0. The range begins at a multiple of 16.
    pub fn gather(self, isa: Isa, range: Range<usize>) {
        // SAFETY: the lengths were checked against the sizes, and no two threads have the same values.
        unsafe { dispatch!(isa, gather(of: Lanes = self, range: Range<usize> = range)) }
    }

    /// The reverse.
    pub fn scatter(self, isa: Isa, range: Range<usize>) {
        // SAFETY: as above.
        unsafe { dispatch!(isa, scatter(of: Lanes = self, range: Range<usize> = range)) }
    }

    fn count(&self) -> usize {
        self.batch.next_multiple_of(BLOCK)
    }

    fn image(&self, image: usize, value: usize) -> CheckedPtr {
        self.images.add(image * self.values + value)
    }

    fn lane(&self, image: usize, value: usize) -> CheckedPtr {
        self.lanes.add(value * self.count() + image)
    }
}

/// Computes the gradients of some blocks of the packed inputs, for which the band has all rows.
pub fn add_inputs(isa: Isa, sizes: &Sizes, band: &Band, [dy, weight, dx]: [CheckedPtr; 3]) {
    // SAFETY: the lengths were checked against the sizes, and no two threads have the same blocks.
    unsafe {
        dispatch!(isa, add_inputs_on(
            sizes: &Sizes = sizes, band: &Band = band, dy: CheckedPtr = dy, weight: CheckedPtr = weight,
            dx: CheckedPtr = dx,
        ))
    }
}

/// Computes the gradients of a part of the weights.
pub fn write_weights(isa: Isa, sizes: &Sizes, band: &Band, [x, dy, weight]: [CheckedPtr; 3]) {
    // SAFETY: the lengths were checked against the sizes, and no two threads have the same rows.
    unsafe {
        dispatch!(isa, write_weights_on(
            sizes: &Sizes = sizes, band: &Band = band, x: CheckedPtr = x, dy: CheckedPtr = dy,
            weight: CheckedPtr = weight,
        ))
    }
}

/// # Safety
/// `S` must be available, and the pointers valid for the sizes; no other thread may access the sums.
#[inline(always)]
unsafe fn add_product<S: Simd>(product: Product) {
    let mut row = 0;
    while row < product.rows {
        // Sixteen sums fit into the registers of AVX-512, four into those of AVX2.
        // SAFETY: guaranteed by the caller.
        unsafe {
            if S::NR_BLOCKS > 1 && row + 8 <= product.rows {
                add_rows::<S, 8>(&product, row);
                row += 8;
            } else if row + ROWS <= product.rows {
                add_rows::<S, ROWS>(&product, row);
                row += ROWS;
            } else {
                add_rows::<S, 1>(&product, row);
                row += 1;
            }
        }
    }
}

/// # Safety
/// As for [`add_product`], for the `R` rows from `row` on.
#[inline(always)]
unsafe fn add_rows<S: Simd, const R: usize>(product: &Product, row: usize) {
    let mut lane = 0;
    while lane < product.lanes {
        // SAFETY: guaranteed by the caller.
        unsafe {
            if S::NR_BLOCKS > 1 && lane + 2 * BLOCK <= product.lanes {
                add_sums::<S, R, 2>(product, row, lane);
                lane += 2 * BLOCK;
            } else {
                add_sums::<S, R, 1>(product, row, lane);
                lane += BLOCK;
            }
        }
    }
}

/// # Safety
/// As for [`add_rows`], for the `V` vectors from `lane` on.
#[inline(always)]
unsafe fn add_sums<S: Simd, const R: usize, const V: usize>(
    product: &Product,
    row: usize,
    lane: usize,
) {
    let Product { weight, stride, vectors, lanes, .. } = *product;
    let weight = weight.add(row * stride);
    let sum_of = |r: usize, v: usize| product.sums.add((row + r) * lanes + lane + v * BLOCK);
    // SAFETY: guaranteed by the caller.
    unsafe {
        let mut sums = [[S::splat(0.0); V]; R];
        for term in 0..product.terms {
            let mut values = [S::splat(0.0); V];
            for (v, vector) in values.iter_mut().enumerate() {
                *vector = vectors.add(term * lanes + lane + v * BLOCK).load::<S>();
            }
            for (r, sums) in sums.iter_mut().enumerate() {
                let weight = S::splat(weight.add(r * stride + term).read());
                for (sum, values) in sums.iter_mut().zip(values) {
                    *sum = S::mul_add(weight, values, *sum);
                }
            }
        }
        // At the end: one long sum would be less exact.
        for (r, sums) in sums.iter().enumerate() {
            for (v, sum) in sums.iter().enumerate() {
                let before = sum_of(r, v).load::<S>();
                sum_of(r, v).store::<S>(S::add(before, *sum));
            }
        }
    }
}

/// # Safety
/// `S` must be available, and the pointers valid for the sizes; no other thread may access these values of the lanes.
#[inline(always)]
unsafe fn gather<S: Simd>(of: Lanes, range: Range<usize>) {
    for first in range.clone().step_by(BLOCK) {
        for image in (0..of.count()).step_by(BLOCK) {
            let images = of.batch.saturating_sub(image).min(BLOCK);
            // SAFETY: guaranteed by the caller.
            unsafe {
                if first + BLOCK <= range.end {
                    let mut rows = [S::splat(0.0); BLOCK];
                    for (n, row) in rows.iter_mut().enumerate().take(images) {
                        *row = of.image(image + n, first).load::<S>();
                    }
                    for (value, column) in S::transpose(rows).into_iter().enumerate() {
                        of.lane(image, first + value).store::<S>(column);
                    }
                    continue;
                }
                for value in first..range.end {
                    for n in 0..BLOCK {
                        let found =
                            if n < images { of.image(image + n, value).read() } else { 0.0 };
                        of.lane(image + n, value).write(found);
                    }
                }
            }
        }
    }
}

/// # Safety
/// As for [`gather`], but no other thread may access these values of the images.
#[inline(always)]
unsafe fn scatter<S: Simd>(of: Lanes, range: Range<usize>) {
    for first in range.clone().step_by(BLOCK) {
        for image in (0..of.count()).step_by(BLOCK) {
            let images = of.batch.saturating_sub(image).min(BLOCK);
            // SAFETY: guaranteed by the caller.
            unsafe {
                if first + BLOCK <= range.end {
                    let mut columns = [S::splat(0.0); BLOCK];
                    for (value, column) in columns.iter_mut().enumerate() {
                        *column = of.lane(image, first + value).load::<S>();
                    }
                    let rows = S::transpose(columns);
                    for (n, row) in rows.into_iter().enumerate().take(images) {
                        of.image(image + n, first).store::<S>(row);
                    }
                    continue;
                }
                for value in first..range.end {
                    for n in 0..images {
                        of.image(image + n, value).write(of.lane(image + n, value).read());
                    }
                }
            }
        }
    }
}

/// # Safety
/// `S` must be available, and the pointers valid for the sizes; no other thread may access the gradients of the blocks.
#[inline(always)]
unsafe fn add_inputs_on<S: Simd>(
    sizes: &Sizes,
    band: &Band,
    dy: CheckedPtr,
    weight: CheckedPtr,
    dx: CheckedPtr,
) {
    // SAFETY: guaranteed by the caller.
    unsafe {
        for at in band.blocks.start * sizes.batch..band.blocks.end * sizes.batch {
            dx.add(at * BLOCK).store::<S>(S::splat(0.0));
        }
        for_rows!(band.rows, add_scaled_rows::<S>(sizes, row, &band.blocks, dy, weight, dx));
    }
}

/// # Safety
/// As for [`add_inputs_on`], for the `R` rows from `row` on.
#[inline(always)]
unsafe fn add_scaled_rows<S: Simd, const R: usize>(
    sizes: &Sizes,
    row: usize,
    blocks: &Range<usize>,
    dy: CheckedPtr,
    weight: CheckedPtr,
    dx: CheckedPtr,
) {
    // SAFETY: guaranteed by the caller.
    unsafe {
        for block in blocks.clone() {
            let mut weights = [S::splat(0.0); R];
            for (r, vector) in weights.iter_mut().enumerate() {
                *vector = weight.add((row + r) * sizes.inputs + block * BLOCK).load::<S>();
            }
            for image in 0..sizes.batch {
                let to = dx.add((block * sizes.batch + image) * BLOCK);
                let mut sum = to.load::<S>();
                for (r, weights) in weights.iter().enumerate() {
                    let gradient = S::splat(dy.add((row + r) * sizes.batch + image).read());
                    sum = S::mul_add(gradient, *weights, sum);
                }
                to.store::<S>(sum);
            }
        }
    }
}

/// # Safety
/// `S` must be available, and the pointers valid for the sizes; no other thread may access the gradients of the rows.
#[inline(always)]
unsafe fn write_weights_on<S: Simd>(
    sizes: &Sizes,
    band: &Band,
    x: CheckedPtr,
    dy: CheckedPtr,
    weight: CheckedPtr,
) {
    // SAFETY: guaranteed by the caller.
    unsafe {
        for_rows!(band.rows, write_rows::<S>(sizes, row, &band.blocks, x, dy, weight));
    }
}

/// # Safety
/// As for [`write_weights_on`], for the `R` rows from `row` on.
#[inline(always)]
unsafe fn write_rows<S: Simd, const R: usize>(
    sizes: &Sizes,
    row: usize,
    blocks: &Range<usize>,
    x: CheckedPtr,
    dy: CheckedPtr,
    weight: CheckedPtr,
) {
    // SAFETY: guaranteed by the caller.
    unsafe {
        let mut block = blocks.start;
        while block < blocks.end {
            if S::NR_BLOCKS > 1 && block + 2 <= blocks.end {
                write_blocks::<S, R, 2>(sizes, row, block, x, dy, weight);
                block += 2;
            } else {
                write_blocks::<S, R, 1>(sizes, row, block, x, dy, weight);
                block += 1;
            }
        }
    }
}

/// # Safety
/// As for [`write_rows`], for the `V` blocks from `block` on.
#[inline(always)]
unsafe fn write_blocks<S: Simd, const R: usize, const V: usize>(
    sizes: &Sizes,
    row: usize,
    block: usize,
    x: CheckedPtr,
    dy: CheckedPtr,
    weight: CheckedPtr,
) {
    // SAFETY: guaranteed by the caller.
    unsafe {
        let mut sums = [[S::splat(0.0); V]; R];
        for image in 0..sizes.batch {
            let mut inputs = [S::splat(0.0); V];
            for (v, vector) in inputs.iter_mut().enumerate() {
                *vector = x.add(((block + v) * sizes.batch + image) * BLOCK).load::<S>();
            }
            for (r, sums) in sums.iter_mut().enumerate() {
                let gradient = S::splat(dy.add((row + r) * sizes.batch + image).read());
                for (sum, inputs) in sums.iter_mut().zip(inputs) {
                    *sum = S::mul_add(gradient, inputs, *sum);
                }
            }
        }
        for (r, sums) in sums.iter().enumerate() {
            for (v, sum) in sums.iter().enumerate() {
                weight.add((row + r) * sizes.inputs + (block + v) * BLOCK).store::<S>(*sum);
            }
        }
    }
}
