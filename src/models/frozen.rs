//! A network that is looked at and not trained.

use super::chain::{MapLayer, Pointwise, VectorLayer};
use super::network::Network;
#[cfg(feature = "train")]
use super::table::{Architecture, Step};
#[cfg(feature = "train")]
use crate::error::Result;
use burn::module::Module;
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

#[cfg(feature = "train")]
impl<B: Backend> Network<B> {
    /// The same network with some layers frozen, those all of whose parameters are: they ask for no
    /// gradients, and their batch norm takes its running statistics. Dropout stays.
    pub(crate) fn frozen_where(mut self, is_frozen: impl Fn(&str) -> bool) -> Result<Self> {
        let frozen = self.architecture().frozen_layers(is_frozen)?;
        self.features = MapLayer::frozen_where(self.features, &frozen);
        self.classifier = VectorLayer::frozen_where(self.classifier, &frozen);
        Ok(self)
    }
}

#[cfg(feature = "train")]
impl Architecture {
    /// Of each layer in forward order whether all parameters are frozen, and there are some.
    pub(super) fn frozen_layers(&self, is_frozen: impl Fn(&str) -> bool) -> Result<Vec<bool>> {
        let all_frozen = |step: Step| {
            let mut keys = step.parameters.iter().map(|parameter| parameter.key.as_str());
            !step.parameters.is_empty() && keys.all(&is_frozen)
        };
        Ok(self.steps()?.into_iter().map(all_frozen).collect())
    }
}

#[cfg(feature = "train")]
impl<B: Backend> MapLayer<B> {
    /// The features, the first of all layers.
    pub(super) fn frozen_where(layers: Vec<Self>, frozen: &[bool]) -> Vec<Self> {
        let freeze = |(layer, &frozen): (Self, &bool)| match frozen {
            true => layer.frozen().no_grad(),
            false => layer,
        };
        layers.into_iter().zip(frozen).map(freeze).collect()
    }
}

#[cfg(feature = "train")]
impl<B: Backend> VectorLayer<B> {
    /// The classifier, the last of all layers.
    pub(super) fn frozen_where(layers: Vec<Self>, frozen: &[bool]) -> Vec<Self> {
        let frozen = &frozen[frozen.len() - layers.len()..];
        let freeze = |(layer, &frozen): (Self, &bool)| match frozen {
            true => layer.no_grad(),
            false => layer,
        };
        layers.into_iter().zip(frozen).map(freeze).collect()
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
