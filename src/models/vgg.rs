//! VGG: *Very Deep Convolutional Networks for Large-Scale Image Recognition*, Simonyan and
//! Zisserman, 2014.
//!
//! Table 1 of the paper has six columns, A to E; here each is a row of [`TABLE_1`]. torchvision
//! calls them vgg11 (A), vgg13 (B), vgg16 (D) and vgg19 (E), and adds batch normalization to each.

use super::alexnet::LRN;
use super::network::Vgg;
use super::table::{Architecture, BiasInit, Init, Layer, Numbering, WeightInit};
use super::{even, init_or_panic};
use VggConfiguration as Is;
use burn::config::Config;
use burn::tensor::backend::Backend;

/// A column of the paper's table 1.
#[derive(Config, Copy, Debug, PartialEq, Eq)]
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

/// How fresh weights are drawn.
#[derive(Config, Copy, Debug, PartialEq, Eq)]
pub enum VggInit {
    /// torchvision's: convolutions N(0, 2 / fan_out), linear layers N(0, 0.01²), biases 0.
    Torchvision,
    /// The paper's section 3.1: N(0, 10⁻²), where 10⁻² is the *variance*, biases 0. The paper
    /// trains only configuration A from this, and starts the deeper ones from A's layers.
    Paper,
}

/// How to build a VGG.
///
/// ```
/// use alexnet_vgg::models::VggConfig;
///
/// let table = VggConfig::vgg16_bn().with_num_classes(10).architecture();
/// assert_eq!(table.name, "vgg16_bn");
/// assert_eq!(table.num_classes()?, 10);
/// # Ok::<(), alexnet_vgg::Error>(())
/// ```
#[derive(Config, Debug, PartialEq)]
pub struct VggConfig {
    /// The column of table 1.
    pub configuration: VggConfiguration,
    /// Batch normalization between each convolution and its ReLU.
    #[config(default = false)]
    pub batch_norm: bool,
    /// Probability of dropping a hidden feature, 0 <= p < 1.
    #[config(default = 0.5)]
    pub dropout: f64,
    /// Number of classes, at least 1.
    #[config(default = 1000)]
    pub num_classes: usize,
    /// Channels of the input, at least 1.
    #[config(default = 3)]
    pub in_channels: usize,
    /// Factor on the number of channels and hidden features, rounded to even numbers (at least 2):
    /// below 1 for small experiments.
    #[config(default = 1.0)]
    pub width: f64,
    /// How fresh weights are drawn.
    #[config(default = "VggInit::Torchvision")]
    pub initialization: VggInit,
}

/// A column of table 1: five stages of convolutions, `(channels, kernel)`, with a pool after each.
struct Column {
    configuration: VggConfiguration,
    name: &'static str,
    stages: [&'static [(usize, usize)]; 5],
    lrn: bool,
}

/// Table 1 of the paper, in the order of [`VggConfiguration`]. A new network is a new row.
#[rustfmt::skip]
const TABLE_1: [Column; 6] = [
    column(Is::A, "vgg11", A),
    Column { lrn: true, ..column(Is::ALrn, "vgg11_lrn", A) },
    column(Is::B, "vgg13", [
        &[(64, 3); 2], &[(128, 3); 2], &[(256, 3); 2], &[(512, 3); 2], &[(512, 3); 2],
    ]),
    column(Is::C, "vgg16_c", [
        &[(64, 3); 2], &[(128, 3); 2],
        &[(256, 3), (256, 3), (256, 1)], &[(512, 3), (512, 3), (512, 1)], &[(512, 3), (512, 3), (512, 1)],
    ]),
    column(Is::D, "vgg16", [
        &[(64, 3); 2], &[(128, 3); 2], &[(256, 3); 3], &[(512, 3); 3], &[(512, 3); 3],
    ]),
    column(Is::E, "vgg19", [
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

// A configuration is the index of its row.
const _: () = {
    let mut row = 0;
    while row < TABLE_1.len() {
        assert!(TABLE_1[row].configuration as usize == row);
        row += 1;
    }
};

const HIDDEN: usize = 4096;

/// Every column, for the registry.
pub(super) fn configurations() -> impl Iterator<Item = VggConfiguration> {
    TABLE_1.iter().map(|column| column.configuration)
}

impl VggConfig {
    /// Configuration A.
    pub fn vgg11() -> Self {
        Self::new(VggConfiguration::A)
    }

    /// Configuration A with batch norm.
    pub fn vgg11_bn() -> Self {
        Self::vgg11().with_batch_norm(true)
    }

    /// Configuration A-LRN.
    pub fn a_lrn() -> Self {
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
    pub fn c() -> Self {
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
    pub fn architecture(&self) -> Architecture {
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
        Architecture {
            name: format!("{}{}", column.name, if self.batch_norm { "_bn" } else { "" }),
            input: [self.in_channels, 224, 224],
            features,
            pool: [7, 7],
            classifier: self.classifier(),
            numbering: Numbering::Blocks,
        }
    }

    /// "Same" padding: the map keeps its size, also under C's 1×1 kernels.
    fn conv(&self, out: usize, kernel: usize) -> Layer {
        Layer::Conv {
            out: even(out, self.width),
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

    fn classifier(&self) -> Vec<Layer> {
        let init = match self.initialization {
            VggInit::Torchvision => zero_bias(WeightInit::Normal { std: 0.01 }),
            VggInit::Paper => PAPER,
        };
        let hidden = [
            Layer::Linear { out: even(HIDDEN, self.width), init },
            Layer::Relu,
            Layer::Dropout { p: self.dropout },
        ];
        let mut layers = hidden.repeat(2);
        layers.push(Layer::Linear { out: self.num_classes, init });
        layers
    }

    /// A fresh network with random weights.
    ///
    /// # Panics
    /// Where [`Network::new`](super::Network::new) has an error, with its message.
    pub fn init<B: Backend>(&self, device: &B::Device) -> Vgg<B> {
        init_or_panic(self.architecture(), device)
    }
}

/// The variance is 10⁻², so the standard deviation is 10⁻¹.
const PAPER: Init = zero_bias(WeightInit::Normal { std: 0.1 });

const fn zero_bias(weight: WeightInit) -> Init {
    Init { weight, bias: BiasInit::Constant(0.0) }
}
