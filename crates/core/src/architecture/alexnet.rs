//! AlexNet: the 2012 network, Caffe's two versions of it, and torchvision's.
//!
//! - *ImageNet Classification with Deep Convolutional Neural Networks*, Krizhevsky, Sutskever and
//!   Hinton, 2012: [`AlexNetVariant::Paper`].
//! - *One weird trick for parallelizing convolutional neural networks*, Krizhevsky, 2014: a single
//!   tower, different widths, no LRN; [`AlexNetVariant::Torchvision`].
//! - *Caffe: Convolutional Architecture for Fast Feature Embedding*, Jia et al., 2014: the 2012 network with other
//!   constants of LRN, as `bvlc_alexnet` ([`AlexNetVariant::Caffe`]) and as the reference network, which pools before it
//!   normalizes ([`AlexNetVariant::CaffeNet`]).
//!
//! All have the same structure, so each technique of the 2012 paper can be switched on or off in any of them.

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
    /// The 2012 network as Caffe trains it (`bvlc_alexnet`), with Caffe's constants of LRN.
    Caffe,
    /// Caffe's reference network (`bvlc_reference_caffenet`): the same with each pool before its LRN.
    CaffeNet,
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
    /// the paper's and Caffe's networks has no padding for 227, and a padding of 2 for 224; its output is
    /// 55×55 for both.
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
    /// LRN, if the config has it.
    lrn: Layer,
    /// Whether a pool comes before the LRN of its convolution.
    pool_first: bool,
    input_size: usize,
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

/// The convolutions of the 2012 network; `bias` is the initial bias of those that have one other than 0.
const fn convs_of_2012(bias: f64) -> [Conv; 5] {
    [
        conv(96, 11, 4, 2, gaussian(0.0)),
        conv(256, 5, 1, 2, gaussian(bias)),
        conv(384, 3, 1, 1, gaussian(0.0)),
        conv(384, 3, 1, 1, gaussian(bias)),
        conv(256, 3, 1, 1, gaussian(bias)),
    ]
}

/// A network of Caffe, as its `train_val.prototxt` defines it.
const fn caffe(name: &'static str, bias: f64, pool_first: bool) -> Row {
    Row {
        name,
        convs: convs_of_2012(bias),
        hidden: Init { weight: WeightInit::Normal { std: 0.005 }, bias: BiasInit::Constant(bias) },
        last: gaussian(0.0),
        dropout_first: false,
        // Caffe's alpha of 1e-4 is divided by the size of the window, 5.
        lrn: Layer::Lrn { size: 5, alpha: 2e-5, beta: 0.75, k: 1.0, groups: 1 },
        pool_first,
        input_size: 227,
    }
}

/// The published networks, in the order of [`AlexNetVariant`].
const ROWS: [Row; 4] = [
    Row {
        name: "alexnet_paper",
        convs: convs_of_2012(1.0),
        hidden: gaussian(1.0),
        last: gaussian(0.0),
        dropout_first: false,
        lrn: LRN,
        pool_first: false,
        input_size: 224,
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
        lrn: LRN,
        pool_first: false,
        input_size: 224,
    },
    caffe("alexnet_caffe", 0.1, false),
    caffe("caffenet", 1.0, true),
];

/// Convolutions in two groups: only conv3 takes input from the kernel maps of both GPUs.
const GROUPED: [bool; 5] = [false, true, false, true, true];
/// Convolutions followed by LRN.
const NORMALIZED: [bool; 5] = [true, true, false, false, false];
/// Convolutions followed by a pool.
const POOLED: [bool; 5] = [true, true, false, false, true];
/// LRN with the constants of section 3.3: k = 2, n = 5, alpha = 1e-4, beta = 0.75. VGG's A-LRN uses the same.
pub(super) const LRN: Layer = Layer::Lrn { size: 5, alpha: 1e-4, beta: 0.75, k: 2.0, groups: 1 };
const HIDDEN: usize = 4096;

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
            input_size: ROWS[variant as usize].input_size,
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

    /// The 2012 network as Caffe trains it: LRN with k = 1, and an alpha of a fifth of the paper's, which Caffe
    /// divides by the size of the window. Designed for 227×227.
    pub fn caffe() -> Self {
        Self::new(AlexNetVariant::Caffe).with_lrn(true).with_groups(true)
    }

    /// Caffe's reference network: [`caffe`](Self::caffe) with each pool before its LRN.
    pub fn caffenet() -> Self {
        Self::new(AlexNetVariant::CaffeNet).with_lrn(true).with_groups(true)
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
                i == 0 && self.variant != AlexNetVariant::Torchvision && self.input_size == 227;
            features.push(Layer::Conv {
                out: scaled_channels(conv.out, self.width),
                kernel: conv.kernel,
                stride: conv.stride,
                padding: if unpadded { 0 } else { conv.padding },
                groups: if self.groups && GROUPED[i] { 2 } else { 1 },
                init: conv.init,
            });
            features.push(self.activation());
            let kernel = if self.overlapping_pools { 3 } else { 2 };
            let pool = POOLED[i].then_some(Layer::MaxPool { kernel, stride: 2 });
            let lrn = (self.lrn && NORMALIZED[i]).then(|| self.lrn(row));
            let after = if row.pool_first { [pool, lrn] } else { [lrn, pool] };
            features.extend(after.into_iter().flatten());
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

    fn lrn(&self, row: &Row) -> Layer {
        match row.lrn {
            Layer::Lrn { size, alpha, beta, k, .. } if self.lrn_within_groups => {
                Layer::Lrn { size, alpha, beta, k, groups: 2 }
            }
            lrn => lrn,
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
