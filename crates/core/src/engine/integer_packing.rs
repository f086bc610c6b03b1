//! [`IntegerWeights`]: the weights of a convolution as 16-bit integers, for an algorithm.
//!
//! A product's sum over all input channels must fit in 32 bits, whatever the input. Quantized inputs are at most
//! [`input_limit`]; so the weights of each product and output channel are scaled such that their magnitudes add up to
//! at most 2³¹ divided by it. What is left to choose is how many of the bits the inputs get, and how many the weights:
//! with this limit, the errors of networks are least. For 64 channels, inputs have 15 bits and weights
//! about 13; for 512, 14 and 11.
#![allow(unsafe_code)]

use super::algorithm::Algorithm;
use super::buffer::Buffer;
use super::filter_packing::{MAX_COLUMNS, Packing, pack_panel as pack_floats};
use super::filters::Filters;
use super::minimal_filtering::{F2x3, F4x3, F4x5, F5x3, F6x3, F7x3, MinimalFilter};
use super::packed_convolution::PackedConvolution;
use super::quantized_images::pixel_len;
use super::simd::{BLOCK, Portable, Simd, dispatch};
use crate::array::zeros;
use crate::error::Result;
use rayon::prelude::*;

/// A convolution's weights as integers.
#[derive(Debug)]
pub(super) struct IntegerWeights {
    /// `[panel][product][pair][block][16]` pairs of 16-bit integers: see [`PackedConvolution::pairs`].
    pub weights: Buffer,
    /// What one is worth in a product of an output channel, for a tile or an image of scale 1: `[block][product][16]`.
    pub units: Buffer,
    /// What the products of V are multiplied with to have similar magnitudes.
    pub input_weights: Vec<f32>,
    /// What the input channels are multiplied with: `[block][16]`, see [`channel_factors`].
    pub channel_factors: Vec<f32>,
    /// The largest magnitude of quantized inputs.
    pub input_limit: f32,
}

/// The largest magnitude of quantized inputs, for sums over that many channels.
pub(super) fn input_limit(channels: usize) -> f32 {
    // Measured: at 512 channels, errors are least with 14 bits.
    (8192.0 * (512.0 / channels as f32).sqrt()).min(32_000.0).floor()
}

/// The inverse of how much `Bᵀ d B` enlarges noise, for each product.
fn input_weights(algorithm: Algorithm) -> Vec<f32> {
    fn weights<const N: usize, const M: usize, F: MinimalFilter<N, M>>() -> Vec<f32> {
        let mut squares = [0.0; N];
        for column in 0..N {
            let mut unit = [[0.0; BLOCK]; N];
            unit[column] = [1.0; BLOCK];
            // SAFETY: `Portable` is always available.
            let coefficients = unsafe { F::transform_input::<Portable>(unit) };
            for (sum, coefficient) in squares.iter_mut().zip(coefficients) {
                *sum += coefficient[0] * coefficient[0];
            }
        }
        (squares.iter()).flat_map(|a| squares.iter().map(move |b| 1.0 / (a * b).sqrt())).collect()
    }
    match algorithm {
        Algorithm::F2x3 => weights::<4, 2, F2x3>(),
        Algorithm::F4x3 => weights::<6, 4, F4x3>(),
        Algorithm::F5x3 => weights::<7, 5, F5x3>(),
        Algorithm::F6x3 => weights::<8, 6, F6x3>(),
        Algorithm::F7x3 => weights::<9, 7, F7x3>(),
        Algorithm::F4x5 => weights::<8, 4, F4x5>(),
        Algorithm::Direct => vec![1.0],
    }
}

