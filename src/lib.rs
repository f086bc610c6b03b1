//! AlexNet and VGG for Rust programs, on the tensor framework [burn](https://burn.dev): every variant
//! of both papers, with torchvision's weights, on CPU and GPU.
//!
//! ```
//! use alexnet_vgg::backend::Cpu;
//! use alexnet_vgg::models::{AlexNetConfig, VggConfig};
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
//! use alexnet_vgg::engine::{Compiled, Precision};
//! use alexnet_vgg::{models::VggConfig, predict::Classifier, vision::Views};
//!
//! let model = Compiled::load(VggConfig::vgg16(), "vgg16.safetensors", Precision::F32)?;
//! let classifier = Classifier::builder(model).views(Views::ten_crop()).build()?;
//! for guess in classifier.classify_file("photo.jpg")?.ranked {
//!     println!("{:.1} %  {}", guess.probability * 100.0, guess.label);
//! }
//! # Ok::<(), alexnet_vgg::Error>(())
//! ```
//!
//! # The house
//!
//! A network is a *table*: a list of layers as data. Everything else reads it.
//!
//! | module | what is in it |
//! |---|---|
//! | [`models`] | the tables of all networks, and the burn module that walks a table |
//! | [`summary`] | shapes, parameters, multiply-adds, receptive fields, without allocating a network |
//! | [`small_kernels`] | VGG's argument for 3×3 kernels, with a network's own numbers |
//! | [`weights`] | trained weights from files, strictly |
//! | `hub` (a feature) | torchvision's published weights by name: downloaded, checked, kept |
//! | [`engine`] | the compiled forward pass for the CPU, several times faster |
//! | [`onnx`] | a network as an ONNX file, for other runtimes |
//! | [`vision`] | from a photo's file to a normalized batch; [`vision::augment`]: the same at random, for training |
//! | [`predict`] | from photos to ranked labels, heat maps, features |
//! | `train` (a feature) | training by the papers' recipes, with checkpoints that survive anything |
//! | [`backend`] | CPU and GPU backends, chosen by type or by name, and what a device can hold |
//!
//! # Features of the package
//!
//! `ndarray` (default) and `flex` are CPU backends, `wgpu` is the GPU. A crate that names the
//! `wgpu` backend needs `#![recursion_limit = "256"]`. `hub` downloads published weights,
//! `train` trains; `mpi` trains on several processes and hosts, by an MPI library that must be there to
//! build.
#![deny(unsafe_code, missing_docs)]
#![recursion_limit = "256"]

pub mod backend;
pub mod engine;
mod error;
#[cfg(feature = "hub")]
pub mod hub;
pub mod models;
pub mod onnx;
pub mod predict;
pub mod small_kernels;
pub mod summary;
#[cfg(feature = "train")]
pub mod train;
pub mod vision;
pub mod weights;
mod whole_file;

pub use error::{Error, Result, printable};

/// The README's programs compile.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
