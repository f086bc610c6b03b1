//! AlexNet: the 2012 network and torchvision's.
//!
//! - *ImageNet Classification with Deep Convolutional Neural Networks*, Krizhevsky, Sutskever and
//!   Hinton, 2012: [`AlexNetVariant::Paper`].
//! - *One weird trick for parallelizing convolutional neural networks*, Krizhevsky, 2014: a single
//!   tower, different widths, no LRN; [`AlexNetVariant::Torchvision`].
//!
//! Both have the same structure, so each technique of the 2012 paper can be switched on or off in either.

use super::checked_table::Architecture;
use super::head::Head;
use super::init::{BiasInit, Init, WeightInit};
use super::layer::Layer;
use super::paper_names::Numbering;
use super::setters::setters;
use super::table::Table;
use super::width::scaled_channels;
use crate::error::Result;
use serde::{Deserialize, Serialize};

/// The published AlexNet that a config is based on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AlexNetVariant {
    /// The 2012 network: 96-256-384-384-256.
    Paper,
    /// torchvision's: 64-192-384-256-256.
    Torchvision,
}

/// The non-linearity between the layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Activation {
    /// `max(x, 0)`
    Relu,
    /// `tanh(x)`, which trains more slowly (figure 1 of the AlexNet paper).
    Tanh,
}

/// The config of an AlexNet. Each technique of the 2012 paper can be turned off, for ablation studies.
///
/// ```
/// use alexnet_vgg_core::architecture::{Activation, AlexNetConfig};
///
/// let paper = AlexNetConfig::paper().architecture()?;
/// let count: u64 = paper.parameters().map(|p| p.elements()).sum();
/// assert_eq!(count, 60_965_224);
///
/// let ablated = AlexNetConfig::paper()
///     .with_lrn(false)
///     .with_overlapping_pools(false)
///     .with_activation(Activation::Tanh)
///     .with_groups(false)
///     .with_dropout(0.0);
/// # ablated.architecture()?;
/// # Ok::<(), alexnet_vgg_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AlexNetConfig {
    /// The published network that determines the widths, the order of the classifier's layers and the
    /// initialization.
    pub variant: AlexNetVariant,
    /// Local response normalization after the first two ReLUs (section 3.3 of the paper).
    pub lrn: bool,
    /// Whether LRN normalizes each half of the channels separately, as the two GPUs of 2012 did, instead of
    /// all channels together, as ports to one device do.
    pub lrn_within_groups: bool,
    /// Two groups in conv2, conv4 and conv5, as a result of the split across two GPUs (section 3.5).
    pub groups: bool,
    /// 3×3 pools with stride 2 (section 3.4); otherwise 2×2 with stride 2.
    pub overlapping_pools: bool,
    /// ReLU (section 3.1) or tanh.
    pub activation: Activation,
    /// Probability of dropping a hidden feature (section 4.2), 0 <= p < 1.
    pub dropout: f64,
    /// The pool and the hidden layers that follow the features.
    #[serde(default)]
    pub head: Head,
    /// Number of classes, at least 1.
    pub num_classes: usize,
    /// Channels of the input, at least 1.
    pub in_channels: usize,
    /// Height and width that the network is designed for: 224, or 227 as in Caffe. The first convolution of
    /// the paper's network has no padding for 227, and a padding of 2 for 224; its output is 55×55 for both.
    pub input_size: usize,
    /// Factor by which the numbers of channels and hidden features are scaled; the results are
    /// rounded to even numbers of at least 2. Use a factor below 1 for small experiments.
    pub width: f64,
}

/// One published AlexNet. To add another one, add a row.
struct Row {
    name: &'static str,
    convs: [Conv; 5],
    hidden: Init,
    last: Init,
    /// Whether dropout comes before each hidden linear layer, as in torchvision, or after it, as in the paper.
    dropout_first: bool,
}

struct Conv {
    out: usize,
    kernel: usize,
    stride: usize,
    padding: usize,
    init: Init,
}

const fn conv(out: usize, kernel: usize, stride: usize, padding: usize, init: Init) -> Conv {
    Conv { out, kernel, stride, padding, init }
}

/// Section 5 of the paper: weights N(0, 0.01²); biases of 1 in some layers, to provide the ReLUs with positive
/// inputs early in training, and 0 in the others.
const fn gaussian(bias: f64) -> Init {
    Init { weight: WeightInit::Normal { std: 0.01 }, bias: BiasInit::Constant(bias) }
}

const TORCH: Init = Init { weight: WeightInit::TorchDefault, bias: BiasInit::TorchDefault };

/// The published networks, in the order of [`AlexNetVariant`].
const ROWS: [Row; 2] = [
    Row {
        name: "alexnet_paper",
        convs: [
            conv(96, 11, 4, 2, gaussian(0.0)),
            conv(256, 5, 1, 2, gaussian(1.0)),
            conv(384, 3, 1, 1, gaussian(0.0)),
            conv(384, 3, 1, 1, gaussian(1.0)),
            conv(256, 3, 1, 1, gaussian(1.0)),
        ],
        hidden: gaussian(1.0),
        last: gaussian(0.0),
        dropout_first: false,
    },
    Row {
        name: "alexnet",
        convs: [
            conv(64, 11, 4, 2, TORCH),
            conv(192, 5, 1, 2, TORCH),
            conv(384, 3, 1, 1, TORCH),
            conv(256, 3, 1, 1, TORCH),
            conv(256, 3, 1, 1, TORCH),
        ],
        hidden: TORCH,
        last: TORCH,
        dropout_first: true,
    },
];

