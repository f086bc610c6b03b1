//! The microkernel: a small matrix product that sums in registers. The engine spends nearly all of
//! its time on convolutions here.
//!
//! In the terms of BLIS (Goto and van de Geijn 2008; Van Zee and van de Geijn 2015), it computes up to
//! MR rows of the result (pixels, or Winograd tiles) of one panel of NR output channels: in every step
//! one value of each row is multiplied by the same sixteen or 32 weights. The weights of a panel are
//! packed in the order in which they are read. The input is read in place, as [`StridedInput`]
//! describes it, so that the same kernel serves matrix products and direct convolution (implicit GEMM).
#![allow(unsafe_code)]

use super::simd::{BLOCK, CheckedPtr, Isa, Simd, dispatch};

/// The weights of a panel, and what is fetched into the L2 cache meanwhile.
#[derive(Clone, Copy)]
pub(super) struct PanelWeights {
    /// `[inner_len][blocks][16]`
    pub ptr: CheckedPtr,
    /// As many values, which may lie outside the buffer: fetched evenly while the panel is computed.
    pub next: CheckedPtr,
}

impl PanelWeights {
    /// A panel after which the values behind it are needed: its own first, then those of the next product in the fused
    /// schedule.
    pub fn in_sequence(ptr: CheckedPtr) -> Self {
        Self { ptr, next: ptr.add(PREFETCH_DISTANCE) }
    }
}

/// How many values ahead of their use weights are fetched; memory latency is a large fraction of a microsecond.
const PREFETCH_DISTANCE: usize = 1024;

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
    /// Blocks that are summed before their sum is added to that of the others: the longer a sum, the more it is rounded.
    /// All blocks, if there is a ReLU.
    pub blocks_of_sum: usize,
}

impl StridedInput {
    /// The inner dimension of the matrix product (K in BLAS).
    pub fn inner_len(&self) -> usize {
        self.blocks * self.rows * self.row_len
    }

