//! The cost model: estimates how long each algorithm takes for a layer, and chooses the fastest.
//!
//! It considers the machine's instruction set, how many multiply-adds a core starts per cycle (which is
//! measured, since some processors with AVX-512 do half as many as others), and the cache sizes. Its unit
//! is the clock cycle of two cores. It deliberately ignores the number of threads and the current speed of
//! memory: the choice must be the same from run to run, or the last bits of the logits would differ.
//!
//! - *Products*: multiply-adds divided by what the cores start per cycle, of which the microkernel reaches
//!   nine tenths. Tiles that overlap the map's edge count like any other.
//! - *Weights* are fetched during the multiplications, at 8 bytes per cycle from memory or 32 from the L3
//!   cache. The longer of the two counts, plus a quarter of the shorter: they do not overlap perfectly.
//! - *Transforms*: for each product of a tile a vector is read and written, passes through the L2 cache in
//!   between, and takes some arithmetic.
//! - *Schedule*: the fused schedule reads all weights for each of its items, the first time from memory and
//!   then from the L3 cache, if they fit. The non-fused one reads them once, but writes and reads V and M,
//!   in the L3 cache or, if they are larger, in memory.
//! - *Pool*: tiles with an even side hold whole windows of a following 2×2 max pool, which is then fused. Otherwise, the map
//!   is written at four times its size and read again, in memory.
//! - *Integers*: with AVX-512, products of 16-bit integers take half as long, and their weights half as many bytes.
//!
//! The constants were measured on two cores of a Zen 4 at 3.6 GHz. `examples/explain_plan` prints
//! estimates next to measured times.

use super::algorithm::{Algorithm, Schedule};
use super::packed_convolution::PackedConvolution;
use super::simd::{BLOCK, Isa};
use super::stage::Work;

/// What the cost model knows about the machine.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Machine {
    pub isa: Isa,
    /// Multiply-adds that a core starts per cycle.
    pub multiply_adds_per_cycle: f64,
    /// Bytes of a core's L2 cache.
    pub l2_bytes: usize,
    /// Bytes of the shared L3 cache.
    pub l3_bytes: usize,
}

/// Bytes of weights read from memory per cycle.
const MEMORY_BYTES_PER_CYCLE: f64 = 8.0;
/// Bytes of weights read from the L3 cache per cycle.
const L3_BYTES_PER_CYCLE: f64 = 32.0;
/// Bytes of V and M per cycle, written and read in the L3 cache.
const L3_INTERMEDIATE_BYTES_PER_CYCLE: f64 = 12.0;
/// Bytes of V and M per cycle, written and read in memory.
const MEMORY_INTERMEDIATE_BYTES_PER_CYCLE: f64 = 6.0;
/// Cores that the constants were measured on. The choice of an algorithm is for these, whatever the number
/// of threads.
pub(super) const CORES: f64 = 2.0;
/// The fraction of the peak that the microkernel reaches.
const EFFICIENCY: f64 = 0.9;
/// The cost of transforming a vector of V or M, in vector multiply-adds.
const TRANSFORM_COST: f64 = 6.0;
/// The fewest items of a fused schedule: with fewer, threads would be idle.
const MIN_FUSED_ITEMS: usize = 4;

impl Machine {
    /// The machine that this runs on.
    pub fn detect(isa: Isa) -> Self {
        Self {
            isa,
            multiply_adds_per_cycle: isa.multiply_adds_per_cycle(),
            l2_bytes: cache_bytes(2).unwrap_or(512 << 10),
            l3_bytes: cache_bytes(3).unwrap_or(8 << 20),
        }
    }

    /// Multiply-adds that the microkernel does on all cores per cycle.
    fn throughput(&self) -> f64 {
        self.multiply_adds_per_cycle * CORES * EFFICIENCY
    }

