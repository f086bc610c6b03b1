//! Local response normalization, and its gradient.
#![allow(unsafe_code)]

use super::value_count::expect_count;
use crate::engine::simd::{Isa, Simd, dispatch};
use crate::error::{Error, Result};
use rayon::prelude::*;
use std::ops::Range;

/// Pixels whose channels are normalized together: what is computed of them stays in the cache.
const PIXELS: usize = 64;

/// Local response normalization over channels, as the AlexNet paper defines it (section 3.3): see
/// [`Layer::Lrn`](crate::architecture::Layer::Lrn). It takes `[N, C, values]`.
///
/// ```
/// use alexnet_vgg_core::engine::training::Lrn;
///
/// // Two channels of one pixel: both sums are 1 + 4.
/// let lrn = Lrn { channels: 2, plane: 1, size: 3, alpha: 3.0, beta: 0.5, k: 1.0 };
/// let mut output = [0.0; 2];
/// lrn.forward(&[1.0, 2.0], &mut output)?;
/// assert_eq!(output, [0.25, 0.5]);
/// # Ok::<(), alexnet_vgg_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lrn {
    /// Channels of an image, or of a group of channels that are normalized apart from others.
    pub channels: usize,
    /// Values of a channel: height times width.
    pub plane: usize,
    /// Channels in a sum, centered on the normalized one. Odd.
    pub size: usize,
    /// Factor of the sum.
    pub alpha: f32,
    /// Exponent of the denominator.
    pub beta: f32,
    /// Constant in the denominator.
    pub k: f32,
}

impl Lrn {
    /// Computes the output, of the input's shape.
    ///
    /// # Errors
    /// [`Error::Setting`] if there are no channels or values, or the size is even; [`Error::ValueCount`] for slices of
    /// other lengths than whole images.
    pub fn forward(&self, input: &[f32], output: &mut [f32]) -> Result<()> {
        self.check(input.len(), [("output", output)])?;
        let isa = Isa::best();
        let images =
            output.par_chunks_mut(self.image_len()).zip(input.par_chunks(self.image_len()));
        images.for_each(|(output, input)| {
            // SAFETY: the instruction set is one that this machine has.
            unsafe {
                dispatch!(isa, normalize(
                    lrn: &Lrn = self, input: &[f32] = input, output: &mut [f32] = output,
                ))
            }
        });
        Ok(())
    }

    /// Computes the gradient of the input from that of the output, and from the input. With the sums `s`:
    /// `dx = dy / s^beta - 2 alpha beta x · sum of neighbors of (x dy / s^(beta + 1))`.
    ///
    /// # Errors
    /// As for [`forward`](Self::forward).
    pub fn input_gradient(
        &self,
        input: &[f32],
        output_gradient: &[f32],
        input_gradient: &mut [f32],
    ) -> Result<()> {
        let gradients =
            [("output gradient", output_gradient), ("input gradient", &*input_gradient)];
        self.check(input.len(), gradients)?;
        let (isa, len) = (Isa::best(), self.image_len());
        let images = input_gradient.par_chunks_mut(len).zip(input.par_chunks(len));
        images.zip(output_gradient.par_chunks(len)).for_each(|((to, input), gradient)| {
            // SAFETY: the instruction set is one that this machine has.
            unsafe {
                dispatch!(isa, differentiate(
                    lrn: &Lrn = self, input: &[f32] = input, gradient: &[f32] = gradient,
                    to: &mut [f32] = to,
                ))
            }
        });
        Ok(())
    }

    fn image_len(&self) -> usize {
        self.channels * self.plane
    }

    fn check<const N: usize>(&self, values: usize, others: [(&str, &[f32]); N]) -> Result<()> {
        let len = self.channels.checked_mul(self.plane).filter(|len| *len > 0);
        if !len.is_some_and(|len| values.is_multiple_of(len)) || self.size.is_multiple_of(2) {
            return Err(Error::Setting {
                place: "local response normalization".into(),
                expected: "channels and values above 0, whole images, and an odd size".into(),
                found: format!("{self:?} of {values} values"),
            });
        }
        others.into_iter().try_for_each(|(what, found)| expect_count(what, found, values))
    }

