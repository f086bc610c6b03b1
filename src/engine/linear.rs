//! Linear layers: weights that are read once, as fast as memory gives them.
//!
//! For one image a linear layer is two operations for each weight, and VGG has 494 MB of them as `f32`:
//! the time is that of reading them, so fewer bytes are less time. The weights of a *run* (512 that
//! follow each other in a row) share one scale, a power of two, and each is an integer of 24 bits. That
//! is block floating point (Wilkinson 1963): no weight loses more than 2⁻²³ of the power of two above the
//! run's largest, the last bit that the largest had as `f32`, and less than the sum of a row loses in
//! `f32` anyway. With 16 bits it is 2⁻¹⁵ of it.
//!
//! Rows are read from one end to the other, three at a time. Every lane of a vector sums its own
//! sixteenth of a row, and every run by itself first: long chains of additions would be the largest
//! error of the whole network. With several images the runs of the three rows are made `f32` once.
#![allow(unsafe_code)]

use super::buffer::Buffer;
use super::simd::{BLOCK, Isa, Place, Simd, dispatch};
use super::stage::{Memory, Stage};
use crate::error::Result;
use crate::models::Layer;
use rayon::prelude::*;
use std::sync::Arc;

/// Numbers of a row that share a scale, and are summed before they are added to the rest.
pub(super) const RUN: usize = 512;
/// Rows of an item.
const ROWS: usize = 12;
/// Rows that are read at a time.
const TOGETHER: usize = 3;
/// Images of an item's round: what their sums take stays in the first cache.
const IMAGES: usize = 32;

/// How many bits a weight has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bits {
    Sixteen,
    TwentyFour,
}

impl Bits {
    /// Bytes of sixteen weights: in front their upper sixteen bits each, behind the lower eight.
    fn block(self) -> usize {
        match self {
            Self::Sixteen => 2 * BLOCK,
            Self::TwentyFour => 3 * BLOCK,
        }
    }

    /// Bits of an integer without its sign.
    fn digits(self) -> u32 {
        match self {
            Self::Sixteen => 15,
            Self::TwentyFour => 23,
        }
    }

    /// The scale of integers whose largest stands for this magnitude, given by its bits; and its
    /// inverse. Magnitudes below 2⁻¹⁰⁰ or so share one.
    fn scale(self, largest: u32) -> [f32; 2] {
        let exponent = ((largest >> 23) + 1).saturating_sub(self.digits()).max(1);
        [exponent, 254 - exponent].map(|exponent| f32::from_bits(exponent << 23))
    }
}

/// The weights of a linear layer.
#[derive(Debug)]
pub(super) struct Weights {
    pub isa: Isa,
    pub inputs: usize,
    pub outputs: usize,
    pub bits: Bits,
    /// `[outputs][whole blocks of inputs]`, a block as [`Bits::block`] says.
    weight: Buffer,
    /// `[outputs][runs]`
    scales: Buffer,
    pub bias: Vec<f32>,
}

impl Weights {
    /// Takes the rows piece by piece, so that no second copy is ever there.
    pub fn new(
        isa: Isa,
        [inputs, outputs]: [usize; 2],
        bits: Bits,
        bias: Vec<f32>,
        pieces: impl IntoIterator<Item = Result<Vec<f32>>>,
    ) -> Result<Self> {
        let row = inputs.div_ceil(BLOCK) * bits.block();
        let runs = inputs.div_ceil(RUN);
        let mut weight = Buffer::zeros(outputs * row / 4)?;
        let mut scales = Buffer::zeros(outputs * runs)?;
        let mut bytes: &mut [u8] = bytemuck::cast_slice_mut(weight.as_mut_slice());
        let mut rest = scales.as_mut_slice();
        for piece in pieces {
            let piece = piece?;
            let count = piece.len() / inputs;
            let (these, after) = bytes.split_at_mut(count * row);
            let (of_these, after_scales) = rest.split_at_mut(count * runs);
            (piece.par_chunks(inputs).zip(these.par_chunks_mut(row)))
                .zip(of_these.par_chunks_mut(runs))
                .for_each(|((values, packed), scales)| pack(bits, values, packed, scales));
            (bytes, rest) = (after, after_scales);
        }
        Ok(Self { isa, inputs, outputs, bits, weight, scales, bias })
    }

    pub fn bytes(&self) -> usize {
        4 * (self.weight.length() + self.scales.length())
    }
}

/// One row.
fn pack(bits: Bits, values: &[f32], packed: &mut [u8], scales: &mut [f32]) {
    let runs = values.chunks(RUN).zip(packed.chunks_mut(RUN / BLOCK * bits.block()));
    for ((values, packed), scale) in runs.zip(scales) {
        let largest = values.iter().fold(0, |largest, v| largest.max(v.to_bits() & !SIGN));
        // What is not a number must not become one.
        let [unit, times] = match largest < INFINITY {
            true => bits.scale(largest),
            false => [f32::NAN, 0.0],
        };
        *scale = unit;
        let most = ((1u32 << bits.digits()) - 1) as f32;
        for (values, packed) in values.chunks(BLOCK).zip(packed.chunks_mut(bits.block())) {
            let (upper, lower) = packed.split_at_mut(2 * BLOCK);
            for (i, &value) in values.iter().enumerate() {
                let scaled = value * times;
                // Away from zero in the middle; the conversion cuts.
                let integer = (scaled + 0.5f32.copysign(scaled)).clamp(-most, most) as i32;
                let high = match bits {
                    Bits::Sixteen => integer,
                    Bits::TwentyFour => integer >> 8,
                };
                upper[2 * i..2 * i + 2].copy_from_slice(&(high as i16).to_le_bytes());
                if bits == Bits::TwentyFour {
                    lower[i] = integer as u8;
                }
            }
        }
    }
}

