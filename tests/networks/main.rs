//! The networks on burn's backends. One program of several files, because most of the time that a program
//! takes to build is burn's code for the networks, again in each.
#![recursion_limit = "256"]

#[path = "../../crates/core/tests/arbitrary_tables/mod.rs"]
mod arbitrary_tables;
#[path = "../../crates/core/tests/formula/mod.rs"]
mod core_formula;
mod formula;
#[path = "../../crates/core/tests/formula/torch.rs"]
mod torch;

mod compiled;
mod features;
mod forward_from;
mod golden;
#[cfg(feature = "wgpu")]
mod gpu;
mod grad_cam;
mod layers;
mod load_on;
mod values;
mod weights;
