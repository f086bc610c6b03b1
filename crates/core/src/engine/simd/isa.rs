//! [`Isa`]: the instruction sets that the kernels are compiled for.

#[cfg(target_arch = "x86_64")]
use super::{Avx2, Avx512};
use super::{Portable, Simd};
use crate::error::{Error, Result};

/// An instruction set that the kernels are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Isa {
    /// AVX-512F, on x86-64.
    Avx512,
    /// AVX2 and FMA, on x86-64.
    Avx2,
    /// Plain Rust, which the compiler vectorizes for the target.
    Portable,
}

impl Isa {
    /// All instruction sets, fastest first.
    pub const ALL: [Isa; 3] = [Self::Avx512, Self::Avx2, Self::Portable];

    /// The fastest instruction set that this machine supports.
    pub fn best() -> Self {
        Self::ALL.into_iter().find(|isa| isa.is_available()).unwrap_or(Self::Portable)
    }

    /// Whether this machine supports it.
    pub fn is_available(self) -> bool {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => is_x86_feature_detected!("avx512f"),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
            Self::Portable => true,
            #[allow(unreachable_patterns)]
            _ => false,
        }
    }

    /// The instruction set for kernels on integers: itself, but AVX2 on processors whose AVX-512 lacks the
    /// instructions for products of integers (BW and VNNI).
    pub(in crate::engine) fn with_integers(self) -> Self {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512
                if !(is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512vnni")) =>
            {
                Self::Avx2
            }
            _ => self,
        }
    }

    /// An error that names `place` if this machine does not support it.
    pub(in crate::engine) fn expect_available(self, place: &str) -> Result<()> {
        if self.is_available() {
            return Ok(());
        }
        Err(Error::Setting {
            place: place.into(),
            expected: "an instruction set that this machine has".into(),
            found: self.to_string(),
        })
    }

    /// Rows of the register tile: see [`Simd::MR`].
    pub(in crate::engine) fn mr(self) -> usize {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => Avx512::MR,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => Avx2::MR,
            _ => Portable::MR,
        }
    }

    /// Columns of the register tile in vectors: see [`Simd::NR_BLOCKS`].
    pub(in crate::engine) fn nr_blocks(self) -> usize {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => Avx512::NR_BLOCKS,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => Avx2::NR_BLOCKS,
            _ => Portable::NR_BLOCKS,
        }
    }
}

impl std::fmt::Display for Isa {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Avx512 => "avx512",
            Self::Avx2 => "avx2",
            Self::Portable => "portable",
        })
    }
}

impl std::str::FromStr for Isa {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        let found = Self::ALL.into_iter().find(|isa| isa.to_string() == name);
        found.ok_or_else(|| Error::UnknownName {
            kind: "instruction set".into(),
            name: name.into(),
            known: Self::ALL.map(|isa| isa.to_string()).join(", "),
        })
    }
}
