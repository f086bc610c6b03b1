//! A network as plain data: a [`Table`] lists its layers.
//!
//! AlexNet and VGG are chains: features, a pool to a fixed size, a classifier. So a list describes them
//! completely, and everything else reads this list: the engine, the modules of a tensor framework, the
//! summary, the names of the weights. [`Table::walk`] reads it: it gives one [`Step`] for each layer, checked,
//! with both of its names, its shapes and its parameters.

use super::layer::Layer;
use super::layer_shapes::{MAX_LAYERS, PlacedLayer, product, too_large};
use super::paper_names::{Numbering, PaperNames};
use super::step::{Section, Shape, Step};
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};

/// A whole network as data. It is not checked yet: [`Architecture::new`](super::Architecture::new) checks it.
///
/// [`AlexNetConfig`](super::AlexNetConfig) and [`VggConfig`](super::VggConfig) create such tables. You can also
/// write your own: any chain of [`Layer`]s works.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Table {
    /// Name of the network: `vgg16_bn`.
    pub name: String,
    /// Channels, height and width of the input that the network was designed for. Other heights and widths
    /// work too; see [`walk`](Self::walk).
    pub input: [usize; 3],
    /// The convolutional part, on feature maps: `[N, C, H, W]`.
    pub features: Vec<Layer>,
    /// Height and width to which adaptive average pooling brings the features. It changes nothing at the
    /// input size that the network was designed for, and makes other sizes fit the classifier.
    pub pool: [usize; 2],
    /// The part after the pool, on vectors: `[N, features]`. May be empty.
    pub classifier: Vec<Layer>,
    /// How the paper numbers its convolutions.
    pub numbering: Numbering,
}

impl Table {
    /// The layers in forward order with their names, shapes and parameters for an input of
    /// `[height, width]`.
    ///
    /// # Errors
    /// [`Error::InputTooSmall`] if some layer has an empty output, and [`Error::Table`] if the table is
    /// inconsistent or describes a network that is beyond any machine.
    pub fn walk(&self, [height, width]: [usize; 2]) -> Result<Vec<Step>> {
        let layers = self.features.len() + 1 + self.classifier.len();
        if layers > MAX_LAYERS {
            return Err(Error::Table {
                place: self.name.clone(),
                expected: format!("at most {MAX_LAYERS} layers"),
                found: layers.to_string(),
            });
        }
        // Outputs are checked layer by layer; a stride could make those of a huge image small.
        product(&format!("{}'s input", self.name), &[self.input[0], height, width])?;
        let mut names = PaperNames::new(self.numbering);
        let mut shape = Shape::Map([self.input[0], height, width]);
        let pool = Layer::AdaptiveAvgPool { size: self.pool };
        let rows = (self.features.iter().map(|layer| (Section::Features, layer)))
            .chain([(Section::AvgPool, &pool)])
            .chain(self.classifier.iter().map(|layer| (Section::Classifier, layer)));

        let mut steps: Vec<Step> = Vec::with_capacity(layers);
        let mut index = 0;
        for (section, &layer) in rows {
            index = match steps.last() {
                Some(before) if before.section == section => index + 1,
                _ => 0,
            };
            if section == Section::Classifier && index == 0 {
                shape = Shape::Vector([self.flattened_length(shape)?]);
            }
            let key = match section {
                Section::AvgPool => section.to_string(),
                _ => format!("{section}.{index}"),
            };
            let placed =
                PlacedLayer { network: &self.name, key: &key, section, layer, input: shape };
            let output = placed.output().map_err(|error| match error {
                Error::InputTooSmall { network, layer, .. } => Error::InputTooSmall {
                    network,
                    layer,
                    minimum: self.minimum_input(),
                    found: [height, width],
                },
                other => other,
            })?;
            let parameters = placed.parameters(&key)?;
            steps.push(Step {
                section,
                name: names.next(&layer),
                layer,
                input: shape,
                output,
                multiply_adds: placed.multiply_adds(output)?,
                parameters,
                key,
            });
            shape = output;
        }
        self.flattened_length(shape)?;
        Ok(steps)
    }

    /// The smallest height and width that the network takes: the sizes of the layers' windows, propagated
    /// backward from one cell at the end of the features.
    pub fn minimum_input(&self) -> usize {
        self.features.iter().rev().fold(1, |needed: usize, layer| {
            let Some((kernel, stride, padding)) = layer.window() else { return needed };
            (needed - 1)
                .saturating_mul(stride)
                .saturating_add(kernel)
                .saturating_sub(padding.saturating_mul(2))
                .max(1)
        })
    }

    /// Length of a flattened feature map.
    fn flattened_length(&self, shape: Shape) -> Result<usize> {
        let elements = product(&self.name, shape.dims())?;
        usize::try_from(elements).map_err(|_| too_large(&self.name))
    }
}
