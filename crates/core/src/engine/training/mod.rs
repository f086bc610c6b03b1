//! Layers for training: their outputs and their gradients, by the engine's kernels, from slices to slices.
//!
//! A tensor framework's layers become several times faster with them. The algorithms follow from the shapes
//! alone, never from a measurement of the machine or the number of threads: the same inputs give the same bits.
//!
//! - [`Convolution`] (`convolution`): the output, and the gradients of the input, the weights and the bias.
//! - `forward`: the convolution itself, by Winograd's algorithm where it applies; back to the input it is a
//!   convolution with rotated kernels.
//! - `weight_gradient`, `winograd_weight_gradient`: back to the weights, directly, and for 3×3 kernels with a quarter
//!   of the multiplications; both sum outer products by `gradient_microkernel`.
//! - `bias_gradient`: back to the bias.
//! - [`Linear`] (`linear`, `linear_kernels`): the product of a linear layer, and its gradients.
//! - [`BatchNorm`] (`batch_norm`), [`Lrn`] (`lrn`), [`MaxPool`] (`max_pool`), [`relu`].
//! - [`MomentumStep`] (`momentum_step`): the update of the weights.
//! - `reorder`: into and out of the blocked layout.
//! - `run_items`: all of rayon's threads take items; `workspaces`: memory that is used again;
//!   `value_count`: the check of a slice's length.

mod batch_norm;
mod bias_gradient;
mod convolution;
mod forward;
mod gradient_microkernel;
mod linear;
mod linear_kernels;
mod lrn;
mod max_pool;
mod momentum_step;
mod relu;
mod reorder;
mod run_items;
mod value_count;
mod weight_gradient;
mod winograd_weight_gradient;
mod workspaces;

pub use batch_norm::{BatchNorm, Statistics};
pub use convolution::{Convolution, ConvolutionShape};
pub use linear::Linear;
pub use lrn::Lrn;
pub use max_pool::MaxPool;
pub use momentum_step::MomentumStep;
pub use relu::{relu, relu_gradient};
