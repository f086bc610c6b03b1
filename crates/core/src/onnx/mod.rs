//! Networks as ONNX files, for other runtimes: onnxruntime, OpenVINO, TensorRT, a browser. Feature `onnx`.
//!
//! ```
//! use alexnet_vgg_core::architecture::VggConfig;
//! use alexnet_vgg_core::onnx::{self, ExportOptions};
//! use alexnet_vgg_core::vision::Preset;
//!
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("vgg16.onnx");
//! let vgg = VggConfig::vgg16().with_width(0.05).architecture()?;
//! let options = ExportOptions { preset: Some(Preset::imagenet()), ..ExportOptions::default() };
//! // The callback returns rows of each parameter, here all 0.5.
//! let file = onnx::export(&vgg, &path, &options, |parameter, rows| {
//!     Ok(vec![0.5; rows.len() * parameter.shape[1..].iter().product::<usize>()])
//! })?;
//! assert_eq!(std::fs::metadata(&path)?.len(), file.bytes());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The file has one graph of opset 17 and IR version 8, all in f32, from `input` `[N, C, H, W]` to `logits`
//! `[N, classes]`. Nodes and the values between them have torchvision's keys as names (`features.0`), with the
//! papers' names (`conv1_1`) as their `doc_string`; the weights have torchvision's names. Dropout has no node.
//! `metadata_props` has `network`, `num_classes`, and, if a [`Preset`](crate::vision::Preset) was given, its
//! name as `preset` and all of it as JSON as `preprocessing`.
//!
//! The height and width are fixed, because the windows of the adaptive pool depend on them. For an image with
//! NaN in it, the networks of this crate return NaN; other runtimes may return anything.
//!
//! - `graph`: the operators of a table;
//! - `messages`: the format; `initializer`: the weights, which are written piece by piece;
//! - `onnx_file`: the whole file.

mod graph;
mod initializer;
mod messages;
mod onnx_file;

pub use onnx_file::{ExportOptions, IR_VERSION, OPSET, OnnxFile, export};
