//! The forward pass by definition: every layer as PyTorch's documentation (and, for LRN, the AlexNet paper)
//! writes it down, in f64, one loop for each index. Slow, and with nothing in it to go wrong.

use crate::formula;
use alexnet_vgg_core::architecture::{Architecture, Layer, Role, Section, Step};
use rayon::prelude::*;

/// The values of one image on its way: `[C, H, W]`; a vector is `[features, 1, 1]`.
#[derive(Clone)]
struct Activation {
    shape: [usize; 3],
    values: Vec<f64>,
}

/// The logits of a batch, `[N, C, H, W]` to `[N, num_classes]`, with the formula's weights.
pub fn logits(architecture: &Architecture, images: &[f32], shape: [usize; 4]) -> Vec<f32> {
    let [batch, channels, height, width] = shape;
    let steps = architecture.walk([height, width]).expect("a valid network");
    let image = |values: &[f32]| Activation {
        shape: [channels, height, width],
        values: values.iter().copied().map(f64::from).collect(),
    };
    let mut activations: Vec<Activation> =
        images.chunks(channels * height * width).map(image).collect();
    assert_eq!(activations.len(), batch);
    for step in &steps {
        let parameters = Parameters::of(step);
        activations = activations.par_iter().map(|x| forward(step, &parameters, x)).collect();
    }
    activations.iter().flat_map(|x| x.values.iter().map(|&value| value as f32)).collect()
}

/// The tensors of one layer, empty where it has none.
struct Parameters {
    weight: Vec<f64>,
    bias: Vec<f64>,
    running_mean: Vec<f64>,
    running_var: Vec<f64>,
}

impl Parameters {
    fn of(step: &Step) -> Self {
        let with_role = |role: Role| -> Vec<f64> {
            let parameter = step.parameters.iter().find(|parameter| parameter.role == role);
            let values = parameter.map(formula::all_values).unwrap_or_default();
            values.into_iter().map(f64::from).collect()
        };
        Self {
            weight: with_role(Role::Weight),
            bias: with_role(Role::Bias),
            running_mean: with_role(Role::RunningMean),
            running_var: with_role(Role::RunningVar),
        }
    }
}

fn forward(step: &Step, parameters: &Parameters, x: &Activation) -> Activation {
    match step.layer {
        Layer::Conv { out, kernel, stride, padding, groups, .. } => {
            convolution(x, parameters, [out, kernel, stride, padding, groups])
        }
        Layer::BatchNorm => batch_norm(x, parameters),
        Layer::Relu => each(x, |value| value.max(0.0)),
        Layer::Tanh => each(x, f64::tanh),
        Layer::Dropout { .. } => x.clone(),
        Layer::Lrn { size, alpha, beta, k, groups } => {
            local_response_norm(x, size, [alpha, beta, k], groups)
        }
        Layer::MaxPool { kernel, stride } => max_pool(x, kernel, stride),
        Layer::AdaptiveAvgPool { size } => {
            assert_eq!(step.section, Section::AvgPool);
            adaptive_average_pool(x, size)
        }
        Layer::Linear { out, .. } => linear(x, parameters, out),
    }
}

fn each(x: &Activation, function: impl Fn(f64) -> f64) -> Activation {
    Activation { shape: x.shape, values: x.values.iter().map(|&value| function(value)).collect() }
}

/// `out[o][y][x] = bias[o] + sum of weight[o][i][ky][kx] * in[i][y * stride + ky - padding][...]`, `i` over
/// the channels of `o`'s group.
fn convolution(
    input: &Activation,
    parameters: &Parameters,
    [out, kernel, stride, padding, groups]: [usize; 5],
) -> Activation {
    let [channels, height, width] = input.shape;
    let length = |side: usize| (side + 2 * padding - kernel) / stride + 1;
    let (rows, columns) = (length(height), length(width));
    let (inputs, outputs) = (channels / groups, out / groups);
    // Where the window's cell `k` lies in the input, if it lies there.
    let position = |at: usize, k: usize, side: usize| {
        (at * stride + k).checked_sub(padding).filter(|&p| p < side)
    };
    let mut values = Vec::with_capacity(out * rows * columns);
    for o in 0..out {
        let mut map = vec![parameters.bias[o]; rows * columns];
        for i in 0..inputs {
            let channel = &input.values[(o / outputs * inputs + i) * height * width..];
            for (ky, kx) in (0..kernel).flat_map(|ky| (0..kernel).map(move |kx| (ky, kx))) {
                let weight = parameters.weight[((o * inputs + i) * kernel + ky) * kernel + kx];
                let inside: Vec<usize> =
                    (0..columns).filter(|&x| position(x, kx, width).is_some()).collect();
                let (Some(&first), Some(&last)) = (inside.first(), inside.last()) else { continue };
                for y in 0..rows {
                    let Some(row) = position(y, ky, height) else { continue };
                    let start = row * width + first * stride + kx - padding;
                    let pixels = channel[start..].iter().step_by(stride);
                    let sums = &mut map[y * columns..][first..=last];
                    sums.iter_mut().zip(pixels).for_each(|(sum, pixel)| *sum += weight * pixel);
                }
            }
        }
        values.extend(map);
    }
    Activation { shape: [out, rows, columns], values }
}

