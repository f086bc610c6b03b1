//! Training: the data, the gradients, runs on one device and on several.
#![recursion_limit = "256"]

#[path = "../formula/mod.rs"]
mod formula;

mod data;
mod gradients;
mod towers;
mod train;
