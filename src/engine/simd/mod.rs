//! Sixteen numbers at a time, on whatever the machine has.
//!
//! Every kernel of the engine is written once, over [`Simd`]: a value of type `S::Vector` is sixteen
//! `f32`, the channels of one block. On AVX-512 that is one register, on AVX2 two, and in `portable`,
//! the plain reference that the others are held to, an array that the compiler vectorizes (four
//! registers of NEON). What differs between machines besides is how many accumulators they have room
//! for: [`Simd::TILES`] times [`Simd::WIDTH`] vectors.
//!
//! [`Place`] is a pointer that knows its bounds wherever debug assertions are on, as in tests.
#![allow(unsafe_code)]

mod place;
mod portable;
#[cfg(target_arch = "x86_64")]
mod x86;

use crate::error::{Error, Result};
pub(super) use place::Place;
pub(super) use portable::Portable;
use std::sync::OnceLock;
use std::time::{Duration, Instant};
#[cfg(target_arch = "x86_64")]
pub(super) use x86::{Avx2, Avx512};

/// Calls `$kernel::<S>(arguments)` with the `S` of an [`Isa`], compiled for its instructions.
/// The kernel and all that it calls must be `#[inline(always)]`.
macro_rules! dispatch {
    ($isa:expr, $kernel:ident ( $($argument:ident : $type:ty = $value:expr),* $(,)? ) $(-> $result:ty)?) => {{
        use $crate::engine::simd::{Isa, Portable};
        #[cfg(target_arch = "x86_64")]
        use $crate::engine::simd::{Avx2, Avx512};

        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx512f,avx2,fma")]
        unsafe fn on_avx512($($argument: $type),*) $(-> $result)? {
            // SAFETY: the caller's, and the instructions are there.
            unsafe { $kernel::<Avx512>($($argument),*) }
        }
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx2,fma")]
        unsafe fn on_avx2($($argument: $type),*) $(-> $result)? {
            // SAFETY: the caller's, and the instructions are there.
            unsafe { $kernel::<Avx2>($($argument),*) }
        }
        match $isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => on_avx512($($value),*),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => on_avx2($($value),*),
            _ => $kernel::<Portable>($($value),*),
        }
    }};
}

/// Channels in a block, and numbers in a vector.
pub(super) const BLOCK: usize = 16;

/// Sixteen numbers at a time.
///
/// # Safety
/// Its functions may be called only where [`Isa::is_available`] says yes, and `load` and `store` only
/// at places that hold sixteen numbers.
pub(super) trait Simd: Copy {
    type Vector: Copy;
    /// Rows of the tile of accumulators that stays in registers.
    const TILES: usize;
    /// Vectors in each of its rows.
    const WIDTH: usize;

    unsafe fn splat(value: f32) -> Self::Vector;
    unsafe fn load(from: *const f32) -> Self::Vector;
    /// Fetches the cache line of any address, which need not be good, into the second cache.
    unsafe fn prefetch(from: *const f32);
    unsafe fn store(to: *mut f32, vector: Self::Vector);
    unsafe fn add(a: Self::Vector, b: Self::Vector) -> Self::Vector;
    unsafe fn sub(a: Self::Vector, b: Self::Vector) -> Self::Vector;
    unsafe fn mul(a: Self::Vector, b: Self::Vector) -> Self::Vector;
    unsafe fn div(a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// `a * b + c`, rounded once where the machine can.
    unsafe fn mul_add(a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector;
    /// The larger, or `b` if one is not a number: so `max(0, x)` passes a NaN on.
    unsafe fn max(a: Self::Vector, b: Self::Vector) -> Self::Vector;
    unsafe fn sqrt(a: Self::Vector) -> Self::Vector;
    /// Sixteen integers of 16 bits.
    unsafe fn load_i16(from: *const i16) -> Self::Vector;
    /// Sixteen of 24: the upper 16 bits of all, then the lower 8.
    unsafe fn load_i24(from: *const i16) -> Self::Vector;
}

/// An instruction set that the kernels are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Isa {
    /// AVX-512F, on x86-64.
    Avx512,
    /// AVX2 and FMA, on x86-64.
    Avx2,
    /// Plain Rust, which the compiler vectorizes for its target.
    Portable,
}

impl Isa {
    /// All of them, the fastest first.
    pub const ALL: [Isa; 3] = [Self::Avx512, Self::Avx2, Self::Portable];

