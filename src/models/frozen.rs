//! A network that is looked at and not trained.

use super::chain::{MapLayer, Pointwise, VectorLayer};
use super::network::Network;
use burn::module::Module;
use burn::nn::BatchNorm;
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

impl<B: Backend> Network<B> {
    /// The same network for inference on an autodiff backend, where burn would train: dropout is off,
    /// batch norm takes its running statistics, and no parameter asks for a gradient. Gradients of
    /// what comes out flow to what comes in: to see what an answer depends on, or to paint a picture
    /// by it. On any other backend it changes nothing.
    ///
    /// A clone of a network shares its weights, so `network.clone().frozen()` takes no memory.
    /// [`save`](Self::save) writes the same file; burn's record of a frozen batch norm is one of its
    /// own, which loads into frozen networks only.
    pub fn frozen(mut self) -> Self {
        self.features = self.features.into_iter().map(MapLayer::frozen).collect();
        self.classifier = self.classifier.into_iter().map(VectorLayer::frozen).collect();
        self.no_grad()
    }
}

impl<B: Backend> MapLayer<B> {
    fn frozen(self) -> Self {
        match self {
            Self::BatchNorm(norm) => Self::FrozenBatchNorm(norm),
            Self::Pointwise(pointwise) => Self::Pointwise(pointwise.frozen()),
            other => other,
        }
    }
}

impl<B: Backend> VectorLayer<B> {
    fn frozen(self) -> Self {
        match self {
            Self::Pointwise(pointwise) => Self::Pointwise(pointwise.frozen()),
            other => other,
        }
    }
}

impl Pointwise {
    fn frozen(self) -> Self {
        match self {
            Self::Dropout(mut dropout) => {
                dropout.prob = 0.0;
                Self::Dropout(dropout)
            }
            other => other,
        }
    }
}

/// `[N, C, H, W]` by the running statistics, whatever the backend; burn's own forward decides by it.
pub(super) fn batch_norm<B: Backend>(norm: &BatchNorm<B>, x: Tensor<B, 4>) -> Tensor<B, 4> {
    let by_channel = |values: Tensor<B, 1>| {
        let [channels] = values.dims();
        values.reshape([1, channels, 1, 1])
    };
    let deviation = (norm.running_var.value() + norm.epsilon).sqrt();
    let normal = (x - by_channel(norm.running_mean.value())) / by_channel(deviation);
    normal * by_channel(norm.gamma.val()) + by_channel(norm.beta.val())
}
