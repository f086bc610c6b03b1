//! The compiled CPU engine: a forward pass that is several times faster than a tensor framework's.
//!
//! [`Compiled::load`] reads a network's weights and packs them once. The result computes logits, from
//! slices to slices.
//!
//! ```
//! use alexnet_vgg_core::architecture::VggConfig;
//! use alexnet_vgg_core::engine::{CompileOptions, Compiled};
//!
//! let config = VggConfig::vgg11().with_width(0.05).with_num_classes(10);
//! // All weights are 0.01 here; `Compiled::load` reads trained ones.
//! let compiled = Compiled::from_values(config, CompileOptions::default(), |parameter, rows| {
//!     Ok(vec![0.01; rows.len() * parameter.shape[1..].iter().product::<usize>()])
//! })?;
//!
//! let images = vec![0.5; 2 * 3 * 64 * 64];
//! let mut logits = vec![0.0; 2 * 10];
//! compiled.run(&images, [2, 3, 64, 64], &mut logits)?;
//! # Ok::<(), alexnet_vgg_core::Error>(())
//! ```
//!
//! # How it is built
//!
//! From the interface down to the instructions; each file imports only from those below it.
//!
//! | files | what is in them |
//! |---|---|
//! | `compiled` | [`Compiled`], the interface |
//! | [`training`] | layers and their gradients, for a tensor framework that trains |
//! | `plan_cache` | the plans of the shapes that were used last |
//! | `plan` | from the layers of an architecture to stages, for one shape of input; fuses layers |
//! | `convolution_stages`, `division`, `team_simulation`, `predicted_pass` | how finely stages are divided, and how a number of threads share them |
//! | `cost_model` | what each algorithm costs on this machine |
//! | `thread_team`, `parking`, `forward_pass`, `batch_parts` | the threads that run the stages together |
//! | `winograd`, `direct_convolution` | convolutions: Winograd's with a fraction of the multiplications, direct for all others |
//! | `linear`, `integer_linear` | a linear layer for a few vectors, bound by the speed of memory |
//! | `batched_linear`, `column_panels` | a linear layer for many vectors, as a matrix product |
//! | `patches` | a first layer with a stride, as a convolution with stride 1 |
//! | `pooling`, `lrn`, `elementwise`, `reorder`, `quantized_images` | the other layers, and conversion into and out of the blocked layout |
//! | `weight_packing`, `packed_convolution`, `filter_packing`, `integer_packing`, `filters`, `packed_linear` | weights, packed for the kernels |
//! | `microkernel`, `integer_microkernel` | the matrix product in registers, which takes most of the time |
//! | `minimal_filtering` | Winograd's transforms in one dimension |
//! | `stage`, `workspace`, `feature_map`, `buffer` | what a stage is, and how activations lie in memory |
//! | `algorithm`, `compile_options` | [`Algorithm`], [`Schedule`], [`CompileOptions`] and what is in them |
//! | `simd` | sixteen numbers at a time: AVX-512, AVX2 or plain Rust |
//!
//! The engine reads the same [`Architecture`](crate::architecture::Architecture) as everything else, and
//! keeps no list of layers of its own.

mod algorithm;
#[cfg(test)]
mod all_algorithms_tests;
mod batch_parts;
mod batched_linear;
mod buffer;
mod column_panels;
mod compile_options;
mod compiled;
mod convolution_stages;
mod cost_model;
mod direct_convolution;
mod division;
#[cfg(test)]
mod efficiency_tests;
mod elementwise;
mod feature_map;
mod filter_packing;
mod filters;
mod forward_pass;
mod integer_linear;
mod integer_microkernel;
mod integer_packing;
mod linear;
mod load;
mod lrn;
mod microkernel;
mod minimal_filtering;
mod open;
mod packed_convolution;
mod packed_linear;
mod parking;
mod patches;
mod plan;
mod plan_cache;
mod pooling;
mod predicted_pass;
mod quantized_images;
mod reorder;
mod simd;
mod stage;
mod team_simulation;
mod thread_team;
pub mod training;
mod weight_packing;
mod winograd;
mod workspace;

pub use algorithm::{Algorithm, Schedule};
pub use compile_options::{
    BatchSplit, CompileOptions, ConvolutionArithmetic, LinearWeights, Precision, Threads,
};
pub use compiled::Compiled;
pub use plan::PlannedLayer;
pub use predicted_pass::{PredictedPass, PredictedStage};
pub use simd::Isa;
