//! How the weights of a layer are initialized before training.

use serde::{Deserialize, Serialize};

/// Initialization of a layer's weight and bias.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Init {
    /// Distribution of the weight.
    pub weight: WeightInit,
    /// Value or distribution of the bias.
    pub bias: BiasInit,
}

/// Distribution of a layer's initial weight.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum WeightInit {
    /// N(0, std²).
    Normal {
        /// Standard deviation.
        std: f64,
    },
    /// N(0, 2 / fan_out): He et al. 2015, as in torchvision's VGG.
    KaimingNormalFanOut,
    /// U(-1/√fan_in, 1/√fan_in): PyTorch's default for the weight of convolutions and linear layers.
    TorchDefault,
}

/// Value or distribution of a layer's initial bias.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum BiasInit {
    /// The same value everywhere.
    Constant(f64),
    /// U(-1/√fan_in, 1/√fan_in): PyTorch's default for the bias of convolutions and linear layers.
    TorchDefault,
}

/// Initial values of a [`Parameter`](super::Parameter): an [`Init`] with its fan-in and fan-out filled in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fill {
    /// The same value everywhere.
    Constant(f64),
    /// N(0, std²).
    Normal {
        /// Standard deviation.
        std: f64,
    },
    /// U(-bound, bound).
    Uniform {
        /// Largest absolute value.
        bound: f64,
    },
}

impl Init {
    pub(super) fn is_valid(&self) -> bool {
        let weight = match self.weight {
            WeightInit::Normal { std } => std.is_finite() && std >= 0.0,
            WeightInit::KaimingNormalFanOut | WeightInit::TorchDefault => true,
        };
        weight && !matches!(self.bias, BiasInit::Constant(value) if !value.is_finite())
    }

    pub(super) fn weight(&self, fan_in: u64, fan_out: u64) -> Fill {
        match self.weight {
            WeightInit::Normal { std } => Fill::Normal { std },
            WeightInit::KaimingNormalFanOut => Fill::Normal { std: (2.0 / fan_out as f64).sqrt() },
            WeightInit::TorchDefault => Fill::Uniform { bound: (fan_in as f64).sqrt().recip() },
        }
    }

    pub(super) fn bias(&self, fan_in: u64) -> Fill {
        match self.bias {
            BiasInit::Constant(value) => Fill::Constant(value),
            BiasInit::TorchDefault => Fill::Uniform { bound: (fan_in as f64).sqrt().recip() },
        }
    }
}
