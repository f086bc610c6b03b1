//! A network is a table: an [`Architecture`] lists its layers as plain data.
//!
//! AlexNet and VGG are chains: features, a pool to a fixed size, a classifier. So a list says all
//! there is to say, and everything else in this crate *reads* that list and keeps none of its own:
//! the burn module, the summary, the names of the weights. [`Architecture::walk`] is how they read
//! it: one [`Step`] a layer, with both of its names, its shapes and its parameters, all checked.

use super::names::Names;
use super::row::{MOST_LAYERS, Row, product, too_large};
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// A whole network as data.
///
/// The configs [`AlexNetConfig`](super::AlexNetConfig) and [`VggConfig`](super::VggConfig) write
/// such tables; you can write your own, any chain of [`Layer`]s will run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Architecture {
    /// The name it is known by: `vgg16_bn`.
    pub name: String,
    /// Channels, height and width of the input that the network was designed for.
    /// Other heights and widths work too, see [`Architecture::walk`].
    pub input: [usize; 3],
    /// The convolutional part, `[N, C, H, W]` all along.
    pub features: Vec<Layer>,
    /// Height and width that an adaptive average pool brings the features to. It does nothing at
    /// the designed input size, and lets every other size through to the classifier.
    pub pool: [usize; 2],
    /// The part after the pool, on vectors: `[N, features]`. May be empty.
    pub classifier: Vec<Layer>,
    /// How the paper counts its convolutions.
    pub numbering: Numbering,
}

/// One row of an [`Architecture`]. Kernels and strides are square, as in both papers.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Layer {
    /// 2-d convolution with bias. Weight `[out, in / groups, kernel, kernel]`, bias `[out]`.
    Conv {
        /// Output channels.
        out: usize,
        /// Side of the kernel.
        kernel: usize,
        /// Step between two outputs.
        stride: usize,
        /// Zeros added on each side.
        padding: usize,
        /// Groups of channels that do not see each other: 2 for the layers that the 2012 network
        /// kept apart on its two GPUs (AlexNet paper, section 3.5).
        groups: usize,
        /// What the parameters are before training.
        init: Init,
    },
    /// Batch normalization (Ioffe and Szegedy, 2015), epsilon 1e-5, momentum 0.1 as in torchvision.
    /// As there, the running variance learns n / (n - 1) of the batch's.
    BatchNorm,
    /// `max(x, 0)`.
    Relu,
    /// `tanh(x)`: what AlexNet's ReLU is compared with in its section 3.1.
    Tanh,
    /// Local response normalization (AlexNet paper, section 3.3), in the paper's reading:
    /// `x / (k + alpha * sum of x² over size channels)^beta`. The sum is **not** divided by `size`;
    /// PyTorch, Caffe and ONNX do divide, so their `alpha` is `size` times this one.
    Lrn {
        /// Channels in the sum, centered on the normalized one. The paper's `n`.
        size: usize,
        /// Weight of the sum.
        alpha: f64,
        /// Exponent.
        beta: f64,
        /// Constant.
        k: f64,
        /// Groups of channels that do not see each other's: 2 where each of the 2012 network's GPUs
        /// normalized its own half.
        #[serde(default = "one")]
        groups: usize,
    },
    /// Max pooling without padding; a window that does not fit is left out (floor).
    MaxPool {
        /// Side of the window.
        kernel: usize,
        /// Step between two windows; smaller than the kernel means overlapping pools
        /// (AlexNet paper, section 3.4).
        stride: usize,
    },
    /// Adaptive average pooling: window `i` of `n` covers `floor(i*len/n) .. ceil((i+1)*len/n)`.
    /// It stands between features and classifier, as [`Architecture::pool`], and nowhere else.
    AdaptiveAvgPool {
        /// Height and width of the output.
        size: [usize; 2],
    },
    /// Dropout: active only on an autodiff backend, does nothing elsewhere.
    Dropout {
        /// Probability that a value is set to zero.
        p: f64,
    },
    /// Fully connected. Weight `[out, in]`, bias `[out]`, as PyTorch stores them.
    Linear {
        /// Output features.
        out: usize,
        /// What the parameters are before training.
        init: Init,
    },
}

