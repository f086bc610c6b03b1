//! The networks: their tables, and the burn module that walks a table.
//!
//! - The tables themselves, their configs and the shapes of their layers come from the core, as
//!   [`Architecture`], [`Table`], [`Layer`], [`AlexNetConfig`], [`VggConfig`].
//! - `network`: the burn module of any table; `init_network`: fresh ones from configs; `tap`: outputs of
//!   inner layers; `batch_plan`: large batches in parts; `layer_modules`: burn's layers for its
//!   rows, of which `lrn`, `linear` and `batch_norm` are ours; `dense_evaluation`: the same at every
//!   position of a large picture; `freeze`: the same without training; `masked_dropout`: the pass of
//!   training, whose dropout is by image.
//! - `network_files`: networks from weights files and to files; `parameter_values`,
//!   `trainable_parameters`: weights out of a network, and which tensors they are.
//! - `compile`: from a network to the compiled engine; `last_compiled`: for its passes on the CPU, too.
//! - `kernels`: the layers on the CPU, forward and back, by the engine's kernels.
//! - `capacity`: what a device can hold; `network_model`: networks as [`predict::Model`](crate::predict::Model);
//!   `load_on`: the same on a backend that is chosen at run time.
//! - `two_gpu`: the same network in two halves, on two devices.
//! - `grad_cam`, `feature_vectors`, `perceptual_loss`: what gradients flow through.

mod batch_norm;
mod batch_plan;
mod capacity;
mod compile;
mod dense_evaluation;
mod feature_vectors;
mod freeze;
mod grad_cam;
mod init_network;
#[cfg(any(feature = "flex", feature = "ndarray"))]
mod kernels;
mod last_compiled;
mod layer_modules;
mod linear;
mod load_on;
mod lrn;
mod masked_dropout;
mod network;
mod network_files;
mod network_model;
mod parameter_values;
mod perceptual_loss;
mod tap;
mod trainable_parameters;
pub(crate) mod two_gpu;

#[doc(inline)]
pub use alexnet_vgg_core::architecture::*;
#[cfg(feature = "train")]
pub(crate) use batch_norm::{each_row, learn};
#[cfg(feature = "train")]
pub(crate) use batch_plan::{BatchPlan, join};
pub use grad_cam::grad_cam;
pub use init_network::InitNetwork;
#[cfg(feature = "train")]
pub(crate) use layer_modules::{MapLayer, is_trained};
pub use linear::Linear;
pub use load_on::{BackendModel, init_on, load_on};
pub use lrn::Lrn;
#[cfg(feature = "train")]
pub(crate) use masked_dropout::{DropoutMasks, in_chunks};
#[cfg(feature = "train")]
pub(crate) use network::nan_marker;
pub use network::{AlexNet, Network, Vgg};
pub use tap::Tap;
pub use trainable_parameters::TrainableParameter;
pub use two_gpu::{Traffic, Transfer, TwoGpuNetwork};
