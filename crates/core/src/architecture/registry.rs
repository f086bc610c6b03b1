//! Networks by name, for command lines, benchmarks and services.

use super::alexnet::AlexNetConfig;
use super::checked_table::Architecture;
use super::table::Table;
use super::vgg::{self, VggConfig};
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};

/// The config of any AlexNet or VGG.
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
}

impl NetworkConfig {
    /// The configs of all published networks, AlexNets first.
    pub fn all() -> Vec<NetworkConfig> {
        let vggs = vgg::configurations().flat_map(|column| {
            [false, true].map(|bn| VggConfig::new(column).with_batch_norm(bn).into())
        });
        [AlexNetConfig::torchvision(), AlexNetConfig::paper(), AlexNetConfig::two_gpu()]
            .map(NetworkConfig::from)
            .into_iter()
            .chain(vggs)
            .collect()
    }

    /// The network with this name: `alexnet` (torchvision's), `alexnet_paper` (the 2012 network),
    /// `alexnet_two_gpu` (the same as computed on two GPUs), `vgg11`, `vgg11_lrn`, `vgg13`,
    /// `vgg16`, `vgg16_c`, `vgg19`, and each VGG with `_bn`.
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
        }
    }

    /// The same network for images with another number of channels.
    pub fn with_in_channels(self, in_channels: usize) -> Self {
        match self {
            Self::AlexNet(config) => Self::AlexNet(config.with_in_channels(in_channels)),
            Self::Vgg(config) => Self::Vgg(config.with_in_channels(in_channels)),
        }
    }

    /// The same network with its channels and hidden features scaled by another factor:
    /// [`VggConfig::width`].
    pub fn with_width(self, width: f64) -> Self {
        match self {
            Self::AlexNet(config) => Self::AlexNet(config.with_width(width)),
            Self::Vgg(config) => Self::Vgg(config.with_width(width)),
        }
    }

    /// The factor by which its channels and hidden features are scaled.
    pub fn width(&self) -> f64 {
        match self {
            Self::AlexNet(config) => config.width,
            Self::Vgg(config) => config.width,
        }
    }

    /// The same network, designed for images of `[height, width]` pixels. This changes only the AlexNet of
    /// 2012, whose first convolution has no padding at 227×227 ([`AlexNetConfig::input_size`]). Every network
    /// takes images of any size above its minimum.
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
