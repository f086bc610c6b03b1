//! Training: the data, the gradients, runs on one device and on several. The feature `ndarray` adds tests in f64.
#![recursion_limit = "256"]

#[path = "../../crates/core/tests/formula/mod.rs"]
mod core_formula;
#[path = "../networks/formula.rs"]
mod formula;

mod csv_lists;
mod data;
#[cfg(feature = "ndarray")]
mod finite_differences;
mod gradients;
mod mixing;
mod resume;
mod train;
mod two_gpu;
