//! Linear layers: weights that are read once, as fast as memory gives them.
//!
//! For one image a linear layer is two operations for each weight, and VGG has 494 MB of them: the
//! time is that of reading them. So rows stay as PyTorch stores them, each is read from one end to the
//! other, and a few of them at a time, with a few images, fill the registers. Every lane of a vector
//! sums its own sixteenth of a row, and every [`RUN`] of the row is summed by itself first: long chains
//! of additions would be the largest error of the whole network.
#![allow(unsafe_code)]

use super::buffer::Buffer;
use super::simd::{BLOCK, Isa, Place, Simd, dispatch};
use super::stage::{Memory, Stage};
use crate::error::Result;
use std::sync::Arc;

/// Numbers of a row that are summed before they are added to the rest.
const RUN: usize = 512;
/// Rows of an item.
const ROWS: usize = 12;
/// Images of an item's round.
const IMAGES: usize = 8;

/// What the layer's weights are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stored {
    F32,
    Bf16,
}

/// The weights of a linear layer.
#[derive(Debug)]
pub(super) struct Weights {
    pub isa: Isa,
    pub inputs: usize,
    pub outputs: usize,
    pub stored: Stored,
    /// `[outputs, whole blocks of inputs]`
    weight: Buffer,
    bias: Vec<f32>,
}

impl Weights {
    /// Takes the rows piece by piece, so that no second copy is ever there.
    pub fn new(
        isa: Isa,
        [inputs, outputs]: [usize; 2],
        stored: Stored,
        bias: Vec<f32>,
        pieces: impl IntoIterator<Item = Result<Vec<f32>>>,
    ) -> Result<Self> {
        let row = inputs.next_multiple_of(BLOCK);
        let length = match stored {
            Stored::F32 => outputs * row,
            Stored::Bf16 => outputs * row / 2,
        };
        let mut weight = Buffer::zeros(length)?;
        let numbers = weight.as_mut_slice();
        let mut start = 0;
        for piece in pieces {
            for values in piece?.chunks(inputs) {
                match stored {
                    Stored::F32 => numbers[start * row..][..inputs].copy_from_slice(values),
                    Stored::Bf16 => {
                        let row = &mut numbers[start * row / 2..][..row / 2];
                        let halves: &mut [half::bf16] = bytemuck::cast_slice_mut(row);
                        for (half, &value) in halves.iter_mut().zip(values) {
                            *half = half::bf16::from_f32(value);
                        }
                    }
                }
                start += 1;
            }
        }
        Ok(Self { isa, inputs, outputs, stored, weight, bias })
    }

    pub fn bytes(&self) -> usize {
        4 * self.weight.length()
    }
}

/// What follows a linear layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Activation {
    None,
    Relu,
    Tanh,
}

impl Activation {
    pub fn of(self, value: f32) -> f32 {
        match self {
            // Passes a NaN on.
            Activation::Relu if value <= 0.0 => 0.0,
            Activation::Tanh => value.tanh(),
            _ => value,
        }
    }
}

/// `[N, inputs]` to `[N, outputs]`; rows of vectors are whole blocks.
#[derive(Debug)]
pub(super) struct Linear {
    pub weights: Arc<Weights>,
    pub input: usize,
    pub output: usize,
    pub batch: usize,
    pub activation: Activation,
}

impl Stage for Linear {
    fn items(&self) -> usize {
        self.weights.outputs.div_ceil(ROWS)
    }

    fn own(&self) -> usize {
        ROWS * IMAGES * BLOCK
    }

    fn run(&self, item: usize, worker: usize, memory: &Memory) {
        let (input, output) = (memory.place(self.input), memory.place(self.output));
        let own = memory.own(worker);
        // SAFETY: the plan chose an instruction set that is there, and buffers of these lengths; the
        // outputs are this item's, and the worker's own memory its own.
        unsafe {
            dispatch!(self.weights.isa, multiply(
                stage: &Linear = self, item: usize = item, input: Place = input, output: Place = output, own: Place = own,
            ))
        }
    }
}

