//! Independent copies of a network.

use crate::models::Network;
use burn::module::{AutodiffModule, Module};
use burn::tensor::backend::AutodiffBackend;

impl<B: AutodiffBackend> Network<B> {
    /// A copy of the network on `device`, for another thread: with the same values, frozen layers, metadata and
    /// burn ids. Training one of them does not change the other. (burn's `clone` and `fork` share the running
    /// statistics, and `fork` moves those of the original, too.) The copies share the memory of the weights until
    /// one of them is trained.
    pub fn replica(&self, device: &B::Device) -> Self {
        // `valid` copies the running statistics.
        Self::from_inner(self.valid()).fork(device)
    }
}
