//! What precision means to each side.

use alexnet_vgg_core::engine::LinearWeights;
use clap::ValueEnum;
use std::fmt;

/// The precision that the other runtimes compute in. Our engine computes in f32 either way, and keeps
/// the weights of its linear layers accordingly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Precision {
    F32,
    Bf16,
}

impl Precision {
    /// The engine's counterpart.
    pub fn linear_weights(self) -> LinearWeights {
        match self {
            Self::F32 => LinearWeights::Int24,
            Self::Bf16 => LinearWeights::Int16,
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
        })
    }
}
