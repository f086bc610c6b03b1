//! torchvision's published weights by name: downloaded once, verified, and cached. Feature `hub`.
//!
//! ```no_run
//! use alexnet_vgg_core::architecture::VggConfig;
//! use alexnet_vgg_core::engine::{CompileOptions, Compiled};
//!
//! let vgg = Compiled::pretrained(VggConfig::vgg16(), CompileOptions::default())?;
//! # Ok::<(), alexnet_vgg_core::Error>(())
//! ```
//!
//! A file that is in the cache needs no network. Its SHA-256 is verified whenever its size or modification
//! time has changed since the last verification, so a load usually costs next to nothing. Damage that
//! changes neither is found with [`HubOptions::always_verify`]. A file that fails the verification is
//! downloaded again, with a message on stderr, and stays in place until the new one is complete.
//!
//! A file has another name (`.part`) while it is downloaded, so nothing else mistakes it for a complete one. A
//! later run continues where an earlier one was interrupted. If several processes or threads want the same
//! file, one of them downloads it and the others wait.
//!
//! | environment variable | meaning |
//! |---|---|
//! | `ALEXNET_VGG_CACHE` | the folder of the cache; default: `alexnet-vgg` in the platform's cache folder |
//! | `ALEXNET_VGG_MIRROR` | the address of a folder with the files; default: the published one |
//! | `ALEXNET_VGG_VERIFY` | `always`: verify on every load |
//! | `HTTPS_PROXY`, `NO_PROXY`, ... | as usual |

mod address;
mod cache_entry;
mod download;
mod fetch;
mod http_response;
mod hub_options;
mod pretrained;
mod progress_output;
mod published;
mod published_for_network;
mod verification;

pub use fetch::fetch;
pub use hub_options::HubOptions;
pub use published::{PUBLISHED, Published, Size};
