//! A linear layer for one or a few vectors: each weight is read once, at the speed of memory.
//!
//! Rows are read from start to end, three at a time. Each lane of a vector sums one sixteenth of a row,
//! and each quantization group is summed on its own before it is added to the rest: long chains of
//! additions would be the largest rounding error of the whole network. With several images, a group of
//! the three rows is decoded to `f32` once for all of them.
#![allow(unsafe_code)]

use super::elementwise::Activation;
use super::packed_linear::{PackedLinear, QUANT_GROUP, RowSegment};
use super::simd::{BLOCK, CheckedPtr, Simd, dispatch};
use super::stage::{Stage, Work};
use super::workspace::Workspace;
use std::sync::Arc;

/// Rows of an item for few threads.
pub(super) const ROWS_PER_ITEM: usize = 12;
/// Rows that are read at the same time.
pub(super) const ROWS_AT_ONCE: usize = 3;
/// Images that an item computes at a time, so that their sums stay in the L1 cache.
const IMAGES_AT_ONCE: usize = 32;

/// `[N, inputs]` to `[N, outputs]`. Each vector starts at a multiple of [`BLOCK`].
#[derive(Debug)]
pub(super) struct Linear {
    pub weights: Arc<PackedLinear>,
    /// Indices of the buffers.
    pub input: usize,
    pub output: usize,
    pub batch: usize,
    pub activation: Activation,
    /// Rows of an item, at most [`ROWS_PER_ITEM`].
    pub rows_per_item: usize,
}

impl Stage for Linear {
    fn items(&self) -> usize {
        self.weights.outputs.div_ceil(self.rows_per_item)
    }

    fn work(&self, item: usize) -> Work {
        let [_, rows] = self.weights.rows_of_item(item, self.rows_per_item);
        self.weights.work(rows, self.batch)
    }

    /// The sums of all rows and images, and a decoded group of the rows that are read.
    fn scratch_len(&self) -> usize {
        ROWS_PER_ITEM * IMAGES_AT_ONCE * BLOCK + ROWS_AT_ONCE * QUANT_GROUP
    }

    fn run(&self, item: usize, worker: usize, workspace: &Workspace) {
        let (input, output) = (workspace.buffer(self.input), workspace.buffer(self.output));
        let scratch = workspace.scratch(worker);
        // SAFETY: the plan chose an available instruction set and reserved buffers of these lengths. No
        // two items share an output, and the scratch memory belongs to this worker.
        unsafe {
            dispatch!(self.weights.isa, multiply(
                stage: &Linear = self, item: usize = item,
                input: CheckedPtr = input, output: CheckedPtr = output, scratch: CheckedPtr = scratch,
            ))
        }
    }
}

/// # Safety
/// `S` must be available, the buffers and the scratch memory as long as the layer requires, and no other
/// thread may access the item's outputs.
#[inline(always)]
unsafe fn multiply<S: Simd>(
    stage: &Linear,
    item: usize,
    input: CheckedPtr,
    output: CheckedPtr,
    scratch: CheckedPtr,
) {
    let w = &*stage.weights;
    let [first, rows] = w.rows_of_item(item, stage.rows_per_item);
    let stride = w.inputs.next_multiple_of(BLOCK);
    let (sums, decoded) = (scratch, scratch.add(ROWS_PER_ITEM * IMAGES_AT_ONCE * BLOCK));
    let mut image = 0;
    while image < stage.batch {
        let images = IMAGES_AT_ONCE.min(stage.batch - image);
        // SAFETY: guaranteed by the caller.
        unsafe {
            let x = input.add(image * stride);
            for i in 0..rows * images {
                sums.add(i * BLOCK).store::<S>(S::splat(0.0));
            }
            let mut r = 0;
            while r < rows {
                let rows_at_once = if rows - r >= ROWS_AT_ONCE { ROWS_AT_ONCE } else { 1 };
                let sums = sums.add(r * images * BLOCK);
                let mut start = 0;
                while start < stride {
                    let len = QUANT_GROUP.min(stride - start);
                    let segment = RowSegment { row: first + r, start, len };
                    let pointers = [x.add(start), decoded, sums];
                    match rows_at_once {
                        ROWS_AT_ONCE => {
                            add_segment::<S, ROWS_AT_ONCE>(w, segment, images, pointers);
                        }
                        _ => add_segment::<S, 1>(w, segment, images, pointers),
                    }
                    start += QUANT_GROUP;
                }
                r += rows_at_once;
            }
            for i in 0..rows * images {
                let (r, n) = (i / images, i % images);
                let mut lanes = [0.0f32; BLOCK];
                S::store(lanes.as_mut_ptr(), sums.add(i * BLOCK).load::<S>());
                let value = sum_of_lanes(lanes) + w.bias[first + r];
                let at = (image + n) * w.outputs.next_multiple_of(BLOCK) + first + r;
                output.add(at).write(stage.activation.apply(value));
            }
        }
        image += images;
    }
}