/// A factor for each input channel, by which its weights are divided: how large they are, compared with those of other
/// channels.
///
/// A tile's channels share a scale, so a channel with small values would lose its bits to one with large values. Where
/// a network makes up for that in the weights, as it does for the scales of batch norms, they say how much each channel
/// matters. The factors are powers of two, so they round nothing.
fn channel_factors(convolution: &PackedConvolution) -> Vec<f32> {
    let taps = convolution.kernel.pow(2);
    let [inputs, outputs] =
        [convolution.inputs, convolution.outputs].map(|channels| channels / convolution.groups);
    let scale = |output: usize| convolution.scale.as_ref().map_or(1.0, |scale| scale[output]);
    let mut squares = vec![0.0f64; convolution.inputs];
    for (row, values) in convolution.weight.chunks_exact(taps).enumerate() {
        let (output, input) = (row / inputs, row % inputs);
        let sum: f64 = values.iter().map(|value| f64::from(*value).powi(2)).sum();
        squares[output / outputs * inputs + input] += sum * scale(output).powi(2);
    }
    let factor = |own: f64, mean: f64| {
        let ratio = (own / mean).sqrt();
        if ratio.is_finite() && ratio > 0.0 { ratio.log2().round().clamp(-12.0, 12.0) } else { 0.0 }
    };
    let mut factors = vec![1.0; convolution.inputs.next_multiple_of(BLOCK)];
    for (factors, squares) in factors.chunks_mut(inputs).zip(squares.chunks(inputs)) {
        let mean = squares.iter().sum::<f64>() / inputs as f64;
        for (result, own) in factors.iter_mut().zip(squares) {
            *result = factor(*own, mean).exp2() as f32;
        }
    }
    factors
}

impl PackedConvolution {
    /// The weights as integers. Packs them on the first call.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`](crate::Error::OutOfMemory) if memory runs out.
    pub fn integers(&self, algorithm: Algorithm) -> Result<&IntegerWeights> {
        let slot = &self.integers[algorithm as usize];
        if slot.get().is_none() {
            let packed = pack(self, algorithm)?;
            // Another thread may have packed the same weights meanwhile.
            let _ = slot.set(packed);
        }
        Ok(slot.get_or_init(|| unreachable!("the slot was set above")))
    }
}

fn pack(convolution: &PackedConvolution, algorithm: Algorithm) -> Result<IntegerWeights> {
    let blocks: usize = (0..convolution.panels()).map(|i| convolution.panel(i).blocks).sum();
    let inner_len = convolution.inner_len(algorithm);
    let [weights_len, units_len] =
        [convolution.pairs(algorithm), 1].map(|len| algorithm.products() * len * BLOCK);
    let mut weights = Buffer::zeros(blocks * weights_len)?;
    let mut units = Buffer::zeros(blocks * units_len)?;
    let of_weights = convolution.split_into_panels(weights.as_mut_slice(), weights_len);
    let of_units = convolution.split_into_panels(units.as_mut_slice(), units_len);
    let channels = [convolution.inputs, convolution.outputs].map(|c| c / convolution.groups);
    let filters = Filters::new(&convolution.weight, channels, convolution.kernel.pow(2));
    let scale = convolution.scale.as_deref();
    let input_weights = input_weights(algorithm);
    // The channels of an image are alike.
    let channel_factors = match algorithm {
        Algorithm::Direct => vec![1.0; inner_len],
        _ => channel_factors(convolution),
    };
    let input_limit = input_limit(inner_len);
    of_weights.into_par_iter().zip(of_units).try_for_each(|((panel, weights), (_, units))| {
        let mut products = zeros(&[algorithm.products(), inner_len, panel.blocks * BLOCK])?;
        let packing = Packing { convolution, filters: &filters, scale, algorithm, panel };
        let factors = &channel_factors[panel.group * inner_len..][..inner_len];
        let inputs = Inputs { weights: &input_weights, factors, limit: input_limit };
        // SAFETY: the instruction set is one that this machine has.
        unsafe {
            dispatch!(convolution.isa, pack_panel(
                packing: &Packing<'_> = &packing, products: &mut [f32] = &mut products,
                inputs: Inputs<'_> = inputs, weights: &mut [f32] = weights, units: &mut [f32] = units,
            ))
        }
        Ok(())
    })?;
    Ok(IntegerWeights { weights, units, input_weights, channel_factors, input_limit })
}

