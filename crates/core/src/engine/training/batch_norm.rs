//! Batch normalization: by the statistics of the batch, with its gradients, and by fixed ones.
#![allow(unsafe_code)]

use super::value_count::expect_count;
use crate::engine::simd::{Isa, Simd, dispatch};
use crate::error::{Error, Result};
use rayon::prelude::*;

/// Values that are summed in f32, in sixteen lanes; their sums are added in f64.
const CHUNK: usize = 1024;
const LANES: usize = 16;

/// Batch normalization (Ioffe and Szegedy, 2015) of maps, `[N, C, values]`, in training: each channel by the mean and
/// the variance of its values in the batch.
///
/// ```
/// use alexnet_vgg_core::engine::training::BatchNorm;
///
/// let norm = BatchNorm::new(2, 1, 1, 0.0)?;
/// let mut output = [0.0; 2];
/// let statistics = norm.forward(&[1.0, 5.0], &[1.0], &[10.0], &mut output)?;
/// assert_eq!(output, [9.0, 11.0]);
/// assert_eq!((statistics.mean, statistics.variance), (vec![3.0], vec![4.0]));
/// # Ok::<(), alexnet_vgg_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct BatchNorm {
    batch: usize,
    channels: usize,
    plane: usize,
    epsilon: f64,
    isa: Isa,
}

/// The statistics of a batch, by channel.
#[derive(Clone, Debug, PartialEq)]
pub struct Statistics {
    /// `[C]`
    pub mean: Vec<f32>,
    /// Of the values, not an estimate for more of them: their mean square minus the square of the mean. `[C]`
    pub variance: Vec<f32>,
}

impl BatchNorm {
    /// For `batch` images of `channels` planes of `plane` values, with the best instruction set of this machine.
    /// `epsilon` is added to the variance.
    ///
    /// # Errors
    /// [`Error::Setting`] if a number is 0.
    pub fn new(batch: usize, channels: usize, plane: usize, epsilon: f64) -> Result<Self> {
        if ![batch, channels, plane].contains(&0) {
            return Ok(Self { batch, channels, plane, epsilon, isa: Isa::best() });
        }
        Err(Error::Setting {
            place: "batch norm".into(),
            expected: "sizes above 0".into(),
            found: format!("{batch} images of {channels} channels of {plane} values"),
        })
    }

    /// The same with another instruction set.
    ///
    /// # Errors
    /// [`Error::Setting`] for one that this machine does not have.
    pub fn with_isa(self, isa: Isa) -> Result<Self> {
        isa.expect_available("batch norm")?;
        Ok(Self { isa, ..self })
    }

    /// Computes the output, `[N, C, values]`, from an input of the same shape, and a scale, gamma, and a shift, beta,
    /// for each channel, `[C]`. Returns the statistics of the batch.
    ///
    /// # Errors
    /// [`Error::ValueCount`] for slices of other lengths.
    pub fn forward(
        &self,
        input: &[f32],
        gamma: &[f32],
        beta: &[f32],
        output: &mut [f32],
    ) -> Result<Statistics> {
        self.expect_counts(
            [("input", input), ("output", output)],
            [("gamma", gamma), ("beta", beta)],
        )?;
        let count = (self.batch * self.plane) as f64;
        let of_channel = |channel: usize| {
            let [sum, _] = self.sums([input, input], channel, [0.0; 2]);
            let mean = (sum / count) as f32;
            let [_, squares] = self.sums([input, input], channel, [mean; 2]);
            (mean, (squares / count) as f32)
        };
        let (mean, variance) = (0..self.channels).into_par_iter().map(of_channel).unzip();
        let statistics = Statistics { mean, variance };
        output.par_chunks_mut(self.plane).zip(input.par_chunks(self.plane)).enumerate().for_each(
            |(plane, (output, input))| {
                let channel = plane % self.channels;
                let affine = Affine {
                    mean: statistics.mean[channel],
                    scale: gamma[channel] * self.inverse_deviation(&statistics, channel),
                    shift: beta[channel],
                };
                affine.apply(self.isa, input, None, output);
            },
        );
        Ok(statistics)
    }

    /// Computes the gradients of the input, `[N, C, values]`, of gamma and of beta, `[C]`, from that of the output,
    /// and from the input and its statistics. With the normalized values `x̂`, the deviation σ, and means over the
    /// batch: `dx = gamma / σ (dy - mean(dy) - x̂ mean(x̂ dy))`.
    ///
    /// # Errors
    /// As for [`forward`](Self::forward).
    pub fn gradients(
        &self,
        [input, output_gradient]: [&[f32]; 2],
        gamma: &[f32],
        statistics: &Statistics,
        input_gradient: &mut [f32],
        [gamma_gradient, beta_gradient]: [&mut [f32]; 2],
    ) -> Result<()> {
        self.expect_counts(
            [
                ("input", input),
                ("output gradient", output_gradient),
                ("input gradient", input_gradient),
            ],
            [
                ("gamma", gamma),
                ("mean", &statistics.mean),
                ("variance", &statistics.variance),
                ("gradient of gamma", gamma_gradient),
                ("gradient of beta", beta_gradient),
            ],
        )?;
        gamma_gradient.par_iter_mut().zip(beta_gradient.par_iter_mut()).enumerate().for_each(
            |(channel, (gamma, beta))| {
                let mean = statistics.mean[channel];
                let [sum, product] = self.sums([input, output_gradient], channel, [mean, 0.0]);
                *beta = sum as f32;
                *gamma = product as f32 * self.inverse_deviation(statistics, channel);
            },
        );
        let count = (self.batch * self.plane) as f32;
        let inputs = input.par_chunks(self.plane).zip(output_gradient.par_chunks(self.plane));
        input_gradient.par_chunks_mut(self.plane).zip(inputs).enumerate().for_each(
            |(plane, (to, (input, gradient)))| {
                let channel = plane % self.channels;
                let inverse = self.inverse_deviation(statistics, channel);
                let scale = gamma[channel] * inverse;
                let affine = Affine {
                    mean: statistics.mean[channel],
                    scale: -scale * inverse * gamma_gradient[channel] / count,
                    shift: -scale * beta_gradient[channel] / count,
                };
                affine.apply(self.isa, input, Some((gradient, scale)), to);
            },
        );
        Ok(())
    }

