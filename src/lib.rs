//! AlexNet and VGG for Rust programs, on the tensor framework [burn](https://burn.dev): every variant
//! of both papers, with torchvision's weights, on CPU and GPU.
//!
//! ```
//! use alexnet_vgg::backend::Cpu;
//! use alexnet_vgg::models::{AlexNetConfig, InitNetwork, VggConfig};
//! use burn::tensor::{Distribution, Tensor};
//!
//! let device = Default::default();
//! # let (width, side) = (0.1, 64); // small, for the documentation's test
//! # let vgg = VggConfig::vgg16().with_width(width).init::<Cpu>(&device);
//! # let alexnet = AlexNetConfig::paper().with_width(width).init::<Cpu>(&device);
//! # /*
//! let vgg = VggConfig::vgg16().init::<Cpu>(&device);
//! let alexnet = AlexNetConfig::paper().init::<Cpu>(&device);
//! let side = 224;
//! # */
//! let images = Tensor::random([1, 3, side, side], Distribution::Normal(0.0, 1.0), &device);
//! let logits = vgg.forward(images.clone()); // [1, 3, 224, 224] -> [1, 1000]
//! assert_eq!(logits.dims(), [1, 1000]);
//! assert_eq!(alexnet.forward(images).dims(), [1, 1000]);
//! ```
//!
//! From a photo to a label, with weights that PyTorch trained:
//!
//! ```no_run
//! use alexnet_vgg::engine::{CompileOptions, Compiled};
//! use alexnet_vgg::{models::VggConfig, predict::Classifier, vision::Views};
//!
//! let model = Compiled::load(VggConfig::vgg16(), "vgg16.safetensors", CompileOptions::default())?;
//! let classifier = Classifier::builder(model).views(Views::ten_crop()).build()?;
//! for prediction in classifier.classify_file("photo.jpg")?.predictions {
//!     println!("{:.1}%  {}", prediction.probability * 100.0, prediction.label);
//! }
//! # Ok::<(), alexnet_vgg::Error>(())
//! ```
//!
//! # Where things are
//!
//! A network is a *table*: a list of layers as data. Everything else reads it. Whatever does not
//! need burn is in the package `alexnet-vgg-core`, which this one re-exports under these paths:
//!
//! | module | what is in it |
//! |---|---|
//! | [`models`] | the tables of all networks, and the burn module that walks a table |
//! | [`summary`] | shapes, parameters, multiply-adds, receptive fields, without allocating a network |
//! | [`small_kernels`] | VGG's argument for 3×3 kernels, with a network's own numbers |
//! | [`weights`] | trained weights: strictly checked loading from files, and saving to files |
//! | `hub` (a feature) | torchvision's published weights by name: downloaded, verified, cached |
//! | [`engine`] | the compiled forward pass for the CPU, several times faster |
//! | `onnx` (a feature) | a network as an ONNX file, for other runtimes |
//! | [`vision`] | from a photo's file to a normalized batch; [`vision::augment`]: the same with random augmentation, for training |
//! | [`predict`] | from photos to ranked labels, heat maps, features |
//! | `samples` (a feature) | a small trained network, and pictures to classify with it |
//! | `train` (a feature) | training with the papers' recipes, and checkpoints that survive a crash at any moment |
//! | [`backend`] | CPU and GPU backends, chosen by type or by name, and what a device can hold |
//!
//! # Features of the package
//!
//! By default: `flex` (burn's CPU backend, [`backend::Cpu`]), `formats` (all picture formats),
//! `onnx`, and `samples`. `wgpu` adds the GPU; a crate that names its type needs `#![recursion_limit = "256"]`.
//! `ndarray` is burn's older CPU backend. `hub` downloads published weights. `train` adds training,
//! `dashboard` shows it in burn-train's terminal dashboard, and `mpi` trains on several processes
//! and hosts, with an MPI library that must be installed when building.
#![deny(unsafe_code, missing_docs)]
#![recursion_limit = "256"]

pub mod backend;
pub mod engine;
pub mod models;
pub mod predict;
#[cfg(feature = "train")]
pub mod train;

pub use alexnet_vgg_core::architecture::{small_kernels, summary};
#[cfg(feature = "hub")]
#[doc(inline)]
pub use alexnet_vgg_core::hub;
#[cfg(feature = "onnx")]
#[doc(inline)]
pub use alexnet_vgg_core::onnx;
#[cfg(feature = "samples")]
#[doc(inline)]
pub use alexnet_vgg_core::samples;
#[doc(inline)]
pub use alexnet_vgg_core::vision;
#[doc(inline)]
pub use alexnet_vgg_core::weights;
pub use alexnet_vgg_core::{Array, Error, Metadata, Result, printable};

/// The programs of the README and of the pages in `docs/` compile.
#[cfg(doctest)]
mod pages {
    #[doc = include_str!("../README.md")]
    struct Readme;
    #[doc = include_str!("../docs/networks.md")]
    struct Networks;
    #[doc = include_str!("../docs/prediction.md")]
    struct Prediction;
    #[doc = include_str!("../docs/devices.md")]
    struct Devices;
    #[doc = include_str!("../docs/your-weights.md")]
    struct YourWeights;
}