/// Pairwise summation, always in the same order.
#[inline(always)]
pub(super) fn sum_of_lanes(lanes: [f32; BLOCK]) -> f32 {
    let mut lanes = lanes;
    let mut half = BLOCK / 2;
    while half > 0 {
        for i in 0..half {
            lanes[i] += lanes[i + half];
        }
        half /= 2;
    }
    lanes[0]
}

/// `sums[row][image] += w · x` for a segment of `R` rows and all images.
///
/// # Safety
/// As for [`multiply`].
#[inline(always)]
unsafe fn add_segment<S: Simd, const R: usize>(
    w: &PackedLinear,
    segment: RowSegment,
    images: usize,
    [x, decoded, sums]: [CheckedPtr; 3],
) {
    let stride = w.inputs.next_multiple_of(BLOCK);
    // SAFETY: guaranteed by the caller.
    unsafe {
        // If there are enough registers for all images, no decoded weights need to be stored.
        match images {
            1 => return add_products::<S, R, 1>(w, segment, [stride, 1], None, x, sums),
            2 => return add_products::<S, R, 2>(w, segment, [stride, 2], None, x, sums),
            4 if S::NR_BLOCKS > 1 => {
                return add_products::<S, R, 4>(w, segment, [stride, 4], None, x, sums);
            }
            8 if S::NR_BLOCKS > 1 => {
                return add_products::<S, R, 8>(w, segment, [stride, 8], None, x, sums);
            }
            _ => {}
        }
        for r in 0..R {
            for i in (0..segment.len).step_by(BLOCK) {
                decoded.add(r * QUANT_GROUP + i).store::<S>(segment.load::<S>(w, r, i));
            }
        }
        let mut n = 0;
        while n < images {
            let (x, sums) = (x.add(n * stride), sums.add(n * BLOCK));
            let (left, decoded) = (images - n, Some(decoded));
            n += match left {
                8.. if S::NR_BLOCKS > 1 => {
                    add_products::<S, R, 8>(w, segment, [stride, images], decoded, x, sums);
                    8
                }
                4.. if S::NR_BLOCKS > 1 => {
                    add_products::<S, R, 4>(w, segment, [stride, images], decoded, x, sums);
                    4
                }
                2.. => {
                    add_products::<S, R, 2>(w, segment, [stride, images], decoded, x, sums);
                    2
                }
                _ => {
                    add_products::<S, R, 1>(w, segment, [stride, images], decoded, x, sums);
                    1
                }
            };
        }
    }
}

/// [`add_segment`] for `N` of the images. The weights come from `decoded`, or are decoded on the fly.
///
/// # Safety
/// As for [`multiply`].
#[inline(always)]
unsafe fn add_products<S: Simd, const R: usize, const N: usize>(
    w: &PackedLinear,
    segment: RowSegment,
    [stride, images]: [usize; 2],
    decoded: Option<CheckedPtr>,
    x: CheckedPtr,
    sums: CheckedPtr,
) {
    // SAFETY: guaranteed by the caller.
    unsafe {
        let mut totals = [[S::splat(0.0); R]; N];
        for i in (0..segment.len).step_by(BLOCK) {
            let mut weights = [S::splat(0.0); R];
            for (r, weight) in weights.iter_mut().enumerate() {
                *weight = match decoded {
                    Some(decoded) => decoded.add(r * QUANT_GROUP + i).load::<S>(),
                    None => segment.load::<S>(w, r, i),
                };
                // Fetches the next group during the arithmetic, so that memory is never idle.
                segment.ptr(w, r, QUANT_GROUP + i).prefetch::<S>();
            }
            for (n, totals) in totals.iter_mut().enumerate() {
                let value = x.add(n * stride + i).load::<S>();
                for (total, weight) in totals.iter_mut().zip(weights) {
                    *total = S::mul_add(weight, value, *total);
                }
            }
        }
        for r in 0..R {
            let scale = segment.scale::<S>(w, r);
            for (n, totals) in totals.iter().enumerate() {
                let at = sums.add((r * images + n) * BLOCK);
                at.store::<S>(S::mul_add(totals[r], scale, at.load::<S>()));
            }
        }
    }
}
