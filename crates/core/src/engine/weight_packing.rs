//! Reads the weights of an architecture once and packs them.

use super::compile_options::{ConvolutionArithmetic, LinearWeights};
use super::packed_convolution::{ConvolutionSpec, InputLayout, PackedConvolution};
use super::packed_linear::PackedLinear;
use super::patches::on_patches;
use super::simd::{BLOCK, Isa};
use crate::architecture::{Layer, Parameter, Shape, Step};
use crate::error::{Error, Result};
use std::ops::Range;
use std::sync::Arc;

/// Returns rows of a parameter: see [`Compiled::from_values`](super::Compiled::from_values).
pub(super) type ReadRows<'a> = &'a mut dyn FnMut(&Parameter, Range<usize>) -> Result<Vec<f32>>;

/// Bytes of a linear layer's weights that are read at once: few enough that the allocator reuses the same
/// memory, whose pages are already mapped.
const CHUNK_BYTES: usize = 8 << 20;

/// The fewest weights of a linear layer that may be stored in 20 bits: see [`LinearWeights::Int20`].
const MIN_WEIGHTS_OF_20_BITS: usize = 1 << 20;

/// What torchvision's batch norms add to the variance: see [`Layer::BatchNorm`].
const BATCH_NORM_EPSILON: f64 = 1e-5;

/// What a layer of the architecture needs at run time.
#[derive(Debug)]
pub(super) enum PackedLayer {
    Convolution {
        convolution: Arc<PackedConvolution>,
        /// The same with the batch norm after it folded in, if there is one.
        with_batch_norm: Option<Arc<PackedConvolution>>,
    },
    /// A batch norm, `x * scale + shift` for each channel, padded to whole blocks.
    BatchNorm {
        scale: Vec<f32>,
        shift: Vec<f32>,
    },
    Linear(Arc<PackedLinear>),
    /// A layer without parameters.
    NoParameters,
}

/// Reads and packs the weights of every layer, in forward order.
///
/// # Errors
/// Those of `read_rows`; [`Error::ValueCount`] if it returns a wrong number of values; [`Error::OutOfMemory`] if
/// memory runs out.
pub(super) fn pack_weights(
    steps: &[Step],
    isa: Isa,
    (linear_weights, arithmetic): (LinearWeights, ConvolutionArithmetic),
    read_rows: ReadRows,
) -> Result<Vec<PackedLayer>> {
    let mut layers: Vec<PackedLayer> = Vec::with_capacity(steps.len());
    // The convolution right before the current step.
    let mut previous: Option<(ConvolutionSpec, InputLayout)> = None;
    for (index, step) in steps.iter().enumerate() {
        let before = previous.take();
        let layer = match step.layer {
            Layer::Conv { .. } => {
                let (spec, layout) = convolution_spec(index, step, read_rows)?;
                let convolution =
                    PackedConvolution::new(isa, spec.clone(), layout)?.with_arithmetic(arithmetic);
                previous = Some((spec, layout));
                let convolution = Arc::new(convolution);
                PackedLayer::Convolution { convolution, with_batch_norm: None }
            }
            Layer::BatchNorm => {
                let (scale, shift) = scale_and_shift(step, read_rows)?;
                if let (
                    Some((spec, layout)),
                    Some(PackedLayer::Convolution { with_batch_norm, .. }),
                ) = (before, layers.last_mut())
                {
                    let spec = fold_batch_norm(spec, &scale, &shift);
                    let folded =
                        PackedConvolution::new(isa, spec, layout)?.with_arithmetic(arithmetic);
                    *with_batch_norm = Some(Arc::new(folded));
                }
                PackedLayer::BatchNorm { scale: pad(&scale), shift: pad(&shift) }
            }
            Layer::Linear { out, .. } => {
                let linear = pack_linear(step, out, isa, linear_weights, read_rows)?;
                PackedLayer::Linear(Arc::new(linear))
            }
            _ => PackedLayer::NoParameters,
        };
        layers.push(layer);
    }
    Ok(layers)
}

