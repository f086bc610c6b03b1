//! Initializes a network from pretrained weights, for transfer learning.

use crate::Result;
use crate::models::{Architecture, Network, Parameter};
use crate::weights::{LoadOptions, Weights};
use burn::tensor::backend::Backend;
use std::collections::BTreeSet;

impl<B: Backend> Network<B> {
    /// The same network with every pretrained parameter that fits by name and shape, and the keys of the
    /// parameters that keep their values.
    ///
    /// The last layer keeps its values if the pretrained network has another number of classes, or
    /// if both networks have labels in their [metadata](Self::metadata) that differ. The whole
    /// classifier keeps its values if the weights file has only the features.
    ///
    /// # Errors
    /// [`Error::WeightsMismatch`](crate::Error::WeightsMismatch) if the features are not those of this network;
    /// those of reading the file.
    pub fn init_from_pretrained(&self, weights: &Weights) -> Result<(Self, Vec<String>)> {
        let (architecture, device) = (self.architecture(), self.device());
        let whole = weights.identify().filter(|identity| !identity.features_only);
        let whole = whole.and_then(|identity| identity.networks.into_iter().next());
        let pretrained = match whole.map(|config| config.architecture()).transpose()? {
            Some(other) if features(&other) == features(architecture) => {
                Network::<B>::from_weights(other, weights, LoadOptions::default(), &device)?
            }
            _ => {
                let features = architecture.without_classifier();
                Network::from_weights(features, weights, LoadOptions::features(), &device)?
            }
        };
        let theirs = shapes(pretrained.architecture());
        let labels = pretrained.metadata().labels.as_ref().zip(self.metadata().labels.as_ref());
        let has_other_classes = labels.is_some_and(|(theirs, ours)| theirs != ours);
        let last = architecture.steps().last().filter(|_| has_other_classes);
        let of_classes = last.map_or(&[][..], |last| &last.parameters);
        let fits = |own: &Parameter| {
            theirs.contains(&(own.key.as_str(), own.shape.as_slice())) && !of_classes.contains(own)
        };
        let unchanged = architecture.parameters().filter(|own| !fits(own));
        let unchanged = unchanged.map(|own| own.key.clone()).collect();
        let copy = Network::from_values(architecture, &device, |own, rows| {
            if fits(own) { pretrained.values(own, rows) } else { self.values(own, rows) }
        })?;
        // The labels stay those of this network.
        let preset = pretrained.metadata().preset.clone().or(self.metadata().preset.clone());
        Ok((copy.with_metadata(self.metadata().clone().with_preset(preset)), unchanged))
    }
}

fn shapes(architecture: &Architecture) -> BTreeSet<(&str, &[usize])> {
    architecture.parameters().map(|own| (own.key.as_str(), own.shape.as_slice())).collect()
}

fn features(architecture: &Architecture) -> Vec<(String, Vec<usize>)> {
    let features = architecture.without_classifier();
    features.parameters().map(|own| (own.key.clone(), own.shape.clone())).collect()
}
