//! The kernels of linear layers: four rows of the weights at once, so that each vector of the packed inputs or
//! their gradients is loaded once for four products.
//!
//! Packed inputs are `[in / 16][N][16]`, output gradients `[out, N]`, weights `[out, in]`.
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

/// Adds the products of a part of the weights to the outputs, `[N, out]`.
pub fn add_outputs(isa: Isa, sizes: &Sizes, band: &Band, [x, weight, output]: [CheckedPtr; 3]) {
    // SAFETY: the lengths were checked against the sizes, and no two threads have the same rows.
    unsafe {
        dispatch!(isa, add_outputs_on(
            sizes: &Sizes = sizes, band: &Band = band, x: CheckedPtr = x, weight: CheckedPtr = weight,
            output: CheckedPtr = output,
        ))
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
/// `S` must be available, and the pointers valid for the sizes; no other thread may access the outputs
/// of the rows.
#[inline(always)]
unsafe fn add_outputs_on<S: Simd>(
    sizes: &Sizes,
    band: &Band,
    x: CheckedPtr,
    weight: CheckedPtr,
    output: CheckedPtr,
) {
    // SAFETY: guaranteed by the caller.
    unsafe {
        for_rows!(band.rows, add_rows::<S>(sizes, row, &band.blocks, x, weight, output));
    }
}

/// # Safety
/// As for [`add_outputs_on`], for the `R` rows from `row` on.
#[inline(always)]
unsafe fn add_rows<S: Simd, const R: usize>(
    sizes: &Sizes,
    row: usize,
    blocks: &Range<usize>,
    x: CheckedPtr,
    weight: CheckedPtr,
    output: CheckedPtr,
) {
    // SAFETY: guaranteed by the caller.
    unsafe {
        let mut image = 0;
        while image < sizes.batch {
            // Sixteen sums fit into the registers of AVX-512, four into those of AVX2.
            if S::NR_BLOCKS > 1 && image + 4 <= sizes.batch {
                add_dots::<S, R, 4>(sizes, row, image, blocks, x, weight, output);
                image += 4;
            } else {
                add_dots::<S, R, 1>(sizes, row, image, blocks, x, weight, output);
                image += 1;
            }
        }
    }
}

/// # Safety
/// As for [`add_rows`], for the `M` images from `image` on.
#[inline(always)]
unsafe fn add_dots<S: Simd, const R: usize, const M: usize>(
    sizes: &Sizes,
    row: usize,
    image: usize,
    blocks: &Range<usize>,
    x: CheckedPtr,
    weight: CheckedPtr,
    output: CheckedPtr,
) {
    // SAFETY: guaranteed by the caller.
    unsafe {
        let mut sums = [[S::splat(0.0); M]; R];
        for block in blocks.clone() {
            let mut inputs = [S::splat(0.0); M];
            for (n, vector) in inputs.iter_mut().enumerate() {
                *vector = x.add((block * sizes.batch + image + n) * BLOCK).load::<S>();
            }
            for (r, sums) in sums.iter_mut().enumerate() {
                let weights = weight.add((row + r) * sizes.inputs + block * BLOCK).load::<S>();
                for (sum, inputs) in sums.iter_mut().zip(inputs) {
                    *sum = S::mul_add(weights, inputs, *sum);
                }
            }
        }
        const { assert!(R * M <= BLOCK) };
        let mut vectors = [S::splat(0.0); BLOCK];
        for (vector, sum) in vectors.iter_mut().zip(sums.as_flattened()) {
            *vector = *sum;
        }
        // The sums of the lanes of all vectors at once.
        let [first, others @ ..] = S::transpose(vectors);
        let total = others.into_iter().fold(first, |total, lane| S::add(total, lane));
        let mut totals = [0.0; BLOCK];
        S::store(totals.as_mut_ptr(), total);
        for (at, total) in totals.into_iter().enumerate().take(R * M) {
            let to = output.add((image + at % M) * sizes.outputs + row + at / M);
            to.write(to.read() + total);
        }
    }
}

/// # Safety
/// As for [`add_outputs_on`], but no other thread may access the gradients of the blocks.
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
/// As for [`add_outputs_on`], but no other thread may access the gradients of the rows.
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
