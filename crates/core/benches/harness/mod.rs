//! What several benches need, in both packages: their command line, the processes that are timed
//! against ours, untrained weights, and statistics.
#![allow(dead_code, reason = "each bench uses a part of it")]

pub mod arguments;
pub mod fresh_weights;
pub mod peer;
pub mod statistics;

/// What a bench does may fail in many ways, and ends with a message.
pub type Outcome<T> = Result<T, Box<dyn std::error::Error>>;
