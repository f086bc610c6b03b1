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
}