/// `(x - mean) / sqrt(var + 1e-5) * weight + bias`, by the running statistics.
fn batch_norm(x: &Activation, parameters: &Parameters) -> Activation {
    const EPSILON: f64 = 1e-5;
    let plane = x.shape[1] * x.shape[2];
    let normalized = x.values.iter().enumerate().map(|(at, value)| {
        let c = at / plane;
        let deviation = (parameters.running_var[c] + EPSILON).sqrt();
        (value - parameters.running_mean[c]) / deviation * parameters.weight[c] + parameters.bias[c]
    });
    Activation { shape: x.shape, values: normalized.collect() }
}

/// Section 3.3 of the AlexNet paper, within each group of channels: `x / (k + alpha * sum of squares)^beta`.
fn local_response_norm(
    x: &Activation,
    size: usize,
    [alpha, beta, k]: [f64; 3],
    groups: usize,
) -> Activation {
    let plane = x.shape[1] * x.shape[2];
    let of_group = x.shape[0] / groups;
    let normalized = (0..x.values.len()).map(|at| {
        let (c, position) = (at / plane, at % plane);
        let first = c / of_group * of_group;
        let window =
            c.saturating_sub(size / 2).max(first)..=(c + size / 2).min(first + of_group - 1);
        let sum: f64 = window.map(|j| x.values[j * plane + position].powi(2)).sum();
        x.values[at] / (k + alpha * sum).powf(beta)
    });
    Activation { shape: x.shape, values: normalized.collect() }
}

/// Windows without padding; those that do not fit are left out.
fn max_pool(x: &Activation, kernel: usize, stride: usize) -> Activation {
    let [channels, height, width] = x.shape;
    let starts = |side: usize| -> Vec<std::ops::Range<usize>> {
        (0..=side - kernel).step_by(stride).map(|start| start..start + kernel).collect()
    };
    let largest = |window: Vec<f64>| window.into_iter().fold(f64::NEG_INFINITY, f64::max);
    windows(x, channels, &starts(height), &starts(width), largest)
}

/// Window `i` of `n` covers `floor(i * side / n) .. ceil((i + 1) * side / n)`.
fn adaptive_average_pool(x: &Activation, [rows, columns]: [usize; 2]) -> Activation {
    let [channels, height, width] = x.shape;
    let spans = |side: usize, n: usize| -> Vec<std::ops::Range<usize>> {
        (0..n).map(|i| i * side / n..((i + 1) * side).div_ceil(n)).collect()
    };
    let mean = |window: Vec<f64>| window.iter().sum::<f64>() / window.len() as f64;
    windows(x, channels, &spans(height, rows), &spans(width, columns), mean)
}

/// `reduce` of every window of rows and columns, channel by channel.
fn windows(
    x: &Activation,
    channels: usize,
    rows: &[std::ops::Range<usize>],
    columns: &[std::ops::Range<usize>],
    reduce: impl Fn(Vec<f64>) -> f64,
) -> Activation {
    let [_, height, width] = x.shape;
    let mut values = Vec::with_capacity(channels * rows.len() * columns.len());
    for channel in x.values.chunks(height * width) {
        for rows in rows {
            values.extend(columns.iter().map(|columns| {
                let row = |y: usize| channel[y * width..][columns.clone()].iter().copied();
                reduce(rows.clone().flat_map(row).collect())
            }));
        }
    }
    Activation { shape: [channels, rows.len(), columns.len()], values }
}

fn linear(x: &Activation, parameters: &Parameters, out: usize) -> Activation {
    let rows = parameters.weight.chunks(x.values.len()).zip(&parameters.bias);
    let values = rows.map(|(row, bias)| {
        bias + row.iter().zip(&x.values).map(|(weight, x)| weight * x).sum::<f64>()
    });
    Activation { shape: [out, 1, 1], values: values.collect() }
}
