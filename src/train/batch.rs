//! The input of a training step.

use crate::vision::augment::Sample;
use burn::tensor::backend::Backend;
use burn::tensor::{Int, Tensor};

/// Examples that go through the network together.
#[derive(Clone, Debug)]
pub struct Batch<B: Backend> {
    /// `[N, C, H, W]`, normalized.
    pub images: Tensor<B, 4>,
    /// The classes, `[N]`.
    pub classes: Tensor<B, 1, Int>,
    /// For each of the N examples, which one it is and in which visit: augmentation and dropout are
    /// drawn from this.
    pub samples: Vec<Sample>,
    /// The fraction of the optimizer's batch that this is, 1 for a whole batch. The mean loss is multiplied by
    /// it before the backward pass, so that the gradients of all micro-batches add up to those of the batch.
    pub share: f64,
    /// The fraction of each target that is spread over all classes, 0 to below 1.
    pub label_smoothing: f64,
    /// The second classes of the examples, if some of them are mixed with others.
    pub mixed: Option<MixedClasses<B>>,
}

/// What was mixed into the examples of a batch.
#[derive(Clone, Debug)]
pub struct MixedClasses<B: Backend> {
    /// The second class of each example, `[N]`.
    pub classes: Tensor<B, 1, Int>,
    /// The fraction of each example's target that is the class in [`Batch::classes`], `[N]`: 0.5 to 1, and 1 for an
    /// example into which nothing was mixed.
    pub shares: Tensor<B, 1>,
}
