//! A network as AlexNet was run in 2012: two halves on two devices, which exchange activations only where a layer
//! sees both (AlexNet paper, section 3.5 and figure 2). Any [`Architecture`](super::Architecture) can be run this
//! way.
//!
//! - `network`: the network; `half_network`: the layers of one device, as
//!   [`two_gpu_split`](super::Architecture::two_gpu_split) divides them; `concurrent_halves`: both at the same time.
//! - `exchange`: what the halves exchange; `transfers`: the copies between devices, counted.
//! - `weights`: the parameters under the names of the whole network.

mod concurrent_halves;
mod exchange;
mod half_network;
mod network;
mod transfers;
mod weights;

#[cfg(feature = "train")]
pub(crate) use concurrent_halves::run_both_halves;
#[cfg(feature = "train")]
pub(crate) use half_network::ChunkDropout;
pub use network::TwoGpuNetwork;
#[cfg(feature = "train")]
pub(crate) use network::height_and_width;
pub use transfers::{Traffic, Transfer};
