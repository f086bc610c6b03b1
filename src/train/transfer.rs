//! Where a network's weights begin when they are not all drawn: from a shallower network, as VGG's deeper
//! configurations do, or from one that was trained on other classes.

use crate::error::{Error, Result};
use crate::models::{Architecture, Layer, Network, Parameter, Step};
use crate::weights::Weights;
use burn::tensor::backend::Backend;
use std::collections::{BTreeMap, BTreeSet};

/// Convolutions and linear layers that the deeper configurations take from A.
const FIRST_CONVOLUTIONS: usize = 4;
const LAST_LINEAR: usize = 3;

impl<B: Backend> Network<B> {
    /// The same network with the first four convolutional layers and the last three fully-connected
    /// layers of a shallower one that is trained, and all others as they are: how the VGG paper (section
    /// 3.1) trains its deeper configurations from A. The layers have the same names in both, which is
    /// not the same place: A's second convolution is `conv2_1`, D's is `conv1_2`.
    ///
    /// # Errors
    /// [`Error::UnknownLayer`] if a layer of that name is not there; [`Error::Setting`] if it has another
    /// shape; [`Error::Backend`] if a device fails.
    pub fn with_layers_of_shallower<S: Backend>(&self, shallow: &Network<S>) -> Result<Self> {
        let ours = self.architecture().steps()?;
        let mut taken = BTreeMap::new();
        for layer in layers_for_deeper(shallow.architecture())? {
            let index = self.architecture().find(&layer.name)?;
            let own = &ours[index].parameters;
            for (own, theirs) in own.iter().zip(layer.parameters) {
                if own.shape != theirs.shape {
                    return Err(Error::Setting {
                        place: format!("{} of {}", layer.name, self.architecture().name),
                        expected: format!("the shape of the shallower network, {:?}", theirs.shape),
                        found: format!("{:?}", own.shape),
                    });
                }
                taken.insert(own.key.clone(), theirs);
            }
        }
        let copy =
            Network::from_values(self.architecture().clone(), &self.device(), |own, rows| {
                match taken.get(&own.key) {
                    Some(theirs) => shallow.values(theirs, rows),
                    None => self.values(own, rows),
                }
            })?;
        Ok(copy.stating(self))
    }

    /// The same network with every weight of a file that fits, by name and shape: of a network trained on
    /// other classes all but the last layer (also where they are as many, but the [labels](Self::labels) of
    /// both are known and differ), of a file without a classifier its features. Also the keys of what
    /// stays as it is.
    ///
    /// # Errors
    /// [`Error::WeightsMismatch`] if the features are not this network's; those of reading the file.
    pub fn transferred(&self, weights: &Weights) -> Result<(Self, Vec<String>)> {
        let architecture = self.architecture().clone();
        let device = self.device();
        let whole = weights.identify()?.filter(|identity| !identity.features_only);
        let whole = whole.and_then(|identity| identity.networks.into_iter().next());
        let donor = match whole.map(Architecture::from) {
            Some(other) if features(&other)? == features(&architecture)? => {
                Network::<B>::from_weights(other, weights, &device)?
            }
            _ => {
                let features = architecture.clone().without_classifier();
                Network::features_from_weights(features, weights, &device)?
            }
        };
        let theirs = shapes(donor.architecture())?;
        let other_classes = donor.labels().zip(self.labels()).is_some_and(|(of, ours)| of != ours);
        let of_classes = match architecture.steps()?.into_iter().last() {
            Some(last) if other_classes => last.parameters,
            _ => Vec::new(),
        };
        let fits = |own: &Parameter| {
            theirs.contains(&(own.key.clone(), own.shape.clone())) && !of_classes.contains(own)
        };
        let parameters = architecture.parameters()?;
        let fresh = parameters.iter().filter(|own| !fits(own)).map(|own| own.key.clone()).collect();
        let copy = Network::from_values(architecture, &device, |own, rows| match fits(own) {
            true => donor.values(own, rows),
            false => self.values(own, rows),
        })?;
        Ok((
            copy.with_preset(donor.preset().or(self.preset()).cloned())
                .with_labels(self.labels().cloned()),
            fresh,
        ))
    }
}

fn shapes(architecture: &Architecture) -> Result<BTreeSet<(String, Vec<usize>)>> {
    let parameters = architecture.parameters()?.into_iter();
    Ok(parameters.map(|parameter| (parameter.key, parameter.shape)).collect())
}

fn features(architecture: &Architecture) -> Result<BTreeSet<(String, Vec<usize>)>> {
    shapes(&architecture.clone().without_classifier())
}

/// What the paper says, read off the table.
fn layers_for_deeper(shallow: &Architecture) -> Result<Vec<Step>> {
    let steps = shallow.steps()?;
    let is_conv = |step: &&Step| matches!(step.layer, Layer::Conv { .. });
    let is_linear = |step: &&Step| matches!(step.layer, Layer::Linear { .. });
    let first = steps.iter().filter(is_conv).take(FIRST_CONVOLUTIONS);
    let last = steps.iter().rev().filter(is_linear).take(LAST_LINEAR);
    Ok(first.chain(last).cloned().collect())
}
