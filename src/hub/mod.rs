//! torchvision's published weights by name: fetched once, checked, kept. Feature `hub`.
//!
//! ```no_run
//! use alexnet_vgg::{backend::Cpu, models::{Vgg, VggConfig}};
//!
//! let device = Default::default();
//! let vgg = Vgg::<Cpu>::pretrained(VggConfig::vgg16(), &device)?;
//! // For transfer learning: published features, a fresh classifier.
//! let ten = VggConfig::vgg16().with_num_classes(10);
//! let vgg = Vgg::<Cpu>::pretrained_features(ten, &device)?;
//! # Ok::<(), alexnet_vgg::Error>(())
//! ```
//!
//! A file that is in the cache needs no network. It is checked by its SHA-256 whenever its size or
//! its time of modification changed since the last check, so that this costs next to nothing; damage
//! that leaves both alone is found by [`Options::always_verify`]. A file that fails the check is
//! fetched anew, with a word on stderr, and stays where it is until the new one is whole.
//!
//! What is being downloaded has another name (`.part`), so nothing else ever takes it for the file.
//! A later run goes on where an earlier one was cut. Of several processes or threads one fetches and
//! the others wait for it.
//!
//! | environment | |
//! |---|---|
//! | `ALEXNET_VGG_CACHE` | the cache's folder, instead of `alexnet-vgg` in the platform's |
//! | `ALEXNET_VGG_MIRROR` | the address of a folder that has the files, instead of the published one |
//! | `ALEXNET_VGG_VERIFY` | `always`: hash at every load |
//! | `HTTPS_PROXY`, `NO_PROXY`, ... | as usual |

mod cache;
mod download;
mod fit;
mod options;
mod progress;
mod registry;
mod response;
mod verify;

pub use options::Options;
pub use registry::{PUBLISHED, Published, Size};

use crate::error::Result;
use crate::models::{Architecture, Network};
use burn::tensor::backend::Backend;
use std::path::PathBuf;

/// The path of a published file: fetched, unless it is in the cache, and checked.
///
/// # Errors
/// As for [`Options::from_env`] and [`Options::fetch`].
pub fn fetch(published: &Published) -> Result<PathBuf> {
    Options::from_env()?.fetch(published)
}

impl<B: Backend> Network<B> {
    /// The network with torchvision's published weights: [fetched](crate::hub) at the first call,
    /// then from the cache. Their preprocessing is [`Preset::imagenet`](crate::vision::Preset).
    /// Feature `hub`.
    ///
    /// # Errors
    /// As for [`Published::of`], [`Options::from_env`] and [`Options::load`].
    pub fn pretrained(architecture: impl Into<Architecture>, device: &B::Device) -> Result<Self> {
        let architecture = architecture.into();
        Options::from_env()?.load(Published::of(&architecture)?, architecture, device)
    }

    /// The network with the features of torchvision's published weights and a fresh classifier, of
    /// any number of classes: the start of transfer learning. Feature `hub`.
    ///
    /// # Errors
    /// As for [`Published::features_of`], [`Options::from_env`] and [`Options::load_features`].
    pub fn pretrained_features(
        architecture: impl Into<Architecture>,
        device: &B::Device,
    ) -> Result<Self> {
        let architecture = architecture.into();
        Options::from_env()?.load_features(
            Published::features_of(&architecture)?,
            architecture,
            device,
        )
    }
}
