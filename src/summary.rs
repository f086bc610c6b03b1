//! What a network costs and sees, layer by layer: read off its table, nothing is allocated.

use crate::error::{Error, Result};
use crate::models::{Architecture, Grid, Part, Step};
use serde::Serialize;
use std::fmt;

const F32: u64 = size_of::<f32>() as u64;

/// Shapes, costs and receptive fields of a whole network for one batch of images.
///
/// ```
/// use alexnet_vgg::{models::VggConfig, summary::Summary};
///
/// let summary = Summary::new(&VggConfig::vgg16().architecture(), 1, [224, 224])?;
/// assert_eq!(summary.parameters, 138_357_544);
/// assert_eq!(summary.layer("pool5").map(|l| (l.receptive_field, l.stride)), Some((Some(212), Some(32))));
/// println!("{summary}");
/// # Ok::<(), alexnet_vgg::Error>(())
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
    /// Bytes of all activations in f32: what training keeps.
    pub activation_bytes: u64,
    /// Bytes of the largest pair of a layer's input and output: what inference needs at once.
    pub working_bytes: u64,
}

/// One layer of a [`Summary`].
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LayerSummary {
    /// torchvision's name.
    pub key: String,
    /// The papers' name.
    pub name: String,
    /// What it is, in words.
    pub layer: String,
    /// Shape of its output, batch first.
    pub output: Vec<usize>,
    /// Trained parameters.
    pub parameters: u64,
    /// Multiplications (each with its addition) for the batch.
    pub multiply_adds: u64,
    /// Bytes of its output in f32.
    pub activation_bytes: u64,
    /// Side of the square of input pixels that one output value can see, borders included. None
    /// after the features: the classifier sees everything.
    pub receptive_field: Option<u64>,
    /// Input pixels between two neighboring outputs. None after the features.
    pub stride: Option<u64>,
}

impl Summary {
    /// Reads a table for `batch` images of `[height, width]`.
    ///
    /// # Errors
    /// As for [`Architecture::walk`]; [`Error::Setting`] if the batch is 0 or the sums do not fit in
    /// 64 bits.
    pub fn new(architecture: &Architecture, batch: usize, input: [usize; 2]) -> Result<Self> {
        let steps = architecture.walk(input)?;
        let most = u64::MAX / (steps.len() as u64 + 1) / (4 * F32) / largest(&steps);
        if batch == 0 || batch as u64 > most {
            return Err(Error::Setting {
                place: "batch".into(),
                expected: format!("1 to {most}, whose sums fit in 64 bits"),
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

    /// The layer of that name, torchvision's or the papers'.
    pub fn layer(&self, name: &str) -> Option<&LayerSummary> {
        self.layers.iter().find(|layer| layer.key == name || layer.name == name)
    }
}

/// The largest number that a batch will multiply.
fn largest(steps: &[Step]) -> u64 {
    let of = |step: &Step| {
        let weights = step.parameters.iter().map(|parameter| parameter.elements()).sum();
        step.multiply_adds.max(step.output.elements()).max(step.input.elements()).max(weights)
    };
    steps.iter().map(of).max().unwrap_or(1).max(1)
}

fn layers(steps: &[Step], batch: u64) -> Vec<LayerSummary> {
    let mut grid = Grid::INPUT;
    steps
        .iter()
        .map(|step| {
            grid = grid.after(&step.layer);
            let in_features = step.part == Part::Features;
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
                receptive_field: in_features.then_some(grid.field),
                stride: in_features.then_some(grid.step),
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
                "what",
                "output",
                "parameters",
                "multiply-adds",
                "MiB",
                "field",
                "stride",
            ]
            .map(String::from),
        ];
        let or_nothing =
            |value: Option<u64>| value.map_or(String::new(), |value| value.to_string());
        rows.extend(self.layers.iter().map(|layer| {
            [
                layer.key.clone(),
                layer.name.clone(),
                layer.layer.clone(),
                format!("{:?}", layer.output),
                grouped(layer.parameters),
                grouped(layer.multiply_adds),
                mib(layer.activation_bytes),
                or_nothing(layer.receptive_field),
                or_nothing(layer.stride),
            ]
        }));
        write_aligned(f, &rows, 4)?;
        writeln!(
            f,
            "total: {} parameters ({} MiB), {:.3} G multiply-adds, activations {} MiB, at once {} MiB",
            grouped(self.parameters),
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

/// `1234567` as `1,234,567`; nothing for 0.
pub(crate) fn grouped(number: u64) -> String {
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

/// Columns as wide as their widest entry: the first `words` to the left, numbers to the right.
pub(crate) fn write_aligned<const N: usize>(
    f: &mut fmt::Formatter<'_>,
    rows: &[[String; N]],
    words: usize,
) -> fmt::Result {
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let widths: [usize; N] = std::array::from_fn(width);
    for row in rows {
        let mut line = String::new();
        for (column, (cell, width)) in row.iter().zip(widths).enumerate() {
            line += &match column < words {
                true => format!("{cell:<width$}  "),
                false => format!("{cell:>width$}  "),
            };
        }
        writeln!(f, "{}", line.trim_end())?;
    }
    Ok(())
}
