//! What an algorithm costs a layer: a small model, and the choices that follow from it.
//!
//! It knows this machine's instruction set, how many multiply-adds a core starts in a cycle (which is
//! measured: of the processors with AVX-512 some do half as many as others), and its caches; it counts
//! cycles of two cores. It does not know how many threads there will be nor how fast memory is today: a
//! choice must be the same from one run to the next, or the last bits of the logits would not be.
//!
//! - *Products*: multiply-adds over what the cores start in a cycle, at nine tenths of it, which is what
//!   the microkernel reaches. The tiles that overlap the map's edge count like the others.
//! - *Weights* are fetched while others are multiplied, from memory at 8 bytes a cycle or from the third
//!   cache at 32. The longer of the two counts, and a quarter of the shorter: the overlap is not
//!   perfect.
//! - *Transforms*: a vector in and out of each product of a tile, in and out of the cache beside the
//!   core in between, and some arithmetic.
//! - *Schedule*: the fused one reads all weights for each of its items, once from memory and then from
//!   the third cache if they fit there; the other reads them once, but writes and reads V and M, in the
//!   third cache or, if they are larger, in memory.
//!
//! The numbers are of a Zen 4, two cores, 3.6 GHz: `examples/explain_plan` shows estimates beside times.

use super::convolution::{Algorithm, Convolution};
use super::simd::{BLOCK, Isa};

/// What the plan knows of the machine.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Machine {
    pub isa: Isa,
    /// Multiply-adds that a core starts in a cycle.
    pub multiply_adds: f64,
    /// Bytes of a core's second cache.
    pub l2: usize,
    /// Bytes of the shared third.
    pub l3: usize,
}

const MEMORY: f64 = 8.0;
const CACHE: f64 = 32.0;
/// Bytes of V and M a cycle, written and read, in the third cache and in memory.
const STORED: f64 = 12.0;
const SPILLED: f64 = 6.0;
const CORES: f64 = 2.0;
const REACHED: f64 = 0.9;
/// What a vector on its way through V or M costs, in multiply-adds of vectors.
const VECTOR: f64 = 6.0;
/// Items that a fused stage has at least: fewer would leave threads without work.
const ITEMS: usize = 4;

impl Machine {
    pub fn this(isa: Isa) -> Self {
        Self {
            isa,
            multiply_adds: isa.multiply_adds_per_cycle(),
            l2: cache(2).unwrap_or(512 << 10),
            l3: cache(3).unwrap_or(8 << 20),
        }
    }

    /// Multiply-adds of all cores in a cycle, as far as kernels reach.
    fn speed(&self) -> f64 {
        self.multiply_adds * CORES * REACHED
    }
}

/// Bytes of a cache of the first core, where the system says so.
fn cache(level: usize) -> Option<usize> {
    let path = format!("/sys/devices/system/cpu/cpu0/cache/index{level}/size");
    let text = std::fs::read_to_string(path).ok()?;
    let kib: usize = text.trim().strip_suffix('K')?.parse().ok()?;
    (64..1 << 20).contains(&kib).then_some(kib << 10)
}

/// Two things at the same time.
fn overlapped(a: f64, b: f64) -> f64 {
    a.max(b) + a.min(b) / 4.0
}

/// How a layer is computed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Choice {
    pub algorithm: Algorithm,
    pub schedule: Schedule,
    /// Multiplications that the kernels do.
    pub multiplications: u64,
    /// Cycles of two cores.
    pub cycles: f64,
}

/// The order of a layer's work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Schedule {
    /// Row by row.
    Rows,
    /// All of Winograd's steps for a few tiles at a time.
    Fused {
        /// Pieces of work that threads take.
        items: usize,
        /// Tiles of an item, at most.
        tiles: usize,
    },
    /// One step after the other.
    Phases,
}

impl std::fmt::Display for Schedule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Rows => f.write_str("rows"),
            Self::Fused { items, tiles } => write!(f, "fused, {items} x {tiles}"),
            Self::Phases => f.write_str("phases"),
        }
    }
}

