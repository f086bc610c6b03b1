//! The microkernel on integers: as [`microkernel`](super::microkernel), with 16-bit integers whose products are summed
//! in 32 bits.
//!
//! A step takes a pair of values of each row times the pairs of weights of sixteen or 32 output channels, twice the
//! multiplications of a step in `f32`. Whoever quantizes makes sure that no sum overflows, so the sums are exact, and
//! the same with every instruction set. Lengths and strides count pairs, which take the space of an `f32` each.
#![allow(unsafe_code)]

use super::microkernel::{PanelWeights, few_rows};
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

impl IntegerProduct {
    /// Pairs from the first to the last that the rows of the result read.
    fn extent(&self) -> usize {
        if self.rows * self.segments * self.pairs == 0 {
            return 0;
        }
        let last_segment = (self.segments - 1) * self.segment_stride;
        last_segment + (self.rows - 1) * self.row_stride + self.pairs
    }
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

/// The operands, which are known to be inside their buffers.
#[derive(Clone, Copy)]
struct Operands {
    input: *const i32,
    weights: *const i32,
    /// What is fetched into the L2 cache.
    next: *const f32,
    /// From what is fetched in one step to what is fetched in the next.
    next_step: usize,
    output: *mut f32,
    /// Values from one block of output channels to the next.
    block_stride: usize,
    scaling: Option<Scaling>,
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
    weights: PanelWeights,
    output: IntegerOutput,
) {
    // SAFETY: guaranteed by the caller.
    unsafe {
        dispatch_integers!(isa, multiply(
            product: IntegerProduct = product, input: CheckedPtr = input, weights: PanelWeights = weights,
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
    weights: PanelWeights,
    output: IntegerOutput,
) {
    for column in 0..product.columns {
        output.ptr.add(column * output.block_stride).checked(product.rows * BLOCK);
    }
    let len = product.segments * product.pairs * product.columns * BLOCK;
    let operands = Operands {
        input: input.checked(product.extent()).cast_const().cast(),
        weights: weights.ptr.checked(len).cast_const().cast(),
        next: weights.next.address(),
        next_step: 0,
        output: output.ptr.checked(0),
        block_stride: output.block_stride,
        scaling: output.scaling,
    };
    let is_known = match product.row_stride {
        HALF_BLOCK => output.scaling.is_none(),
        stride => matches!(stride, 2 | 6),
    };
    // Chunks of nearly equal size, so that no slow chunk of few rows remains.
    let chunks = product.rows.div_ceil(if is_known { S::MR } else { few_rows::<S>() });
    let start = |chunk: usize| chunk * product.rows / chunks;
    let mut chunk = 0;
    while chunk < chunks {
        let rows = start(chunk + 1) - start(chunk);
        let input = operands.input.wrapping_add(start(chunk) * product.row_stride);
        let output = operands.output.wrapping_add(start(chunk) * BLOCK);
        let next = operands.next.wrapping_add(chunk * len / chunks);
        let next_step = product.columns * BLOCK / chunks;
        let operands = Operands { input, next, next_step, output, ..operands };
        // SAFETY: guaranteed by the caller.
        unsafe {
            match product.columns {
                1 => select_kernel::<S, 1>(rows, product, operands),
                _ => select_kernel::<S, 2>(rows, product, operands),
            }
        }
        chunk += 1;
    }
}

/// Calls the microkernel that is compiled for this number of rows and this stride.
///
/// # Safety
/// As for [`multiply_integers`]; at most `S::MR` rows, or [`few_rows`] if the stride is not known at compile time.
#[inline(always)]
unsafe fn select_kernel<S: IntegerSimd, const NB: usize>(
    rows: usize,
    product: IntegerProduct,
    operands: Operands,
) {
    macro_rules! select {
        ($($mr:literal)*) => {
            match rows {
                $($mr if const { $mr <= S::MR && NB <= S::NR_BLOCKS } => {
                    // As in f32: strides known at compile time, of Winograd products, which are not scaled, and of
                    // first layers with three channels and strides 1 and 4.
                    match (operands.scaling, product.row_stride) {
                        (None, HALF_BLOCK) => {
                            microkernel::<S, $mr, NB, HALF_BLOCK>(product, operands)
                        }
                        (Some(_), 2) if const { $mr >= few_rows::<S>() } => {
                            microkernel::<S, $mr, NB, 2>(product, operands)
                        }
                        (Some(_), 6) if const { $mr >= few_rows::<S>() } => {
                            microkernel::<S, $mr, NB, 6>(product, operands)
                        }
                        (Some(_), _) if const { $mr <= few_rows::<S>() } => {
                            microkernel::<S, $mr, NB, 0>(product, operands)
                        }
                        (_, stride) => debug_assert!(false, "no microkernel for stride {stride}"),
                    }
                })*
                _ => debug_assert!(false, "no microkernel for {rows} rows of {NB} blocks"),
            }
        };
    }
    // SAFETY: guaranteed by the caller.
    unsafe { select!(1 2 3 4 5 6 7 8 9 10 11 12 13 14) }
}

/// `STRIDE` is the stride from row to row, or 0 if it is only known at run time. That of Winograd products means that the
/// sums are stored, and any other that they are scaled: each variant contains one of the two, and compiles faster.
///
/// # Safety
/// As for [`multiply_integers`].
#[inline(always)]
#[allow(clippy::needless_range_loop)]
unsafe fn microkernel<S: IntegerSimd, const MR: usize, const NB: usize, const STRIDE: usize>(
    product: IntegerProduct,
    operands: Operands,
) {
    let stride = if STRIDE == 0 { product.row_stride } else { STRIDE };
    // SAFETY: guaranteed by the caller.
    unsafe {
        let mut sums = [[S::splat_integer(0); NB]; MR];
        let (mut weights, mut next) = (operands.weights, operands.next);
        for segment in 0..product.segments {
            let input = operands.input.wrapping_add(segment * product.segment_stride);
            for pair in 0..product.pairs {
                let mut pairs_of_weights = [S::splat_integer(0); NB];
                for j in 0..NB {
                    pairs_of_weights[j] = S::load_integers(weights.wrapping_add(j * BLOCK));
                    S::prefetch(next.wrapping_add(j * BLOCK));
                }
                for t in 0..MR {
                    let values = *input.wrapping_add(t * stride).wrapping_add(pair);
                    let values = S::splat_integer(values);
                    for j in 0..NB {
                        sums[t][j] = S::add_products(sums[t][j], values, pairs_of_weights[j]);
                    }
                }
                weights = weights.wrapping_add(NB * BLOCK);
                next = next.wrapping_add(operands.next_step);
            }
        }
        let to = |t: usize, j: usize| {
            operands.output.wrapping_add(j * operands.block_stride + t * BLOCK)
        };
        if STRIDE == HALF_BLOCK {
            for t in 0..MR {
                for j in 0..NB {
                    S::store_integers(to(t, j).cast(), sums[t][j]);
                }
            }
        } else if let Some(scaling) = operands.scaling {
            let floor = S::splat(if scaling.relu { 0.0 } else { f32::NEG_INFINITY });
            for j in 0..NB {
                let unit = scaling.units.add(j * BLOCK).load::<S>();
                let unit = S::mul(unit, S::splat(scaling.scale));
                let bias = scaling.bias.add(j * BLOCK).load::<S>();
                for t in 0..MR {
                    let value = S::mul_add(S::to_float(sums[t][j]), unit, bias);
                    S::store(to(t, j), S::max(floor, value));
                }
            }
        }
    }
}
