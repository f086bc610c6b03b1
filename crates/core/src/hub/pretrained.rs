//! Compiled networks with published weights.

use super::hub_options::HubOptions;
use super::published::Published;
use crate::architecture::IntoArchitecture;
use crate::engine::{CompileOptions, Compiled};
use crate::error::Result;
use crate::weights::LoadOptions;

impl Compiled {
    /// Compiles a network with torchvision's published weights, which are [downloaded](crate::hub)
    /// on the first call and then taken from the cache. Their preset is
    /// [`Preset::imagenet`](crate::vision::Preset::imagenet). Feature `hub`.
    ///
    /// # Errors
    /// As for [`Published::of`], [`HubOptions::from_env`], [`HubOptions::open`] and
    /// [`Compiled::from_weights`].
    pub fn pretrained(
        architecture: impl IntoArchitecture,
        options: impl Into<CompileOptions>,
    ) -> Result<Self> {
        let architecture = architecture.into_architecture()?;
        let weights = HubOptions::from_env()?.open(Published::of(&architecture)?)?;
        Self::from_weights(architecture, &weights, LoadOptions::default(), options)
    }
}
