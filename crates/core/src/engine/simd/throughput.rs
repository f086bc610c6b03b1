//! How many multiply-adds a core executes, measured where no CPU flag says so.

use super::{BLOCK, Isa, Simd, dispatch};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

impl Isa {
    /// Clock cycles per second of a core, derived from how long multiply-adds take now: the unit of
    /// [`PlannedLayer::estimated_cycles`](crate::engine::PlannedLayer::estimated_cycles). `None` for
    /// [`Portable`](Self::Portable), whose throughput the cost model only assumes, and for instruction
    /// sets that this machine lacks.
    pub fn cycles_per_second(self) -> Option<f64> {
        if self == Self::Portable || !self.is_available() {
            return None;
        }
        let shortest = (0..20).map(|_| time_chains(self)).min()?.as_secs_f64();
        let multiply_adds = f64::from(CHAIN_LENGTH) * (CHAINS * BLOCK) as f64;
        Some(multiply_adds / shortest / self.multiply_adds_per_cycle())
    }

    /// The most `f32` multiply-adds that a core starts per cycle, as the cost model assumes.
    pub fn multiply_adds_per_cycle(self) -> f64 {
        match self {
            Self::Avx512 if self.is_available() && has_full_width_avx512() => 32.0,
            Self::Avx512 | Self::Avx2 => 16.0,
            // Assumes one unit of four lanes.
            Self::Portable => 4.0,
        }
    }
}

/// Whether AVX-512 computes faster here than AVX2. Zen 4, and processors with a single AVX-512
/// unit, take two cycles where others take one. No CPUID flag says which; a measurement of a few
/// microseconds does.
fn has_full_width_avx512() -> bool {
    static FULL_WIDTH: OnceLock<bool> = OnceLock::new();
    *FULL_WIDTH.get_or_init(|| speed_of_avx512() > 1.5)
}

/// How many times as fast as AVX2 AVX-512 multiplies and adds: 1 or 2.
fn speed_of_avx512() -> f64 {
    // The minimum of many alternating measurements: other load and a changing clock only add time.
    let mut shortest = [Duration::MAX; 2];
    for _ in 0..30 {
        for (shortest, isa) in shortest.iter_mut().zip([Isa::Avx512, Isa::Avx2]) {
            *shortest = time_chains(isa).min(*shortest);
        }
    }
    shortest[1].as_secs_f64() / shortest[0].as_secs_f64()
}

/// Dependent vector multiply-adds in each of the [`chains`].
const CHAIN_LENGTH: u32 = 2000;
/// Independent chains.
const CHAINS: usize = 12;

fn time_chains(isa: Isa) -> Duration {
    let start = Instant::now();
    let seed = std::hint::black_box(0.5);
    // SAFETY: callers pass an available instruction set, or AVX2 where AVX-512 is available.
    std::hint::black_box(unsafe { dispatch!(isa, chains(seed: f32 = seed) -> f32) });
    start.elapsed()
}

/// Enough independent chains of multiply-adds that throughput, not latency, determines the time.
///
/// # Safety
/// `S` must be available.
#[inline(always)]
unsafe fn chains<S: Simd>(seed: f32) -> f32 {
    // SAFETY: guaranteed by the caller.
    unsafe {
        let factor = S::splat(seed);
        // Distinct values, or the compiler would compute one chain for all.
        let mut lanes: [f32; BLOCK] = std::array::from_fn(|i| seed * i as f32);
        let start = S::load(lanes.as_ptr());
        let mut chains: [S::Vector; CHAINS] =
            std::array::from_fn(|i| S::add(start, S::splat(seed * i as f32)));
        // As many at a time as the microkernel has sums: these fit in the registers.
        for chains in chains.chunks_mut(S::MR * S::NR_BLOCKS) {
            for _ in 0..CHAIN_LENGTH {
                for chain in chains.iter_mut() {
                    *chain = S::mul_add(*chain, factor, factor);
                }
            }
        }
        let total = chains.into_iter().fold(factor, |total, c| S::add(total, c));
        S::store(lanes.as_mut_ptr(), total);
        // Sum all lanes, or the compiler would drop half of an AVX2 pair.
        lanes.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The plan, and with it the last bits of every result, depends on this.
    #[test]
    fn the_width_of_avx512_is_beyond_doubt() {
        if !Isa::Avx512.is_available() {
            return;
        }
        let speeds: Vec<f64> = (0..50).map(|_| speed_of_avx512()).collect();
        // Some processors lower their clock for AVX-512, so 2 may be a little less.
        let is_clear =
            |speed: &f64| if has_full_width_avx512() { *speed > 1.6 } else { *speed < 1.4 };
        assert!(speeds.iter().all(is_clear), "{speeds:?}");
    }
}