/// The cheapest way to compute a convolution of `batch` maps of `[height, width]` outputs.
pub(super) fn choose(
    machine: &Machine,
    convolution: &Convolution,
    batch: usize,
    size: [usize; 2],
) -> Choice {
    let few =
        |choice: &Choice| matches!(choice.schedule, Schedule::Fused { items, .. } if items < ITEMS);
    let [direct, others @ ..] = &ways(machine, convolution, batch, size)[..] else {
        unreachable!("the direct one is always there")
    };
    let others = others.iter().filter(|choice| !few(choice));
    *others.fold(direct, |best, next| if next.cycles < best.cycles { next } else { best })
}

/// All ways to compute it, the direct one first.
pub(super) fn ways(
    machine: &Machine,
    convolution: &Convolution,
    batch: usize,
    size: [usize; 2],
) -> Vec<Choice> {
    let algorithms = Algorithm::ALL.into_iter().filter(|&algorithm| convolution.allows(algorithm));
    algorithms
        .flat_map(|algorithm| estimate(machine, convolution, algorithm, batch, size))
        .collect()
}

/// Tiles of an image, in a column and a row.
pub(super) fn tiles(algorithm: Algorithm, [height, width]: [usize; 2]) -> [usize; 2] {
    let (m, _, _) = algorithm.tile().unwrap_or((1, 1, 1));
    [height.div_ceil(m), width.div_ceil(m)]
}

/// One choice for each schedule.
fn estimate(
    machine: &Machine,
    conv: &Convolution,
    algorithm: Algorithm,
    batch: usize,
    size: [usize; 2],
) -> Vec<Choice> {
    let [rows, columns] = tiles(algorithm, size);
    let count = batch * rows * columns;
    let products = algorithm.products();
    let outputs = conv.outputs.next_multiple_of(BLOCK);
    // Of a size that no memory holds there may be more than can be counted.
    let factors = [products, conv.steps(algorithm), outputs];
    let multiplications =
        (factors.iter()).fold(count as u64, |all, &factor| all.saturating_mul(factor as u64));
    let products_cycles = multiplications as f64 / machine.speed();
    let bytes = conv.bytes(algorithm);
    let once = bytes as f64 / MEMORY;
    let choice = |schedule, cycles| Choice { algorithm, schedule, multiplications, cycles };
    if algorithm == Algorithm::Direct {
        return vec![choice(Schedule::Rows, overlapped(products_cycles, once))];
    }
    let inputs = conv.groups * conv.input_blocks();
    let vectors = count as f64 * (products * (inputs + outputs / BLOCK)) as f64;
    let transforms = vectors * VECTOR * BLOCK as f64 / machine.speed();

    // As many for one core as for the other, and as many tiles in each: nobody waits.
    let items = count.div_ceil(at_once(machine, inputs, products));
    let items = items.next_multiple_of(CORES as usize).min(count);
    let again = (items - 1) as f64 * bytes as f64;
    let again = again / if bytes < machine.l3 * 2 / 3 { CACHE } else { MEMORY };
    let fused = overlapped(products_cycles, once + again) + transforms;

    let moved = vectors * (4 * BLOCK) as f64;
    let moved = 2.0 * moved / if moved < machine.l3 as f64 / 1.5 { STORED } else { SPILLED };
    let phases = overlapped(products_cycles, once) + transforms + moved;
    vec![
        choice(Schedule::Phases, phases),
        choice(Schedule::Fused { items, tiles: count.div_ceil(items) }, fused),
    ]
}

/// Tiles whose V, and M of the outputs at hand, fit in half a core's cache: whole rounds of the
/// microkernel, one at least, eight at most.
fn at_once(machine: &Machine, inputs: usize, products: usize) -> usize {
    let tile = products * (inputs + machine.isa.width()) * BLOCK * 4;
    let rows = machine.isa.tiles();
    (machine.l2 / 2 / tile / rows).clamp(1, 8) * rows
}

/// Cycles of a linear layer.
pub(super) fn linear(machine: &Machine, multiplications: u64, bytes: u64) -> f64 {
    overlapped(multiplications as f64 / machine.speed(), bytes as f64 / MEMORY)
}