impl std::fmt::Display for Layer {
    /// `Conv 11x11, 96, stride 4, padding 2`: what differs from the plainest layer of its kind.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match *self {
            Layer::Conv { out, kernel, stride, padding, groups, .. } => {
                write!(f, "Conv {kernel}x{kernel}, {out}")?;
                for (what, value, plain) in
                    [("stride", stride, 1), ("padding", padding, 0), ("groups", groups, 1)]
                {
                    if value != plain {
                        write!(f, ", {what} {value}")?;
                    }
                }
                Ok(())
            }
            Layer::BatchNorm => f.write_str("BatchNorm"),
            Layer::Relu => f.write_str("ReLU"),
            Layer::Tanh => f.write_str("tanh"),
            Layer::Lrn { size, groups, .. } => {
                write!(f, "LRN over {size}")?;
                match groups {
                    1 => Ok(()),
                    groups => write!(f, ", groups {groups}"),
                }
            }
            Layer::MaxPool { kernel, stride } => {
                write!(f, "MaxPool {kernel}x{kernel}, stride {stride}")
            }
            Layer::AdaptiveAvgPool { size: [h, w] } => write!(f, "AvgPool to {h}x{w}"),
            Layer::Dropout { p } => write!(f, "Dropout {p}"),
            Layer::Linear { out, .. } => write!(f, "Linear {out}"),
        }
    }
}

/// Tables that were written before an LRN had groups have one.
fn one() -> usize {
    1
}

/// What the weights and biases of a layer are before training.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Init {
    /// Distribution of the weights.
    pub weight: WeightInit,
    /// Value or distribution of the biases.
    pub bias: BiasInit,
}

/// Distribution of fresh weights.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum WeightInit {
    /// N(0, std²).
    Normal {
        /// Standard deviation.
        std: f64,
    },
    /// N(0, 2 / fan_out): He et al. 2015, as torchvision's VGG has it.
    KaimingNormalFanOut,
    /// U(-1/√fan_in, 1/√fan_in): PyTorch's default for convolutions and linear layers.
    TorchDefault,
}

/// Value or distribution of fresh biases.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum BiasInit {
    /// All the same.
    Constant(f64),
    /// U(-1/√fan_in, 1/√fan_in): PyTorch's default.
    TorchDefault,
}

/// How a paper counts convolutions, and so what its layers are called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Numbering {
    /// One after the other, as AlexNet: `conv1` .. `conv5`, `fc6`.
    Sequential,
    /// By blocks between pools, as VGG: `conv1_1`, `conv1_2`, `pool1`, `conv2_1` .. `fc6`.
    Blocks,
}

/// The part of a network that a layer stands in. Its [`Display`](std::fmt::Display) is torchvision's
/// attribute: `features`, `avgpool`, `classifier`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Part {
    /// The convolutional part.
    Features,
    /// The adaptive pool between the two.
    AvgPool,
    /// The linear part.
    Classifier,
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Part::Features => "features",
            Part::AvgPool => "avgpool",
            Part::Classifier => "classifier",
        })
    }
}

/// The shape of one image on its way, without the batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Shape {
    /// `[C, H, W]`
    Map([usize; 3]),
    /// `[features]`
    Vector([usize; 1]),
}

impl Shape {
    /// The dimensions, batch not included.
    pub fn dims(&self) -> &[usize] {
        match self {
            Shape::Map(dims) => dims,
            Shape::Vector(dims) => dims,
        }
    }

    /// Number of values.
    pub fn elements(&self) -> u64 {
        self.dims().iter().map(|&dim| dim as u64).product()
    }

    pub(crate) fn channels(&self) -> usize {
        self.dims()[0]
    }
}

impl Layer {
    /// `(kernel, stride, padding)` of a layer that slides a window over a map.
    pub fn window(&self) -> Option<(usize, usize, usize)> {
        match *self {
            Layer::Conv { kernel, stride, padding, .. } => Some((kernel, stride, padding)),
            Layer::MaxPool { kernel, stride } => Some((kernel, stride, 0)),
            _ => None,
        }
    }
}

/// One layer as a reader of the table meets it, in forward order.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// Where it stands.
    pub part: Part,
    /// torchvision's name: `features.24`, `avgpool`, `classifier.6`.
    pub key: String,
    /// The papers' (and Caffe's) name: `conv5_1`, `relu5_1`, `pool5`, `fc7`. `conv5_1` is what the
    /// convolution itself gives, `relu5_1` is after its ReLU.
    pub name: String,
    /// The row of the table.
    pub layer: Layer,
    /// Shape of one image going in.
    pub input: Shape,
    /// Shape of one image coming out.
    pub output: Shape,
    /// Its tensors, in PyTorch's order.
    pub parameters: Vec<Parameter>,
    /// Multiplications (each with its addition) for one image, counted as torchvision publishes
    /// them: convolutions and linear layers, biases left out.
    pub multiply_adds: u64,
}

/// One tensor of a network.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameter {
    /// torchvision's name: `features.0.weight`.
    pub key: String,
    /// Its shape as PyTorch stores it.
    pub shape: Vec<usize>,
    /// What it is for.
    pub role: Role,
    /// Its value before training.
    pub fill: Fill,
}

