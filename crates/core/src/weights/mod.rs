//! Trained weights: read from files, matched with networks, and written to files.
//!
//! ```
//! use alexnet_vgg_core::Metadata;
//! use alexnet_vgg_core::architecture::VggConfig;
//! use alexnet_vgg_core::vision::Preset;
//! use alexnet_vgg_core::weights::{Naming, SaveOptions, Weights, save};
//!
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("tiny.safetensors");
//! // A tiny network. The callback returns rows of each parameter, here all 0.5.
//! let vgg = VggConfig::vgg11().with_width(0.05).with_num_classes(10).architecture()?;
//! let metadata = Metadata::from(Preset::imagenet());
//! save(&vgg, &metadata, &path, &SaveOptions::default(), |parameter, rows| {
//!     Ok(vec![0.5; rows.len() * parameter.shape[1..].iter().product::<usize>()])
//! })?;
//!
//! let weights = Weights::open(&path)?;
//! assert_eq!(weights.naming(&vgg)?, Some(Naming::Torchvision));
//! assert_eq!(weights.preset()?, Some(Preset::imagenet()));
//! assert_eq!(weights.values("classifier.6.bias")?, [0.5; 10]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What is read
//!
//! | | |
//! |---|---|
//! | formats | safetensors; PyTorch's `torch.save` since 1.6 (a zip archive, pickle protocols 2 to 5) and before (the legacy format); Caffe's `.caffemodel`; ONNX |
//! | types | f32, f16, bf16 and f64, or a mix of them; all become f32 |
//! | content | a state dict; a checkpoint that contains one under `state_dict`, `model`, ... or, if there is no other, an average of the weights during training under `model_ema`, ...; or the only one in a dict, tuple or list; a whole pickled module of any class. [`Weights::open_at`] chooses among several |
//! | names | torchvision's, timm's, the papers', and those of tutorials: see [`Naming`]; any others if the order and the shapes of the layers leave no doubt |
//! | classifiers | any number of linear layers of any size: see [`Head`](crate::architecture::Head) |
//! | layers | pruned ones (`weight_orig`, `weight_mask`) and those with weight normalization, whose weights are computed; [`Weights::notices`] names the latter |
//! | prefixes | those of DataParallel, torch.compile, FSDP and activation checkpointing, anywhere; up to four others |
//! | layouts | any strides and offsets, and several tensors in one storage |
//!
//! Files of Caffe and ONNX hold the layers of a network, too: they must be those of a registered network, which is then
//! what the file states.
//!
//! The format is found from the first bytes of the file, the naming from the names of its tensors.
//! The names that a network has under each naming follow from its table. [`Weights::identify`]
//! finds out which network a file is for.
//!
//! # What is refused
//!
//! Loading is strict: a tensor that is missing, extra, or has another shape or type is an error, and one
//! error lists all of them. So is a value that is NaN or infinite. [`LoadOptions::features`] leaves out the
//! classifier, whatever its shape.
//!
//! Files may come from untrusted sources:
//!
//! - Nothing in a file is executed or imported. A pickle is parsed into a tree of the calls that it *would*
//!   make. The result of a call that neither tensors nor plain values need is not known: if the weights are
//!   in it, or the call has them among its arguments, that is an error that names the function.
//! - Lengths, offsets, shapes and strides are checked against the file before anything is
//!   allocated. There are limits on the size of a header, pickle or archive directory, on the
//!   number of tensors, and on the length of their names. Compressed archives, tensors that repeat
//!   elements (`expand`), and tensors that together are more than four times the size of the file
//!   are errors.
//! - Where two readers could disagree about a file (a key twice, bytes between the entries of an archive,
//!   attributes that replace a tensor's values), it is an error.
//! - TorchScript archives, big-endian and encrypted files are errors, and so are sparse, quantized, complex
//!   and 8-bit tensors among the weights, and layers with spectral normalization.
//!
//! PyTorch's zip archives have checksums, which are verified. safetensors and legacy files have none: a
//! damaged value there is just another value.

// The layers, from the bytes of a file up to networks; each imports only from those before it:
//   limits, format_error, file_format, file_source, strided_view, checksum, tensor_entry with tensor_factor,
//   description, derived_tensors, file_contents, key_selection
//   file_metadata, protobuf, layer_chain, layer_comparison, chain_comparison, chain_matching, chain_contents
//   safetensors::reader, pytorch, caffe and onnx (readers of the formats), format_detection
//   naming, natural_order, normalization, lpips_parts, file_layers, name_prefixes, matched_tensors, name_matching, order_matching, network_sizes,
//   tensor_matching
//   weights_file (`Weights`), weights_metadata, network_identification, parameter_reader, choose_network
//   save_plan, safetensors::writer and pytorch::state_dict_writer, save
mod caffe;
mod chain_comparison;
mod chain_contents;
mod chain_matching;
mod checksum;
mod choose_network;
mod derived_tensors;
mod description;
mod file_contents;
mod file_format;
mod file_layers;
mod file_metadata;
mod file_source;
mod format_detection;
mod format_error;
mod key_selection;
mod layer_chain;
mod layer_comparison;
mod limits;
mod lpips_parts;
mod matched_tensors;
mod name_matching;
mod name_prefixes;
mod naming;
mod natural_order;
mod network_identification;
mod network_sizes;
mod normalization;
mod onnx;
mod order_matching;
mod parameter_reader;
mod protobuf;
mod pytorch;
mod safetensors;
mod save;
mod save_plan;
mod strided_view;
mod tensor_entry;
mod tensor_factor;
mod tensor_matching;
mod weights_file;
mod weights_metadata;

pub use ::safetensors::tensor::Dtype;
pub use file_format::Format;
pub use naming::Naming;
pub use network_identification::Identity;
pub use parameter_reader::{LoadOptions, ParameterReader};
#[doc(hidden)]
pub use safetensors::header as safetensors_header;
pub use save::save;
pub use save_plan::SaveOptions;
pub use tensor_entry::TensorInfo;
pub use weights_file::Weights;
