//! What an algorithm costs a layer: a small model, and the choices that follow from it.
//!
//! It knows the instruction set and the caches of this machine, and counts cycles of two cores. It does
//! not know how many threads there will be nor how fast memory is today: a choice must be the same
//! from one run to the next, or the last bits of the logits would not be.
//!
//! - *Products*: multiply-adds over what the cores start in a cycle, at nine tenths of it, which is what
//!   the microkernel reaches. The tiles that overlap the map's edge count like the others.
//! - *Weights*: each plan reads them once from memory, at 8 bytes a cycle. For one image of a small map
//!   they are more than the products: then F(2×2), which has fewer, wins.
//! - *Transforms*: a vector in and out of each product of a tile, and some arithmetic.
//! - *Schedule*: the fused one reads all weights again for each item, from the third cache; the other
//!   writes and reads V and M, from there or, if they are larger, from memory.

use super::convolution::{Algorithm, Convolution};
use super::simd::{BLOCK, Isa};

/// What the plan knows of the machine.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Machine {
    pub isa: Isa,
    /// Bytes of a core's second cache.
    pub l2: usize,
    /// Bytes of the shared third.
    pub l3: usize,
}

const MEMORY: f64 = 8.0;
const CACHE: f64 = 16.0;
const CORES: f64 = 2.0;
const REACHED: f64 = 0.9;

impl Machine {
    pub fn this(isa: Isa) -> Self {
        Self { isa, l2: cache(2).unwrap_or(512 << 10), l3: cache(3).unwrap_or(8 << 20) }
    }
}

/// Bytes of a cache of the first core, where the system says so.
fn cache(level: usize) -> Option<usize> {
    let path = format!("/sys/devices/system/cpu/cpu0/cache/index{level}/size");
    let text = std::fs::read_to_string(path).ok()?;
    let kib: usize = text.trim().strip_suffix('K')?.parse().ok()?;
    (64..1 << 20).contains(&kib).then_some(kib << 10)
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
    /// All of Winograd's steps for so many tiles at a time.
    Fused(usize),
    /// One step after the other.
    Phases,
}

impl std::fmt::Display for Schedule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Rows => f.write_str("rows"),
            Self::Fused(tiles) => write!(f, "fused, {tiles} tiles"),
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
    if let Ok(f) = std::env::var("FORCE") {
        let v: Vec<&str> = f.split(',').collect();
        if let Some(&a) = Algorithm::ALL.iter().find(|a| format!("{a:?}") == v[0]) && convolution.allows(a) {
            let mut c = estimate(machine, convolution, a, batch, size);
            c.schedule = match v[1] { "phases" => Schedule::Phases, n => Schedule::Fused(n.parse().unwrap()) };
            return c;
        }
    }
    let choices = Algorithm::ALL.into_iter().filter(|&algorithm| convolution.allows(algorithm));
    let choices = choices.map(|algorithm| estimate(machine, convolution, algorithm, batch, size));
    let direct = estimate(machine, convolution, Algorithm::Direct, batch, size);
    choices.fold(direct, |best, next| if next.cycles < best.cycles { next } else { best })
}

/// Tiles of an image, in a column and a row.
pub(super) fn tiles(algorithm: Algorithm, [height, width]: [usize; 2]) -> [usize; 2] {
    let (m, _, _) = algorithm.tile().unwrap_or((1, 1, 1));
    [height.div_ceil(m), width.div_ceil(m)]
}

fn estimate(
    machine: &Machine,
    conv: &Convolution,
    algorithm: Algorithm,
    batch: usize,
    size: [usize; 2],
) -> Choice {
    let [rows, columns] = tiles(algorithm, size);
    let count = batch * rows * columns;
    let products = algorithm.products();
    let outputs = conv.outputs.next_multiple_of(BLOCK);
    let multiplications = (count * products * conv.steps(algorithm)) as u64 * outputs as u64;
    let speed = machine.isa.multiply_adds_per_cycle() * CORES * REACHED;
    let bytes = conv.bytes(algorithm);
    let mut cycles = multiplications as f64 / speed + bytes as f64 / MEMORY;
    let mut schedule = Schedule::Rows;
    if algorithm != Algorithm::Direct {
        let inputs = conv.groups * conv.input_blocks();
        let vectors = count * products * (inputs + outputs / BLOCK);
        // A load, a store, and about as much arithmetic as two of them.
        cycles += vectors as f64 * 4.0 * BLOCK as f64 / speed;
        let at_once = at_once(machine, inputs, products);
        let fused = (count.div_ceil(at_once) * bytes) as f64 / CACHE;
        let moved = 4 * vectors * BLOCK;
        let phases = 2.0 * moved as f64 / if moved < machine.l3 * 2 / 3 { CACHE } else { MEMORY };
        schedule = if fused < phases { Schedule::Fused(at_once) } else { Schedule::Phases };
        cycles += fused.min(phases);
    }
    Choice { algorithm, schedule, multiplications, cycles }
}

/// Tiles whose V, and M of the outputs at hand, fit in a core's cache; whole rounds of the microkernel.
fn at_once(machine: &Machine, inputs: usize, products: usize) -> usize {
    let tile = products * (inputs + machine.isa.width()) * BLOCK * 4;
    let rows = machine.isa.tiles();
    (machine.l2 * 5 / 6 / tile / rows).clamp(1, 8) * rows
}

/// Cycles of a linear layer.
pub(super) fn linear(machine: &Machine, multiplications: u64, bytes: u64) -> f64 {
    let speed = machine.isa.multiply_adds_per_cycle() * CORES * REACHED;
    (multiplications as f64 / speed).max(bytes as f64 / MEMORY)
}
