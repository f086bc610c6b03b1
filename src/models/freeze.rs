//! Networks, or layers of them, that are not trained.

use super::layer_modules::{MapLayer, Pointwise, VectorLayer};
use super::network::Network;
#[cfg(feature = "train")]
use super::{Architecture, Step};
use burn::module::Module;
use burn::tensor::backend::Backend;

impl<B: Backend> Network<B> {
    /// The same network for inference on an autodiff backend, where burn would train it: dropout is off,
    /// batch norm uses its running statistics, and no parameter requires a gradient (PyTorch's `eval()`
    /// and `requires_grad_(False)` together). Gradients still flow from the output to the input, as
    /// Grad-CAM and style transfer need. On other backends it changes nothing.
    ///
    /// A clone of a network shares its weights, so `network.clone().freeze()` takes no memory.
    /// [`save`](Self::save) writes the same file. burn's record of a frozen batch norm differs from that of
    /// a trained one, and loads into frozen networks only.
    pub fn freeze(mut self) -> Self {
        self.features = self.features.into_iter().map(MapLayer::freeze).collect();
        self.classifier = self.classifier.into_iter().map(VectorLayer::freeze).collect();
        self.no_grad()
    }
}

#[cfg(feature = "train")]
impl<B: Backend> Network<B> {
    /// The same network with those layers frozen whose parameters all satisfy `is_frozen`: they
    /// require no gradients, and their batch norm uses its running statistics. Dropout stays on.
    pub(crate) fn freeze_where(mut self, is_frozen: impl Fn(&str) -> bool) -> Self {
        let frozen = frozen_layers(self.architecture(), is_frozen);
        self.features = MapLayer::freeze_where(self.features, &frozen);
        self.classifier = VectorLayer::freeze_where(self.classifier, &frozen);
        self
    }
}

/// For each layer in forward order, whether it has parameters and all of them are frozen.
#[cfg(feature = "train")]
pub(super) fn frozen_layers(
    architecture: &Architecture,
    is_frozen: impl Fn(&str) -> bool,
) -> Vec<bool> {
    let all_frozen = |step: &Step| {
        let mut keys = step.parameters.iter().map(|parameter| parameter.key.as_str());
        !step.parameters.is_empty() && keys.all(&is_frozen)
    };
    architecture.steps().iter().map(all_frozen).collect()
}

#[cfg(feature = "train")]
impl<B: Backend> MapLayer<B> {
    /// The features, the first of all layers.
    pub(super) fn freeze_where(layers: Vec<Self>, frozen: &[bool]) -> Vec<Self> {
        let freeze = |(layer, &frozen): (Self, &bool)| {
            if frozen { layer.freeze().no_grad() } else { layer }
        };
        layers.into_iter().zip(frozen).map(freeze).collect()
    }
}

#[cfg(feature = "train")]
impl<B: Backend> VectorLayer<B> {
    /// The classifier, the last of all layers.
    pub(super) fn freeze_where(layers: Vec<Self>, frozen: &[bool]) -> Vec<Self> {
        let frozen = &frozen[frozen.len() - layers.len()..];
        let freeze = |(layer, &frozen): (Self, &bool)| {
            if frozen { layer.no_grad() } else { layer }
        };
        layers.into_iter().zip(frozen).map(freeze).collect()
    }
}

impl<B: Backend> MapLayer<B> {
    fn freeze(self) -> Self {
        match self {
            Self::BatchNorm(norm) => Self::FrozenBatchNorm(norm),
            Self::Pointwise(pointwise) => Self::Pointwise(pointwise.freeze()),
            other => other,
        }
    }
}

impl<B: Backend> VectorLayer<B> {
    fn freeze(self) -> Self {
        match self {
            Self::Pointwise(pointwise) => Self::Pointwise(pointwise.freeze()),
            other => other,
        }
    }
}

impl Pointwise {
    fn freeze(self) -> Self {
        match self {
            Self::Dropout(mut dropout) => {
                dropout.prob = 0.0;
                Self::Dropout(dropout)
            }
            other => other,
        }
    }
}
