//! The networks: their tables, and the burn module that walks a table.
//!
//! - `table`: what a network is, as data; `row`: the shape arithmetic of a layer; `names`: what the
//!   papers call it.
//! - `alexnet`, `vgg`: the published networks, row by row.
//! - `grid`: where the cells of a map lie in the input.
//! - `network`: the burn module of any table, with its taps; `dense`: the same at every place of a large
//!   picture; `chain`: its layers; `layers`, `batch_norm`:
//!   those that burn has otherwise; `frozen`: the same without training; `thinned`: the pass of training,
//!   and in `stretches`, with `synchronized` batch norm; `replica`: another copy to train; `pieces`: how they cut their
//!   weights; `trained`, `values`: which tensors, and weights out of a network; `capacity`: what a device can hold.
//! - `towers`: the same network in two halves, on two devices.
//! - `registry`: networks by name.

mod alexnet;
mod batch_norm;
mod capacity;
mod chain;
mod dense;
mod dropout;
mod frozen;
mod grid;
mod layers;
mod names;
mod network;
mod pieces;
mod registry;
#[cfg(feature = "train")]
mod replica;
mod row;
#[cfg(feature = "train")]
mod stretches;
#[cfg(feature = "train")]
mod synchronized;
mod table;
mod thinned;
pub(crate) mod towers;
mod trained;
mod values;
mod vgg;

pub use alexnet::{Activation, AlexNetConfig, AlexNetVariant};
pub(crate) use dropout::mask;
pub use grid::Grid;
pub use layers::{Linear, Lrn};
pub use network::{AlexNet, Network, Tap, Vgg};
#[cfg(feature = "train")]
pub(crate) use network::{join, not_a_number};
pub use registry::NetworkConfig;
pub(crate) use row::product;
#[cfg(feature = "train")]
pub(crate) use stretches::Pass;
pub(crate) use table::places;
pub use table::{
    Architecture, BiasInit, Fill, Init, Layer, Numbering, Parameter, Part, Role, Shape, Step,
    WeightInit,
};
pub use towers::{Divided, Division, Exchange, Towers, Traffic, Transfer};
pub use trained::Trained;
pub use vgg::{VggConfig, VggConfiguration, VggInit};

use burn::tensor::backend::Backend;

/// `channels * width`, to the nearest even number, at least 2: even, so that the two groups of
/// AlexNet always divide.
fn even(channels: usize, width: f64) -> usize {
    // A width that is not a number becomes 0 channels, which the table refuses.
    match (channels as f64 * width / 2.0).round() as usize {
        0 if width > 0.0 => 2,
        half => half.saturating_mul(2),
    }
}

/// The configs' `init`, which burn's habit makes infallible.
fn init_or_panic<B: Backend>(architecture: Architecture, device: &B::Device) -> Network<B> {
    Network::new(architecture, device).unwrap_or_else(|error| panic!("{error}"))
}
