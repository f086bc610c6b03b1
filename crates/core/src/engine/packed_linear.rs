//! [`PackedLinear`]: the weights of a linear layer, quantized to 24, 20, 16 or 8 bits.
//!
//! For a single image, a linear layer takes two operations per weight, and VGG16's have 494 MB of weights
//! in `f32`: its time is the time to read them, so fewer bytes take less time. The weights of a
//! quantization group (512 consecutive weights of a row) share a scale, which is a power of two, and each
//! is an integer of 24 bits. This is block floating point (Wilkinson 1963): the error of a weight is at
//! most 2⁻²³ of the power of two above the group's largest, which is that weight's last bit in `f32`,
//! and less than the rounding error of a row's sum in `f32`. With 20 bits, it is 2⁻¹⁹; in a sum, most of it averages out.
//! With 16 bits it is 2⁻¹⁵. With 8 bits, 64 weights share a scale, by which the largest becomes at most 127; it is a
//! multiple of the row's, so that a row can be summed as integers.
#![allow(unsafe_code)]

use super::buffer::Buffer;
use super::compile_options::LinearWeights;
use super::simd::{BLOCK, CheckedPtr, Isa, Simd, dispatch};
use super::stage::Work;
use crate::error::Result;
use rayon::prelude::*;

/// Weights of a row that share a scale, with 16 to 24 bits.
pub(super) const QUANT_GROUP: usize = 512;
/// Weights of a row that share a scale, with 8 bits. Rows are padded to whole groups.
pub(super) const INT8_GROUP: usize = 64;
/// The scale of a group of 8-bit weights is a multiple of the row's, 1 to this. So groups can be summed as integers.
pub(super) const MAX_INT8_FACTOR: u32 = 31;
/// The largest magnitude of 8-bit weights.
pub(super) const MAX_INT8: u32 = 127;

impl LinearWeights {
    /// Bytes of sixteen weights: the upper 16 bits of all, then with 24 bits the lower 8 of all, and with 20 bits the
    /// lower 4.
    fn block_bytes(self) -> usize {
        match self {
            Self::Int16 => 2 * BLOCK,
            Self::Int20 => 5 * BLOCK / 2,
            Self::Int24 => 3 * BLOCK,
            Self::Int8 => BLOCK,
        }
    }

    /// Weights of a row that share a scale.
    pub(super) fn group(self) -> usize {
        match self {
            Self::Int16 | Self::Int20 | Self::Int24 => QUANT_GROUP,
            Self::Int8 => INT8_GROUP,
        }
    }

    /// Blocks of sixteen weights of a row.
    fn row_blocks(self, inputs: usize) -> usize {
        match self {
            Self::Int16 | Self::Int20 | Self::Int24 => inputs.div_ceil(BLOCK),
            Self::Int8 => inputs.next_multiple_of(INT8_GROUP) / BLOCK,
        }
    }

    /// Scales of a row: of each group, and with 8 bits that of the row.
    fn row_scales(self, inputs: usize) -> usize {
        inputs.div_ceil(self.group()) + usize::from(self == Self::Int8)
    }

    /// Bits of an integer without its sign.
    fn magnitude_bits(self) -> u32 {
        match self {
            Self::Int16 => 15,
            Self::Int20 => 19,
            Self::Int24 => 23,
            Self::Int8 => 7,
        }
    }

    /// The scale of a group whose largest magnitude has these bits as `f32`, and its inverse. Groups whose
    /// largest magnitude is below about 2⁻¹⁰⁰ all get the same scale. Not with 8 bits.
    fn scale(self, largest: u32) -> [f32; 2] {
        let exponent = ((largest >> 23) + 1).saturating_sub(self.magnitude_bits()).max(1);
        [exponent, 254 - exponent].map(|exponent| f32::from_bits(exponent << 23))
    }
}

/// A linear layer's packed weights and bias.
#[derive(Debug)]
pub(super) struct PackedLinear {
    pub isa: Isa,
    pub inputs: usize,
    pub outputs: usize,
    pub format: LinearWeights,
    /// `[outputs][blocks of sixteen inputs]`, each block as [`LinearWeights::block_bytes`] describes.
    weight: Buffer,
    /// `[outputs][quantization groups]`. With 8 bits, the factor of each group, as [`pair_of`] has it, and after them
    /// the scale of the row.
    scales: Buffer,
    /// `[outputs]`
    pub bias: Vec<f32>,
}

