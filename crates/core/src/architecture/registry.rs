//! Networks by name, for command lines, benchmarks and services.

use super::alexnet::AlexNetConfig;
use super::checked_table::Architecture;
use super::head::Head;
use super::layer::Layer;
use super::table::Table;
use super::vgg::{self, VggConfig};
use super::width::scaled_channels;
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};

/// The config of any AlexNet or VGG, or any other chain of layers.
///
/// ```
/// use alexnet_vgg_core::architecture::NetworkConfig;
///
/// assert_eq!(NetworkConfig::by_name("vgg16_c")?.table().name, "vgg16_c");
/// assert!(NetworkConfig::by_name("vgg17").is_err());
/// # Ok::<(), alexnet_vgg_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum NetworkConfig {
    /// Any AlexNet.
    AlexNet(AlexNetConfig),
    /// Any VGG.
    Vgg(VggConfig),
    /// A table that no config describes, such as a network some of whose channels were removed (pruned).
    Custom(Table),
}

impl NetworkConfig {
    /// The configs of all published networks, AlexNets first.
    pub fn all() -> Vec<NetworkConfig> {
        let vggs = vgg::configurations().flat_map(|column| {
            [false, true].map(|bn| VggConfig::new(column).with_batch_norm(bn).into())
        });
        let alexnets = [
            AlexNetConfig::torchvision(),
            AlexNetConfig::paper(),
            AlexNetConfig::two_gpu(),
            AlexNetConfig::caffe(),
            AlexNetConfig::caffenet(),
        ];
        alexnets.map(NetworkConfig::from).into_iter().chain(vggs).collect()
    }

    /// The network with this name: `alexnet` (torchvision's), `alexnet_paper` (the 2012 network),
    /// `alexnet_two_gpu` (the same as computed on two GPUs), `alexnet_caffe` and `caffenet` (the same as
    /// trained in Caffe), `vgg11`, `vgg11_lrn`, `vgg13`, `vgg16`, `vgg16_c`, `vgg19`, and each VGG with `_bn`.
    ///
    /// # Errors
    /// [`Error::UnknownNetwork`] with the list of names if there is no such network.
    pub fn by_name(name: &str) -> Result<Self> {
        let all = Self::all();
        let names: Vec<String> = all.iter().map(|config| config.table().name).collect();
        match names.iter().position(|known| known == name) {
            Some(found) => Ok(all[found].clone()),
            None => Err(Error::UnknownNetwork { name: name.into(), known: names.join(", ") }),
        }
    }

    /// The same network with another number of classes.
    pub fn with_num_classes(self, num_classes: usize) -> Self {
        match self {
            Self::AlexNet(config) => Self::AlexNet(config.with_num_classes(num_classes)),
            Self::Vgg(config) => Self::Vgg(config.with_num_classes(num_classes)),
            Self::Custom(mut table) => {
                if let Some(Layer::Linear { out, .. }) = table.classifier.last_mut() {
                    *out = num_classes;
                }
                Self::Custom(table)
            }
        }
    }

    /// The same network for images with another number of channels.
    pub fn with_in_channels(self, in_channels: usize) -> Self {
        match self {
            Self::AlexNet(config) => Self::AlexNet(config.with_in_channels(in_channels)),
            Self::Vgg(config) => Self::Vgg(config.with_in_channels(in_channels)),
            Self::Custom(table) => {
                let [_, height, width] = table.input;
                Self::Custom(Table { input: [in_channels, height, width], ..table })
            }
        }
    }

    /// The same network with its channels and hidden features scaled by another factor:
    /// [`VggConfig::width`]. A custom table is scaled as it stands.
    pub fn with_width(self, width: f64) -> Self {
        match self {
            Self::AlexNet(config) => Self::AlexNet(config.with_width(width)),
            Self::Vgg(config) => Self::Vgg(config.with_width(width)),
            Self::Custom(table) if width == 1.0 => Self::Custom(table),
            Self::Custom(table) => Self::Custom(scaled(table, width)),
        }
    }

    /// The factor by which its channels and hidden features are scaled.
    pub fn width(&self) -> f64 {
        match self {
            Self::AlexNet(config) => config.width,
            Self::Vgg(config) => config.width,
            Self::Custom(_) => 1.0,
        }
    }

    /// The same network with another pool and other hidden layers.
    ///
    /// # Errors
    /// [`Error::Setting`] for a custom table, whose classifier is written out.
    pub fn with_head(self, head: Head) -> Result<Self> {
        match self {
            Self::AlexNet(config) => Ok(Self::AlexNet(config.with_head(head))),
            Self::Vgg(config) => Ok(Self::Vgg(config.with_head(head))),
            Self::Custom(table) => Err(Error::Setting {
                place: table.name,
                expected: "a config, to set its head".into(),
                found: "a custom table".into(),
            }),
        }
    }

    /// The same network, designed for images of `[height, width]` pixels. This changes only the AlexNet of
    /// 2012 and Caffe's, whose first convolution has no padding at 227×227 ([`AlexNetConfig::input_size`]). Every
    /// network takes images of any size above its minimum.
    pub fn for_input(self, size: [usize; 2]) -> Self {
        match self {
            Self::AlexNet(config) if size == [227, 227] => {
                Self::AlexNet(config.with_input_size(227))
            }
            Self::AlexNet(config) if config.input_size == 227 => {
                Self::AlexNet(config.with_input_size(224))
            }
            other => other,
        }
    }

    /// The table of this network.
    pub fn table(&self) -> Table {
        match self {
            Self::AlexNet(config) => config.table(),
            Self::Vgg(config) => config.table(),
            Self::Custom(table) => table.clone(),
        }
    }

    /// The checked architecture of this network.
    ///
    /// # Errors
    /// As for [`Architecture::new`].
    pub fn architecture(&self) -> Result<Architecture> {
        Architecture::new(self.table())
    }
}

/// The table with all channels and hidden features scaled.
fn scaled(table: Table, width: f64) -> Table {
    let scale = |layer| match layer {
        Layer::Conv { out, kernel, stride, padding, groups, init } => {
            Layer::Conv { out: scaled_channels(out, width), kernel, stride, padding, groups, init }
        }
        Layer::Linear { out, init } => Layer::Linear { out: scaled_channels(out, width), init },
        other => other,
    };
    let last = table.classifier.last().copied();
    let mut classifier: Vec<Layer> = table.classifier.into_iter().map(scale).collect();
    // The last layer has a feature for each class.
    if let (Some(slot), Some(last)) = (classifier.last_mut(), last) {
        *slot = last;
    }
    Table { features: table.features.into_iter().map(scale).collect(), classifier, ..table }
}

impl From<AlexNetConfig> for NetworkConfig {
    fn from(config: AlexNetConfig) -> Self {
        Self::AlexNet(config)
    }
}

impl From<VggConfig> for NetworkConfig {
    fn from(config: VggConfig) -> Self {
        Self::Vgg(config)
    }
}

impl From<Table> for NetworkConfig {
    fn from(table: Table) -> Self {
        Self::Custom(table)
    }
}
