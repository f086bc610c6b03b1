//! The engine's kernels as operations of burn's CPU backends: of [Flex](https://docs.rs/burn-flex) with and without
//! autodiff, and of NdArray without.
//!
//! Which backend a generic tensor belongs to shows only at run time, where it becomes one of Flex by a move. What the
//! kernels cannot take (other backends, other numbers than f32, groups of few channels) comes back to the caller, for
//! burn's own operation.
//!
//! - `convolution` calls `flex_convolution` or `ndarray_convolution` for what `supported_convolution` says.
//! - `batch_norm`, `scale_and_shift`, `linear`, `lrn`, `relu`, `max_pool`: on Flex.
//! - `unary`: operations of one tensor, and their gradients.
//! - `pooled_memory`: memory that comes back when a tensor is dropped.

#[cfg(feature = "flex")]
mod batch_norm;
mod convolution;
#[cfg(feature = "flex")]
mod flex_convolution;
#[cfg(feature = "flex")]
mod linear;
#[cfg(feature = "flex")]
mod lrn;
#[cfg(feature = "flex")]
mod max_pool;
#[cfg(feature = "ndarray")]
mod ndarray_convolution;
#[cfg(feature = "flex")]
mod pooled_memory;
#[cfg(feature = "flex")]
mod relu;
#[cfg(feature = "flex")]
mod scale_and_shift;
mod supported_convolution;
#[cfg(feature = "flex")]
mod unary;

#[cfg(feature = "flex")]
pub use alexnet_vgg_core::engine::training::Lrn;
#[cfg(feature = "flex")]
pub use batch_norm::{Normalized, normalize};
pub use convolution::convolve;
#[cfg(feature = "flex")]
pub use linear::multiply;
#[cfg(feature = "flex")]
pub use lrn::lrn;
#[cfg(feature = "flex")]
pub use max_pool::max_pool;
#[cfg(feature = "flex")]
pub use pooled_memory::free_idle_memory;
#[cfg(feature = "flex")]
pub use relu::relu;
#[cfg(feature = "flex")]
pub use scale_and_shift::scale_and_shift;
