//! AlexNet: the network of 2012 and the one that torchvision ships.
//!
//! - *ImageNet Classification with Deep Convolutional Neural Networks*, Krizhevsky, Sutskever and
//!   Hinton, 2012: the [`Paper`](AlexNetVariant::Paper) row.
//! - *One weird trick for parallelizing convolutional neural networks*, Krizhevsky, 2014: one tower,
//!   other widths, no LRN; the [`Torchvision`](AlexNetVariant::Torchvision) row.
//!
//! Both rows have the same skeleton, so each trick of the 2012 paper is a switch on either.

use super::network::AlexNet;
use super::table::{Architecture, BiasInit, Init, Layer, Numbering, WeightInit};
use super::{even, init_or_panic};
use burn::config::Config;
use burn::tensor::backend::Backend;

/// Which published AlexNet a config starts from.
#[derive(Config, Copy, Debug, PartialEq, Eq)]
pub enum AlexNetVariant {
    /// The 2012 network: 96-256-384-384-256.
    Paper,
    /// torchvision's: 64-192-384-256-256.
    Torchvision,
}

/// The non-linearity between the layers.
#[derive(Config, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// `max(x, 0)`
    Relu,
    /// `tanh(x)`, the slower one in figure 1 of the AlexNet paper.
    Tanh,
}

/// How to build an AlexNet. Each trick of the 2012 paper can be turned off for its ablations.
///
/// ```
/// use alexnet_vgg::models::{Activation, AlexNetConfig};
///
/// let table = AlexNetConfig::paper().architecture();
/// let count: u64 = table.parameters()?.iter().map(|p| p.elements()).sum();
/// assert_eq!(count, 60_965_224);
///
/// let without_tricks = AlexNetConfig::paper()
///     .with_lrn(false)
///     .with_overlapping_pools(false)
///     .with_activation(Activation::Tanh)
///     .with_groups(false)
///     .with_dropout(0.0);
/// # without_tricks.architecture().steps()?;
/// # Ok::<(), alexnet_vgg::Error>(())
/// ```
#[derive(Config, Debug, PartialEq)]
pub struct AlexNetConfig {
    /// The row to start from: widths, order of the classifier's layers, initialization.
    pub variant: AlexNetVariant,
    /// Local response normalization after the first two ReLUs (section 3.3 of the paper).
    #[config(default = false)]
    pub lrn: bool,
    /// LRN within each half of the channels, as the two GPUs of 2012 computed it; otherwise over all of
    /// them, as every port to one device does.
    #[config(default = false)]
    pub lrn_within_groups: bool,
    /// The two-GPU split of conv2, conv4 and conv5 (section 3.5): two groups of channels.
    #[config(default = false)]
    pub groups: bool,
    /// 3×3 pools with stride 2 (section 3.4); otherwise 2×2 with stride 2.
    #[config(default = true)]
    pub overlapping_pools: bool,
    /// ReLU (section 3.1) or tanh.
    #[config(default = "Activation::Relu")]
    pub activation: Activation,
    /// Probability of dropping a hidden feature (section 4.2), 0 <= p < 1.
    #[config(default = 0.5)]
    pub dropout: f64,
    /// Number of classes, at least 1.
    #[config(default = 1000)]
    pub num_classes: usize,
    /// Channels of the input, at least 1.
    #[config(default = 3)]
    pub in_channels: usize,
    /// Height and width that the network is designed for: 224, or 227 as in Caffe. With 227 the
    /// first convolution of the paper's network has no padding, with 224 it has 2; both make 55×55.
    #[config(default = 224)]
    pub input_size: usize,
    /// Factor on the number of channels and hidden features, rounded to even numbers (at least 2):
    /// below 1 for small experiments.
    #[config(default = 1.0)]
    pub width: f64,
}

/// One published AlexNet. A new one is a new row.
struct Row {
    name: &'static str,
    convs: [Conv; 5],
    hidden: Init,
    last: Init,
    /// torchvision drops what goes into a linear layer, the paper what comes out of a hidden one.
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

/// Section 5 of the paper: weights N(0, 0.01²), biases 1 where it helps the ReLUs to start, else 0.
const fn gaussian(bias: f64) -> Init {
    Init { weight: WeightInit::Normal { std: 0.01 }, bias: BiasInit::Constant(bias) }
}

const TORCH: Init = Init { weight: WeightInit::TorchDefault, bias: BiasInit::TorchDefault };

/// In the order of [`AlexNetVariant`].
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

/// What is the same in every AlexNet: two GPUs' channels meet in conv3 only, ...
const GROUPED: [bool; 5] = [false, true, false, true, true];
/// ... the first two convolutions are normalized, ...
const NORMALIZED: [bool; 5] = [true, true, false, false, false];
/// ... and three are pooled.
const POOLED: [bool; 5] = [true, true, false, false, true];
/// Section 3.3: k = 2, n = 5, alpha = 1e-4, beta = 0.75. VGG's A-LRN takes it over.
pub(super) const LRN: Layer = lrn(1);
const HIDDEN: usize = 4096;

const fn lrn(groups: usize) -> Layer {
    Layer::Lrn { size: 5, alpha: 1e-4, beta: 0.75, k: 2.0, groups }
}

impl AlexNetConfig {
    /// The network of 2012, with all of its tricks.
    pub fn paper() -> Self {
        Self::new(AlexNetVariant::Paper).with_lrn(true).with_groups(true)
    }

    /// The network of 2012 as its two GPUs computed it (section 3.5): [`paper`](Self::paper), but each
    /// half of the channels is normalized by itself. [`Towers`](super::Towers) runs it on two devices.
    pub fn towers() -> Self {
        Self::paper().with_lrn_within_groups(true)
    }

    /// The network whose weights torchvision publishes.
    pub fn torchvision() -> Self {
        Self::new(AlexNetVariant::Torchvision)
    }

    /// The table of this network.
    pub fn architecture(&self) -> Architecture {
        let row = &ROWS[self.variant as usize];
        let mut features = Vec::new();
        for (i, conv) in row.convs.iter().enumerate() {
            let unpadded =
                i == 0 && self.variant == AlexNetVariant::Paper && self.input_size == 227;
            features.push(Layer::Conv {
                out: even(conv.out, self.width),
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
        Architecture {
            name: self.name(row).into(),
            input: [self.in_channels, self.input_size, self.input_size],
            features,
            pool: [6, 6],
            classifier: self.classifier(row),
            numbering: Numbering::Sequential,
        }
    }

    fn name(&self, row: &Row) -> &'static str {
        let own = self.lrn && self.lrn_within_groups && self.variant == AlexNetVariant::Paper;
        if own { "alexnet_towers" } else { row.name }
    }

    fn classifier(&self, row: &Row) -> Vec<Layer> {
        let dropout = Layer::Dropout { p: self.dropout };
        let mut hidden = vec![
            Layer::Linear { out: even(HIDDEN, self.width), init: row.hidden },
            self.activation(),
        ];
        hidden.insert(if row.dropout_first { 0 } else { 2 }, dropout);
        let mut layers = hidden.repeat(2);
        layers.push(Layer::Linear { out: self.num_classes, init: row.last });
        layers
    }

    fn activation(&self) -> Layer {
        match self.activation {
            Activation::Relu => Layer::Relu,
            Activation::Tanh => Layer::Tanh,
        }
    }

    /// A fresh network with random weights.
    ///
    /// # Panics
    /// Where [`Network::new`](super::Network::new) has an error, with its message.
    pub fn init<B: Backend>(&self, device: &B::Device) -> AlexNet<B> {
        init_or_panic(self.architecture(), device)
    }
}
