//! The networks on burn's backends, and their weights. One program for many files, as most of the time that a
//! program takes to build is burn's code for the networks, again in each.
#![recursion_limit = "256"]

#[path = "../formula/mod.rs"]
mod formula;
#[path = "../formula/torch.rs"]
mod torch;

mod golden;
mod golden_weights;
#[cfg(feature = "wgpu")]
mod gpu;
mod layers;
mod tables;
mod values;
mod weights;
