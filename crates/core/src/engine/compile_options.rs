//! [`CompileOptions`]: how to compile a network.

use super::simd::Isa;
use crate::error::{Error, Result};
use std::sync::Arc;

/// How to compile a network. By default linear layers have 24-bit weights, and the engine uses all of
/// the machine's threads and its fastest instruction set.
#[derive(Clone, Debug, Default)]
pub struct CompileOptions {
    /// How the weights of linear layers are stored.
    pub linear_weights: LinearWeights,
    /// The threads that compute.
    pub threads: Threads,
    /// The instruction set to use instead of the machine's fastest, for tests and comparisons.
    pub isa: Option<Isa>,
}

impl From<LinearWeights> for CompileOptions {
    fn from(linear_weights: LinearWeights) -> Self {
        Self { linear_weights, ..Self::default() }
    }
}

/// How the weights of linear layers are stored. They are nine tenths of a network's weights, and reading
/// them takes most of the time that a linear layer takes for a single image.
///
/// All arithmetic is in `f32`, and convolutions keep `f32` weights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LinearWeights {
    /// 24-bit integers, with a scale for every 512 weights: the largest of them lose no more than the
    /// last bit of their `f32` value. Logits are within 1e-5 of the largest logit.
    #[default]
    Int24,
    /// 16-bit integers, with a scale for every 512 weights: half the bytes of `f32`. Logits are within
    /// 1e-4 of the largest logit.
    Int16,
}

impl std::fmt::Display for LinearWeights {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Int24 => "int24",
            Self::Int16 => "int16",
        })
    }
}

impl std::str::FromStr for LinearWeights {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        match name {
            "int24" => Ok(Self::Int24),
            "int16" => Ok(Self::Int16),
            _ => Err(Error::UnknownName {
                kind: "precision of linear weights".into(),
                name: name.into(),
                known: "int24, int16".into(),
            }),
        }
    }
}

/// The threads that compute, besides the caller's own.
#[derive(Clone, Debug)]
pub enum Threads {
    /// Threads of the compiled network's own, 1 to 1024. The number includes the caller's thread,
    /// so 1 is the caller alone. The others are parked between calls, and end with the network.
    Dedicated(usize),
    /// The threads of a rayon pool.
    RayonPool(Arc<rayon::ThreadPool>),
}

/// The most threads that a network may use.
const MAX_THREADS: usize = 1024;

impl Default for Threads {
    /// Dedicated threads, as many as the machine can run at once.
    fn default() -> Self {
        Self::Dedicated(std::thread::available_parallelism().map_or(1, usize::from))
    }
}

impl Threads {
    /// Dedicated threads, as many as rayon would use here: in its global pool, or in the one whose thread this is.
    pub fn of_rayon() -> Self {
        Self::Dedicated(rayon::current_num_threads().min(MAX_THREADS))
    }

    /// The most threads that compute at once, including the caller's.
    ///
    /// # Errors
    /// [`Error::Setting`] for a number that is out of range.
    pub(super) fn count(&self) -> Result<usize> {
        let count = match self {
            Self::Dedicated(count) => *count,
            Self::RayonPool(pool) => pool.current_num_threads().max(1),
        };
        if (1..=MAX_THREADS).contains(&count) {
            Ok(count)
        } else {
            Err(Error::Setting {
                place: "threads".into(),
                expected: format!("1 to {MAX_THREADS}"),
                found: count.to_string(),
            })
        }
    }
}
