//! The layers of a network, with their parameters, for the runtimes that have functions instead of a reader
//! of ONNX files.

use crate::{Outcome, Task};
use alexnet_vgg_core::architecture::{Layer, NetworkConfig, Section, Step};
use alexnet_vgg_core::weights::{LoadOptions, Weights};

/// A layer that does something to images of 224×224.
pub enum Operation {
    Conv { weight: Values, bias: Values, stride: usize, padding: usize, groups: usize },
    Linear { weight: Values, bias: Values },
    Relu,
    MaxPool { kernel: usize, stride: usize },
    Lrn(Lrn),
}

/// A parameter.
pub struct Values {
    pub shape: Vec<usize>,
    pub values: Vec<f32>,
}

/// Local response normalization: `x / (k + alpha * sum of x² over size channels)^beta`.
#[derive(Clone, Copy)]
pub struct Lrn {
    pub size: usize,
    pub alpha: f64,
    pub beta: f64,
    pub k: f64,
}

/// The layers of the convolutional part, and those of the linear one.
pub fn read(task: &Task) -> Outcome<[Vec<Operation>; 2]> {
    let architecture = NetworkConfig::by_name(&task.network)?.architecture()?;
    let weights = Weights::open(&task.weights)?;
    let mut reader = weights.reader(&architecture, LoadOptions::default())?;
    let mut parts = [Vec::new(), Vec::new()];
    for step in architecture.steps() {
        let mut parameters = Vec::new();
        for parameter in &step.parameters {
            let values = reader.rows(parameter, 0..parameter.shape[0])?;
            let values = values.ok_or_else(|| format!("{} is not in the file", parameter.key))?;
            parameters.push(Values { shape: parameter.shape.clone(), values });
        }
        let part = usize::from(step.section == Section::Classifier);
        parts[part].extend(operation(step, parameters)?);
    }
    Ok(parts)
}

/// `None` for a layer that does nothing in a forward pass.
fn operation(step: &Step, parameters: Vec<Values>) -> Outcome<Option<Operation>> {
    let mut parameters = parameters.into_iter();
    let mut parameter = || parameters.next().ok_or("expected a weight and a bias");
    Ok(Some(match step.layer {
        Layer::Conv { stride, padding, groups, .. } => {
            Operation::Conv { weight: parameter()?, bias: parameter()?, stride, padding, groups }
        }
        Layer::Linear { .. } => Operation::Linear { weight: parameter()?, bias: parameter()? },
        Layer::Relu => Operation::Relu,
        Layer::MaxPool { kernel, stride } => Operation::MaxPool { kernel, stride },
        Layer::Lrn { size, alpha, beta, k, groups: 1 } => {
            Operation::Lrn(Lrn { size, alpha, beta, k })
        }
        Layer::Dropout { .. } => return Ok(None),
        Layer::AdaptiveAvgPool { .. } if step.input == step.output => return Ok(None),
        _ => return Err(format!("{} ({}) is not built by hand", step.name, step.layer).into()),
    }))
}