/// Convolutions in two groups: only conv3 takes input from the kernel maps of both GPUs.
const GROUPED: [bool; 5] = [false, true, false, true, true];
/// Convolutions followed by LRN.
const NORMALIZED: [bool; 5] = [true, true, false, false, false];
/// Convolutions followed by a pool.
const POOLED: [bool; 5] = [true, true, false, false, true];
/// LRN with the constants of section 3.3: k = 2, n = 5, alpha = 1e-4, beta = 0.75. VGG's A-LRN uses the same.
pub(super) const LRN: Layer = lrn(1);
const HIDDEN: usize = 4096;

const fn lrn(groups: usize) -> Layer {
    Layer::Lrn { size: 5, alpha: 1e-4, beta: 0.75, k: 2.0, groups }
}

impl AlexNetConfig {
    /// A variant with 1000 classes, ReLU, overlapping pools and dropout of 0.5, but without LRN and groups.
    pub fn new(variant: AlexNetVariant) -> Self {
        Self {
            variant,
            lrn: false,
            lrn_within_groups: false,
            groups: false,
            overlapping_pools: true,
            activation: Activation::Relu,
            dropout: 0.5,
            head: Head::Published,
            num_classes: 1000,
            in_channels: 3,
            input_size: 224,
            width: 1.0,
        }
    }

    setters! {
        with_variant(variant: AlexNetVariant),
        with_lrn(lrn: bool),
        with_lrn_within_groups(lrn_within_groups: bool),
        with_groups(groups: bool),
        with_overlapping_pools(overlapping_pools: bool),
        with_activation(activation: Activation),
        with_dropout(dropout: f64),
        with_head(head: Head),
        with_num_classes(num_classes: usize),
        with_in_channels(in_channels: usize),
        with_input_size(input_size: usize),
        with_width(width: f64),
    }

    /// The 2012 network, with all of its techniques.
    pub fn paper() -> Self {
        Self::new(AlexNetVariant::Paper).with_lrn(true).with_groups(true)
    }

    /// The 2012 network as its two GPUs computed it (section 3.5): [`paper`](Self::paper) with each
    /// half of the channels normalized separately by LRN.
    pub fn two_gpu() -> Self {
        Self::paper().with_lrn_within_groups(true)
    }

    /// The network whose weights torchvision publishes.
    pub fn torchvision() -> Self {
        Self::new(AlexNetVariant::Torchvision)
    }

    /// The table of this network.
    pub fn table(&self) -> Table {
        let row = &ROWS[self.variant as usize];
        let mut features = Vec::new();
        for (i, conv) in row.convs.iter().enumerate() {
            let unpadded =
                i == 0 && self.variant == AlexNetVariant::Paper && self.input_size == 227;
            features.push(Layer::Conv {
                out: scaled_channels(conv.out, self.width),
                kernel: conv.kernel,
                stride: conv.stride,
                padding: if unpadded { 0 } else { conv.padding },
                groups: if self.groups && GROUPED[i] { 2 } else { 1 },
                init: conv.init,
            });
            features.push(self.activation());
            if self.lrn && NORMALIZED[i] {
                features.push(lrn(if self.lrn_within_groups { 2 } else { 1 }));
            }
            if POOLED[i] {
                let kernel = if self.overlapping_pools { 3 } else { 2 };
                features.push(Layer::MaxPool { kernel, stride: 2 });
            }
        }
        let (pool, hidden) = self.head.sizes(6, [scaled_channels(HIDDEN, self.width); 2]);
        Table {
            name: self.name(row).into(),
            input: [self.in_channels, self.input_size, self.input_size],
            features,
            pool,
            classifier: self.classifier(row, &hidden),
            numbering: Numbering::Sequential,
        }
    }

    fn name(&self, row: &Row) -> &'static str {
        let own = self.lrn && self.lrn_within_groups && self.variant == AlexNetVariant::Paper;
        if own { "alexnet_two_gpu" } else { row.name }
    }

    fn classifier(&self, row: &Row, hidden: &[usize]) -> Vec<Layer> {
        let dropout = Layer::Dropout { p: self.dropout };
        let hidden = hidden.iter().flat_map(|&out| {
            let linear = Layer::Linear { out, init: row.hidden };
            if row.dropout_first {
                [dropout, linear, self.activation()]
            } else {
                [linear, self.activation(), dropout]
            }
        });
        let mut layers = Vec::from_iter(hidden);
        layers.push(Layer::Linear { out: self.num_classes, init: row.last });
        layers
    }

    fn activation(&self) -> Layer {
        match self.activation {
            Activation::Relu => Layer::Relu,
            Activation::Tanh => Layer::Tanh,
        }
    }

    /// The checked architecture of this network.
    ///
    /// # Errors
    /// As for [`Architecture::new`], for example if there are no classes or the dropout is 1.
    pub fn architecture(&self) -> Result<Architecture> {
        Architecture::new(self.table())
    }
}