    /// Computes `input * scale + shift`, `[N, C, values]`, with a scale and a shift for each channel, `[C]`: the
    /// normalization by fixed statistics.
    ///
    /// # Errors
    /// As for [`forward`](Self::forward).
    pub fn scale_and_shift(
        &self,
        input: &[f32],
        scale: &[f32],
        shift: &[f32],
        output: &mut [f32],
    ) -> Result<()> {
        self.expect_counts(
            [("input", input), ("output", output)],
            [("scale", scale), ("shift", shift)],
        )?;
        output.par_chunks_mut(self.plane).zip(input.par_chunks(self.plane)).enumerate().for_each(
            |(plane, (output, input))| {
                let channel = plane % self.channels;
                let (scale, shift) = (scale[channel], shift[channel]);
                let affine = Affine { mean: 0.0, scale, shift };
                affine.apply(self.isa, input, None, output);
            },
        );
        Ok(())
    }

    /// 1 / σ
    fn inverse_deviation(&self, statistics: &Statistics, channel: usize) -> f32 {
        (f64::from(statistics.variance[channel]) + self.epsilon).sqrt().recip() as f32
    }

    /// The sums over a channel of `b - centers[1]`, and of its product with `a - centers[0]`.
    fn sums(&self, [a, b]: [&[f32]; 2], channel: usize, centers: [f32; 2]) -> [f64; 2] {
        let mut total = [0.0; 2];
        for image in 0..self.batch {
            let at = (image * self.channels + channel) * self.plane;
            let planes = [&a[at..at + self.plane], &b[at..at + self.plane]];
            // SAFETY: the instruction set is one that this machine has.
            let sums = unsafe {
                dispatch!(self.isa, sums_of_plane(
                    planes: [&[f32]; 2] = planes, centers: [f32; 2] = centers,
                ) -> [f64; 2])
            };
            total = [total[0] + sums[0], total[1] + sums[1]];
        }
        total
    }

    fn expect_counts<const M: usize, const N: usize>(
        &self,
        maps: [(&str, &[f32]); M],
        of_channels: [(&str, &[f32]); N],
    ) -> Result<()> {
        let len = self.batch.saturating_mul(self.channels).saturating_mul(self.plane);
        maps.into_iter().try_for_each(|(what, values)| expect_count(what, values, len))?;
        let mut of_channels = of_channels.into_iter();
        of_channels.try_for_each(|(what, values)| expect_count(what, values, self.channels))
    }
}

/// # Safety
/// `S` must be available.
#[inline(always)]
unsafe fn sums_of_plane<S: Simd>([a, b]: [&[f32]; 2], centers: [f32; 2]) -> [f64; 2] {
    let mut total = [0.0; 2];
    for (a, b) in a.chunks(CHUNK).zip(b.chunks(CHUNK)) {
        let (mut sums, mut products) = ([0.0; LANES], [0.0; LANES]);
        let (whole_a, rest_a) = a.as_chunks::<LANES>();
        let (whole_b, rest_b) = b.as_chunks::<LANES>();
        for (a, b) in whole_a.iter().zip(whole_b) {
            for lane in 0..LANES {
                let b = b[lane] - centers[1];
                sums[lane] += b;
                products[lane] += (a[lane] - centers[0]) * b;
            }
        }
        for (lane, (a, b)) in rest_a.iter().zip(rest_b).enumerate() {
            let b = b - centers[1];
            sums[lane] += b;
            products[lane] += (a - centers[0]) * b;
        }
        for (total, lanes) in total.iter_mut().zip([sums, products]) {
            *total += lanes.into_iter().map(f64::from).sum::<f64>();
        }
    }
    total
}

/// `(x - mean) scale + shift`
#[derive(Clone, Copy)]
struct Affine {
    mean: f32,
    scale: f32,
    shift: f32,
}

/// Other values, and their factor.
type Scaled<'a> = (&'a [f32], f32);

impl Affine {
    /// Of `x`, and plus the other values times their factor.
    fn apply(self, isa: Isa, x: &[f32], other: Option<Scaled<'_>>, to: &mut [f32]) {
        // SAFETY: the instruction set is one that this machine has.
        unsafe {
            dispatch!(isa, apply(
                affine: Affine = self, x: &[f32] = x, other: Option<Scaled<'_>> = other,
                to: &mut [f32] = to,
            ))
        }
    }
}

/// # Safety
/// `S` must be available.
#[inline(always)]
unsafe fn apply<S: Simd>(affine: Affine, x: &[f32], other: Option<Scaled<'_>>, to: &mut [f32]) {
    let Affine { mean, scale, shift } = affine;
    match other {
        None => {
            for (to, x) in to.iter_mut().zip(x) {
                *to = (x - mean) * scale + shift;
            }
        }
        Some((other, factor)) => {
            for ((to, x), other) in to.iter_mut().zip(x).zip(other) {
                *to = (x - mean) * scale + other * factor + shift;
            }
        }
    }
}