    /// Values from the first to the last that `rows` rows of the result read.
    fn extent(&self, rows: usize) -> usize {
        if rows * self.inner_len() == 0 {
            return 0;
        }
        let last_segment =
            (self.blocks - 1) * self.block_stride + (self.rows - 1) * self.row_stride;
        last_segment + (rows - 1) * self.pixel_stride + self.row_len
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

/// The operands, which are known to be inside their buffers.
#[derive(Clone, Copy)]
struct Operands {
    input: *const f32,
    weights: *const f32,
    /// What is fetched into the L2 cache.
    next: *const f32,
    /// From what is fetched in one step to what is fetched in the next.
    next_step: usize,
    output: *mut f32,
    /// Values from one block of output channels to the next.
    block_stride: usize,
    /// What is added to the first sum.
    addend: Addend,
    relu: bool,
}

/// What is added to a sum: `[block of output channels][row][16]`.
#[derive(Clone, Copy)]
struct Addend {
    ptr: *const f32,
    block_stride: usize,
    /// Values from one row to the next, or 0 if all have the same.
    row_stride: usize,
}

/// The addend where there is none.
static ZEROS: [f32; BLOCK] = [0.0; BLOCK];

/// The fewest rows that keep the multiply-add units busy: with fewer, each sum waits for the one before.
const MIN_BUSY_ROWS: usize = 4;

/// Rows of the register tile, half as many as usual but enough to keep the units busy, for strides that are only known at
/// run time: each row needs a register for its address.
pub(super) const fn few_rows<S: Simd>() -> usize {
    if S::MR / 2 > MIN_BUSY_ROWS { S::MR / 2 } else { MIN_BUSY_ROWS }
}

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
    weights: PanelWeights,
    output: OutputPanel,
) {
    // SAFETY: guaranteed by the caller.
    unsafe {
        dispatch!(isa, multiply(
            rows: usize = rows, blocks: usize = blocks, strides: &StridedInput = strides,
            input: CheckedPtr = input, weights: PanelWeights = weights, output: OutputPanel = output,
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
    weights: PanelWeights,
    output: OutputPanel,
) {
    debug_assert!(strides.blocks_of_sum > 0, "a sum of no channels");
    debug_assert!(!output.relu || strides.blocks <= strides.blocks_of_sum, "a ReLU of parts");
    let len = strides.inner_len() * blocks * BLOCK;
    for block in 0..blocks {
        output.ptr.add(block * output.block_stride).checked(rows * BLOCK);
    }
    let addend = match output.bias {
        Some(bias) => (bias.checked(blocks * BLOCK).cast_const(), BLOCK),
        None => (ZEROS.as_ptr(), 0),
    };
    let operands = Operands {
        input: input.checked(strides.extent(rows)),
        weights: weights.ptr.checked(len),
        next: weights.next.address(),
        next_step: 0,
        output: output.ptr.checked(0),
        block_stride: output.block_stride,
        addend: Addend { ptr: addend.0, block_stride: addend.1, row_stride: 0 },
        relu: output.relu,
    };
    let is_known = matches!(strides.pixel_stride, BLOCK | 3 | 12);
    // Chunks of nearly equal size, so that no slow chunk of few rows remains.
    let chunks = rows.div_ceil(if is_known { S::MR } else { few_rows::<S>() });
    let mut start = 0;
    let mut chunk = 0;
    while chunk < chunks {
        let end = (chunk + 1) * rows / chunks;
        let input = operands.input.wrapping_add(start * strides.pixel_stride);
        let output = operands.output.wrapping_add(start * BLOCK);
        let next = operands.next.wrapping_add(chunk * len / chunks);
        let next_step = blocks * BLOCK / chunks;
        let operands = Operands { input, next, next_step, output, ..operands };
        // SAFETY: guaranteed by the caller.
        unsafe {
            match blocks {
                1 => select_kernel::<S, 1>(end - start, strides, operands),
                _ => select_kernel::<S, 2>(end - start, strides, operands),
            }
        }
        start = end;
        chunk += 1;
    }
}

/// Calls the microkernel that is compiled for this number of rows and this stride.
///
/// # Safety
/// As for [`multiply_panel`]; at most `S::MR` rows, or [`few_rows`] if the stride is not known at compile time.
#[inline(always)]
unsafe fn select_kernel<S: Simd, const NB: usize>(
    rows: usize,
    strides: &StridedInput,
    operands: Operands,
) {
    macro_rules! select {
        ($($mr:literal)*) => {
            match rows {
                $($mr if const { $mr <= S::MR && NB <= S::NR_BLOCKS } => {
                    // A stride known at compile time needs no registers for addresses, which makes
                    // Winograd products and first layers (three channels, strides 1 and 4) twice as fast. Each
                    // variant takes long to compile, so first layers have none for few rows: maps are wider.
                    match strides.pixel_stride {
                        BLOCK => microkernel::<S, $mr, NB, BLOCK>(strides, operands),
                        3 if const { $mr >= few_rows::<S>() } => {
                            microkernel::<S, $mr, NB, 3>(strides, operands)
                        }
                        12 if const { $mr >= few_rows::<S>() } => {
                            microkernel::<S, $mr, NB, 12>(strides, operands)
                        }
                        _ if const { $mr <= few_rows::<S>() } => {
                            microkernel::<S, $mr, NB, 0>(strides, operands)
                        }
                        stride => debug_assert!(false, "no microkernel for stride {stride}"),
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
/// run time. Loops over indices compile in half the time of iterators.
///
/// # Safety
/// As for [`multiply_panel`].
#[inline(always)]
#[allow(clippy::needless_range_loop)]
unsafe fn microkernel<S: Simd, const MR: usize, const NB: usize, const STRIDE: usize>(
    strides: &StridedInput,
    operands: Operands,
) {
    let stride = if STRIDE == 0 { strides.pixel_stride } else { STRIDE };
    // SAFETY: guaranteed by the caller.
    unsafe {
        let (mut weights, mut next) = (operands.weights, operands.next);
        let floor = S::splat(if operands.relu { 0.0 } else { f32::NEG_INFINITY });
        let mut addend = operands.addend;
        let mut first = 0;
        while first < strides.blocks {
            let end = strides.blocks.min(first + strides.blocks_of_sum);
            let mut sums = [[S::splat(0.0); NB]; MR];
            for block in first..end {
                for row in 0..strides.rows {
                    let segment = block * strides.block_stride + row * strides.row_stride;
                    let segment = operands.input.wrapping_add(segment);
                    for i in 0..strides.row_len {
                        let mut weight_vectors = [S::splat(0.0); NB];
                        for j in 0..NB {
                            weight_vectors[j] = S::load(weights.wrapping_add(j * BLOCK));
                            S::prefetch(next.wrapping_add(j * BLOCK));
                        }
                        for t in 0..MR {
                            let value = S::splat(*segment.wrapping_add(t * stride).wrapping_add(i));
                            for j in 0..NB {
                                sums[t][j] = S::mul_add(value, weight_vectors[j], sums[t][j]);
                            }
                        }
                        weights = weights.wrapping_add(NB * BLOCK);
                        next = next.wrapping_add(operands.next_step);
                    }
                }
            }
            for j in 0..NB {
                let to = operands.output.wrapping_add(j * operands.block_stride);
                let from = addend.ptr.wrapping_add(j * addend.block_stride);
                for t in 0..MR {
                    let added = S::load(from.wrapping_add(t * addend.row_stride));
                    let value = S::max(floor, S::add(sums[t][j], added));
                    S::store(to.wrapping_add(t * BLOCK), value);
                }
            }
            let (ptr, block_stride) = (operands.output.cast_const(), operands.block_stride);
            addend = Addend { ptr, block_stride, row_stride: BLOCK };
            first = end;
        }
    }
}
