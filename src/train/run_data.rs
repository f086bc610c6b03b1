//! The examples of a run.

use super::examples::Examples;
use std::sync::Arc;

/// The examples that a network is trained and validated on.
#[derive(Clone)]
pub struct Data {
    /// The training set, augmented.
    pub train: Arc<dyn Examples>,
    /// The training set without augmentation. A recipe with a [`head`](super::Recipe::head) computes the
    /// classifier's input features from it.
    pub still: Arc<dyn Examples>,
    /// The validation set.
    pub valid: Arc<dyn Examples>,
}
