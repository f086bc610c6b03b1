//! Shapes, costs and receptive fields of a network, layer by layer, without allocating its weights.

use super::checked_table::Architecture;
use super::receptive_field::ReceptiveField;
use super::step::{Section, Step};
use crate::error::{Error, Result};
use serde::Serialize;
use std::fmt;

const F32: u64 = size_of::<f32>() as u64;

/// Shapes, costs and receptive fields of a whole network for one batch of images.
///
/// ```
/// use alexnet_vgg_core::architecture::{VggConfig, summary::Summary};
///
/// let summary = Summary::new(&VggConfig::vgg16().architecture()?, 1, [224, 224])?;
/// assert_eq!(summary.parameters, 138_357_544);
/// let pool5 = summary.layer("pool5").expect("vgg16 has this layer");
/// assert_eq!((pool5.receptive_field, pool5.stride), (Some(212), Some(32)));
/// println!("{summary}");
/// # Ok::<(), alexnet_vgg_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// Name of the network.
    pub network: String,
    /// Shape of the batch, `[N, C, H, W]`.
    pub input: Vec<usize>,
    /// Every layer, in forward order.
    pub layers: Vec<LayerSummary>,
    /// Trained parameters.
    pub parameters: u64,
    /// Multiplications (each with its addition) for the batch, as torchvision counts them.
    pub multiply_adds: u64,
    /// Bytes of all parameters and buffers in f32.
    pub weight_bytes: u64,
    /// Bytes of all activations in f32, which training keeps for the backward pass.
    pub activation_bytes: u64,
    /// Bytes of the input and output of the layer where both together are largest: the activations that
    /// inference holds at once.
    pub working_bytes: u64,
}

/// One layer of a [`Summary`].
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LayerSummary {
    /// torchvision's name.
    pub key: String,
    /// The papers' name.
    pub name: String,
    /// Kind and settings of the layer: `Conv 3x3, 64, padding 1`.
    pub layer: String,
    /// Shape of its output, batch first.
    pub output: Vec<usize>,
    /// Trained parameters.
    pub parameters: u64,
    /// Multiplications (each with its addition) for the batch.
    pub multiply_adds: u64,
    /// Bytes of its output in f32.
    pub activation_bytes: u64,
    /// Side of the receptive field of one output value, in input pixels; `None` after the features, as the
    /// classifier sees the whole input.
    pub receptive_field: Option<u64>,
    /// Input pixels between neighboring output values; `None` after the features.
    pub stride: Option<u64>,
}

impl Summary {
    /// Summarizes a network for a batch of `batch` images of `[height, width]` pixels.
    ///
    /// # Errors
    /// As for [`Table::walk`](super::Table::walk); [`Error::Setting`] for a batch of 0, or one so large that
    /// the sums do not fit in 64 bits.
    pub fn new(architecture: &Architecture, batch: usize, input: [usize; 2]) -> Result<Self> {
        let steps = architecture.walk(input)?;
        let max_batch = u64::MAX / (steps.len() as u64 + 1) / (4 * F32) / largest_number(&steps);
        if batch == 0 || batch as u64 > max_batch {
            return Err(Error::Setting {
                place: "batch".into(),
                expected: format!("1 to {max_batch}, so that the sums fit in 64 bits"),
                found: batch.to_string(),
            });
        }
        let layers = layers(&steps, batch as u64);
        let bytes = |elements: u64| elements * batch as u64 * F32;
        let all_parameters = || steps.iter().flat_map(|step| &step.parameters);
        Ok(Self {
            network: architecture.name.clone(),
            input: vec![batch, architecture.input[0], input[0], input[1]],
            parameters: layers.iter().map(|layer| layer.parameters).sum(),
            multiply_adds: layers.iter().map(|layer| layer.multiply_adds).sum(),
            weight_bytes: all_parameters().map(|parameter| parameter.elements() * F32).sum(),
            activation_bytes: layers.iter().map(|layer| layer.activation_bytes).sum(),
            working_bytes: steps
                .iter()
                .map(|step| bytes(step.input.elements() + step.output.elements()))
                .max()
                .unwrap_or(0),
            layers,
        })
    }

