//! The microkernel of the gradient of weights: sums outer products of pixels in registers.
//!
//! For one position after the other of the output, up to MR values of the input under the kernel, which are
//! contiguous in a blocked map (columns and channels), are multiplied by the gradients of sixteen or 32 output
//! channels at the position. The sums are added to those of earlier calls, if there are any.
#![allow(unsafe_code)]

use crate::engine::simd::{BLOCK, CheckedPtr, Isa, Simd, dispatch};

/// A rectangle of output positions, and how inputs and gradients lie in memory.
#[derive(Clone, Copy, Debug)]
pub struct Positions {
    pub rows: usize,
    pub columns: usize,
    /// Values from the inputs of one position to those of the next in the row.
    pub input_step: usize,
    /// Values from the inputs of one row of positions to the next.
    pub input_row_stride: usize,
    /// Values from the gradients of one row of positions to the next.
    pub gradient_row_stride: usize,
    /// Values from the gradients of one block of output channels to the next.
    pub gradient_block_stride: usize,
    /// Values from the sums of one block of output channels to the next.
    pub sums_block_stride: usize,
    /// Whether there are no sums yet: what lies there is not read.
    pub is_first: bool,
}

/// Adds to `[blocks of output channels][values][16]` sums the products over all positions of `values` contiguous
/// inputs and the gradients of `blocks` of output channels.
///
/// # Safety
/// `isa` must be available, everything that is read and written inside its buffer, and no other thread may access
/// the sums.
#[inline(never)]
pub unsafe fn add_outer_products(
    isa: Isa,
    values: usize,
    blocks: usize,
    positions: &Positions,
    input: CheckedPtr,
    gradient: CheckedPtr,
    sums: CheckedPtr,
) {
    // SAFETY: guaranteed by the caller.
    unsafe {
        dispatch!(isa, add(
            values: usize = values, blocks: usize = blocks, positions: &Positions = positions,
            input: CheckedPtr = input, gradient: CheckedPtr = gradient, sums: CheckedPtr = sums,
        ))
    }
}

/// # Safety
/// As for [`add_outer_products`].
#[inline(always)]
unsafe fn add<S: Simd>(
    values: usize,
    blocks: usize,
    positions: &Positions,
    input: CheckedPtr,
    gradient: CheckedPtr,
    sums: CheckedPtr,
) {
    // Chunks of nearly equal size, so that no slow chunk of few values remains.
    let chunks = values.div_ceil(S::MR);
    let mut start = 0;
    for chunk in 0..chunks {
        let end = (chunk + 1) * values / chunks;
        let (input, sums) = (input.add(start), sums.add(start * BLOCK));
        // SAFETY: guaranteed by the caller.
        unsafe {
            match blocks {
                1 => select::<S, 1>(end - start, positions, input, gradient, sums),
                _ => select::<S, 2>(end - start, positions, input, gradient, sums),
            }
        }
        start = end;
    }
}

/// Calls the microkernel that is compiled for this number of values.
///
/// # Safety
/// As for [`add_outer_products`]; at most `S::MR` values.
#[inline(always)]
unsafe fn select<S: Simd, const NB: usize>(
    values: usize,
    positions: &Positions,
    input: CheckedPtr,
    gradient: CheckedPtr,
    sums: CheckedPtr,
) {
    macro_rules! select {
        ($($mr:literal)*) => {
            match values {
                $($mr if const { $mr <= S::MR && NB <= S::NR_BLOCKS } => {
                    microkernel::<S, $mr, NB>(positions, input, gradient, sums)
                })*
                _ => debug_assert!(false, "no microkernel for {values} values of {NB} blocks"),
            }
        };
    }
    // SAFETY: guaranteed by the caller.
    unsafe { select!(1 2 3 4 5 6 7 8 9 10 11 12 13 14) }
}

/// # Safety
/// As for [`add_outer_products`], for `MR` values and `NB` blocks.
#[inline(always)]
unsafe fn microkernel<S: Simd, const MR: usize, const NB: usize>(
    positions: &Positions,
    input: CheckedPtr,
    gradient: CheckedPtr,
    sums: CheckedPtr,
) {
    // SAFETY: guaranteed by the caller.
    unsafe {
        let mut products = [[S::splat(0.0); NB]; MR];
        for row in 0..positions.rows {
            let mut input = input.add(row * positions.input_row_stride);
            let mut gradient = gradient.add(row * positions.gradient_row_stride);
            for _ in 0..positions.columns {
                let mut gradients = [S::splat(0.0); NB];
                for (j, vector) in gradients.iter_mut().enumerate() {
                    *vector = gradient.add(j * positions.gradient_block_stride).load::<S>();
                }
                for (t, products) in products.iter_mut().enumerate() {
                    let value = S::splat(input.add(t).read());
                    for (product, gradient) in products.iter_mut().zip(gradients) {
                        *product = S::mul_add(value, gradient, *product);
                    }
                }
                input = input.add(positions.input_step);
                gradient = gradient.add(BLOCK);
            }
        }
        for j in 0..NB {
            for (t, products) in products.iter().enumerate() {
                let sum = sums.add(j * positions.sums_block_stride + t * BLOCK);
                let before = if positions.is_first { S::splat(0.0) } else { sum.load::<S>() };
                sum.store::<S>(S::add(before, products[j]));
            }
        }
    }
}