/// # Safety
/// `S` must be available, and all places as long as the layer says.
#[inline(always)]
unsafe fn multiply<S: Simd>(stage: &Linear, item: usize, input: Place, output: Place, own: Place) {
    let w = &*stage.weights;
    let first = item * ROWS;
    let rows = ROWS.min(w.outputs - first);
    let row = w.inputs.next_multiple_of(BLOCK);
    let mut image = 0;
    while image < stage.batch {
        let images = IMAGES.min(stage.batch - image);
        // SAFETY: the caller's.
        unsafe {
            let x = input.add(image * row);
            for i in 0..rows * images {
                own.add(i * BLOCK).store::<S>(S::splat(0.0));
            }
            let mut start = 0;
            while start < row {
                let length = RUN.min(row - start);
                runs::<S>(w, [first, rows, images], x, [row, start, length], own);
                start += length;
            }
            for i in 0..rows * images {
                let (r, n) = (i / images, i % images);
                let mut lanes = [0.0f32; BLOCK];
                S::store(lanes.as_mut_ptr(), own.add(i * BLOCK).load::<S>());
                let value = sum(lanes) + w.bias[first + r];
                let at = (image + n) * w.outputs.next_multiple_of(BLOCK) + first + r;
                output.add(at).set(stage.activation.of(value));
            }
        }
        image += images;
    }
}

/// In pairs, always in the same order.
#[inline(always)]
fn sum(lanes: [f32; BLOCK]) -> f32 {
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

/// One run of all rows and images: `own[row][image] += w · x`.
///
/// # Safety
/// As for [`multiply`].
#[inline(always)]
unsafe fn runs<S: Simd>(
    w: &Weights,
    [first, rows, images]: [usize; 3],
    x: Place,
    [row, start, length]: [usize; 3],
    own: Place,
) {
    let mut r = 0;
    while r < rows {
        let many = if rows - r >= 3 { 3 } else { 1 };
        let weights = (first + r) * row + start;
        let mut n = 0;
        while n < images {
            let pair = if images - n >= 2 { 2 } else { 1 };
            let x = x.add(n * row + start);
            let sums = own.add((r * images + n) * BLOCK);
            macro_rules! of {
                ($rows:literal, $images:literal) => {
                    match w.stored {
                        Stored::F32 => run::<S, $rows, $images, false>(
                            w,
                            weights,
                            x,
                            [row, length, images],
                            sums,
                        ),
                        Stored::Bf16 => run::<S, $rows, $images, true>(
                            w,
                            weights,
                            x,
                            [row, length, images],
                            sums,
                        ),
                    }
                };
            }
            // SAFETY: the caller's.
            unsafe {
                match (many, pair) {
                    (3, 2) => of!(3, 2),
                    (3, _) => of!(3, 1),
                    (_, 2) => of!(1, 2),
                    _ => of!(1, 1),
                }
            }
            n += pair;
        }
        r += many;
    }
}

/// # Safety
/// As for [`multiply`].
#[inline(always)]
unsafe fn run<S: Simd, const R: usize, const N: usize, const BF16: bool>(
    w: &Weights,
    weights: usize,
    x: Place,
    [row, length, images]: [usize; 3],
    sums: Place,
) {
    let from = w.weight.place();
    // SAFETY: the caller's.
    unsafe {
        let mut totals = [[S::splat(0.0); N]; R];
        let mut i = 0;
        while i < length {
            let mut values = [S::splat(0.0); N];
            for (n, value) in values.iter_mut().enumerate() {
                *value = x.add(n * row + i).load::<S>();
            }
            for (r, totals) in totals.iter_mut().enumerate() {
                let at = weights + r * row + i;
                let weight = match BF16 {
                    true => from.load_bf16::<S>(at),
                    false => from.add(at).load::<S>(),
                };
                for (total, value) in totals.iter_mut().zip(values) {
                    *total = S::mul_add(weight, value, *total);
                }
            }
            i += BLOCK;
        }
        for (r, totals) in totals.iter().enumerate() {
            for (n, total) in totals.iter().enumerate() {
                let at = sums.add((r * images + n) * BLOCK);
                at.store::<S>(S::add(at.load::<S>(), *total));
            }
        }
    }
}

/// An activation by itself, on vectors.
#[derive(Debug)]
pub(super) struct Activate {
    pub input: usize,
    pub output: usize,
    /// Whole blocks of all images.
    pub length: usize,
    pub activation: Activation,
}

impl Stage for Activate {
    fn items(&self) -> usize {
        self.length.div_ceil(RUN)
    }

    fn run(&self, item: usize, _: usize, memory: &Memory) {
        let (from, to) = (memory.place(self.input), memory.place(self.output));
        for i in item * RUN..self.length.min((item + 1) * RUN) {
            // SAFETY: both buffers have this length, and these numbers are this item's.
            unsafe { to.add(i).set(self.activation.of(from.add(i).get())) }
        }
    }
}
