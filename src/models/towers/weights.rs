//! The weights of two halves under the names of the whole: read, and found in burn's tensors.

use super::Towers;
use crate::error::Result;
#[cfg(feature = "train")]
use crate::models::chain::{MapLayer, VectorLayer};
use crate::models::table::{Parameter, Part};
use crate::models::trained::Trained;
#[cfg(feature = "train")]
use burn::module::RunningState;
#[cfg(feature = "train")]
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;
use std::ops::Range;

impl<B: Backend> Towers<B> {
    /// Rows of a parameter of the whole network, flat, in PyTorch's order, from whichever device has them, as
    /// [`Network::values`](crate::models::Network::values) gives them.
    ///
    /// # Errors
    /// As there.
    pub fn values(&self, parameter: &Parameter, rows: Range<usize>) -> Result<Vec<f32>> {
        let (index, part) = self.architecture.layer_of(parameter, &rows)?;
        let layer = &self.division()?.layers[index];
        let mut values = Vec::new();
        for (side, has) in layer.rows(parameter).into_iter().enumerate() {
            let (start, end) = (rows.start.max(has.start), rows.end.min(has.end));
            let own = layer.halves[side].parameters.iter().find(|own| own.key == parameter.key);
            let Some(own) = own.filter(|_| start < end) else { continue };
            let (half, rows) = (&self.halves[side], start - has.start..end - has.start);
            values.extend(match part {
                Part::Classifier => {
                    half.classifier[index - half.features.len() - 1].values(own, rows)?
                }
                _ => half.features[index].values(own, rows)?,
            });
        }
        Ok(values)
    }

    /// The parameters that training changes, in forward order, as the whole network has them; burn's ids
    /// of their rows on the first device, then on the second.
    ///
    /// # Errors
    /// [`Error::Table`](crate::Error::Table) if the table is contradictory, which that of a network is
    /// not.
    pub fn trained(&self) -> Result<Vec<Trained>> {
        let mut trained = Vec::new();
        for (index, layer) in self.division()?.layers.into_iter().enumerate() {
            for parameter in layer.whole.parameters.iter().filter(|own| own.role.is_trained()) {
                let (mut ids, mut rows) = (Vec::new(), Vec::new());
                for (side, has) in layer.rows(parameter).into_iter().enumerate() {
                    let half = &self.halves[side];
                    ids.extend(match layer.whole.part {
                        Part::Classifier => {
                            half.classifier[index - half.features.len() - 1].ids(parameter.role)
                        }
                        _ => half.features[index].ids(parameter.role),
                    });
                    let own = layer.halves[side].parameters.iter();
                    let pieces =
                        own.filter(|own| own.key == parameter.key).flat_map(|own| own.pieces());
                    rows.extend(pieces.map(|rows| has.start + rows.start..has.start + rows.end));
                }
                trained.push(Trained { parameter: parameter.clone(), ids, rows });
            }
        }
        Ok(trained)
    }

    /// What the batch norms that are trained have learned of the data.
    #[cfg(feature = "train")]
    pub(crate) fn running_statistics(&self) -> Vec<&RunningState<Tensor<B, 1>>> {
        let layers = self.halves.iter().flat_map(|half| &half.features);
        layers.flat_map(MapLayer::running_statistics).collect()
    }

    /// The same network with some layers frozen, those all of whose parameters are: as
    /// `Network::frozen_where`.
    #[cfg(feature = "train")]
    pub(crate) fn frozen_where(mut self, is_frozen: impl Fn(&str) -> bool) -> Result<Self> {
        let frozen = self.architecture.frozen_layers(is_frozen)?;
        self.halves = self.halves.map(|mut half| {
            half.features = MapLayer::frozen_where(half.features, &frozen);
            half.classifier = VectorLayer::frozen_where(half.classifier, &frozen);
            half
        });
        Ok(self)
    }
}
