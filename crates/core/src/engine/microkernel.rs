//! The microkernel: a small matrix product that accumulates in registers. The engine spends nearly all of
//! its time on convolutions here.
//!
//! In the terms of BLIS (Goto and van de Geijn 2008; Van Zee and van de Geijn 2015), it computes up to
//! MR rows of the result (pixels, or Winograd tiles) of one panel of NR output channels: in every step
//! one value of each row is multiplied by the same sixteen or 32 weights. The weights of a panel are
//! packed in the order in which they are read. The input is read in place, as [`StridedInput`]
//! describes it, so that the same kernel serves matrix products and direct convolution (implicit GEMM).
#![allow(unsafe_code)]

use super::simd::{BLOCK, CheckedPtr, Isa, Simd, dispatch};

/// How many values ahead of their use weights are prefetched; memory latency is a large fraction of a
/// microsecond. Beyond the end of a panel, this fetches the weights of the next product in the fused
/// schedule, and otherwise values that are not needed.
pub(super) const PREFETCH_DISTANCE: usize = 1024;

/// Where the inputs of a row of the result lie: `blocks` × `rows` segments of `row_len` contiguous values.
#[derive(Clone, Copy, Debug)]
pub(super) struct StridedInput {
    /// Blocks of input channels.
    pub blocks: usize,
    /// Values from one block to the next.
    pub block_stride: usize,
    /// Rows of the convolution's kernel; 1 for a matrix product.
    pub rows: usize,
    /// Values from one row to the next.
    pub row_stride: usize,
    /// Contiguous values: a row of the kernel with all channels of the block.
    pub row_len: usize,
    /// Values from the inputs of one row of the result to those of the next.
    pub pixel_stride: usize,
}

impl StridedInput {
    /// The inner dimension of the matrix product (K in BLAS).
    pub fn inner_len(&self) -> usize {
        self.blocks * self.rows * self.row_len
    }
}

/// Where the result is stored: `[block of output channels][row][16]`.
#[derive(Clone, Copy)]
pub(super) struct OutputPanel {
    pub ptr: CheckedPtr,
    /// Values from one block of output channels to the next.
    pub block_stride: usize,
    /// Added to every row: `[block of output channels][16]`.
    pub bias: Option<CheckedPtr>,
    pub relu: bool,
}

/// The fewest rows that keep the multiply-add units busy: with fewer, each sum waits for the one before.
const MIN_BUSY_ROWS: usize = 4;

/// How many rows would take as long as `rows` do if none had to wait.
pub(super) fn rows_in_time(isa: Isa, rows: usize) -> usize {
    rows.max(rows.div_ceil(isa.mr()) * MIN_BUSY_ROWS)
}

/// Computes any number of `rows` of a panel of `blocks` blocks of output channels.
///
/// All kernels share it, since its many variants take long to compile; a call takes far less time than a panel.
///
/// # Safety
/// `isa` must be available. Everything that `strides` reads from `input`, the weights
/// `[inner_len][blocks][16]` and the output must be inside their buffers, and no other thread may access
/// the output.
#[inline(never)]
pub(super) unsafe fn multiply_panel(
    isa: Isa,
    rows: usize,
    blocks: usize,
    strides: &StridedInput,
    input: CheckedPtr,
    weights: CheckedPtr,
    output: OutputPanel,
) {
    // SAFETY: guaranteed by the caller.
    unsafe {
        dispatch!(isa, multiply(
            rows: usize = rows, blocks: usize = blocks, strides: &StridedInput = strides,
            input: CheckedPtr = input, weights: CheckedPtr = weights, output: OutputPanel = output,
        ))
    }
}