/// Value of a [`Parameter`] before training: an [`Init`] whose fans are known.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fill {
    /// All the same.
    Constant(f64),
    /// N(0, std²).
    Normal {
        /// Standard deviation.
        std: f64,
    },
    /// U(-bound, bound).
    Uniform {
        /// Largest magnitude.
        bound: f64,
    },
}

impl Init {
    pub(super) fn is_valid(&self) -> bool {
        let weight = match self.weight {
            WeightInit::Normal { std } => std.is_finite() && std >= 0.0,
            WeightInit::KaimingNormalFanOut | WeightInit::TorchDefault => true,
        };
        weight && !matches!(self.bias, BiasInit::Constant(value) if !value.is_finite())
    }

    pub(super) fn weight(&self, fan_in: u64, fan_out: u64) -> Fill {
        match self.weight {
            WeightInit::Normal { std } => Fill::Normal { std },
            WeightInit::KaimingNormalFanOut => Fill::Normal { std: (2.0 / fan_out as f64).sqrt() },
            WeightInit::TorchDefault => Fill::Uniform { bound: (fan_in as f64).sqrt().recip() },
        }
    }

    pub(super) fn bias(&self, fan_in: u64) -> Fill {
        match self.bias {
            BiasInit::Constant(value) => Fill::Constant(value),
            BiasInit::TorchDefault => Fill::Uniform { bound: (fan_in as f64).sqrt().recip() },
        }
    }
}

impl Parameter {
    /// Number of values.
    pub fn elements(&self) -> u64 {
        self.shape.iter().map(|&dim| dim as u64).product()
    }
}

/// What a [`Parameter`] is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Weight of a convolution or linear layer, scale of a batch norm. Trained.
    Weight,
    /// Bias of any of them. Trained.
    Bias,
    /// Running mean of a batch norm: a buffer, not counted as a parameter.
    RunningMean,
    /// Running variance of a batch norm: a buffer, not counted as a parameter.
    RunningVar,
}

impl Role {
    /// Whether training changes it by gradient, and published parameter counts include it.
    pub fn is_trained(self) -> bool {
        matches!(self, Role::Weight | Role::Bias)
    }

    pub(super) fn attribute(self) -> &'static str {
        match self {
            Role::Weight => "weight",
            Role::Bias => "bias",
            Role::RunningMean => "running_mean",
            Role::RunningVar => "running_var",
        }
    }
}

/// Rows and columns of places where a window lies on a map of `[height, width]` cells, which becomes as
/// large as the window if it is smaller.
pub(crate) fn places(cells: [usize; 2], window: [usize; 2]) -> [usize; 2] {
    std::array::from_fn(|axis| cells[axis].max(window[axis]) - window[axis] + 1)
}

impl Architecture {
    /// The layers in forward order with their names, shapes and parameters for an input of
    /// `[height, width]`.
    ///
    /// # Errors
    /// [`Error::InputTooSmall`] if nothing is left of the input at some layer, and [`Error::Table`]
    /// if the table is contradictory or its numbers are beyond any machine's.
    pub fn walk(&self, [height, width]: [usize; 2]) -> Result<Vec<Step>> {
        if self.len() > MOST_LAYERS {
            return Err(Error::Table {
                place: self.name.clone(),
                expected: format!("at most {MOST_LAYERS} layers"),
                found: self.len().to_string(),
            });
        }
        let mut names = Names::new(self.numbering);
        let mut shape = Shape::Map([self.input[0], height, width]);
        let pool = Layer::AdaptiveAvgPool { size: self.pool };
        let rows = (self.features.iter().map(|layer| (Part::Features, layer)))
            .chain([(Part::AvgPool, &pool)])
            .chain(self.classifier.iter().map(|layer| (Part::Classifier, layer)));

        let mut steps: Vec<Step> = Vec::with_capacity(self.len());
        let mut index = 0;
        for (part, &layer) in rows {
            index = match steps.last() {
                Some(before) if before.part == part => index + 1,
                _ => 0,
            };
            if part == Part::Classifier && index == 0 {
                shape = Shape::Vector([self.flat(shape)?]);
            }
            let key = match part {
                Part::AvgPool => part.to_string(),
                _ => format!("{part}.{index}"),
            };
            let row = Row { network: &self.name, key: &key, part, layer, input: shape };
            let output = row.output().map_err(|error| match error {
                Error::InputTooSmall { network, layer, .. } => Error::InputTooSmall {
                    network,
                    layer,
                    minimum: self.minimum_input(),
                    found: [height, width],
                },
                other => other,
            })?;
            let parameters = row.parameters(&key)?;
            steps.push(Step {
                part,
                name: names.next(&layer),
                layer,
                input: shape,
                output,
                multiply_adds: row.multiply_adds(output)?,
                parameters,
                key,
            });
            shape = output;
        }
        Ok(steps)
    }

