//! Which of burn's tensors hold a parameter of the table.

use super::layer_modules::{MapLayer, VectorLayer};
use super::network::Network;
use super::{Parameter, Role, Section};
use burn::module::ParamId;
#[cfg(feature = "train")]
use burn::module::RunningState;
#[cfg(feature = "train")]
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;
use std::ops::Range;

/// A parameter that training changes, and burn's tensors that hold it.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainableParameter {
    /// The parameter, as the table describes it.
    pub parameter: Parameter,
    /// burn's tensors that hold it, in the order of its rows: in a [`Network`] one for each of its
    /// [`row_chunks`](Parameter::row_chunks). Other processes have other ids for the same parameter: only its key is
    /// the same everywhere.
    pub ids: Vec<ParamId>,
    /// The rows of its first dimension that each of them holds.
    pub rows: Vec<Range<usize>>,
}

impl<B: Backend> Network<B> {
    /// The parameters that training changes, in forward order, with burn's ids.
    pub fn trainable_parameters(&self) -> Vec<TrainableParameter> {
        let mut trained = Vec::new();
        for (index, step) in self.architecture().steps().iter().enumerate() {
            for parameter in step.parameters.iter().filter(|own| own.role.is_trained()) {
                let parameter = parameter.clone();
                let ids = match step.section {
                    Section::Classifier => {
                        self.classifier[index - self.features.len() - 1].ids(parameter.role)
                    }
                    _ => self.features[index].ids(parameter.role),
                };
                let rows = parameter.row_chunks().collect();
                trained.push(TrainableParameter { parameter, ids, rows });
            }
        }
        trained
    }
}

#[cfg(feature = "train")]
impl<B: Backend> Network<B> {
    /// The running means and variances of the batch norms in training, in forward order.
    pub(crate) fn running_statistics(&self) -> Vec<&RunningState<Tensor<B, 1>>> {
        self.features.iter().flat_map(MapLayer::running_statistics).collect()
    }
}

impl<B: Backend> MapLayer<B> {
    /// The mean and the variance of a batch norm that is trained.
    #[cfg(feature = "train")]
    pub(super) fn running_statistics(&self) -> impl Iterator<Item = &RunningState<Tensor<B, 1>>> {
        let of = match self {
            Self::BatchNorm(norm) => Some([&norm.running_mean, &norm.running_var]),
            _ => None,
        };
        of.into_iter().flatten()
    }

    pub(super) fn ids(&self, role: Role) -> Vec<ParamId> {
        match (self, role) {
            (Self::Conv(conv), Role::Weight) => vec![conv.weight.id],
            (Self::Conv(conv), Role::Bias) => conv.bias.iter().map(|bias| bias.id).collect(),
            (Self::BatchNorm(norm) | Self::FrozenBatchNorm(norm), Role::Weight) => {
                vec![norm.gamma.id]
            }
            (Self::BatchNorm(norm) | Self::FrozenBatchNorm(norm), Role::Bias) => vec![norm.beta.id],
            _ => Vec::new(),
        }
    }
}

impl<B: Backend> VectorLayer<B> {
    pub(super) fn ids(&self, role: Role) -> Vec<ParamId> {
        match (self, role) {
            (Self::Linear(linear), Role::Weight) => {
                linear.weight.iter().map(|rows| rows.id).collect()
            }
            (Self::Linear(linear), Role::Bias) => vec![linear.bias.id],
            _ => Vec::new(),
        }
    }
}
