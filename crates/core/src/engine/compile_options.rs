//! [`CompileOptions`]: how to compile a network.

use super::simd::Isa;
use crate::error::{Error, Result};
use std::sync::Arc;

/// How to compile a network. By default it is as precise as `f32`, and the engine uses all of the machine's
/// threads and its fastest instruction set.
#[derive(Clone, Debug, Default)]
pub struct CompileOptions {
    /// How the weights of linear layers are stored.
    pub linear_weights: LinearWeights,
    /// How convolutions are computed.
    pub convolution_arithmetic: ConvolutionArithmetic,
    /// The threads that compute.
    pub threads: Threads,
    /// Whether images of a batch are computed one after the other by all threads, or at the same time.
    pub batch_split: BatchSplit,
    /// The instruction set to use instead of the machine's fastest, for tests and comparisons.
    pub isa: Option<Isa>,
}

impl From<LinearWeights> for CompileOptions {
    fn from(linear_weights: LinearWeights) -> Self {
        Self { linear_weights, ..Self::default() }
    }
}

impl From<Precision> for CompileOptions {
    fn from(precision: Precision) -> Self {
        let (linear_weights, convolution_arithmetic) = precision.parts();
        Self { linear_weights, convolution_arithmetic, ..Self::default() }
    }
}

/// How precise a compiled network is: the usual combinations of [`LinearWeights`] and [`ConvolutionArithmetic`].
///
/// None of them needs calibration data: all scales come from the values themselves. Errors are the largest difference
/// of a logit, relative to the largest logit, of the papers' networks with random weights; narrower networks have
/// larger ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// As precise as `f32`: 1e-5.
    #[default]
    F32,
    /// Convolutions are computed with 16-bit integers: 5e-3.
    Int16Convolutions,
    /// Linear layers have 8-bit weights, which takes less time for few images: 1e-2.
    Int8Linear,
    /// Both, which is fastest: 1.2e-2.
    Fast,
}

impl Precision {
    /// All of them, most precise first.
    pub const ALL: [Self; 4] = [Self::F32, Self::Int16Convolutions, Self::Int8Linear, Self::Fast];

    /// What it stands for.
    pub fn parts(self) -> (LinearWeights, ConvolutionArithmetic) {
        match self {
            Self::F32 => (LinearWeights::Int20, ConvolutionArithmetic::F32),
            Self::Int8Linear => (LinearWeights::Int8, ConvolutionArithmetic::F32),
            Self::Int16Convolutions => (LinearWeights::Int20, ConvolutionArithmetic::Int16),
            Self::Fast => (LinearWeights::Int8, ConvolutionArithmetic::Int16),
        }
    }
}

impl std::fmt::Display for Precision {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::Int8Linear => "int8-linear",
            Self::Int16Convolutions => "int16-convolutions",
            Self::Fast => "fast",
        })
    }
}

impl std::str::FromStr for Precision {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        let found = Self::ALL.into_iter().find(|precision| precision.to_string() == name);
        found.ok_or_else(|| Error::UnknownName {
            kind: "precision".into(),
            name: name.into(),
            known: Self::ALL.map(|precision| precision.to_string()).join(", "),
        })
    }
}

/// How convolutions are computed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ConvolutionArithmetic {
    /// In `f32`.
    #[default]
    F32,
    /// The first convolution directly, and those with 3×3 and 5×5 kernels and stride 1 by Winograd's algorithms, with
    /// products of 16-bit integers that are summed in 32 bits. Each image, and the inputs of each tile, have a scale,
    /// which is found when they are computed. Everything else is in `f32`.
    Int16,
}

impl std::fmt::Display for ConvolutionArithmetic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::Int16 => "int16",
        })
    }
}

/// How the weights of linear layers are stored. They are nine tenths of a network's weights, and reading
/// them takes most of the time that a linear layer takes for a single image.
///
/// With 16 to 24 bits, the arithmetic is in `f32`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LinearWeights {
    /// 24-bit integers, with a scale for every 512 weights: the largest of them lose no more than the
    /// last bit of their `f32` value.
    Int24,
    /// 20-bit integers, with a scale for every 512 weights; but 24-bit ones in layers of fewer than 2²⁰ weights, such
    /// as a last layer with few classes. Logits are within 1e-5 of the largest logit.
    #[default]
    Int20,
    /// 16-bit integers, with a scale for every 512 weights: half the bytes of `f32`. Logits are within
    /// 1e-4 of the largest logit.
    Int16,
    /// 8-bit integers, with a scale for every 64 weights. Up to 28 vectors become 16-bit integers. Logits are
    /// within 1e-2 of the largest logit.
    Int8,
}

impl std::fmt::Display for LinearWeights {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Int24 => "int24",
            Self::Int20 => "int20",
            Self::Int16 => "int16",
            Self::Int8 => "int8",
        })
    }
}

impl std::str::FromStr for LinearWeights {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        match name {
            "int24" => Ok(Self::Int24),
            "int20" => Ok(Self::Int20),
            "int16" => Ok(Self::Int16),
            "int8" => Ok(Self::Int8),
            _ => Err(Error::UnknownName {
                kind: "precision of linear weights".into(),
                name: name.into(),
                known: "int24, int20, int16, int8".into(),
            }),
        }
    }
}

/// How a batch is divided among the threads. The logits have the same bits either way.
///
/// In parts, no thread waits for those of another part, but each part reads all weights. That can only be
/// faster for networks with few weights, on many threads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BatchSplit {
    /// Whichever is faster by the cost model.
    #[default]
    Auto,
    /// All threads compute the whole batch together.
    Together,
    /// The images are divided into so many parts, each computed by its share of the threads at the same time as
    /// the others. At most eight, and no more than images or threads.
    Parts(usize),
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