impl PackedLinear {
    /// Packs the rows of `[outputs, inputs]` chunk by chunk, so that the weights are never in memory
    /// twice.
    pub fn new(
        isa: Isa,
        [inputs, outputs]: [usize; 2],
        format: LinearWeights,
        bias: Vec<f32>,
        row_chunks: impl IntoIterator<Item = Result<Vec<f32>>>,
    ) -> Result<Self> {
        let row_bytes = format.row_blocks(inputs) * format.block_bytes();
        let row_scales = format.row_scales(inputs);
        let mut weight = Buffer::zeros(outputs * row_bytes / 4)?;
        let mut scales = Buffer::zeros(outputs * row_scales)?;
        let mut rest: &mut [u8] = bytemuck::cast_slice_mut(weight.as_mut_slice());
        let mut rest_of_scales = scales.as_mut_slice();
        for chunk in row_chunks {
            let chunk = chunk?;
            let rows = chunk.len() / inputs;
            let (packed, after) = rest.split_at_mut(rows * row_bytes);
            let (scales, after_scales) = rest_of_scales.split_at_mut(rows * row_scales);
            (chunk.par_chunks(inputs).zip(packed.par_chunks_mut(row_bytes)))
                .zip(scales.par_chunks_mut(row_scales))
                .for_each(|((values, packed), scales)| {
                    pack_row(isa, format, values, packed, scales)
                });
            (rest, rest_of_scales) = (after, after_scales);
        }
        Ok(Self { isa, inputs, outputs, format, weight, scales, bias })
    }

    /// Pointers to a row of 8-bit weights, and to its factors and its scale.
    #[inline(always)]
    pub fn int8_row(&self, row: usize) -> [CheckedPtr; 3] {
        let groups = self.inputs.div_ceil(INT8_GROUP);
        let factors = self.scales.ptr().add(row * (groups + 1));
        [self.weight.ptr().add(row * groups * INT8_GROUP / 4), factors, factors.add(groups)]
    }

    /// The rows of an item: the first, and how many.
    pub fn rows_of_item(&self, item: usize, rows_per_item: usize) -> [usize; 2] {
        let first = item * rows_per_item;
        [first, rows_per_item.min(self.outputs - first)]
    }

    /// The work of multiplying so many rows with a few vectors.
    pub fn work(&self, rows: usize, vectors: usize) -> Work {
        let share = rows as f64 / self.outputs as f64;
        Work {
            multiply_adds: self.f32_multiply_adds((rows * vectors * self.inputs) as f64),
            new_bytes: share * self.weight_bytes() as f64,
            ..Work::default()
        }
    }

    /// Multiply-adds in `f32` that take as long as these: AVX-512's instruction for integers does twice as many.
    pub fn f32_multiply_adds(&self, multiply_adds: f64) -> f64 {
        let is_twice_as_fast =
            self.format == LinearWeights::Int8 && self.isa.with_integers() == Isa::Avx512;
        if is_twice_as_fast { multiply_adds / 2.0 } else { multiply_adds }
    }

    /// Bytes of the packed weights and their scales.
    pub fn weight_bytes(&self) -> usize {
        4 * (self.weight.len() + self.scales.len())
    }
}

/// The largest weight that 8 bits are used for. Larger ones might overflow in sums.
const LARGEST_INT8: f32 = 1e25;

const SIGN: u32 = 1 << 31;
const INFINITY: u32 = f32::INFINITY.to_bits();

fn pack_row(
    isa: Isa,
    format: LinearWeights,
    values: &[f32],
    packed: &mut [u8],
    scales: &mut [f32],
) {
    // SAFETY: the instruction set is one that this machine has.
    unsafe {
        dispatch!(isa, pack_row_on(
            format: LinearWeights = format, values: &[f32] = values, packed: &mut [u8] = packed,
            scales: &mut [f32] = scales,
        ))
    }
}