/// What V of a panel's inputs is multiplied with.
#[derive(Clone, Copy)]
struct Inputs<'a> {
    /// Of each product.
    weights: &'a [f32],
    /// Of each channel of the group, padded to whole blocks.
    factors: &'a [f32],
    /// The largest magnitude in the end.
    limit: f32,
}

/// # Safety
/// `S` must be available.
#[inline(always)]
unsafe fn pack_panel<S: Simd>(
    packing: &Packing<'_>,
    products: &mut [f32],
    inputs: Inputs<'_>,
    weights: &mut [f32],
    units: &mut [f32],
) {
    // SAFETY: guaranteed by the caller.
    unsafe { pack_floats::<S>(packing, products) };
    let convolution = packing.convolution;
    let columns = packing.panel.blocks * BLOCK;
    for (row, factor) in products.chunks_exact_mut(columns).zip(inputs.factors.iter().cycle()) {
        row.iter_mut().for_each(|value| *value /= factor);
    }
    let count = inputs.weights.len();
    let pairs: &mut [[i16; 2]] = bytemuck::cast_slice_mut(weights);
    for (product, (values, pairs)) in (products.chunks_exact(products.len() / count))
        .zip(pairs.chunks_exact_mut(convolution.pairs(packing.algorithm) * columns))
        .enumerate()
    {
        let scales = column_scales(values, columns, inputs.limit);
        for block in 0..packing.panel.blocks {
            let units = &mut units[(block * count + product) * BLOCK..][..BLOCK];
            for (unit, scale) in units.iter_mut().zip(&scales[block * BLOCK..]) {
                *unit = 1.0 / (inputs.weights[product] * inputs.limit * scale);
            }
        }
        for (inner, row) in values.chunks_exact(columns).enumerate() {
            let place = place(packing, inner);
            for ((pair, value), scale) in
                pairs[place / 2 * columns..][..columns].iter_mut().zip(row).zip(&scales)
            {
                pair[place % 2] = round(value * scale);
            }
        }
    }
}

/// Where the integer lies that is made from a row of weights. With direct convolution, rows of the kernel are whole
/// pairs, and pixels as long as in quantized images; what is in between is zero.
#[inline(always)]
fn place(packing: &Packing<'_>, inner: usize) -> usize {
    let convolution = packing.convolution;
    let (channels, kernel) = (convolution.inputs, convolution.kernel);
    match packing.algorithm {
        Algorithm::Direct => {
            let (tap, channel) = (inner / channels, inner % channels);
            let pixel = tap % kernel * pixel_len(channels, convolution.stride);
            tap / kernel * 2 * convolution.row_pairs() + pixel + channel
        }
        _ => inner,
    }
}

/// Rounds half away from zero, since the conversion truncates.
#[inline(always)]
fn round(value: f32) -> i16 {
    (value + 0.5f32.copysign(value)) as i32 as i16
}

/// Weights beyond it might overflow in products and transforms.
const LARGEST: f32 = 1e30;

/// What to multiply the weights of each output channel with. Channels of zeros have the scale 1, and those with NaN or
/// with weights that are too large the scale NaN.
#[inline(always)]
fn column_scales(values: &[f32], columns: usize, input_limit: f32) -> [f32; MAX_COLUMNS] {
    let mut sums = [0.0f32; MAX_COLUMNS];
    let mut largest = [0.0f32; MAX_COLUMNS];
    for row in values.chunks_exact(columns) {
        for ((sum, largest), value) in sums.iter_mut().zip(&mut largest).zip(row) {
            *sum += value.abs();
            *largest = largest.max(value.abs());
        }
    }
    // Rounding adds up to a half to each input and weight; the sums have rounding errors of their own.
    let rows = (values.len() / columns) as f32;
    let budget = (i32::MAX as f32 / (input_limit + 1.0) - rows / 2.0) * 0.999;
    let mut scales = [1.0; MAX_COLUMNS];
    for ((scale, sum), largest) in scales.iter_mut().zip(sums).zip(largest) {
        if sum.is_nan() || sum > LARGEST {
            *scale = f32::NAN;
        } else if sum > 0.0 {
            *scale = (budget / sum).min(32_000.0 / largest).min(1e30);
        }
    }
    scales
}