/// # Safety
/// As for [`multiply_panel`].
#[inline(always)]
unsafe fn multiply<S: Simd>(
    rows: usize,
    blocks: usize,
    strides: &StridedInput,
    input: CheckedPtr,
    weights: CheckedPtr,
    output: OutputPanel,
) {
    // Chunks of nearly equal size, so that no slow chunk of few rows remains.
    let chunks = rows.div_ceil(S::MR);
    let mut start = 0;
    let mut chunk = 0;
    while chunk < chunks {
        let end = (chunk + 1) * rows / chunks;
        let input = input.add(start * strides.pixel_stride);
        let output = OutputPanel { ptr: output.ptr.add(start * BLOCK), ..output };
        // SAFETY: guaranteed by the caller.
        unsafe {
            match blocks {
                1 => select_kernel::<S, 1>(end - start, strides, input, weights, output),
                _ => select_kernel::<S, 2>(end - start, strides, input, weights, output),
            }
        }
        start = end;
        chunk += 1;
    }
}

/// Calls the microkernel that is compiled for this number of rows.
///
/// # Safety
/// As for [`multiply_panel`]; at most `S::MR` rows.
#[inline(always)]
unsafe fn select_kernel<S: Simd, const NB: usize>(
    rows: usize,
    strides: &StridedInput,
    input: CheckedPtr,
    weights: CheckedPtr,
    output: OutputPanel,
) {
    macro_rules! select {
        ($($mr:literal)*) => {
            match rows {
                $($mr if const { $mr <= S::MR && NB <= S::NR_BLOCKS } => {
                    // A stride known at compile time needs no registers for addresses, which makes
                    // Winograd products and first layers (three channels, strides 1 and 4) twice as fast.
                    match strides.pixel_stride {
                        BLOCK => microkernel::<S, $mr, NB, BLOCK>(strides, input, weights, output),
                        3 => microkernel::<S, $mr, NB, 3>(strides, input, weights, output),
                        12 => microkernel::<S, $mr, NB, 12>(strides, input, weights, output),
                        _ => microkernel::<S, $mr, NB, 0>(strides, input, weights, output),
                    }
                })*
                _ => debug_assert!(false, "no microkernel for {rows} rows of {NB} blocks"),
            }
        };
    }
    // SAFETY: guaranteed by the caller.
    unsafe { select!(1 2 3 4 5 6 7 8 9 10 11 12 13 14) }
}

/// `MR` rows by `NB` blocks of sixteen columns. `STRIDE` is the pixel stride, or 0 if it is only known at
/// run time.
///
/// # Safety
/// As for [`multiply_panel`].
#[inline(always)]
unsafe fn microkernel<S: Simd, const MR: usize, const NB: usize, const STRIDE: usize>(
    strides: &StridedInput,
    input: CheckedPtr,
    weights: CheckedPtr,
    output: OutputPanel,
) {
    let stride = if STRIDE == 0 { strides.pixel_stride } else { STRIDE };
    // SAFETY: guaranteed by the caller.
    unsafe {
        let mut sums = [[S::splat(0.0); NB]; MR];
        let mut weights = weights;
        for block in 0..strides.blocks {
            for row in 0..strides.rows {
                let segment = input.add(block * strides.block_stride + row * strides.row_stride);
                for i in 0..strides.row_len {
                    let mut weight_vectors = [S::splat(0.0); NB];
                    for (j, vector) in weight_vectors.iter_mut().enumerate() {
                        *vector = weights.add(j * BLOCK).load::<S>();
                        weights.add(PREFETCH_DISTANCE + j * BLOCK).prefetch::<S>();
                    }
                    for (t, sums) in sums.iter_mut().enumerate() {
                        let value = S::splat(segment.add(t * stride + i).read());
                        for (sum, weight) in sums.iter_mut().zip(weight_vectors) {
                            *sum = S::mul_add(value, weight, *sum);
                        }
                    }
                    weights = weights.add(NB * BLOCK);
                }
            }
        }
        for j in 0..NB {
            let bias = match output.bias {
                Some(bias) => bias.add(j * BLOCK).load::<S>(),
                None => S::splat(0.0),
            };
            for (t, sums) in sums.iter().enumerate() {
                let mut sum = S::add(sums[j], bias);
                if output.relu {
                    sum = S::max(S::splat(0.0), sum);
                }
                output.ptr.add(j * output.block_stride + t * BLOCK).store::<S>(sum);
            }
        }
    }
}
