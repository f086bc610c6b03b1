//! Networks by name, for command lines, benches and services.

use super::alexnet::AlexNetConfig;
use super::table::Architecture;
use super::vgg::{self, VggConfig};
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};

/// The config of any network of this crate.
///
/// ```
/// use alexnet_vgg::models::NetworkConfig;
///
/// assert_eq!(NetworkConfig::by_name("vgg16_c")?.architecture().name, "vgg16_c");
/// assert!(NetworkConfig::by_name("vgg17").is_err());
/// # Ok::<(), alexnet_vgg::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum NetworkConfig {
    /// Any AlexNet.
    AlexNet(AlexNetConfig),
    /// Any VGG.
    Vgg(VggConfig),
}

impl NetworkConfig {
    /// Every published network, in the order of their papers.
    pub fn all() -> Vec<NetworkConfig> {
        let vggs = vgg::configurations().flat_map(|column| {
            [false, true].map(|bn| VggConfig::new(column).with_batch_norm(bn).into())
        });
        [AlexNetConfig::torchvision(), AlexNetConfig::paper(), AlexNetConfig::towers()]
            .map(NetworkConfig::from)
            .into_iter()
            .chain(vggs)
            .collect()
    }

    /// The network of that name: `alexnet` (torchvision's), `alexnet_paper` (2012),
    /// `alexnet_towers` (the same as its two GPUs computed it), `vgg11`, `vgg11_lrn`, `vgg13`, `vgg16`, `vgg16_c`, `vgg19`, and each VGG with `_bn`.
    ///
    /// # Errors
    /// [`Error::UnknownNetwork`], which lists the names.
    pub fn by_name(name: &str) -> Result<Self> {
        let all = Self::all();
        let names: Vec<String> = all.iter().map(|config| config.architecture().name).collect();
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

    /// The same network for images of another number of channels.
    pub fn with_in_channels(self, in_channels: usize) -> Self {
        match self {
            Self::AlexNet(config) => Self::AlexNet(config.with_in_channels(in_channels)),
            Self::Vgg(config) => Self::Vgg(config.with_in_channels(in_channels)),
        }
    }

    /// The same network with its channels and hidden features scaled: [`VggConfig::width`].
    pub fn with_width(self, width: f64) -> Self {
        match self {
            Self::AlexNet(config) => Self::AlexNet(config.with_width(width)),
            Self::Vgg(config) => Self::Vgg(config.with_width(width)),
        }
    }

    /// The factor on its channels and hidden features.
    pub fn width(&self) -> f64 {
        match self {
            Self::AlexNet(config) => config.width,
            Self::Vgg(config) => config.width,
        }
    }

    /// The same network, meant for images of `[height, width]`. It matters to the 2012 AlexNet
    /// alone, whose first convolution is not padded at 227×227
    /// ([`AlexNetConfig::input_size`]); any network takes any size that its pools allow.
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
    pub fn architecture(&self) -> Architecture {
        match self {
            Self::AlexNet(config) => config.architecture(),
            Self::Vgg(config) => config.architecture(),
        }
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

impl From<NetworkConfig> for Architecture {
    fn from(config: NetworkConfig) -> Self {
        config.architecture()
    }
}

impl From<AlexNetConfig> for Architecture {
    fn from(config: AlexNetConfig) -> Self {
        config.architecture()
    }
}

impl From<VggConfig> for Architecture {
    fn from(config: VggConfig) -> Self {
        config.architecture()
    }
}