    /// The channels in the sum of one.
    fn window(&self, channel: usize) -> Range<usize> {
        let half = self.size / 2;
        channel.saturating_sub(half)..self.channels.min(channel.saturating_add(half + 1))
    }

    /// `k + alpha · sum of squares` of a channel, for up to `PIXELS` values from `start` on.
    #[inline(always)]
    fn scales(&self, input: &[f32], channel: usize, start: usize, scales: &mut [f32]) {
        scales.fill(0.0);
        for neighbor in self.window(channel) {
            let values = &input[neighbor * self.plane + start..][..scales.len()];
            for (scale, value) in scales.iter_mut().zip(values) {
                *scale += value * value;
            }
        }
        for scale in scales {
            *scale = self.k + self.alpha * *scale;
        }
    }

    /// `scale^-beta`. Two square roots are several times faster than a general power, and are enough for the published
    /// beta of ¾.
    #[inline(always)]
    fn factors(&self, scales: &[f32], factors: &mut [f32]) {
        if self.beta == 0.75 {
            for (factor, scale) in factors.iter_mut().zip(scales) {
                let root = scale.sqrt();
                *factor = 1.0 / (root * root.sqrt());
            }
        } else {
            for (factor, scale) in factors.iter_mut().zip(scales) {
                *factor = scale.powf(-self.beta);
            }
        }
    }
}

/// # Safety
/// `S` must be available.
#[inline(always)]
unsafe fn normalize<S: Simd>(lrn: &Lrn, input: &[f32], output: &mut [f32]) {
    let (mut scales, mut factors) = ([0.0; PIXELS], [0.0; PIXELS]);
    for start in (0..lrn.plane).step_by(PIXELS) {
        let len = PIXELS.min(lrn.plane - start);
        let (scales, factors) = (&mut scales[..len], &mut factors[..len]);
        for channel in 0..lrn.channels {
            lrn.scales(input, channel, start, scales);
            lrn.factors(scales, factors);
            let at = channel * lrn.plane + start;
            let values = output[at..at + len].iter_mut().zip(&input[at..at + len]);
            for ((to, value), factor) in values.zip(&*factors) {
                *to = value * factor;
            }
        }
    }
}

/// # Safety
/// `S` must be available.
#[inline(always)]
unsafe fn differentiate<S: Simd>(lrn: &Lrn, input: &[f32], gradient: &[f32], to: &mut [f32]) {
    let (mut scales, mut factors) = ([0.0; PIXELS], [0.0; PIXELS]);
    // `x dy / s^(beta + 1)` of all channels.
    let mut products = vec![0.0; lrn.channels * PIXELS];
    for start in (0..lrn.plane).step_by(PIXELS) {
        let len = PIXELS.min(lrn.plane - start);
        let (scales, factors) = (&mut scales[..len], &mut factors[..len]);
        for channel in 0..lrn.channels {
            lrn.scales(input, channel, start, scales);
            lrn.factors(scales, factors);
            let at = channel * lrn.plane + start;
            let (x, dy) = (&input[at..at + len], &gradient[at..at + len]);
            let (to, products) = (&mut to[at..at + len], &mut products[channel * PIXELS..][..len]);
            for i in 0..len {
                to[i] = dy[i] * factors[i];
                products[i] = x[i] * to[i] / scales[i];
            }
        }
        for channel in 0..lrn.channels {
            scales.fill(0.0);
            for neighbor in lrn.window(channel) {
                let products = &products[neighbor * PIXELS..][..len];
                scales.iter_mut().zip(products).for_each(|(sum, product)| *sum += product);
            }
            let at = channel * lrn.plane + start;
            let values = to[at..at + len].iter_mut().zip(&input[at..at + len]);
            for ((to, x), sum) in values.zip(&*scales) {
                *to -= 2.0 * lrn.alpha * lrn.beta * x * sum;
            }
        }
    }
}