    /// Estimated cycles of one core for an item. Each core has its share of what was measured on two.
    pub fn cycles(&self, work: &Work) -> f64 {
        let multiply_adds = self.throughput() / CORES;
        let reads = work.new_bytes / (MEMORY_BYTES_PER_CYCLE / CORES)
            + work.cached_bytes / (L3_BYTES_PER_CYCLE / CORES);
        overlapped(work.multiply_adds / multiply_adds, reads)
            + work.vectors * TRANSFORM_COST * BLOCK as f64 / multiply_adds
            + work.moved_bytes / (L3_INTERMEDIATE_BYTES_PER_CYCLE / CORES)
    }

    /// Whether weights that one item has read are still in the L3 cache when the next one needs them.
    pub fn keeps_in_cache(&self, weight_bytes: usize) -> bool {
        weight_bytes < self.l3_bytes * 2 / 3
    }
}

/// Bytes of a cache of the first core, where the system reports it.
fn cache_bytes(level: usize) -> Option<usize> {
    let path = format!("/sys/devices/system/cpu/cpu0/cache/index{level}/size");
    let text = std::fs::read_to_string(path).ok()?;
    let kib: usize = text.trim().strip_suffix('K')?.parse().ok()?;
    (64..1 << 20).contains(&kib).then_some(kib << 10)
}

/// The time of two things that happen at the same time.
fn overlapped(a: f64, b: f64) -> f64 {
    a.max(b) + a.min(b) / 4.0
}

/// A way to compute a convolution, and its estimated cost.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Candidate {
    pub algorithm: Algorithm,
    pub schedule: Schedule,
    /// Multiplications that the kernels do.
    pub multiplications: u64,
    /// Estimated cycles of two cores.
    pub cycles: f64,
}

/// The outputs of a convolution.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outputs {
    /// Images.
    pub batch: usize,
    /// `[height, width]`
    pub size: [usize; 2],
    /// Whether a 2×2 max pool with stride 2 follows, directly or after a batch norm, a ReLU, or both.
    pub is_pooled: bool,
}

/// The cheapest way to compute a convolution.
fn cheapest(machine: &Machine, convolution: &PackedConvolution, outputs: Outputs) -> Candidate {
    let has_enough_items = |candidate: &Candidate| match candidate.schedule {
        Schedule::Fused { items, .. } => items >= MIN_FUSED_ITEMS,
        _ => true,
    };
    let [first, others @ ..] = &candidates(machine, convolution, outputs)[..] else {
        unreachable!("either direct convolution or integers are always a candidate")
    };
    let others = others.iter().filter(|candidate| has_enough_items(candidate));
    *others.fold(first, |best, next| if next.cycles < best.cycles { next } else { best })
}

/// The batch whose algorithms convolutions on integers have, whatever the batch.
const USUAL_BATCH: usize = 8;

/// The cheapest way to compute a part of a batch of `whole` images, with the algorithm of the whole: so each image has
/// the same bits in the part.
pub(super) fn cheapest_of_part(
    machine: &Machine,
    convolution: &PackedConvolution,
    whole: usize,
    part: Outputs,
) -> Candidate {
    // With integers, algorithms differ by more than the last bits.
    let whole = if convolution.is_integer() { USUAL_BATCH } else { whole };
    let of_whole = cheapest(machine, convolution, Outputs { batch: whole, ..part });
    if part.batch == whole {
        return of_whole;
    }
    let candidates = candidates(machine, convolution, part).into_iter();
    (candidates.filter(|candidate| candidate.algorithm == of_whole.algorithm))
        .min_by(|a, b| a.cycles.total_cmp(&b.cycles))
        .unwrap_or(of_whole)
}

/// All ways to compute a convolution. The first has any number of items.
pub(super) fn candidates(
    machine: &Machine,
    convolution: &PackedConvolution,
    outputs: Outputs,
) -> Vec<Candidate> {
    let algorithms = Algorithm::ALL.into_iter().filter(|&algorithm| convolution.allows(algorithm));
    algorithms.flat_map(|algorithm| estimate(machine, convolution, algorithm, outputs)).collect()
}

