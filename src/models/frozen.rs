//! A network that is looked at and not trained.

use super::chain::{MapLayer, Pointwise, VectorLayer};
use super::network::Network;
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
        let steps = self.architecture().steps()?;
        let frozen: Vec<bool> = (steps.iter())
            .map(|step| {
                let mut keys = step.parameters.iter().map(|parameter| parameter.key.as_str());
                !step.parameters.is_empty() && keys.all(&is_frozen)
            })
            .collect();
        let (maps, vectors) = frozen.split_at(self.features.len());
        self.features = (self.features.into_iter().zip(maps))
            .map(|(layer, &frozen)| if frozen { layer.frozen().no_grad() } else { layer })
            .collect();
        // The pool stands between them.
        self.classifier = (self.classifier.into_iter().zip(&vectors[1..]))
            .map(|(layer, &frozen)| if frozen { layer.no_grad() } else { layer })
            .collect();
        Ok(self)
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