    /// The fastest that this machine has.
    pub fn best() -> Self {
        Self::ALL.into_iter().find(|isa| isa.is_available()).unwrap_or(Self::Portable)
    }

    /// Whether this machine has it.
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

    /// Cycles that a core makes in a second, from how long multiply-adds take now: what
    /// [`Planned::cycles`](super::Planned::cycles) are of. `None` for [`Portable`](Self::Portable),
    /// whose speed the cost model only assumes, and for instructions that this machine has not.
    pub fn cycles_per_second(self) -> Option<f64> {
        if self == Self::Portable || !self.is_available() {
            return None;
        }
        let least = (0..20).map(|_| time_of_chains(self)).min()?.as_secs_f64();
        let multiply_adds = f64::from(LENGTH) * (CHAINS * BLOCK) as f64;
        Some(multiply_adds / least / self.multiply_adds_per_cycle())
    }

    /// Multiply-adds of `f32` that a core starts in a cycle at most, as the cost model has it.
    pub fn multiply_adds_per_cycle(self) -> f64 {
        match self {
            Self::Avx512 if self.is_available() && is_full_width() => 32.0,
            Self::Avx512 | Self::Avx2 => 16.0,
            // A machine with vectors of four.
            Self::Portable => 4.0,
        }
    }

    /// Rows of the accumulators' tile: see [`Simd::TILES`].
    pub(super) fn tiles(self) -> usize {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => Avx512::TILES,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => Avx2::TILES,
            _ => Portable::TILES,
        }
    }

    /// Vectors in a row of them: see [`Simd::WIDTH`].
    pub(super) fn width(self) -> usize {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => Avx512::WIDTH,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => Avx2::WIDTH,
            _ => Portable::WIDTH,
        }
    }
}

/// Whether AVX-512 computes faster here than AVX2: Zen 4, and processors with one unit for it, take
/// two cycles where others take one. No flag of the processor says so; a few microseconds do.
fn is_full_width() -> bool {
    static FULL: OnceLock<bool> = OnceLock::new();
    *FULL.get_or_init(|| {
        // The least of each, in turn and more than once: whatever else runs, and a clock that has yet to
        // rise or fall, only add.
        let mut least = [Duration::MAX; 2];
        for _ in 0..30 {
            for (least, isa) in least.iter_mut().zip([Isa::Avx512, Isa::Avx2]) {
                *least = time_of_chains(isa).min(*least);
            }
        }
        least[0] * 3 < least[1] * 2
    })
}

/// Multiply-adds of sixteen numbers in each chain of [`chains`].
const LENGTH: u32 = 2000;
/// Chains side by side.
const CHAINS: usize = 12;

fn time_of_chains(isa: Isa) -> Duration {
    let start = Instant::now();
    let seed = std::hint::black_box(0.5);
    // SAFETY: asked for instructions that this machine has, or for AVX2 where it has AVX-512.
    std::hint::black_box(unsafe { dispatch!(isa, chains(seed: f32 = seed) -> f32) });
    start.elapsed()
}

/// Enough multiply-adds side by side that only their number counts.
///
/// # Safety
/// `S` must be available.
#[inline(always)]
unsafe fn chains<S: Simd>(seed: f32) -> f32 {
    // SAFETY: the caller's.
    unsafe {
        let factor = S::splat(seed);
        // All different, or the compiler would compute one for all.
        let mut lanes: [f32; BLOCK] = std::array::from_fn(|i| seed * i as f32);
        let start = S::load(lanes.as_ptr());
        let mut chains: [S::Vector; CHAINS] =
            std::array::from_fn(|i| S::add(start, S::splat(seed * i as f32)));
        for _ in 0..LENGTH {
            for chains in chains.chunks_mut(CHAINS / 2) {
                // AVX2 has registers for half of them at a time.
                for chain in chains {
                    *chain = S::mul_add(*chain, factor, factor);
                }
            }
        }
        let total = chains.into_iter().fold(factor, |total, c| S::add(total, c));
        S::store(lanes.as_mut_ptr(), total);
        // Of all lanes, or half of a pair would not be computed.
        lanes.iter().sum()
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
        found.ok_or_else(|| Error::Setting {
            place: "instruction set".into(),
            expected: Self::ALL.map(|isa| isa.to_string()).join(", "),
            found: name.into(),
        })
    }
}

pub(super) use dispatch;

#[cfg(test)]
mod tests {
    use super::*;

    const OPERATIONS: usize = 9;

