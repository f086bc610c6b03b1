//! The microkernel: a small matrix product whose result stays in registers.
//!
//! All convolutions end here. `tiles` rows of the result (pixels, or tiles of Winograd's), each
//! `width` blocks of sixteen output channels wide, are accumulated in registers (Goto and van de
//! Geijn, 2008): in every step one number of each row is multiplied with the same sixteen or 32
//! weights. The weights are read in the order in which they lie, and the input is walked by
//! [`Walk`], which is what makes one kernel serve a product of matrices and a convolution alike.
#![allow(unsafe_code)]

use super::simd::{BLOCK, Place, Simd};

/// Numbers by which weights are fetched ahead of their use: memory takes a good part of a microsecond. What
/// lies behind the last of them is the next product's weights, in the fused schedule, or not needed.
const AHEAD: usize = 1024;

/// How the input of one row of the result lies: `blocks` times `rows` runs of `length` numbers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Walk {
    /// Blocks of input channels.
    pub blocks: usize,
    /// Numbers from a block to the next.
    pub block_stride: usize,
    /// Rows of a convolution's kernel; 1 for a matrix.
    pub rows: usize,
    /// Numbers from a row to the next.
    pub row_stride: usize,
    /// Numbers that follow each other: a row of the kernel, all channels of the block.
    pub length: usize,
    /// Numbers from the input of one row of the result to that of the next.
    pub step: usize,
}

impl Walk {
    /// Steps of the whole walk, and so the number of weights a channel.
    pub fn steps(&self) -> usize {
        self.blocks * self.rows * self.length
    }
}

/// Where the result goes: `[width][row][16]`.
#[derive(Clone, Copy)]
pub(super) struct Target {
    pub at: Place,
    /// Numbers from a block of output channels to the next.
    pub block_stride: usize,
    /// Added to every row, `[width][16]`.
    pub bias: Option<Place>,
    pub relu: bool,
}

/// A product of `count` rows (any number) and `width` blocks.
///
/// # Safety
/// `S` must be available, the walk from `input`, the weights `[steps][width][16]` and the target must
/// be inside their buffers, and the target no other thread's.
#[inline(always)]
pub(super) unsafe fn product<S: Simd>(
    count: usize,
    width: usize,
    walk: &Walk,
    input: Place,
    weights: Place,
    target: Target,
) {
    // Parts of nearly one size: no slow tail of a few rows.
    let parts = count.div_ceil(S::TILES);
    let mut start = 0;
    let mut part = 0;
    while part < parts {
        let end = (part + 1) * count / parts;
        let input = input.add(start * walk.step);
        let target = Target { at: target.at.add(start * BLOCK), ..target };
        // SAFETY: the caller's.
        unsafe {
            match width {
                1 => rows::<S, 1>(end - start, walk, input, weights, target),
                _ => rows::<S, 2>(end - start, walk, input, weights, target),
            }
        }
        start = end;
        part += 1;
    }
}

/// # Safety
/// As for [`product`]; at most `S::TILES` rows.
#[inline(always)]
unsafe fn rows<S: Simd, const W: usize>(
    count: usize,
    walk: &Walk,
    input: Place,
    weights: Place,
    target: Target,
) {
    macro_rules! of {
        ($($rows:literal)*) => {
            match count {
                $($rows if $rows <= S::TILES && W <= S::WIDTH => {
                    // A step that the compiler knows needs no registers for addresses: Winograd's,
                    // and the first layers' (three channels, strides 1 and 4), twice as fast so.
                    match walk.step {
                        BLOCK => tile::<S, $rows, W, BLOCK>(walk, input, weights, target),
                        3 => tile::<S, $rows, W, 3>(walk, input, weights, target),
                        12 => tile::<S, $rows, W, 12>(walk, input, weights, target),
                        _ => tile::<S, $rows, W, 0>(walk, input, weights, target),
                    }
                })*
                _ => debug_assert!(false, "{count} rows of {W}"),
            }
        };
    }
    // SAFETY: the caller's.
    unsafe { of!(1 2 3 4 5 6 7 8 9 10 11 12 13 14) }
}

/// # Safety
/// As for [`product`].
#[inline(always)]
unsafe fn tile<S: Simd, const T: usize, const W: usize, const STEP: usize>(
    walk: &Walk,
    input: Place,
    weights: Place,
    target: Target,
) {
    let step = if STEP == 0 { walk.step } else { STEP };
    // SAFETY: the caller's.
    unsafe {
        let mut sums = [[S::splat(0.0); W]; T];
        let mut weights = weights;
        for block in 0..walk.blocks {
            for row in 0..walk.rows {
                let run = input.add(block * walk.block_stride + row * walk.row_stride);
                for i in 0..walk.length {
                    let mut of_this = [S::splat(0.0); W];
                    for (j, vector) in of_this.iter_mut().enumerate() {
                        *vector = weights.add(j * BLOCK).load::<S>();
                        weights.add(AHEAD + j * BLOCK).prefetch::<S>();
                    }
                    for (t, sums) in sums.iter_mut().enumerate() {
                        let value = S::splat(run.add(t * step + i).get());
                        for (sum, weight) in sums.iter_mut().zip(of_this) {
                            *sum = S::mul_add(value, weight, *sum);
                        }
                    }
                    weights = weights.add(W * BLOCK);
                }
            }
        }
        for j in 0..W {
            let bias = match target.bias {
                Some(bias) => bias.add(j * BLOCK).load::<S>(),
                None => S::splat(0.0),
            };
            for (t, sums) in sums.iter().enumerate() {
                let mut sum = S::add(sums[j], bias);
                if target.relu {
                    sum = S::max(S::splat(0.0), sum);
                }
                target.at.add(j * target.block_stride + t * BLOCK).store::<S>(sum);
            }
        }
    }
}