/// # Safety
/// `S` must be available.
#[inline(always)]
unsafe fn pack_row_on<S: Simd>(
    format: LinearWeights,
    values: &[f32],
    packed: &mut [u8],
    scales: &mut [f32],
) {
    if format == LinearWeights::Int8 {
        return pack_int8_row(values, packed, scales);
    }
    let groups = (values.chunks(format.group()))
        .zip(packed.chunks_mut(format.group() / BLOCK * format.block_bytes()));
    for ((values, packed), scale) in groups.zip(scales) {
        let largest = largest_magnitude(values);
        // NaN and infinity must not become numbers.
        let is_usable = largest < INFINITY;
        let [unit, inverse] = if is_usable { format.scale(largest) } else { [f32::NAN, 0.0] };
        *scale = unit;
        for (values, packed) in values.chunks(BLOCK).zip(packed.chunks_mut(format.block_bytes())) {
            let mut block = [0.0; BLOCK];
            block[..values.len()].copy_from_slice(values);
            pack_block(format, &block, inverse, packed);
        }
    }
}

/// The bits of the largest magnitude as `f32`. Those of infinity and NaN come after those of all numbers.
#[inline(always)]
fn largest_magnitude(values: &[f32]) -> u32 {
    values.iter().fold(0, |largest, value| largest.max(value.to_bits() & !SIGN))
}

/// A factor in both halves of 32 bits, to multiply pairs with.
fn pair_of(factor: u32) -> f32 {
    f32::from_bits(factor | factor << 16)
}

fn pack_int8_row(values: &[f32], packed: &mut [u8], scales: &mut [f32]) {
    let Some((row_scale, factors)) = scales.split_last_mut() else { return };
    let largest = largest_magnitude(values);
    // NaN and infinity must not become numbers, nor sums of integers infinite.
    let is_usable = largest < INFINITY && f32::from_bits(largest) <= LARGEST_INT8;
    let scale = (f32::from_bits(largest) / (MAX_INT8 * MAX_INT8_FACTOR) as f32).max(1e-30);
    *row_scale = if is_usable { scale } else { f32::NAN };
    let groups = values.chunks(INT8_GROUP).zip(packed.chunks_mut(INT8_GROUP));
    for ((values, packed), pair) in groups.zip(factors) {
        let exact = f32::from_bits(largest_magnitude(values)) / (MAX_INT8 as f32 * scale);
        // The conversion takes NaN as 0.
        let factor = (exact.ceil() as u32).clamp(1, MAX_INT8_FACTOR);
        *pair = pair_of(factor);
        let inverse = if is_usable { 1.0 / (scale * factor as f32) } else { 0.0 };
        pack_int8_group(values, inverse, packed);
    }
}

/// In loops over arrays, which the compiler vectorizes; it does not inline `map`.
#[inline(always)]
fn pack_block(format: LinearWeights, values: &[f32; BLOCK], inverse: f32, packed: &mut [u8]) {
    let limit = ((1u32 << format.magnitude_bits()) - 1) as f32;
    let mut integers = [0; BLOCK];
    for (integer, value) in integers.iter_mut().zip(values) {
        let scaled = value * inverse;
        // Rounds half away from zero, since the conversion truncates.
        *integer = (scaled + 0.5f32.copysign(scaled)).clamp(-limit, limit) as i32;
    }
    let (upper, lower) = packed.split_at_mut(2 * BLOCK);
    let shift = format.magnitude_bits() - LinearWeights::Int16.magnitude_bits();
    for (to, integer) in upper.as_chunks_mut::<2>().0.iter_mut().zip(integers) {
        *to = ((integer >> shift) as i16).to_le_bytes();
    }
    if format == LinearWeights::Int20 {
        let (first, second) = integers.split_at(BLOCK / 2);
        for ((to, first), second) in lower.iter_mut().zip(first).zip(second) {
            *to = (first & 15 | (second & 15) << 4) as u8;
        }
    } else {
        for (to, integer) in lower.iter_mut().zip(integers) {
            *to = integer as u8;
        }
    }
}

