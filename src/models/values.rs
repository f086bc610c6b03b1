//! Values out of a network: the mirror of [`Network::from_values`].

use super::chain::{MapLayer, VectorLayer};
use super::network::Network;
use super::table::{Architecture, Parameter, Part, Role};
use crate::backend;
use crate::error::{Error, Result};
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
    /// [`pieces`](Parameter::pieces): beside the network, one of them is in memory then.
    ///
    /// ```
    /// use alexnet_vgg::{backend::Cpu, models::{Network, Vgg, VggConfig}};
    ///
    /// let device = Default::default();
    /// let config = VggConfig::vgg11().with_width(0.05).with_num_classes(10);
    /// let vgg: Vgg<Cpu> = config.init(&device);
    ///
    /// let weight = &config.architecture().parameters()?[0]; // features.0.weight, [4, 3, 3, 3]
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
        let (index, part) = self.architecture().layer_of(parameter, &rows)?;
        match part {
            Part::Classifier => {
                self.classifier[index - self.features.len() - 1].values(parameter, rows)
            }
            _ => self.features[index].values(parameter, rows),
        }
    }
}

impl Architecture {
    /// Index and part of the layer that has these rows of a parameter.
    pub(super) fn layer_of(
        &self,
        parameter: &Parameter,
        rows: &Range<usize>,
    ) -> Result<(usize, Part)> {
        let wrong = |expected: String, found: String| Error::Setting {
            place: format!("{}: {}", self.name, parameter.key),
            expected,
            found,
        };
        let steps = self.steps()?;
        let is_it = |own: &Parameter| {
            own.key == parameter.key && own.shape == parameter.shape && own.role == parameter.role
        };
        let (index, step) = (steps.iter().enumerate())
            .find(|(_, step)| step.parameters.iter().any(is_it))
            .ok_or_else(|| {
                wrong("a parameter of this network".into(), format!("{:?}", parameter.shape))
            })?;
        let count = parameter.shape.first().copied().unwrap_or(0);
        if rows.start > rows.end || rows.end > count {
            return Err(wrong(format!("rows within 0..{count}"), format!("{rows:?}")));
        }
        Ok((index, step.part))
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

/// Rows of a parameter whose `pieces` follow each other. Backends take a copy or two of what is read:
/// so it is read block by block, and only the rows asked for are ever there in whole.
fn rows<B: Backend, const D: usize>(
    parameter: &Parameter,
    pieces: impl IntoIterator<Item = Tensor<B, D>>,
    wanted: Range<usize>,
) -> Result<Vec<f32>> {
    let pieces: Vec<Tensor<B, D>> = pieces.into_iter().collect();
    expect_shape(parameter, &pieces)?;
    let row: usize = parameter.shape[1..].iter().product();
    let block = (BLOCK / row).max(1);
    let mut values = Vec::with_capacity(wanted.len() * row);
    let mut start = 0;
    for piece in pieces {
        let piece = piece.detach();
        let end = start + piece.dims()[0];
        let (from, to) = (wanted.start.max(start), wanted.end.min(end));
        for first in (from..to).step_by(block) {
            let rows = piece.clone().narrow(0, first - start, block.min(to - first));
            values.extend(backend::read(rows)?.iter::<f32>());
        }
        start = end;
    }
    Ok(values)
}

/// A record of another network's, which burn loads without a check, has other tensors than the table.
fn expect_shape<B: Backend, const D: usize>(
    parameter: &Parameter,
    pieces: &[Tensor<B, D>],
) -> Result<()> {
    let shapes: Vec<_> = pieces.iter().map(|piece| piece.dims()).collect();
    let count: usize = shapes.iter().map(|shape| shape[0]).sum();
    let alike = shapes.iter().all(|shape| shape[1..] == parameter.shape[1..]);
    match alike && parameter.shape.first() == Some(&count) {
        true => Ok(()),
        false => Err(Error::Setting {
            place: parameter.key.clone(),
            expected: format!("{:?}", parameter.shape),
            found: format!("{shapes:?}"),
        }),
    }
}
