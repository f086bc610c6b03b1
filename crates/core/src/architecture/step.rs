//! The steps of a forward pass: one [`Step`] for each layer of a table, with its names, shapes and parameters.

use super::init::Fill;
use super::layer::Layer;
use serde::{Deserialize, Serialize};

/// One layer of a network in forward order, with everything that follows from its position.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// The section of the network that the layer belongs to.
    pub section: Section,
    /// torchvision's name: `features.24`, `avgpool`, `classifier.6`.
    pub key: String,
    /// The papers' (and Caffe's) name: `conv5_1`, `relu5_1`, `pool5`, `fc7`. `conv5_1` is the output of the
    /// convolution itself, before its ReLU, `relu5_1`.
    pub name: String,
    /// The layer itself.
    pub layer: Layer,
    /// Shape of the input, for one image.
    pub input: Shape,
    /// Shape of the output, for one image.
    pub output: Shape,
    /// Its tensors, in PyTorch's order.
    pub parameters: Vec<Parameter>,
    /// Multiplications (each with its addition) for one image, counted as torchvision publishes them: those of
    /// convolutions and linear layers, without biases.
    pub multiply_adds: u64,
}

/// The section of a network that a layer belongs to. Its [`Display`](std::fmt::Display) is torchvision's
/// attribute: `features`, `avgpool`, `classifier`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Section {
    /// The convolutional part.
    Features,
    /// The adaptive average pool between the other two.
    AvgPool,
    /// The linear part.
    Classifier,
}

impl std::fmt::Display for Section {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Section::Features => "features",
            Section::AvgPool => "avgpool",
            Section::Classifier => "classifier",
        })
    }
}

/// The shape of a layer's input or output for one image, without the batch dimension.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Shape {
    /// `[C, H, W]`
    Map([usize; 3]),
    /// `[features]`
    Vector([usize; 1]),
}

impl Shape {
    /// The dimensions, without the batch.
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

    /// Number of channels of a map, or of features of a vector.
    pub fn channels(&self) -> usize {
        self.dims()[0]
    }
}

/// One tensor of a network.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameter {
    /// torchvision's name: `features.0.weight`.
    pub key: String,
    /// Its shape, as PyTorch stores it.
    pub shape: Vec<usize>,
    /// What it is in its layer.
    pub role: Role,
    /// Its initial values.
    pub fill: Fill,
}

impl Parameter {
    /// Number of values.
    pub fn elements(&self) -> u64 {
        self.shape.iter().map(|&dim| dim as u64).product()
    }
}

/// What a [`Parameter`] is in its layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Weight of a convolution or linear layer, or scale of a batch norm. Trained.
    Weight,
    /// Bias of a convolution, linear layer or batch norm. Trained.
    Bias,
    /// Running mean of a batch norm: a buffer, not counted as a parameter.
    RunningMean,
    /// Running variance of a batch norm: a buffer, not counted as a parameter.
    RunningVar,
}

impl Role {
    /// Whether it is trained by gradient descent and included in published parameter counts.
    pub fn is_trained(self) -> bool {
        matches!(self, Role::Weight | Role::Bias)
    }

    /// PyTorch's name of the tensor within its module.
    pub(crate) fn attribute(self) -> &'static str {
        match self {
            Role::Weight => "weight",
            Role::Bias => "bias",
            Role::RunningMean => "running_mean",
            Role::RunningVar => "running_var",
        }
    }
}
