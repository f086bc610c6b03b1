//! AlexNet's local response normalization.
#![allow(unsafe_code)]

use super::feature_map::FeatureMap;
use super::simd::{BLOCK, CheckedPtr, Isa, Simd, dispatch};
use super::stage::{Stage, Work};
use super::workspace::Workspace;
use std::ops::Range;

/// `x / (k + alpha · Σ x²)^beta`, where the sum is over `size` neighboring channels of the same group.
/// An item is a row, or a part of one.
#[derive(Debug)]
pub(super) struct LocalResponseNorm {
    pub isa: Isa,
    pub window: LrnWindow,
    pub alpha: f64,
    pub beta: f64,
    pub k: f64,
    pub input: FeatureMap,
    pub output: FeatureMap,
    pub batch: usize,
    /// Pixels of an item.
    pub pixels_per_item: usize,
}

impl LocalResponseNorm {
    /// Items that a row is divided into.
    fn chunks(&self) -> usize {
        self.output.width.div_ceil(self.pixels_per_item)
    }

    /// The columns of an item.
    fn columns(&self, item: usize) -> Range<usize> {
        let first = item % self.chunks() * self.pixels_per_item;
        first..(first + self.pixels_per_item).min(self.output.width)
    }
}

/// The channels whose squares are summed.
#[derive(Clone, Copy, Debug)]
pub(super) struct LrnWindow {
    /// Neighboring channels, the channel itself included.
    pub size: usize,
    /// Channels in a group.
    pub group: usize,
}

impl Stage for LocalResponseNorm {
    fn items(&self) -> usize {
        self.batch * self.output.height * self.chunks()
    }

    /// Square roots and the division take several times as long as a transform, other powers far longer.
    fn work(&self, item: usize) -> Work {
        let vectors = self.columns(item).len() * self.input.blocks();
        Work::of_vectors(vectors * if self.beta == 0.75 { 6 } else { 4 * BLOCK })
    }

    /// The squares of a pixel's channels, with half a window of zeros on both sides.
    fn scratch_len(&self) -> usize {
        self.input.blocks() * BLOCK + 2 * self.window.size + BLOCK
    }

    fn run(&self, item: usize, worker: usize, workspace: &Workspace) {
        let input = workspace.buffer(self.input.buffer);
        let output = workspace.buffer(self.output.buffer);
        let scratch = workspace.scratch(worker);
        // SAFETY: the plan chose an available instruction set and reserved both maps. No two items share
        // a pixel, and the scratch memory belongs to this worker.
        unsafe {
            dispatch!(self.isa, normalize_pixels(
                stage: &LocalResponseNorm = self, item: usize = item,
                input: CheckedPtr = input, output: CheckedPtr = output, scratch: CheckedPtr = scratch,
            ))
        }
    }
}

/// # Safety
/// `S` must be available, both maps and [`LocalResponseNorm::scratch_len`] values of scratch memory
/// reserved, and no other thread may access the item's pixels.
#[inline(always)]
unsafe fn normalize_pixels<S: Simd>(
    stage: &LocalResponseNorm,
    item: usize,
    input: CheckedPtr,
    output: CheckedPtr,
    scratch: CheckedPtr,
) {
    let (from, to) = (&stage.input, &stage.output);
    let row = item / stage.chunks();
    let (image, y) = (row / to.height, row % to.height);
    for x in stage.columns(item) {
        let pixel = input.add(from.offset(image, 0, y, x));
        let result = output.add(to.offset(image, 0, y, x));
        // SAFETY: guaranteed by the caller.
        unsafe { normalize_pixel::<S>(stage, pixel, result, scratch) };
    }
}

/// # Safety
/// As for [`normalize_pixels`], for one of them.
#[inline(always)]
unsafe fn normalize_pixel<S: Simd>(
    stage: &LocalResponseNorm,
    pixel: CheckedPtr,
    result: CheckedPtr,
    scratch: CheckedPtr,
) {
    let LocalResponseNorm { window, alpha, beta, k, .. } = *stage;
    let size = window.size;
    let (blocks, channels) = (stage.input.blocks(), stage.input.channels);
    let half = size / 2;
    let (from, to) = (stage.input.block_stride(), stage.output.block_stride());
    // SAFETY: guaranteed by the caller.
    unsafe {
        for i in 0..half {
            scratch.add(i).write(0.0);
            scratch.add(half + blocks * BLOCK + i).write(0.0);
        }
        for block in 0..blocks {
            let x = pixel.add(block * from).load::<S>();
            scratch.add(half + block * BLOCK).store::<S>(S::mul(x, x));
        }
        for block in 0..blocks {
            let mut sum = scratch.add(block * BLOCK).load::<S>();
            for i in 1..size {
                sum = S::add(sum, scratch.add(block * BLOCK + i).load::<S>());
            }
            if window.group < channels {
                sum = sum_within_groups::<S>(sum, window, channels, block, scratch.add(half));
            }
            let scale = S::mul_add(sum, S::splat(alpha as f32), S::splat(k as f32));
            let power = if beta == 0.75 {
                // s^¾ = √s · √√s
                let root = S::sqrt(scale);
                S::mul(root, S::sqrt(root))
            } else {
                let mut lanes = [0.0f32; BLOCK];
                S::store(lanes.as_mut_ptr(), scale);
                for lane in &mut lanes {
                    *lane = lane.powf(beta as f32);
                }
                S::load(lanes.as_ptr())
            };
            let x = pixel.add(block * from).load::<S>();
            result.add(block * to).store::<S>(S::div(x, power));
        }
    }
}

/// The sums of a block, with those recomputed whose window crosses the boundary of a group.
///
/// # Safety
/// `S` must be available, and `squares` valid for `channels` values.
#[inline(always)]
unsafe fn sum_within_groups<S: Simd>(
    sum: S::Vector,
    LrnWindow { size, group }: LrnWindow,
    channels: usize,
    block: usize,
    squares: CheckedPtr,
) -> S::Vector {
    let half = size / 2;
    let in_block = block * BLOCK..((block + 1) * BLOCK).min(channels);
    let mut sums = [0.0f32; BLOCK];
    // SAFETY: guaranteed by the caller; the array is as long as a vector.
    unsafe {
        S::store(sums.as_mut_ptr(), sum);
        // The first group boundary that a window of this block can cross.
        let first = (in_block.start.saturating_sub(half) / group + 1) * group;
        for boundary in (first..channels.min(in_block.end + half)).step_by(group) {
            let affected = in_block.start.max(boundary.saturating_sub(half))
                ..in_block.end.min(boundary + half);
            for channel in affected {
                let start = channel / group * group;
                let window = start.max(channel.saturating_sub(half))
                    ..(start + group).min(channel + half + 1);
                sums[channel - in_block.start] =
                    window.map(|neighbor| squares.add(neighbor).read()).sum();
            }
        }
        S::load(sums.as_ptr())
    }
}
