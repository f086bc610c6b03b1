//! The microkernel on integers: as [`microkernel`](super::microkernel), with 16-bit integers whose products are summed
//! in 32 bits.
//!
//! A step takes a pair of values of each row times the pairs of weights of sixteen or 32 output channels, twice the
//! multiplications of a step in `f32`. Whoever quantizes makes sure that no sum overflows, so the sums are exact, and
//! the same with every instruction set. Lengths and strides count pairs, which take the space of an `f32` each.
#![allow(unsafe_code)]

use super::microkernel::PREFETCH_DISTANCE;
use super::simd::{BLOCK, CheckedPtr, IntegerSimd, Isa, dispatch_integers};

/// Space of sixteen 16-bit integers, in `f32` values; also, pairs of channels in a block.
pub(super) const HALF_BLOCK: usize = BLOCK / 2;

/// A matrix product of 16-bit integers. The inputs of a row of the result are `segments` of `pairs` contiguous pairs.
#[derive(Clone, Copy)]
pub(super) struct IntegerProduct {
    /// Rows of the result, any number.
    pub rows: usize,
    /// Blocks of output channels: see [`Isa::nr_blocks`].
    pub columns: usize,
    /// Blocks of input channels, or rows of the convolution's kernel.
    pub segments: usize,
    /// From one segment to the next.
    pub segment_stride: usize,
    /// Pairs of a segment.
    pub pairs: usize,
    /// From the inputs of one row of the result to those of the next.
    pub row_stride: usize,
}

/// Where the result is stored: `[block of output channels][row][16]`.
#[derive(Clone, Copy)]
pub(super) struct IntegerOutput {
    pub ptr: CheckedPtr,
    /// Values from one block of output channels to the next.
    pub block_stride: usize,
    /// Without it, the sums are stored as 32-bit integers.
    pub scaling: Option<Scaling>,
}

/// From sums to values in `f32`: `sum * unit * scale + bias`.
#[derive(Clone, Copy)]
pub(super) struct Scaling {
    /// `[block of output channels][16]`
    pub units: CheckedPtr,
    pub scale: f32,
    /// `[block of output channels][16]`
    pub bias: CheckedPtr,
    pub relu: bool,
}

/// Computes a panel of output channels.
///
/// # Safety
/// `isa` must be available, and one that [`Isa::with_integers`] returned. The input, the weights
/// `[segment][pair][column][16]` and the output must be inside their buffers, and no other thread may access the output.
#[inline(never)]
pub(super) unsafe fn multiply_integers(
    isa: Isa,
    product: IntegerProduct,
    input: CheckedPtr,
    weights: CheckedPtr,
    output: IntegerOutput,
) {
    // SAFETY: guaranteed by the caller.
    unsafe {
        dispatch_integers!(isa, multiply(
            product: IntegerProduct = product, input: CheckedPtr = input, weights: CheckedPtr = weights,
            output: IntegerOutput = output,
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
    output: IntegerOutput,
) {
    // Chunks of nearly equal size, so that no slow chunk of few rows remains.
    let chunks = product.rows.div_ceil(S::MR);
    let start = |chunk: usize| chunk * product.rows / chunks;
    let mut chunk = 0;
    while chunk < chunks {
        let rows = start(chunk + 1) - start(chunk);
        let input = input.add(start(chunk) * product.row_stride);
        let output = IntegerOutput { ptr: output.ptr.add(start(chunk) * BLOCK), ..output };
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
    output: IntegerOutput,
) {
    macro_rules! select {
        ($($mr:literal)*) => {
            match rows {
                $($mr if const { $mr <= S::MR && NB <= S::NR_BLOCKS } => {
                    // As in f32: strides known at compile time, of Winograd products and of first layers with three
                    // channels and strides 1 and 4.
                    match product.row_stride {
                        HALF_BLOCK => microkernel::<S, $mr, NB, HALF_BLOCK>(product, input, weights, output),
                        2 => microkernel::<S, $mr, NB, 2>(product, input, weights, output),
                        6 => microkernel::<S, $mr, NB, 6>(product, input, weights, output),
                        _ => microkernel::<S, $mr, NB, 0>(product, input, weights, output),
                    }
                })*
                _ => debug_assert!(false, "no microkernel for {rows} rows of {NB} blocks"),
            }
        };
    }
    // SAFETY: guaranteed by the caller.
    unsafe { select!(1 2 3 4 5 6 7 8 9 10 11 12 13 14) }
}

/// `STRIDE` is the stride from row to row, or 0 if it is only known at run time.
///
/// # Safety
/// As for [`multiply_integers`].
#[inline(always)]
unsafe fn microkernel<S: IntegerSimd, const MR: usize, const NB: usize, const STRIDE: usize>(
    product: IntegerProduct,
    input: CheckedPtr,
    weights: CheckedPtr,
    output: IntegerOutput,
) {
    let stride = if STRIDE == 0 { product.row_stride } else { STRIDE };
    // SAFETY: guaranteed by the caller.
    unsafe {
        let mut sums = [[S::splat_integer(0); NB]; MR];
        let mut weights = weights;
        for segment in 0..product.segments {
            let input = input.add(segment * product.segment_stride);
            for pair in 0..product.pairs {
                let mut pairs_of_weights = [S::splat_integer(0); NB];
                for (j, pairs) in pairs_of_weights.iter_mut().enumerate() {
                    *pairs = weights.add(j * BLOCK).load_integers::<S>();
                    weights.add(PREFETCH_DISTANCE + j * BLOCK).prefetch::<S>();
                }
                for (t, sums) in sums.iter_mut().enumerate() {
                    let values = input.add(t * stride + pair).splat_integer::<S>();
                    for (sum, weights) in sums.iter_mut().zip(pairs_of_weights) {
                        *sum = S::add_products(*sum, values, weights);
                    }
                }
                weights = weights.add(NB * BLOCK);
            }
        }
        let to = |t: usize, j: usize| output.ptr.add(j * output.block_stride + t * BLOCK);
        let Some(scaling) = output.scaling else {
            for (t, sums) in sums.iter().enumerate() {
                for (j, sum) in sums.iter().enumerate() {
                    to(t, j).store_integers::<S>(*sum);
                }
            }
            return;
        };
        for j in 0..NB {
            let unit = scaling.units.add(j * BLOCK).load::<S>();
            let unit = S::mul(unit, S::splat(scaling.scale));
            let bias = scaling.bias.add(j * BLOCK).load::<S>();
            for (t, sums) in sums.iter().enumerate() {
                let mut value = S::mul_add(S::to_float(sums[j]), unit, bias);
                if scaling.relu {
                    value = S::max(S::splat(0.0), value);
                }
                to(t, j).store::<S>(value);
            }
        }
    }
}
