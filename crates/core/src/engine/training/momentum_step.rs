//! The update by gradient descent with momentum and weight decay, in one pass over memory.
#![allow(unsafe_code)]

use crate::engine::simd::{Isa, Simd, dispatch};
use rayon::prelude::*;

/// Values that a thread takes at once.
const CHUNK: usize = 1 << 17;

/// A step of gradient descent with momentum: `v = momentum v + gradient_factor (g + weight_decay w)`, then
/// `w = w + velocity_factor v`.
///
/// ```
/// use alexnet_vgg_core::engine::training::MomentumStep;
///
/// // PyTorch's rule, with a learning rate of 0.5.
/// let step = MomentumStep {
///     weight_decay: 0.0, momentum: 0.5, gradient_factor: 1.0, velocity_factor: -0.5,
/// };
/// let (mut weights, mut velocities) = ([1.0, 2.0], [4.0, 0.0]);
/// step.apply(&mut weights, &[2.0, 6.0], &mut velocities);
/// assert_eq!((weights, velocities), ([-1.0, -1.0], [4.0, 6.0]));
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MomentumStep {
    /// How much of the weight is added to its gradient.
    pub weight_decay: f32,
    /// How much of the velocity stays.
    pub momentum: f32,
    /// The factor of the gradient: 1 in PyTorch's rule, minus the learning rate in that of the papers.
    pub gradient_factor: f32,
    /// The factor of the velocity: minus the learning rate in PyTorch's rule, 1 in that of the papers.
    pub velocity_factor: f32,
}

impl MomentumStep {
    /// Updates weights and velocities.
    ///
    /// # Panics
    /// If the slices have different lengths.
    pub fn apply(&self, weights: &mut [f32], gradients: &[f32], velocities: &mut [f32]) {
        assert_eq!(weights.len(), gradients.len(), "gradients");
        assert_eq!(weights.len(), velocities.len(), "velocities");
        let isa = Isa::best();
        let chunks = weights.par_chunks_mut(CHUNK).zip(gradients.par_chunks(CHUNK));
        chunks.zip(velocities.par_chunks_mut(CHUNK)).for_each(
            |((weights, gradients), velocities)| {
                // SAFETY: the instruction set is one that this machine has.
                unsafe {
                    dispatch!(isa, apply(
                        step: MomentumStep = *self, weights: &mut [f32] = weights,
                        gradients: &[f32] = gradients, velocities: &mut [f32] = velocities,
                    ))
                }
            },
        );
    }
}

/// Plain Rust, which the compiler vectorizes for the instruction set.
///
/// # Safety
/// `S` must be available.
#[inline(always)]
unsafe fn apply<S: Simd>(
    step: MomentumStep,
    weights: &mut [f32],
    gradients: &[f32],
    velocities: &mut [f32],
) {
    for ((w, g), v) in weights.iter_mut().zip(gradients).zip(velocities) {
        let g = g + step.weight_decay * *w;
        *v = step.momentum * *v + step.gradient_factor * g;
        *w += step.velocity_factor * *v;
    }
}