    /// [`walk`](Self::walk) at the size that the network was designed for. Parameters do not depend
    /// on the size, so this is how to read them.
    ///
    /// # Errors
    /// As for [`walk`](Self::walk).
    pub fn steps(&self) -> Result<Vec<Step>> {
        self.walk([self.input[1], self.input[2]])
    }

    /// Every tensor of the network, in PyTorch's order.
    ///
    /// # Errors
    /// As for [`walk`](Self::walk).
    pub fn parameters(&self) -> Result<Vec<Parameter>> {
        Ok(self.steps()?.into_iter().flat_map(|step| step.parameters).collect())
    }

    /// The smallest height and width that the network takes: the receptive arithmetic backwards,
    /// from one pixel at the end of the features.
    pub fn minimum_input(&self) -> usize {
        self.features.iter().rev().fold(1, |needed: usize, layer| {
            let Some((kernel, stride, padding)) = layer.window() else { return needed };
            (needed - 1)
                .saturating_mul(stride)
                .saturating_add(kernel)
                .saturating_sub(padding.saturating_mul(2))
                .max(1)
        })
    }

    /// Number of classes: what the last linear layer gives, or the flattened features if there is
    /// no classifier.
    ///
    /// # Errors
    /// As for [`walk`](Self::walk).
    pub fn num_classes(&self) -> Result<usize> {
        let last = self.steps()?.last().map(|step| step.output);
        match last {
            Some(shape) => self.flat(shape),
            None => Ok(0),
        }
    }

    /// Height and width of the class score map of dense evaluation (VGG paper, section 3.2) for an input
    /// of `[height, width]`: the places of the classifier's window, of [`pool`](Self::pool) cells, on the
    /// last map of the features; 1 where that map is no larger than the window.
    ///
    /// # Errors
    /// As for [`walk`](Self::walk).
    pub fn score_map(&self, size: [usize; 2]) -> Result<[usize; 2]> {
        let steps = self.walk(size)?;
        let pooled = steps.iter().find(|step| step.part == Part::AvgPool).map(|step| step.input);
        match pooled {
            Some(Shape::Map([_, h, w])) => Ok(places([h, w], self.pool)),
            // Every walk goes through the pool.
            _ => Ok([1, 1]),
        }
    }

    /// The same network with its classifier left out: what remains gives the pooled features as one
    /// vector an image, for transfer learning.
    pub fn without_classifier(mut self) -> Self {
        self.classifier.clear();
        self
    }

    /// Index in forward order of the layer that `name` means, by torchvision's or the papers' names.
    ///
    /// # Errors
    /// [`Error::UnknownLayer`], which lists them all; and as for [`walk`](Self::walk).
    pub fn find(&self, name: &str) -> Result<usize> {
        self.find_in(&self.steps()?, name)
    }

    /// [`find`](Self::find) in steps that are there already.
    pub(crate) fn find_in(&self, steps: &[Step], name: &str) -> Result<usize> {
        steps.iter().position(|step| step.key == name || step.name == name).ok_or_else(|| {
            Error::UnknownLayer {
                network: self.name.clone(),
                name: name.into(),
                known: (steps.iter())
                    .map(|step| format!("{} = {}", step.key, step.name))
                    .collect::<Vec<_>>()
                    .join(", "),
            }
        })
    }

    /// The shape, `[count, features]`, of so many values as vectors that the first of these steps of the
    /// classifier takes.
    ///
    /// # Errors
    /// [`Error::InputShape`] for steps that are none of the classifier's, and values that are not whole
    /// vectors.
    pub(crate) fn expect_vectors(&self, steps: &Range<usize>, values: usize) -> Result<[usize; 2]> {
        let all = self.steps()?;
        let wrong = |expected: String| Error::InputShape {
            network: self.name.clone(),
            expected,
            found: vec![values],
        };
        let first = all.get(steps.start).filter(|step| step.part == Part::Classifier);
        let Some(first) = first.filter(|_| steps.end <= all.len()) else {
            return Err(wrong(format!("layers of the classifier, not {steps:?}")));
        };
        let features = self.flat(first.input)?;
        match values.checked_rem(features) {
            Some(0) => Ok([values / features, features]),
            _ => Err(wrong(format!("vectors of {features} values for {}", first.key))),
        }
    }

    fn len(&self) -> usize {
        self.features.len() + 1 + self.classifier.len()
    }

    fn flat(&self, shape: Shape) -> Result<usize> {
        let elements = product(&self.name, shape.dims())?;
        usize::try_from(elements).map_err(|_| too_large(&self.name))
    }
}
