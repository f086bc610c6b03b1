//! Values out of a network: the inverse of [`Network::from_values`].

use super::layer_modules::{MapLayer, VectorLayer};
use super::network::Network;
use super::{Parameter, Role, Section};
use crate::backend;
use crate::{Error, Result};
use burn::module::Param;
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;
use std::ops::Range;

/// Values read from a device at once: 16 MiB.
const BLOCK: usize = 4 << 20;

impl<B: Backend> Network<B> {
    /// Rows of a parameter's first dimension, flat, in PyTorch's order, read from the device: what
    /// [`from_values`](Self::from_values) asks for. The parameters are those of
    /// [`Architecture::parameters`](super::Architecture::parameters). Writers ask for their
    /// [chunks](Parameter::row_chunks), so that only one of them is in memory beside the network.
    ///
    /// ```
    /// use alexnet_vgg::{backend::Cpu, models::{InitNetwork, Network, Vgg, VggConfig}};
    ///
    /// let device = Default::default();
    /// let config = VggConfig::vgg11().with_width(0.05).with_num_classes(10);
    /// let vgg: Vgg<Cpu> = config.init(&device);
    ///
    /// let architecture = config.architecture()?;
    /// let weight = &architecture.steps()[0].parameters[0]; // features.0.weight, [4, 3, 3, 3]
    /// assert_eq!(vgg.values(weight, 1..3)?.len(), 2 * 3 * 3 * 3);
    ///
    /// let copy: Vgg<Cpu> = Network::from_values(config, &device, |p, rows| vgg.values(p, rows))?;
    /// # Ok::<(), alexnet_vgg::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Setting`] for a parameter that this network does not have, or has in another shape,
    /// for rows that it does not have, and if a record with other shapes was loaded into it;
    /// [`Error::Backend`] if the device failed.
    pub fn values(&self, parameter: &Parameter, rows: Range<usize>) -> Result<Vec<f32>> {
        let (index, section) = self.architecture().layer_of(parameter, &rows)?;
        match section {
            Section::Classifier => {
                self.classifier[index - self.features.len() - 1].values(parameter, rows)
            }
            _ => self.features[index].values(parameter, rows),
        }
    }
}

impl<B: Backend> MapLayer<B> {
    pub(super) fn values(&self, own: &Parameter, wanted: Range<usize>) -> Result<Vec<f32>> {
        match (self, own.role) {
            (Self::Conv(conv), Role::Weight) => rows(own, [conv.weight.val()], wanted),
            (Self::Conv(conv), Role::Bias) => rows(own, conv.bias.as_ref().map(Param::val), wanted),
            (Self::BatchNorm(norm) | Self::FrozenBatchNorm(norm), role) => match role {
                Role::Weight => rows(own, [norm.gamma.val()], wanted),
                Role::Bias => rows(own, [norm.beta.val()], wanted),
                Role::RunningMean => rows(own, [norm.running_mean.value_sync()], wanted),
                Role::RunningVar => rows(own, [norm.running_var.value_sync()], wanted),
            },
            _ => rows::<B, 1>(own, [], wanted),
        }
    }
}

impl<B: Backend> VectorLayer<B> {
    pub(super) fn values(&self, own: &Parameter, wanted: Range<usize>) -> Result<Vec<f32>> {
        match (self, own.role) {
            (Self::Linear(linear), Role::Weight) => {
                rows(own, linear.weight.iter().map(Param::val), wanted)
            }
            (Self::Linear(linear), Role::Bias) => rows(own, [linear.bias.val()], wanted),
            _ => rows::<B, 1>(own, [], wanted),
        }
    }
}

/// Rows of a parameter that is kept in consecutive `chunks`. Backends make a copy or two of what is read,
/// so it is read block by block.
fn rows<B: Backend, const D: usize>(
    parameter: &Parameter,
    chunks: impl IntoIterator<Item = Tensor<B, D>>,
    wanted: Range<usize>,
) -> Result<Vec<f32>> {
    let chunks: Vec<Tensor<B, D>> = chunks.into_iter().collect();
    expect_shape(parameter, &chunks)?;
    let row: usize = parameter.shape[1..].iter().product();
    let block = (BLOCK / row).max(1);
    let mut values = Vec::with_capacity(wanted.len() * row);
    let mut start = 0;
    for chunk in chunks {
        let chunk = chunk.detach();
        let end = start + chunk.dims()[0];
        let (from, to) = (wanted.start.max(start), wanted.end.min(end));
        for first in (from..to).step_by(block) {
            let rows = chunk.clone().narrow(0, first - start, block.min(to - first));
            backend::with_values(rows, |rows| {
                values.extend_from_slice(rows);
                Ok(())
            })?;
        }
        start = end;
    }
    Ok(values)
}

/// burn loads a record without checking shapes: that of another network has other tensors than the table.
fn expect_shape<B: Backend, const D: usize>(
    parameter: &Parameter,
    chunks: &[Tensor<B, D>],
) -> Result<()> {
    let shapes: Vec<_> = chunks.iter().map(|chunk| chunk.dims()).collect();
    let count: usize = shapes.iter().map(|shape| shape[0]).sum();
    let alike = shapes.iter().all(|shape| shape[1..] == parameter.shape[1..]);
    if alike && parameter.shape.first() == Some(&count) {
        return Ok(());
    }
    Err(Error::Setting {
        place: parameter.key.clone(),
        expected: format!("{:?}", parameter.shape),
        found: format!("{shapes:?}"),
    })
}
