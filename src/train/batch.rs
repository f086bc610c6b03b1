//! What a step of training takes.

use crate::vision::augment::Sample;
use burn::tensor::backend::Backend;
use burn::tensor::{Int, Tensor};

/// Some examples together.
#[derive(Clone, Debug)]
pub struct Batch<B: Backend> {
    /// `[N, C, H, W]`, normalized.
    pub images: Tensor<B, 4>,
    /// The classes, `[N]`.
    pub classes: Tensor<B, 1, Int>,
    /// Which visit to which example each of them is, N of them: dropout draws by it, as augmentation did.
    pub samples: Vec<Sample>,
    /// The part of the optimizer's batch that this is: the mean loss is multiplied by it before the
    /// gradients of all parts are added up. 1 where the batch is not divided.
    pub share: f64,
    /// The part of each target that is spread over all classes: label smoothing.
    pub smoothing: f64,
}