/// A candidate for each schedule of an algorithm.
fn estimate(
    machine: &Machine,
    conv: &PackedConvolution,
    algorithm: Algorithm,
    Outputs { batch, size, is_pooled }: Outputs,
) -> Vec<Candidate> {
    let [rows, columns] = algorithm.tiles(size);
    let tiles = batch * rows * columns;
    let products = algorithm.products();
    let outputs = conv.outputs.next_multiple_of(BLOCK);
    // Saturates: for sizes that do not fit in memory, the number may overflow.
    let factors = [products, conv.inner_len(algorithm), outputs];
    let multiplications =
        (factors.iter()).fold(tiles as u64, |all, &factor| all.saturating_mul(factor as u64));
    let product_cycles = conv.f32_multiply_adds(multiplications as f64) / machine.throughput();
    let weight_bytes = conv.weight_bytes(algorithm);
    let first_read = weight_bytes as f64 / MEMORY_BYTES_PER_CYCLE;
    let pool = if is_pooled && !algorithm.can_fuse_pool() {
        let map =
            (4 * batch * outputs) as f64 * size.map(|side| side as f64).iter().product::<f64>();
        (map * 3.0 / 4.0 + map) / MEMORY_INTERMEDIATE_BYTES_PER_CYCLE
    } else {
        0.0
    };
    let candidate = |schedule, cycles| {
        let cycles = cycles + pool;
        Candidate { algorithm, schedule, multiplications, cycles }
    };
    if algorithm == Algorithm::Direct {
        return vec![candidate(Schedule::Rows, overlapped(product_cycles, first_read))];
    }
    let input_blocks = conv.groups * conv.input_blocks();
    let vectors = tiles as f64 * (products * (input_blocks + outputs / BLOCK)) as f64;
    let transforms = vectors * TRANSFORM_COST * BLOCK as f64 / machine.throughput();

    let items = fused_items(machine, conv, algorithm, tiles);
    let reread = (items - 1) as f64 * weight_bytes as f64;
    let is_cached = machine.keeps_in_cache(weight_bytes);
    let reread = reread / if is_cached { L3_BYTES_PER_CYCLE } else { MEMORY_BYTES_PER_CYCLE };
    let fused = overlapped(product_cycles, first_read + reread) + transforms;

    let intermediate = vectors * (4 * BLOCK) as f64;
    let intermediate = 2.0 * intermediate
        / if intermediate < machine.l3_bytes as f64 / 1.5 {
            L3_INTERMEDIATE_BYTES_PER_CYCLE
        } else {
            MEMORY_INTERMEDIATE_BYTES_PER_CYCLE
        };
    let non_fused = overlapped(product_cycles, first_read) + transforms + intermediate;
    vec![
        candidate(Schedule::NonFused, non_fused),
        candidate(Schedule::Fused { items, tiles: tiles.div_ceil(items) }, fused),
    ]
}

/// The fewest items of the fused schedule for so many tiles: each fits in the cache. They are a multiple of
/// the number of cores, with equally many tiles in each, so that no core waits.
pub(super) fn fused_items(
    machine: &Machine,
    conv: &PackedConvolution,
    algorithm: Algorithm,
    tiles: usize,
) -> usize {
    let input_blocks = conv.groups * conv.input_blocks();
    let value_bytes = if conv.is_integer() { 2 } else { 4 };
    let at_once = fused_tiles_at_once(machine, input_blocks * value_bytes, algorithm.products());
    tiles.div_ceil(at_once).next_multiple_of(CORES as usize).min(tiles)
}

/// The number of tiles whose V, together with M of one panel, fits in half of the L2 cache: one to eight
/// register tiles.
fn fused_tiles_at_once(machine: &Machine, v_bytes: usize, products: usize) -> usize {
    let tile_bytes = products * (v_bytes + machine.isa.nr_blocks() * 4) * BLOCK;
    let mr = machine.isa.mr();
    (machine.l2_bytes / 2 / tile_bytes / mr).clamp(1, 8) * mr
}

/// Estimated cycles of a linear layer, with multiply-adds in `f32` or as many as take the same time.
pub(super) fn linear_cycles(machine: &Machine, multiply_adds: f64, weight_bytes: f64) -> f64 {
    overlapped(multiply_adds / machine.throughput(), weight_bytes / MEMORY_BYTES_PER_CYCLE)
}
