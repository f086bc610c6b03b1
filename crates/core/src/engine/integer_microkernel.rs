//! The microkernel on integers: as [`microkernel`](super::microkernel), with 16-bit integers whose products are summed
//! in 32 bits.
//!
//! A step takes two channels: a pair of values of each row times the pairs of weights of sixteen or 32 output
//! channels, twice the multiplications of a step in `f32`. Whoever quantizes makes sure that no sum overflows, so
//! the sums are exact, and the same with every instruction set.
#![allow(unsafe_code)]

use super::microkernel::PREFETCH_DISTANCE;
use super::simd::{BLOCK, CheckedPtr, IntegerSimd, Isa, dispatch_integers};

/// Space of sixteen 16-bit integers, in `f32` values; also, pairs of channels in a block.
pub(super) const HALF_BLOCK: usize = BLOCK / 2;

/// A matrix product of 16-bit integers.
#[derive(Clone, Copy)]
pub(super) struct IntegerProduct {
    /// Rows of the result, any number.
    pub rows: usize,
    /// Blocks of output channels: see [`Isa::nr_blocks`].
    pub columns: usize,
    /// Blocks of input channels.
    pub blocks: usize,
    /// From one block of an input to the next: its rows lie one after the other.
    pub input_stride: usize,
    /// From one block of the output to the next: its rows lie one after the other.
    pub output_stride: usize,
}

/// Computes a panel of output channels: `[block][row][16]` 32-bit integers.
///
/// # Safety
/// `isa` must be available, and one that [`Isa::with_integers`] returned. The input, the weights
/// `[block][pair][column][16]` and the output must be inside their buffers, and no other thread may access the output.
#[inline(never)]
pub(super) unsafe fn multiply_integers(
    isa: Isa,
    product: IntegerProduct,
    input: CheckedPtr,
    weights: CheckedPtr,
    output: CheckedPtr,
) {
    // SAFETY: guaranteed by the caller.
    unsafe {
        dispatch_integers!(isa, multiply(
            product: IntegerProduct = product, input: CheckedPtr = input, weights: CheckedPtr = weights,
            output: CheckedPtr = output,
        ))
    }
}

/// # Safety
/// As for [`multiply_integers`].
#[inline(always)]
unsafe fn multiply<S: IntegerSimd>(
    product: IntegerProduct,
    input: CheckedPtr,
    weights: CheckedPtr,
    output: CheckedPtr,
) {
    // Chunks of nearly equal size, so that no slow chunk of few rows remains.
    let chunks = product.rows.div_ceil(S::MR);
    let start = |chunk: usize| chunk * product.rows / chunks;
    let mut chunk = 0;
    while chunk < chunks {
        let rows = start(chunk + 1) - start(chunk);
        let input = input.add(start(chunk) * HALF_BLOCK);
        let output = output.add(start(chunk) * BLOCK);
        // SAFETY: guaranteed by the caller.
        unsafe {
            match product.columns {
                1 => select_kernel::<S, 1>(rows, product, input, weights, output),
                _ => select_kernel::<S, 2>(rows, product, input, weights, output),
            }
        }
        chunk += 1;
    }
}

/// Calls the microkernel that is compiled for this number of rows.
///
/// # Safety
/// As for [`multiply_integers`]; at most `S::MR` rows.
#[inline(always)]
unsafe fn select_kernel<S: IntegerSimd, const NB: usize>(
    rows: usize,
    product: IntegerProduct,
    input: CheckedPtr,
    weights: CheckedPtr,
    output: CheckedPtr,
) {
    macro_rules! select {
        ($($mr:literal)*) => {
            match rows {
                $($mr if const { $mr <= S::MR && NB <= S::NR_BLOCKS } => {
                    microkernel::<S, $mr, NB>(product, input, weights, output)
                })*
                _ => debug_assert!(false, "no microkernel for {rows} rows of {NB} blocks"),
            }
        };
    }
    // SAFETY: guaranteed by the caller.
    unsafe { select!(1 2 3 4 5 6 7 8 9 10 11 12 13 14) }
}

/// # Safety
/// As for [`multiply_integers`].
#[inline(always)]
unsafe fn microkernel<S: IntegerSimd, const MR: usize, const NB: usize>(
    product: IntegerProduct,
    input: CheckedPtr,
    weights: CheckedPtr,
    output: CheckedPtr,
) {
    // SAFETY: guaranteed by the caller.
    unsafe {
        let mut sums = [[S::splat_integer(0); NB]; MR];
        let mut weights = weights;
        for block in 0..product.blocks {
            let input = input.add(block * product.input_stride);
            for pair in 0..HALF_BLOCK {
                let mut pairs_of_weights = [S::splat_integer(0); NB];
                for (j, pairs) in pairs_of_weights.iter_mut().enumerate() {
                    *pairs = weights.add(j * BLOCK).load_integers::<S>();
                    weights.add(PREFETCH_DISTANCE + j * BLOCK).prefetch::<S>();
                }
                for (t, sums) in sums.iter_mut().enumerate() {
                    let values = input.add(t * HALF_BLOCK + pair).splat_integer::<S>();
                    for (sum, weights) in sums.iter_mut().zip(pairs_of_weights) {
                        *sum = S::add_products(*sum, values, weights);
                    }
                }
                weights = weights.add(NB * BLOCK);
            }
        }
        for (t, sums) in sums.iter().enumerate() {
            for (j, sum) in sums.iter().enumerate() {
                output.add(j * product.output_stride + t * BLOCK).store_integers::<S>(*sum);
            }
        }
    }
}