    /// All operations that compute, of two vectors, into `results`.
    ///
    /// # Safety
    /// `S` must be available, the places good for a vector each, and `results` for all.
    #[inline(always)]
    unsafe fn operations<S: Simd>(a: *const f32, b: *const f32, results: *mut f32) {
        // SAFETY: the caller's.
        unsafe {
            let (a, b) = (S::load(a), S::load(b));
            let all: [S::Vector; OPERATIONS] = [
                S::splat(1.5),
                S::add(a, b),
                S::sub(a, b),
                S::mul(a, b),
                S::div(a, b),
                S::max(a, b),
                S::sqrt(a),
                S::mul_add(a, b, S::splat(0.0)),
                S::max(S::splat(0.0), a),
            ];
            for (i, vector) in all.into_iter().enumerate() {
                S::store(results.add(i * BLOCK), vector);
            }
        }
    }

    /// # Safety
    /// `S` must be available; `packed` 48 bytes, `results` two vectors.
    #[inline(always)]
    unsafe fn integers<S: Simd>(packed: *const i16, results: *mut f32) {
        // SAFETY: the caller's.
        unsafe {
            S::store(results, S::load_i16(packed));
            S::store(results.add(BLOCK), S::load_i24(packed));
        }
    }

    fn isas() -> impl Iterator<Item = Isa> {
        Isa::ALL.into_iter().filter(|isa| isa.is_available())
    }

    /// Denormals, both zeros, huge numbers, infinities, NaN, and ordinary ones, each with each.
    #[test]
    fn all_instruction_sets_are_the_plain_one_on_any_numbers() {
        let odd = [
            0.0,
            -0.0,
            1e-45,
            -1e-40,
            f32::MIN_POSITIVE,
            1.0,
            -1.5,
            16_777_217.0,
            3e38,
            f32::MAX,
            f32::MIN,
            f32::INFINITY,
            f32::NEG_INFINITY,
            f32::NAN,
            0.1,
            -7.3,
        ];
        for shift in 0..BLOCK {
            let b: [f32; BLOCK] = std::array::from_fn(|i| odd[(i + shift) % BLOCK]);
            let mut plain = [0.0f32; OPERATIONS * BLOCK];
            // SAFETY: arrays of these lengths.
            unsafe { operations::<Portable>(odd.as_ptr(), b.as_ptr(), plain.as_mut_ptr()) };
            for isa in isas() {
                let mut ours = [1.0f32; OPERATIONS * BLOCK];
                // SAFETY: as above, and it is available.
                unsafe {
                    dispatch!(isa, operations(
                        a: *const f32 = odd.as_ptr(), b: *const f32 = b.as_ptr(),
                        results: *mut f32 = ours.as_mut_ptr(),
                    ))
                }
                for (i, (ours, plain)) in ours.iter().zip(plain).enumerate() {
                    let place = format!("{isa}, {} {}: {ours} {plain}", i / BLOCK, i % BLOCK);
                    // Rounded once or twice, what is nearly nothing may have either sign.
                    let same = match i / BLOCK == 7 {
                        true => *ours == plain,
                        false => ours.to_bits() == plain.to_bits(),
                    } || ours.is_nan() && plain.is_nan();
                    assert!(same, "{place}");
                }
            }
        }
    }

    #[test]
    fn integers_are_read_alike() {
        for seed in 0..64u32 {
            let byte =
                |i: u32| (seed.wrapping_mul(2_654_435_761) ^ i.wrapping_mul(0x9E37_79B9)) >> 24;
            let packed: [i16; 24] = std::array::from_fn(|i| {
                let [low, high] = [2 * i as u32, 2 * i as u32 + 1].map(|i| byte(i) as u8);
                i16::from_le_bytes([low, high])
            });
            for isa in isas() {
                let mut ours = [0.5f32; 2 * BLOCK];
                // SAFETY: arrays of these lengths, and it is available.
                unsafe {
                    dispatch!(isa, integers(
                        packed: *const i16 = packed.as_ptr(), results: *mut f32 = ours.as_mut_ptr(),
                    ))
                }
                for i in 0..BLOCK {
                    let low = packed[BLOCK + i / 2].to_le_bytes()[i % 2];
                    assert_eq!(ours[i], f32::from(packed[i]), "{isa}");
                    let all = i32::from(packed[i]) * 256 + i32::from(low);
                    assert_eq!(ours[BLOCK + i], all as f32, "{isa}");
                }
            }
        }
    }
}
