//! The weights of two halves under the names of the whole network.

use super::network::TwoGpuNetwork;
use crate::Result;
#[cfg(feature = "train")]
use crate::models::freeze::frozen_layers;
#[cfg(feature = "train")]
use crate::models::layer_modules::{MapLayer, VectorLayer};
use crate::models::trainable_parameters::TrainableParameter;
use crate::models::{Parameter, Section};
#[cfg(feature = "train")]
use burn::module::RunningState;
#[cfg(feature = "train")]
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;
use std::ops::Range;

impl<B: Backend> TwoGpuNetwork<B> {
    /// Rows of a parameter of the whole network, flat, in PyTorch's order, from whichever device has them.
    ///
    /// # Errors
    /// As for [`Network::values`](crate::models::Network::values).
    pub fn values(&self, parameter: &Parameter, rows: Range<usize>) -> Result<Vec<f32>> {
        let (index, section) = self.architecture.layer_of(parameter, &rows)?;
        let layer = &self.split.layers[index];
        let mut values = Vec::new();
        for (side, has) in layer.rows(parameter).into_iter().enumerate() {
            let (start, end) = (rows.start.max(has.start), rows.end.min(has.end));
            let own = layer.halves[side].parameters.iter().find(|own| own.key == parameter.key);
            let Some(own) = own.filter(|_| start < end) else { continue };
            let (half, rows) = (&self.halves[side], start - has.start..end - has.start);
            values.extend(match section {
                Section::Classifier => {
                    half.classifier[index - half.features.len() - 1].values(own, rows)?
                }
                _ => half.features[index].values(own, rows)?,
            });
        }
        Ok(values)
    }

    /// The trainable parameters of the whole network, in forward order. Each has burn's ids of its rows on the
    /// first device, followed by those on the second.
    pub fn trainable_parameters(&self) -> Vec<TrainableParameter> {
        let mut trained = Vec::new();
        for (index, layer) in self.split.layers.iter().enumerate() {
            for parameter in layer.whole.parameters.iter().filter(|own| own.role.is_trained()) {
                let (mut ids, mut rows) = (Vec::new(), Vec::new());
                for (side, has) in layer.rows(parameter).into_iter().enumerate() {
                    let half = &self.halves[side];
                    ids.extend(match layer.whole.section {
                        Section::Classifier => {
                            half.classifier[index - half.features.len() - 1].ids(parameter.role)
                        }
                        _ => half.features[index].ids(parameter.role),
                    });
                    let own = layer.halves[side].parameters.iter();
                    let pieces =
                        own.filter(|own| own.key == parameter.key).flat_map(|own| own.row_chunks());
                    rows.extend(pieces.map(|rows| has.start + rows.start..has.start + rows.end));
                }
                trained.push(TrainableParameter { parameter: parameter.clone(), ids, rows });
            }
        }
        trained
    }

    /// The running statistics of the batch norms that are not frozen.
    #[cfg(feature = "train")]
    pub(crate) fn running_statistics(&self) -> Vec<&RunningState<Tensor<B, 1>>> {
        let layers = self.halves.iter().flat_map(|half| &half.features);
        layers.flat_map(MapLayer::running_statistics).collect()
    }

    /// The same network with those layers frozen whose parameters all satisfy `is_frozen`, by their keys: as
    /// `Network::freeze_where`.
    #[cfg(feature = "train")]
    pub(crate) fn freeze_where(mut self, is_frozen: impl Fn(&str) -> bool) -> Self {
        let frozen = frozen_layers(&self.architecture, is_frozen);
        self.halves = self.halves.map(|mut half| {
            half.features = MapLayer::freeze_where(half.features, &frozen);
            half.classifier = VectorLayer::freeze_where(half.classifier, &frozen);
            half
        });
        self
    }
}