/// Rounds the weights of a group such that the rounding errors of neighbors add up to nearly nothing: the few that are
/// closest to the middle between two integers are rounded the other way.
///
/// The inputs of linear layers are outputs of ReLU, so their mean is about as large as what they vary by, and those of
/// the first are neighbors in a map. What inputs have in common is multiplied with the sum of the errors, which is most
/// of the error of a layer after a max pool.
fn pack_int8_group(values: &[f32], inverse: f32, packed: &mut [u8]) {
    let mut integers = [0.0f32; INT8_GROUP];
    // How much the integers are too small.
    let mut errors = [0.0f32; INT8_GROUP];
    for ((integer, error), value) in integers.iter_mut().zip(&mut errors).zip(values) {
        let scaled = value * inverse;
        // Rounds half away from zero, since the conversion truncates.
        *integer = ((scaled + 0.5f32.copysign(scaled)) as i32 as f32).clamp(-127.0, 127.0);
        *error = scaled - *integer;
    }
    // Padding is not a weight.
    let (integers_of_weights, errors) =
        (&mut integers[..values.len()], &mut errors[..values.len()]);
    for neighbors in [BLOCK, INT8_GROUP] {
        let chunks = integers_of_weights.chunks_mut(neighbors).zip(errors.chunks_mut(neighbors));
        chunks.for_each(|(integers, errors)| balance(integers, errors));
    }
    for (to, integer) in packed.iter_mut().zip(integers) {
        *to = integer as i8 as u8;
    }
}

/// Rounds some the other way, until the sum of the errors is below a half.
fn balance(integers: &mut [f32], errors: &mut [f32]) {
    let sum: f32 = errors.iter().sum();
    let direction = 1f32.copysign(sum);
    for _ in 0..sum.abs().round() as usize {
        let (mut largest, mut at) = (0.0, None);
        for (i, (error, integer)) in errors.iter().zip(&*integers).enumerate() {
            if error * direction > largest && integer * direction < 127.0 {
                (largest, at) = (error * direction, Some(i));
            }
        }
        let Some(at) = at else { return };
        integers[at] += direction;
        errors[at] -= direction;
    }
}

/// Part of a quantization group, in one or more consecutive rows.
#[derive(Clone, Copy)]
pub(super) struct RowSegment {
    /// The first row.
    pub row: usize,
    /// The first column.
    pub start: usize,
    /// Columns.
    pub len: usize,
}

impl RowSegment {
    /// The scale of the segment in row `r` of it.
    ///
    /// # Safety
    /// `S` must be available, and the segment inside the layer.
    #[inline(always)]
    pub unsafe fn scale<S: Simd>(self, w: &PackedLinear, r: usize) -> S::Vector {
        let first = w.scales.ptr().add((self.row + r) * w.format.row_scales(w.inputs));
        let group = self.start / w.format.group();
        // SAFETY: guaranteed by the caller.
        unsafe {
            let scale = first.add(group).read();
            if w.format != LinearWeights::Int8 {
                return S::splat(scale);
            }
            let row_scale = first.add(w.inputs.div_ceil(INT8_GROUP)).read();
            S::splat(row_scale * (scale.to_bits() & 0xffff) as f32)
        }
    }

    /// Sixteen weights of row `r`, from column `i` of the segment on, without the scale.
    ///
    /// # Safety
    /// As for [`scale`](Self::scale).
    #[inline(always)]
    pub unsafe fn load<S: Simd>(self, w: &PackedLinear, r: usize, i: usize) -> S::Vector {
        let ptr = self.ptr(w, r, i);
        // SAFETY: guaranteed by the caller.
        unsafe {
            match w.format {
                LinearWeights::Int16 => ptr.load_i16::<S>(),
                LinearWeights::Int20 => ptr.load_i20::<S>(),
                LinearWeights::Int24 => ptr.load_i24::<S>(),
                LinearWeights::Int8 => ptr.load_i8::<S>(),
            }
        }
    }

