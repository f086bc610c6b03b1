//! burn networks with the weights of the formula.

pub use crate::core_formula::{fill, values};
use alexnet_vgg::models::{IntoArchitecture, Network};
use burn::tensor::backend::Backend;

pub fn network<B: Backend>(architecture: impl IntoArchitecture, device: &B::Device) -> Network<B> {
    Network::from_values(architecture, device, values).expect("a valid network")
}