/// The convolution of a step, and how it reads its input: the first is on patches of the image if that is faster.
fn convolution_spec(
    index: usize,
    step: &Step,
    read_rows: ReadRows,
) -> Result<(ConvolutionSpec, InputLayout)> {
    let Layer::Conv { out, kernel, stride, padding, groups, .. } = step.layer else {
        return Err(unexpected_layer(step, "a convolution"));
    };
    let weight = Arc::new(read_all(&step.parameters[0], read_rows)?);
    let bias = read_all(&step.parameters[1], read_rows)?;
    let (inputs, outputs) = (step.input.channels(), out);
    let scale = None;
    let spec =
        ConvolutionSpec { inputs, outputs, kernel, stride, padding, groups, weight, bias, scale };
    if index > 0 {
        return Ok((spec, InputLayout::BLOCKS));
    }
    if let Some((spec, patches)) = on_patches(&spec)? {
        return Ok((spec, InputLayout { patches, ..InputLayout::BLOCKS }));
    }
    // The few channels of an image are not padded to sixteen.
    let channels_per_block = inputs.min(BLOCK);
    Ok((spec, InputLayout { channels_per_block, ..InputLayout::BLOCKS }))
}

/// The convolution followed by a batch norm, as one convolution.
fn fold_batch_norm(spec: ConvolutionSpec, scale: &[f64], shift: &[f64]) -> ConvolutionSpec {
    let bias = (spec.bias.iter().zip(scale).zip(shift))
        .map(|((&bias, scale), shift)| (f64::from(bias) * scale + shift) as f32)
        .collect();
    ConvolutionSpec { scale: Some(scale.to_vec()), bias, ..spec }
}

fn pack_linear(
    step: &Step,
    outputs: usize,
    isa: Isa,
    format: LinearWeights,
    read_rows: ReadRows,
) -> Result<PackedLinear> {
    let weight = &step.parameters[0];
    let bias = read_all(&step.parameters[1], read_rows)?;
    let Shape::Vector([inputs]) = step.input else {
        return Err(unexpected_layer(step, "a layer of the classifier, on vectors"));
    };
    // A small layer takes no time, and has few weights whose errors average out.
    let format = match format {
        LinearWeights::Int20 if inputs * outputs < MIN_WEIGHTS_OF_20_BITS => LinearWeights::Int24,
        format => format,
    };
    let rows = (CHUNK_BYTES / (4 * inputs)).max(1);
    let chunks = (0..outputs)
        .step_by(rows)
        .map(|first| read(weight, first..outputs.min(first + rows), read_rows));
    PackedLinear::new(isa, [inputs, outputs], format, bias, chunks)
}

/// A trained batch norm is `x * scale + shift`.
fn scale_and_shift(step: &Step, read_rows: ReadRows) -> Result<(Vec<f64>, Vec<f64>)> {
    let mut read = |index: usize| -> Result<Vec<f64>> {
        let values = read_all(&step.parameters[index], read_rows)?;
        Ok(values.into_iter().map(f64::from).collect())
    };
    let (gamma, beta, mean, variance) = (read(0)?, read(1)?, read(2)?, read(3)?);
    let scale: Vec<f64> = (gamma.iter().zip(&variance))
        .map(|(gamma, variance)| gamma / (variance + BATCH_NORM_EPSILON).sqrt())
        .collect();
    let shift = (beta.iter().zip(&mean).zip(&scale))
        .map(|((beta, mean), scale)| beta - mean * scale)
        .collect();
    Ok((scale, shift))
}

/// Pads the channels to whole blocks with zeros.
fn pad(values: &[f64]) -> Vec<f32> {
    let mut padded: Vec<f32> = values.iter().map(|&value| value as f32).collect();
    padded.resize(values.len().next_multiple_of(BLOCK), 0.0);
    padded
}

fn read_all(parameter: &Parameter, read_rows: ReadRows) -> Result<Vec<f32>> {
    read(parameter, 0..parameter.shape.first().copied().unwrap_or(1), read_rows)
}

fn read(parameter: &Parameter, rows: Range<usize>, read_rows: ReadRows) -> Result<Vec<f32>> {
    let row_len: usize = parameter.shape[1..].iter().product();
    let expected = rows.len() * row_len;
    let place = || format!("rows {rows:?} of {}", parameter.key);
    let values = read_rows(parameter, rows.clone())?;
    if values.len() == expected {
        Ok(values)
    } else {
        Err(Error::ValueCount { place: place(), expected, found: values.len() })
    }
}

fn unexpected_layer(step: &Step, expected: &str) -> Error {
    Error::Table {
        place: step.key.clone(),
        expected: expected.into(),
        found: format!("{:?} on {:?}", step.layer, step.input),
    }
}
