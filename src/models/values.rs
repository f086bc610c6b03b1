//! Values out of a network: the mirror of [`Network::from_values`].

use super::chain::{MapLayer, VectorLayer};
use super::network::Network;
use super::table::{Parameter, Part, Role};
use crate::backend;
use crate::error::{Error, Result};
use burn::module::Param;
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;
use std::ops::Range;

impl<B: Backend> Network<B> {
    /// Rows of a parameter's first dimension, flat, in PyTorch's order, read from the device: what
    /// [`from_values`](Self::from_values) asks for. The parameters are those of
    /// [`Architecture::parameters`](super::Architecture::parameters); rows that are one of their
    /// [`pieces`](Parameter::pieces) cost a single copy.
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
    /// and for rows that it does not have; [`Error::Backend`] if the device failed.
    pub fn values(&self, parameter: &Parameter, rows: Range<usize>) -> Result<Vec<f32>> {
        let wrong = |expected: String, found: String| Error::Setting {
            place: format!("{}: {}", self.architecture().name, parameter.key),
            expected,
            found,
        };
        let count = parameter.shape.first().copied().unwrap_or(0);
        if rows.start > rows.end || rows.end > count {
            return Err(wrong(format!("rows within 0..{count}"), format!("{rows:?}")));
        }
        let steps = self.architecture().steps()?;
        let known = |known: &Parameter| known.key == parameter.key;
        let owner = steps.iter().enumerate().find_map(|(index, step)| {
            let parameter = step.parameters.iter().find(|parameter| known(parameter))?;
            Some((index, step.part, parameter))
        });
        let (index, part, own) = owner
            .filter(|(.., own)| own.shape == parameter.shape)
            .ok_or_else(|| wrong("a parameter of this network".into(), shown(parameter)))?;
        let values = match part {
            Part::Classifier => {
                self.classifier[index - self.features.len() - 1].values(own.role, rows.clone())
            }
            _ => self.features[index].values(own.role, rows.clone()),
        }?;
        // A record of another network's, which burn loads without a check, has other tensors.
        match rows.len().checked_mul(parameter.shape[1..].iter().product()) {
            Some(elements) if elements == values.len() => Ok(values),
            _ => Err(wrong(
                format!("the values of {}", shown(parameter)),
                format!("{} in rows {rows:?}", values.len()),
            )),
        }
    }
}

fn shown(parameter: &Parameter) -> String {
    format!("{} {:?}", parameter.key, parameter.shape)
}

impl<B: Backend> MapLayer<B> {
    fn values(&self, role: Role, wanted: Range<usize>) -> Result<Vec<f32>> {
        match (self, role) {
            (Self::Conv(conv), Role::Weight) => rows([conv.weight.val()], wanted),
            (Self::Conv(conv), Role::Bias) => rows(conv.bias.as_ref().map(Param::val), wanted),
            (Self::BatchNorm(norm), Role::Weight) => rows([norm.gamma.val()], wanted),
            (Self::BatchNorm(norm), Role::Bias) => rows([norm.beta.val()], wanted),
            (Self::BatchNorm(norm), Role::RunningMean) => {
                rows([norm.running_mean.value_sync()], wanted)
            }
            (Self::BatchNorm(norm), Role::RunningVar) => {
                rows([norm.running_var.value_sync()], wanted)
            }
            _ => Ok(Vec::new()),
        }
    }
}

impl<B: Backend> VectorLayer<B> {
    fn values(&self, role: Role, wanted: Range<usize>) -> Result<Vec<f32>> {
        match (self, role) {
            (Self::Linear(linear), Role::Weight) => {
                rows(linear.weight.iter().map(Param::val), wanted)
            }
            (Self::Linear(linear), Role::Bias) => rows([linear.bias.val()], wanted),
            _ => Ok(Vec::new()),
        }
    }
}

/// Those of `wanted` that are there, of pieces that follow each other.
fn rows<B: Backend, const D: usize>(
    pieces: impl IntoIterator<Item = Tensor<B, D>>,
    wanted: Range<usize>,
) -> Result<Vec<f32>> {
    let mut start = 0;
    let mut values = Vec::new();
    for piece in pieces {
        let end = start + piece.dims()[0];
        let (from, to) = (wanted.start.max(start), wanted.end.min(end));
        if from < to {
            let part = match (from, to) == (start, end) {
                true => piece,
                false => piece.slice([from - start..to - start]),
            };
            let part = read(part)?;
            match values.is_empty() {
                true => values = part,
                false => values.extend(part),
            }
        }
        start = end;
    }
    Ok(values)
}

fn read<B: Backend, const D: usize>(tensor: Tensor<B, D>) -> Result<Vec<f32>> {
    let device = tensor.device();
    let values = backend::read(tensor)?.convert::<f32>().into_vec();
    values.map_err(|error| Error::Backend {
        backend: backend::name::<B>(&device),
        reason: format!("{error:?}"),
    })
}
