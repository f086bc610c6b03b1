//! Initializes deep VGGs from layers of a shallower one (VGG paper, section 3.1).

use crate::models::{Architecture, Layer, Network, Step};
use crate::{Error, Result};
use burn::tensor::backend::Backend;
use std::collections::BTreeMap;

/// Convolutions and linear layers that the deeper configurations reuse from configuration A.
const FIRST_CONVOLUTIONS: usize = 4;
const LAST_LINEAR: usize = 3;

impl<B: Backend> Network<B> {
    /// The same network with the first four convolutional layers and the last three fully-connected layers of a
    /// trained, shallower network: how the VGG paper (section 3.1) initializes its deeper configurations from
    /// configuration A. Layers are matched by name, not by position: the second convolution of A is `conv2_1`,
    /// that of D is `conv1_2`.
    ///
    /// # Errors
    /// [`Error::UnknownLayer`] if this network has no layer of that name; [`Error::Setting`] if it has another
    /// shape; [`Error::Backend`] if a device failed.
    pub fn init_from_shallower<S: Backend>(&self, shallow: &Network<S>) -> Result<Self> {
        let ours = self.architecture().steps();
        let mut taken = BTreeMap::new();
        for layer in layers_for_deeper(shallow.architecture()) {
            let index = self.architecture().find(&layer.name)?;
            let own = &ours[index].parameters;
            for (own, theirs) in own.iter().zip(&layer.parameters) {
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
            Network::from_values(self.architecture(), &self.device(), |own, rows| {
                match taken.get(&own.key) {
                    Some(theirs) => shallow.values(theirs, rows),
                    None => self.values(own, rows),
                }
            })?;
        Ok(copy.with_metadata(self.metadata().clone()))
    }
}

/// The layers that deeper networks reuse.
fn layers_for_deeper(shallow: &Architecture) -> Vec<&Step> {
    let is_conv = |step: &&Step| matches!(step.layer, Layer::Conv { .. });
    let is_linear = |step: &&Step| matches!(step.layer, Layer::Linear { .. });
    let first = shallow.steps().iter().filter(is_conv).take(FIRST_CONVOLUTIONS);
    let last = shallow.steps().iter().rev().filter(is_linear).take(LAST_LINEAR);
    first.chain(last).collect()
}
