//! AlexNet and VGG for Rust programs, without a tensor framework: every variant of both papers as a
//! table, trained weights from files, photos, and a compiled forward pass for the CPU.
//!
//! ```no_run
//! use alexnet_vgg_core::architecture::VggConfig;
//! use alexnet_vgg_core::engine::{CompileOptions, Compiled};
//! use alexnet_vgg_core::{predict::Classifier, vision::Views};
//!
//! let model = Compiled::load(VggConfig::vgg16(), "vgg16.safetensors", CompileOptions::default())?;
//! let classifier = Classifier::builder(model).views(Views::ten_crop()).build()?;
//! for prediction in classifier.classify_file("photo.jpg")?.predictions {
//!     println!("{:.1}%  {}", prediction.probability * 100.0, prediction.label);
//! }
//! # Ok::<(), alexnet_vgg_core::Error>(())
//! ```
//!
//! A network is a *table*: a list of layers as data. Everything else reads it.
//!
//! | module | what is in it |
//! |---|---|
//! | [`architecture`] | the tables of all networks, their shapes, costs and receptive fields |
//! | [`weights`] | trained weights: strictly checked loading from files, and saving to files |
//! | `hub` (a feature) | torchvision's published weights by name: downloaded, verified, cached |
//! | [`engine`] | the compiled forward pass for the CPU |
//! | `onnx` (a feature) | a network as an ONNX file, for other runtimes |
//! | [`vision`] | from a photo's file to a normalized batch; [`vision::augment`]: the same with random augmentation, for training |
//! | [`predict`] | from photos to ranked labels, heat maps, features |
//! | `samples` (a feature) | a small trained network, and pictures to classify with it |
//!
//! The package `alexnet-vgg-burn` builds on this one: it has the same networks as modules of the
//! tensor framework [burn](https://burn.dev), on CPU and GPU, and trains them.
#![deny(unsafe_code, missing_docs)]

pub mod architecture;
mod array;
#[doc(hidden)]
pub mod atomic_file;
mod dropout_mask;
pub mod engine;
mod error;
#[cfg(feature = "hub")]
pub mod hub;
mod metadata;
#[cfg(feature = "onnx")]
pub mod onnx;
pub mod predict;
#[cfg(feature = "samples")]
pub mod samples;
pub mod vision;
pub mod weights;

pub use array::Array;
pub use error::{Error, Result, expect_finite, printable};
pub use metadata::Metadata;

/// What this crate shares with the package `alexnet-vgg-burn`. Not for other crates: it may change
/// at any time.
#[doc(hidden)]
pub mod internal {
    pub use crate::dropout_mask::dropout_mask;
    pub use crate::weights::safetensors_header;
}
