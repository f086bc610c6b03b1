//! VGG: *Very Deep Convolutional Networks for Large-Scale Image Recognition*, Simonyan and
//! Zisserman, 2014.
//!
//! Table 1 of the paper has six configurations, A to E with A-LRN: here, those of [`TABLE_1`].
//! torchvision calls them vgg11 (A), vgg13 (B), vgg16 (D) and vgg19 (E), and also offers each of
//! them with batch normalization.

use super::alexnet::LRN;
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

/// A configuration: a column of the paper's table 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum VggConfiguration {
    /// 11 weight layers: vgg11.
    A,
    /// 11 weight layers and local response normalization after the first: `vgg11_lrn`.
    ALrn,
    /// 13 weight layers: vgg13.
    B,
    /// 16 weight layers, three of them 1×1 convolutions: `vgg16_c`.
    C,
    /// 16 weight layers: vgg16.
    D,
    /// 19 weight layers: vgg19.
    E,
}

/// How the weights are initialized.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum VggInit {
    /// torchvision's: convolutions N(0, 2 / fan_out), linear layers N(0, 0.01²), biases 0.
    Torchvision,
    /// Section 3.1 of the paper: N(0, 10⁻²), where 10⁻² is the *variance*, biases 0. The paper trains only
    /// configuration A from this initialization, and initializes the deeper ones with layers of A.
    Paper,
}

/// The config of a VGG.
///
/// ```
/// use alexnet_vgg_core::architecture::VggConfig;
///
/// let vgg16 = VggConfig::vgg16_bn().with_num_classes(10).architecture()?;
/// assert_eq!(vgg16.name, "vgg16_bn");
/// assert_eq!(vgg16.num_classes(), 10);
/// # Ok::<(), alexnet_vgg_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VggConfig {
    /// The configuration: a column of table 1.
    pub configuration: VggConfiguration,
    /// Whether there is batch normalization between each convolution and its ReLU.
    pub batch_norm: bool,
    /// Probability of dropping a hidden feature, 0 <= p < 1.
    pub dropout: f64,
    /// The pool and the hidden layers that follow the features.
    #[serde(default)]
    pub head: Head,
    /// Number of classes, at least 1.
    pub num_classes: usize,
    /// Channels of the input, at least 1.
    pub in_channels: usize,
    /// Factor by which the numbers of channels and hidden features are scaled; the results are
    /// rounded to even numbers of at least 2. Use a factor below 1 for small experiments.
    pub width: f64,
    /// How the weights are initialized.
    pub initialization: VggInit,
}

