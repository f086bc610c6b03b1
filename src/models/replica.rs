//! Another copy of a network, to be trained beside it.

use super::network::Network;
use burn::module::{AutodiffModule, Module};
use burn::tensor::backend::AutodiffBackend;

impl<B: AutodiffBackend> Network<B> {
    /// The same network on `device`, for a thread of its own: same values, frozen layers, preset, labels and
    /// burn's ids, and nothing that one of them changes is the other's. (burn's `clone` and `fork` leave both
    /// with the same running statistics, and `fork` moves those of the first one, too.) In memory the weights
    /// are shared until one of them is trained.
    pub fn replica(&self, device: &B::Device) -> Self {
        // By way of `valid`, which makes running statistics of their own.
        Self::from_inner(self.valid()).fork(device)
    }
}
