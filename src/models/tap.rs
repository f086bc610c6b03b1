//! Outputs of layers inside a network.

use super::batch_plan::join;
use crate::backend;
use crate::{Array, Result};
use burn::tensor::backend::Backend;
use burn::tensor::{Tensor, TensorData};

/// The output of a layer inside the network.
#[derive(Clone, Debug)]
pub enum Tap<B: Backend> {
    /// The output of a layer of the features or of the pool, `[N, C, H, W]`.
    Map(Tensor<B, 4>),
    /// The output of a layer of the classifier, `[N, features]`.
    Vector(Tensor<B, 2>),
}

impl<B: Backend> Tap<B> {
    /// From the values of the output, `[N, C, H, W]` or `[N, features]`.
    pub(super) fn from_array(values: Array, device: &B::Device) -> Self {
        let is_map = values.shape.len() == 4;
        let data = TensorData::new(values.values, values.shape);
        if is_map {
            Self::Map(Tensor::from_data(data, device))
        } else {
            Self::Vector(Tensor::from_data(data, device))
        }
    }

    /// The shape, batch first.
    pub fn dims(&self) -> Vec<usize> {
        match self {
            Tap::Map(tensor) => tensor.dims().to_vec(),
            Tap::Vector(tensor) => tensor.dims().to_vec(),
        }
    }

    /// The values, read from the device.
    ///
    /// # Errors
    /// [`Error::Backend`](crate::Error::Backend) if the device failed while it computed this
    /// tensor.
    pub fn into_data(self) -> Result<TensorData> {
        match self {
            Tap::Map(tensor) => backend::read(tensor),
            Tap::Vector(tensor) => backend::read(tensor),
        }
    }
}

/// One tap of a whole batch, from those of its parts.
pub(super) fn join_taps<B: Backend>(parts: Vec<Tap<B>>) -> Tap<B> {
    let (mut maps, mut vectors) = (Vec::new(), Vec::new());
    for part in parts {
        match part {
            Tap::Map(map) => maps.push(map),
            Tap::Vector(vector) => vectors.push(vector),
        }
    }
    if maps.is_empty() { Tap::Vector(join(vectors)) } else { Tap::Map(join(maps)) }
}