/// A column of table 1: five stages of convolutions, `(channels, kernel)`, each followed by a pool.
struct Column {
    configuration: VggConfiguration,
    name: &'static str,
    stages: [&'static [(usize, usize)]; 5],
    lrn: bool,
}

/// Table 1 of the paper, in the order of [`VggConfiguration`]. To add a network, add an entry.
#[rustfmt::skip]
const TABLE_1: [Column; 6] = [
    column(VggConfiguration::A, "vgg11", A),
    Column { lrn: true, ..column(VggConfiguration::ALrn, "vgg11_lrn", A) },
    column(VggConfiguration::B, "vgg13", [
        &[(64, 3); 2], &[(128, 3); 2], &[(256, 3); 2], &[(512, 3); 2], &[(512, 3); 2],
    ]),
    column(VggConfiguration::C, "vgg16_c", [
        &[(64, 3); 2], &[(128, 3); 2],
        &[(256, 3), (256, 3), (256, 1)], &[(512, 3), (512, 3), (512, 1)], &[(512, 3), (512, 3), (512, 1)],
    ]),
    column(VggConfiguration::D, "vgg16", [
        &[(64, 3); 2], &[(128, 3); 2], &[(256, 3); 3], &[(512, 3); 3], &[(512, 3); 3],
    ]),
    column(VggConfiguration::E, "vgg19", [
        &[(64, 3); 2], &[(128, 3); 2], &[(256, 3); 4], &[(512, 3); 4], &[(512, 3); 4],
    ]),
];

#[rustfmt::skip]
const A: [&[(usize, usize)]; 5] = [
    &[(64, 3)], &[(128, 3)], &[(256, 3); 2], &[(512, 3); 2], &[(512, 3); 2],
];

const fn column(
    configuration: VggConfiguration,
    name: &'static str,
    stages: [&'static [(usize, usize)]; 5],
) -> Column {
    Column { configuration, name, stages, lrn: false }
}

// A configuration is the index of its column.
const _: () = {
    let mut index = 0;
    while index < TABLE_1.len() {
        assert!(TABLE_1[index].configuration as usize == index);
        index += 1;
    }
};

const HIDDEN: usize = 4096;

/// All configurations, in the order of table 1.
pub(super) fn configurations() -> impl Iterator<Item = VggConfiguration> {
    TABLE_1.iter().map(|column| column.configuration)
}

impl VggConfig {
    /// A configuration with 1000 classes, dropout of 0.5 and torchvision's initialization, without batch norm.
    pub fn new(configuration: VggConfiguration) -> Self {
        Self {
            configuration,
            batch_norm: false,
            dropout: 0.5,
            head: Head::Published,
            num_classes: 1000,
            in_channels: 3,
            width: 1.0,
            initialization: VggInit::Torchvision,
        }
    }

    setters! {
        with_configuration(configuration: VggConfiguration),
        with_batch_norm(batch_norm: bool),
        with_dropout(dropout: f64),
        with_head(head: Head),
        with_num_classes(num_classes: usize),
        with_in_channels(in_channels: usize),
        with_width(width: f64),
        with_initialization(initialization: VggInit),
    }

    /// Configuration A.
    pub fn vgg11() -> Self {
        Self::new(VggConfiguration::A)
    }

    /// Configuration A with batch norm.
    pub fn vgg11_bn() -> Self {
        Self::vgg11().with_batch_norm(true)
    }

    /// Configuration A-LRN.
    pub fn vgg11_lrn() -> Self {
        Self::new(VggConfiguration::ALrn)
    }

    /// Configuration B.
    pub fn vgg13() -> Self {
        Self::new(VggConfiguration::B)
    }

    /// Configuration B with batch norm.
    pub fn vgg13_bn() -> Self {
        Self::vgg13().with_batch_norm(true)
    }

    /// Configuration C, with its 1×1 convolutions.
    pub fn vgg16_c() -> Self {
        Self::new(VggConfiguration::C)
    }

    /// Configuration D.
    pub fn vgg16() -> Self {
        Self::new(VggConfiguration::D)
    }

    /// Configuration D with batch norm.
    pub fn vgg16_bn() -> Self {
        Self::vgg16().with_batch_norm(true)
    }

    /// Configuration E.
    pub fn vgg19() -> Self {
        Self::new(VggConfiguration::E)
    }

    /// Configuration E with batch norm.
    pub fn vgg19_bn() -> Self {
        Self::vgg19().with_batch_norm(true)
    }

    /// The table of this network.
    pub fn table(&self) -> Table {
        let column = &TABLE_1[self.configuration as usize];
        let mut features = Vec::new();
        for (stage, convs) in column.stages.iter().enumerate() {
            for &(out, kernel) in convs.iter() {
                features.push(self.conv(out, kernel));
                if self.batch_norm {
                    features.push(Layer::BatchNorm);
                }
                features.push(Layer::Relu);
            }
            if column.lrn && stage == 0 {
                features.push(LRN);
            }
            features.push(Layer::MaxPool { kernel: 2, stride: 2 });
        }
        let (pool, hidden) = self.head.sizes(7, [scaled_channels(HIDDEN, self.width); 2]);
        Table {
            name: format!("{}{}", column.name, if self.batch_norm { "_bn" } else { "" }),
            input: [self.in_channels, 224, 224],
            features,
            pool,
            classifier: self.classifier(&hidden),
            numbering: Numbering::Blocks,
        }
    }

    /// A convolution with "same" padding: it keeps the size of the map, even with the 1×1 kernels
    /// of C.
    fn conv(&self, out: usize, kernel: usize) -> Layer {
        Layer::Conv {
            out: scaled_channels(out, self.width),
            kernel,
            stride: 1,
            padding: kernel / 2,
            groups: 1,
            init: match self.initialization {
                VggInit::Torchvision => zero_bias(WeightInit::KaimingNormalFanOut),
                VggInit::Paper => PAPER,
            },
        }
    }

    fn classifier(&self, hidden: &[usize]) -> Vec<Layer> {
        let init = match self.initialization {
            VggInit::Torchvision => zero_bias(WeightInit::Normal { std: 0.01 }),
            VggInit::Paper => PAPER,
        };
        let hidden = hidden.iter().flat_map(|&out| {
            [Layer::Linear { out, init }, Layer::Relu, Layer::Dropout { p: self.dropout }]
        });
        let mut layers = Vec::from_iter(hidden);
        layers.push(Layer::Linear { out: self.num_classes, init });
        layers
    }

    /// The checked architecture of this network.
    ///
    /// # Errors
    /// As for [`Architecture::new`], for example if there are no classes or the dropout is 1.
    pub fn architecture(&self) -> Result<Architecture> {
        Architecture::new(self.table())
    }
}

/// The variance is 10⁻², so the standard deviation is 10⁻¹.
const PAPER: Init = zero_bias(WeightInit::Normal { std: 0.1 });

const fn zero_bias(weight: WeightInit) -> Init {
    Init { weight, bias: BiasInit::Constant(0.0) }
}
