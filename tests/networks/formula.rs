//! burn networks with the weights of the formula.

pub use crate::core_formula::{fill, values};
use alexnet_vgg::backend::Cpu;
use alexnet_vgg::models::{IntoArchitecture, Network};
use burn::backend::Autodiff;
use burn::tensor::backend::Backend;

pub fn network<B: Backend>(architecture: impl IntoArchitecture, device: &B::Device) -> Network<B> {
    Network::from_values(architecture, device, values).expect("a valid network")
}

/// One that computes layer by layer, as all do on autodiff backends: the engine does the passes of the others.
pub fn layered(architecture: impl IntoArchitecture) -> Network<Autodiff<Cpu>> {
    network(architecture, &Default::default()).freeze()
}
