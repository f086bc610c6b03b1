//! A table's weights, taken once and made ready.

use super::Precision;
use super::convolution::{Convolution, Definition};
use super::linear::{Bits, Weights};
use super::plan::Prepared;
use super::simd::{BLOCK, Isa};
use crate::error::{Error, Result};
use crate::models::{Layer, Parameter, Shape, Step};
use std::ops::Range;
use std::sync::Arc;

/// Gives rows of a parameter: see [`Network::from_values`](crate::models::Network::from_values).
pub(super) type Values<'a> = &'a mut dyn FnMut(&Parameter, Range<usize>) -> Result<Vec<f32>>;

/// Bytes of a linear layer's weights that are taken at once: few enough that the allocator gives the same
/// memory again, whose pages are there.
const AT_ONCE: usize = 8 << 20;

/// What torchvision's batch norms add to the variance: see [`Layer::BatchNorm`].
const EPSILON: f64 = 1e-5;

pub(super) fn prepare(
    steps: &[Step],
    isa: Isa,
    precision: Precision,
    values: Values,
) -> Result<Vec<Prepared>> {
    let mut prepared: Vec<Prepared> = Vec::with_capacity(steps.len());
    let mut definition: Option<(Definition, usize)> = None;
    for (index, step) in steps.iter().enumerate() {
        let channels = step.input.dims()[0];
        let before = definition.take();
        let layer = match step.layer {
            Layer::Conv { out, kernel, stride, padding, groups, .. } => {
                let weight = Arc::new(whole(&step.parameters[0], values)?);
                let bias = whole(&step.parameters[1], values)?;
                let it = Definition {
                    inputs: channels,
                    outputs: out,
                    kernel,
                    stride,
                    padding,
                    groups,
                    weight,
                    bias,
                    factor: None,
                };
                // The picture's few channels lie together, and are not filled up to sixteen.
                let interleave = if index == 0 { channels.min(BLOCK) } else { BLOCK };
                let plain = Arc::new(Convolution::new(isa, it.clone(), interleave)?);
                definition = Some((it, interleave));
                Prepared::Convolution { plain, folded: None }
            }
            Layer::BatchNorm => {
                let (factor, summand) = batch_norm(step, values)?;
                if let (Some((it, interleave)), Some(Prepared::Convolution { folded, .. })) =
                    (before, prepared.last_mut())
                {
                    let bias = it.bias.iter().zip(&factor).zip(&summand);
                    let bias = bias.map(|((&bias, factor), summand)| {
                        (f64::from(bias) * factor + summand) as f32
                    });
                    let bias = bias.collect();
                    let it = Definition { factor: Some(factor.clone()), bias, ..it };
                    *folded = Some(Arc::new(Convolution::new(isa, it, interleave)?));
                }
                Prepared::Scale { factor: blocks(&factor), summand: blocks(&summand) }
            }
            Layer::Linear { out, .. } => {
                let weight = &step.parameters[0];
                let bias = whole(&step.parameters[1], values)?;
                let bits = match precision {
                    Precision::F32 => Bits::TwentyFour,
                    Precision::Bf16 => Bits::Sixteen,
                };
                let inputs = match step.input {
                    Shape::Vector([inputs]) => inputs,
                    Shape::Map(_) => return Err(wrong(step)),
                };
                let rows = (AT_ONCE / (4 * inputs)).max(1);
                let pieces = (0..out)
                    .step_by(rows)
                    .map(|first| rows_of(weight, first..out.min(first + rows), values));
                Prepared::Linear(Arc::new(Weights::new(isa, [inputs, out], bits, bias, pieces)?))
            }
            _ => Prepared::Plain,
        };
        prepared.push(layer);
    }
    Ok(prepared)
}

/// `x * factor + summand` is what a batch norm does once it is trained.
fn batch_norm(step: &Step, values: Values) -> Result<(Vec<f64>, Vec<f64>)> {
    let mut next = |index: usize| -> Result<Vec<f64>> {
        let values = whole(&step.parameters[index], values)?;
        Ok(values.into_iter().map(f64::from).collect())
    };
    let (gamma, beta, mean, variance) = (next(0)?, next(1)?, next(2)?, next(3)?);
    let factor: Vec<f64> = gamma
        .iter()
        .zip(&variance)
        .map(|(gamma, variance)| gamma / (variance + EPSILON).sqrt())
        .collect();
    let summand =
        beta.iter().zip(&mean).zip(&factor).map(|((beta, mean), f)| beta - mean * f).collect();
    Ok((factor, summand))
}

/// The channels that do not exist stay zero.
fn blocks(values: &[f64]) -> Vec<f32> {
    let mut whole: Vec<f32> = values.iter().map(|&value| value as f32).collect();
    whole.resize(values.len().next_multiple_of(BLOCK), 0.0);
    whole
}

fn whole(parameter: &Parameter, values: Values) -> Result<Vec<f32>> {
    rows_of(parameter, 0..parameter.shape.first().copied().unwrap_or(1), values)
}

fn rows_of(parameter: &Parameter, rows: Range<usize>, values: Values) -> Result<Vec<f32>> {
    let row: usize = parameter.shape[1..].iter().product();
    let expected = rows.len() * row;
    let values = values(parameter, rows)?;
    match values.len() == expected {
        true => Ok(values),
        false => Err(Error::Setting {
            place: parameter.key.clone(),
            expected: format!("{expected} values"),
            found: values.len().to_string(),
        }),
    }
}

fn wrong(step: &Step) -> Error {
    Error::Table {
        place: step.key.clone(),
        expected: "a vector".into(),
        found: format!("{:?}", step.input),
    }
}