    /// A pointer to the sixteen weights of row `r` from column `i` of the segment on.
    #[inline(always)]
    pub fn ptr(self, w: &PackedLinear, r: usize, i: usize) -> CheckedPtr {
        let block = (self.row + r) * w.format.row_blocks(w.inputs) + (self.start + i) / BLOCK;
        w.weight.ptr().add(block * w.format.block_bytes() / 4)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::simd::Portable;

    /// A row after packing, as the kernels read it.
    fn pack_and_read(format: LinearWeights, values: &[f32]) -> Vec<f32> {
        let shape = [values.len(), 1];
        let chunks = [Ok(values.to_vec())];
        let weights = PackedLinear::new(Isa::Portable, shape, format, vec![0.0], chunks);
        let weights = weights.expect("enough memory");
        (0..values.len())
            .map(|i| {
                let group = format.group();
                let start = i / group * group;
                let segment = RowSegment { row: 0, start, len: group };
                let (block, lane) = (i % group / BLOCK * BLOCK, i % BLOCK);
                // SAFETY: inside the row; `Portable` is always available.
                let (integers, scale) = unsafe {
                    let integers = segment.load::<Portable>(&weights, 0, block);
                    (integers, segment.scale::<Portable>(&weights, 0))
                };
                integers[lane] * scale[lane]
            })
            .collect()
    }

    #[test]
    fn quantization_error_is_at_most_one_unit() {
        let wave = |i: usize| (i as f32 * 0.7).sin() * 10f32.powi((i / QUANT_GROUP) as i32 - 1);
        let values: Vec<f32> = (0..1300).map(wave).collect();
        for (format, bits) in [
            (LinearWeights::Int24, 24),
            (LinearWeights::Int20, 20),
            (LinearWeights::Int16, 16),
            (LinearWeights::Int8, 8),
        ] {
            let read = pack_and_read(format, &values);
            let groups = values.chunks(format.group()).zip(read.chunks(format.group()));
            let of_row = f32::from_bits(largest_magnitude(&values));
            for (group, read) in groups {
                let largest = f32::from_bits(largest_magnitude(group));
                let unit = if format == LinearWeights::Int8 {
                    let least = f64::from(of_row) / 127.0 / f64::from(MAX_INT8_FACTOR);
                    (f64::from(largest) / 127.0 / least - 1e-6).ceil() * least
                } else {
                    let unit = f64::from(format.scale(largest.to_bits())[0]);
                    assert!(unit <= f64::from(largest) * 2f64.powi(2 - bits));
                    unit
                };
                let errors: f64 = (read.iter().zip(group))
                    .map(|(a, b)| (f64::from(*a) - f64::from(*b)) / unit)
                    .sum();
                let is_balanced = format != LinearWeights::Int8 || errors.abs() < 0.51;
                assert!(is_balanced, "errors of 8-bit weights add up to {errors} units");
                for (a, b) in read.iter().zip(group) {
                    let error = (f64::from(*a) - f64::from(*b)).abs();
                    // A whole unit, not half: the integers' range ends one below the power of two.
                    assert!(error <= unit, "{a} for {b}: error {error}, unit {unit}");
                }
            }
        }
    }

    #[test]
    fn special_values_survive_packing() {
        for (format, share) in [
            (LinearWeights::Int24, 1e-4),
            (LinearWeights::Int20, 1e-4),
            (LinearWeights::Int16, 1e-4),
            (LinearWeights::Int8, 1.6e-2),
        ] {
            let large = if format == LinearWeights::Int8 { 1e25 } else { 3e38 };
            for values in
                [vec![0.0; 40], vec![1.0, -1.0, 0.5, 0.25, -0.0], vec![large, -large / 2.0]]
            {
                let read = pack_and_read(format, &values);
                let is_close = |(a, b): (&f32, &f32)| (a - b).abs() <= b.abs() * share;
                assert!(read.iter().zip(&values).all(is_close), "{read:?} for {values:?}");
            }
            // Negligible next to any input.
            assert!(pack_and_read(format, &[1e-40, -1e-42]).iter().all(|v| v.abs() < 1e-36));
            for not_finite in [f32::NAN, f32::INFINITY] {
                assert!(pack_and_read(format, &[1.0, not_finite, 2.0]).iter().all(|v| v.is_nan()));
            }
        }
        // Values with few significant bits, such as weights that were once f16, are exact.
        let halves: Vec<f32> = (0..512).map(|i| (i as f32 - 250.0) / 1024.0).collect();
        for format in [LinearWeights::Int24, LinearWeights::Int20] {
            assert_eq!(pack_and_read(format, &halves), halves, "{format}");
        }
    }
}
