//! The key of random augmentation.

use serde::{Deserialize, Serialize};

/// One visit of a training run to one photo. The same three numbers always draw the same augmentation (bit
/// for bit on one platform: logarithms are computed by the system's math library).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Sample {
    /// Seed of the training run.
    pub seed: u64,
    /// Epoch, from 0.
    pub epoch: u64,
    /// Index of the photo in the data set, independent of the order within an epoch.
    pub index: u64,
}
