//! What functions accept as a network.

use super::alexnet::AlexNetConfig;
use super::checked_table::Architecture;
use super::registry::NetworkConfig;
use super::table::Table;
use super::vgg::VggConfig;
use crate::error::Result;

/// Anything that describes a network: an [`Architecture`], a [`Table`], or one of the configs.
pub trait IntoArchitecture {
    /// The checked network.
    ///
    /// # Errors
    /// As for [`Architecture::new`].
    fn into_architecture(self) -> Result<Architecture>;
}

impl IntoArchitecture for Architecture {
    fn into_architecture(self) -> Result<Architecture> {
        Ok(self)
    }
}

impl IntoArchitecture for &Architecture {
    fn into_architecture(self) -> Result<Architecture> {
        Ok(self.clone())
    }
}

impl IntoArchitecture for Table {
    fn into_architecture(self) -> Result<Architecture> {
        Architecture::new(self)
    }
}

impl IntoArchitecture for AlexNetConfig {
    fn into_architecture(self) -> Result<Architecture> {
        self.architecture()
    }
}

impl IntoArchitecture for VggConfig {
    fn into_architecture(self) -> Result<Architecture> {
        self.architecture()
    }
}

impl IntoArchitecture for NetworkConfig {
    fn into_architecture(self) -> Result<Architecture> {
        self.architecture()
    }
}