    /// The layer with this name, torchvision's or the papers'.
    pub fn layer(&self, name: &str) -> Option<&LayerSummary> {
        self.layers.iter().find(|layer| layer.key == name || layer.name == name)
    }
}

/// The largest number of a network that is multiplied by the batch.
fn largest_number(steps: &[Step]) -> u64 {
    let largest = |step: &Step| {
        let weights = step.parameters.iter().map(|parameter| parameter.elements()).sum();
        step.multiply_adds.max(step.output.elements()).max(step.input.elements()).max(weights)
    };
    steps.iter().map(largest).max().unwrap_or(1).max(1)
}

fn layers(steps: &[Step], batch: u64) -> Vec<LayerSummary> {
    let mut field = ReceptiveField::INPUT;
    steps
        .iter()
        .map(|step| {
            field = field.after(&step.layer);
            let in_features = step.section == Section::Features;
            LayerSummary {
                key: step.key.clone(),
                name: step.name.clone(),
                layer: step.layer.to_string(),
                output: [&[batch as usize], step.output.dims()].concat(),
                parameters: (step.parameters.iter())
                    .filter(|parameter| parameter.role.is_trained())
                    .map(|parameter| parameter.elements())
                    .sum(),
                multiply_adds: step.multiply_adds * batch,
                activation_bytes: step.output.elements() * batch * F32,
                receptive_field: in_features.then_some(field.size),
                stride: in_features.then_some(field.stride),
            }
        })
        .collect()
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}  input {:?}", self.network, self.input)?;
        let mut rows = vec![
            [
                "layer",
                "name",
                "kind",
                "output",
                "parameters",
                "multiply-adds",
                "MiB",
                "field",
                "stride",
            ]
            .map(String::from),
        ];
        let or_empty = |value: Option<u64>| value.map_or(String::new(), |value| value.to_string());
        rows.extend(self.layers.iter().map(|layer| {
            [
                layer.key.clone(),
                layer.name.clone(),
                layer.layer.clone(),
                format!("{:?}", layer.output),
                with_separators(layer.parameters),
                with_separators(layer.multiply_adds),
                mib(layer.activation_bytes),
                or_empty(layer.receptive_field),
                or_empty(layer.stride),
            ]
        }));
        write_aligned(f, &rows, 4)?;
        writeln!(
            f,
            "total: {} parameters ({} MiB), {:.3} G multiply-adds, activations {} MiB, at most {} MiB at once",
            with_separators(self.parameters),
            mib(self.weight_bytes),
            self.multiply_adds as f64 / 1e9,
            mib(self.activation_bytes),
            mib(self.working_bytes),
        )
    }
}

fn mib(bytes: u64) -> String {
    format!("{:.2}", bytes as f64 / (1 << 20) as f64)
}

/// `1234567` as `1,234,567`; an empty string for 0.
pub(super) fn with_separators(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if number == 0 { String::new() } else { text }
}

/// Writes rows in columns as wide as their widest entry. The first `left_aligned` columns are aligned to the
/// left, the others, which hold numbers, to the right.
pub(super) fn write_aligned<const N: usize>(
    f: &mut fmt::Formatter<'_>,
    rows: &[[String; N]],
    left_aligned: usize,
) -> fmt::Result {
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let widths: [usize; N] = std::array::from_fn(width);
    for row in rows {
        let mut line = String::new();
        for (column, (cell, width)) in row.iter().zip(widths).enumerate() {
            line += &if column < left_aligned {
                format!("{cell:<width$}  ")
            } else {
                format!("{cell:>width$}  ")
            };
        }
        writeln!(f, "{}", line.trim_end())?;
    }
    Ok(())
}