const SIGN: u32 = 1 << 31;
const INFINITY: u32 = f32::INFINITY.to_bits();

/// What follows a linear layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Activation {
    None,
    Relu,
    Tanh,
}

impl From<&Layer> for Activation {
    fn from(layer: &Layer) -> Self {
        match layer {
            Layer::Relu => Self::Relu,
            Layer::Tanh => Self::Tanh,
            _ => Self::None,
        }
    }
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
        ROWS * IMAGES * BLOCK + TOGETHER * RUN
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
    let (sums, decoded) = (own, own.add(ROWS * IMAGES * BLOCK));
    let mut image = 0;
    while image < stage.batch {
        let images = IMAGES.min(stage.batch - image);
        // SAFETY: the caller's.
        unsafe {
            let x = input.add(image * row);
            for i in 0..rows * images {
                sums.add(i * BLOCK).store::<S>(S::splat(0.0));
            }
            let mut r = 0;
            while r < rows {
                let together = if rows - r >= TOGETHER { TOGETHER } else { 1 };
                let sums = sums.add(r * images * BLOCK);
                let mut start = 0;
                while start < row {
                    let run = Run { row: first + r, start, length: RUN.min(row - start) };
                    let places = [x.add(start), decoded, sums];
                    match together {
                        TOGETHER => images_of_a_run::<S, TOGETHER>(w, run, images, places),
                        _ => images_of_a_run::<S, 1>(w, run, images, places),
                    }
                    start += RUN;
                }
                r += together;
            }
            for i in 0..rows * images {
                let (r, n) = (i / images, i % images);
                let mut lanes = [0.0f32; BLOCK];
                S::store(lanes.as_mut_ptr(), sums.add(i * BLOCK).load::<S>());
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

/// A run of some rows that follow each other.
#[derive(Clone, Copy)]
pub(super) struct Run {
    pub row: usize,
    pub start: usize,
    pub length: usize,
}

impl Run {
    /// Scale of a row in it.
    ///
    /// # Safety
    /// The run must be in the layer.
    #[inline(always)]
    pub unsafe fn scale<S: Simd>(self, w: &Weights, r: usize) -> S::Vector {
        let at = (self.row + r) * w.inputs.div_ceil(RUN) + self.start / RUN;
        // SAFETY: the caller's.
        unsafe { S::splat(w.scales.place().add(at).get()) }
    }

    /// Sixteen weights of a row, from `i` in the run, without the scale.
    ///
    /// # Safety
    /// As for [`scale`](Self::scale); and `S` must be available.
    #[inline(always)]
    unsafe fn load<S: Simd>(self, w: &Weights, r: usize, i: usize) -> S::Vector {
        let at = self.place(w, r, i);
        // SAFETY: the caller's.
        unsafe {
            match w.bits {
                Bits::Sixteen => at.load_i16::<S>(),
                Bits::TwentyFour => at.load_i24::<S>(),
            }
        }
    }

    #[inline(always)]
    pub fn place(self, w: &Weights, r: usize, i: usize) -> Place {
        let block = (self.row + r) * w.inputs.div_ceil(BLOCK) + (self.start + i) / BLOCK;
        w.weight.place().add(block * w.bits.block() / 4)
    }
}

/// `sums[row][image] += w · x`, for a run of `R` rows and all images.
///
/// # Safety
/// As for [`multiply`].
#[inline(always)]
unsafe fn images_of_a_run<S: Simd, const R: usize>(
    w: &Weights,
    run: Run,
    images: usize,
    [x, decoded, sums]: [Place; 3],
) {
    let row = w.inputs.next_multiple_of(BLOCK);
    // SAFETY: the caller's.
    unsafe {
        // As many images as there are registers for take the weights as they are decoded.
        match images {
            1 => return products::<S, R, 1>(w, run, [row, 1], None, x, sums),
            2 => return products::<S, R, 2>(w, run, [row, 2], None, x, sums),
            4 if S::WIDTH > 1 => return products::<S, R, 4>(w, run, [row, 4], None, x, sums),
            8 if S::WIDTH > 1 => return products::<S, R, 8>(w, run, [row, 8], None, x, sums),
            _ => {}
        }
        for r in 0..R {
            for i in (0..run.length).step_by(BLOCK) {
                decoded.add(r * RUN + i).store::<S>(run.load::<S>(w, r, i));
            }
        }
        let mut n = 0;
        while n < images {
            let (x, sums) = (x.add(n * row), sums.add(n * BLOCK));
            let (left, decoded) = (images - n, Some(decoded));
            n += match left {
                8.. if S::WIDTH > 1 => {
                    products::<S, R, 8>(w, run, [row, images], decoded, x, sums);
                    8
                }
                4.. if S::WIDTH > 1 => {
                    products::<S, R, 4>(w, run, [row, images], decoded, x, sums);
                    4
                }
                2.. => {
                    products::<S, R, 2>(w, run, [row, images], decoded, x, sums);
                    2
                }
                _ => {
                    products::<S, R, 1>(w, run, [row, images], decoded, x, sums);
                    1
                }
            };
        }
    }
}

/// The same for `N` images of them.
///
/// # Safety
/// As for [`multiply`].
#[inline(always)]
unsafe fn products<S: Simd, const R: usize, const N: usize>(
    w: &Weights,
    run: Run,
    [row, images]: [usize; 2],
    decoded: Option<Place>,
    x: Place,
    sums: Place,
) {
    // SAFETY: the caller's.
    unsafe {
        let mut totals = [[S::splat(0.0); R]; N];
        for i in (0..run.length).step_by(BLOCK) {
            let mut weights = [S::splat(0.0); R];
            for (r, weight) in weights.iter_mut().enumerate() {
                *weight = match decoded {
                    Some(decoded) => decoded.add(r * RUN + i).load::<S>(),
                    None => run.load::<S>(w, r, i),
                };
                // Memory is not to wait for arithmetic: the next run comes meanwhile.
                run.place(w, r, RUN + i).prefetch::<S>();
            }
            for (n, totals) in totals.iter_mut().enumerate() {
                let value = x.add(n * row + i).load::<S>();
                for (total, weight) in totals.iter_mut().zip(weights) {
                    *total = S::mul_add(weight, value, *total);
                }
            }
        }
        for r in 0..R {
            let scale = run.scale::<S>(w, r);
            for (n, totals) in totals.iter().enumerate() {
                let at = sums.add((r * images + n) * BLOCK);
                at.store::<S>(S::mul_add(totals[r], scale, at.load::<S>()));
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A row as the kernels read it.
    fn packed(bits: Bits, values: &[f32]) -> Vec<f32> {
        let weights =
            Weights::new(Isa::Portable, [values.len(), 1], bits, vec![0.0], [Ok(values.to_vec())]);
        let weights = weights.expect("memory");
        (0..values.len())
            .map(|i| {
                let run = Run { row: 0, start: i / RUN * RUN, length: RUN };
                let (block, lane) = (i % RUN / BLOCK * BLOCK, i % BLOCK);
                // SAFETY: inside the row; plain Rust is available.
                let (integers, scale) = unsafe {
                    use super::super::simd::Portable;
                    (run.load::<Portable>(&weights, 0, block), run.scale::<Portable>(&weights, 0))
                };
                integers[lane] * scale[lane]
            })
            .collect()
    }

    #[test]
    fn weights_lose_a_unit_of_their_run_at_most() {
        let wave = |i: usize| (i as f32 * 0.7).sin() * 10f32.powi((i / RUN) as i32 - 1);
        let values: Vec<f32> = (0..1300).map(wave).collect();
        for (bits, digits) in [(Bits::TwentyFour, 24), (Bits::Sixteen, 16)] {
            let ours = packed(bits, &values);
            for (run, ours) in values.chunks(RUN).zip(ours.chunks(RUN)) {
                let largest = run.iter().fold(0f32, |largest, v| largest.max(v.abs()));
                let unit = f64::from(bits.scale(largest.to_bits())[0]);
                assert!(unit <= f64::from(largest) * 2f64.powi(2 - digits));
                for (a, b) in ours.iter().zip(run) {
                    let apart = (f64::from(*a) - f64::from(*b)).abs();
                    // The integer's range ends one below the power of two.
                    assert!(apart <= unit, "{a} for {b}: {apart} of {unit}");
                }
            }
        }
    }

    #[test]
    fn odd_weights_stay_what_they_are() {
        for bits in [Bits::TwentyFour, Bits::Sixteen] {
            for values in [vec![0.0; 40], vec![1.0, -1.0, 0.5, 0.25, -0.0], vec![3.0e38, -1.5e38]] {
                let ours = packed(bits, &values);
                let close = |(a, b): (&f32, &f32)| (a - b).abs() <= b.abs() * 1e-4;
                assert!(ours.iter().zip(&values).all(close), "{ours:?} for {values:?}");
            }
            // So small that they are nothing beside any input.
            assert!(packed(bits, &[1e-40, -1e-42]).iter().all(|value| value.abs() < 1e-36));
            for wrong in [f32::NAN, f32::INFINITY] {
                assert!(packed(bits, &[1.0, wrong, 2.0]).iter().all(|value| value.is_nan()));
            }
        }
        // What has few bits, as weights that were f16 once, is exact.
        let halves: Vec<f32> = (0..512).map(|i| (i as f32 - 250.0) / 1024.0).collect();
        assert_eq!(packed(Bits::TwentyFour, &halves), halves);
    }
}
