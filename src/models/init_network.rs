//! Fresh networks from configs.

use super::{AlexNetConfig, Architecture, IntoArchitecture, Network, NetworkConfig, VggConfig};
use burn::tensor::backend::Backend;

/// Makes fresh networks from configs, as burn's own configs make modules.
///
/// ```
/// use alexnet_vgg::{backend::Cpu, models::{InitNetwork, VggConfig}};
///
/// let vgg = VggConfig::vgg11().with_width(0.05).init::<Cpu>(&Default::default());
/// assert_eq!(vgg.architecture().name, "vgg11");
/// ```
pub trait InitNetwork: IntoArchitecture + Clone {
    /// A fresh network with random weights.
    ///
    /// # Panics
    /// If [`Network::new`] returns an error, with its message.
    fn init<B: Backend>(&self, device: &B::Device) -> Network<B> {
        Network::new(self.clone(), device).unwrap_or_else(|error| panic!("{error}"))
    }
}

impl InitNetwork for AlexNetConfig {}
impl InitNetwork for VggConfig {}
impl InitNetwork for NetworkConfig {}
impl InitNetwork for Architecture {}
