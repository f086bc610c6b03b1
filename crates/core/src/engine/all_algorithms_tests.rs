//! Every way to compute a convolution, including those that no plan would choose on this machine: each
//! algorithm with each schedule and instruction set, compared with the definition in f64. Debug builds
//! also check all memory accesses.

use super::compile_options::{ConvolutionArithmetic, LinearWeights, Threads};
use super::cost_model::{self, Candidate, Machine};
use super::plan::{PlanKey, PlanMode, Planner};
use super::simd::Isa;
use super::thread_team::ThreadTeam;
use super::weight_packing::pack_weights;
use crate::architecture::{
    Architecture, BiasInit, Init, Layer, Numbering, Parameter, Table, WeightInit,
};
use rayon::prelude::*;
use std::cell::Cell;
use std::ops::Range;
use std::sync::Arc;

/// The largest error allowed, relative to the largest output. Here few channels average out the rounding,
/// and the largest output is that of a small map. A wrong index would give an error of a tenth or more.
const TOLERANCE: f64 = 2e-5;

/// The same with integers of 12 bits or more, for tiles of up to six inputs and for larger ones, which amplify rounding
/// errors.
const INTEGER_TOLERANCE: [f64; 2] = [5e-3, 1.5e-2];
/// More than the items of the coarsest division, so that finer ones and the other schedule are tested.
const MANY_THREADS: usize = 29;

/// A convolution and a ReLU, and if `pool` is set a 2×2 max pool, which may be fused.
#[derive(Clone, Copy, Debug)]
struct Case {
    channels: [usize; 2],
    groups: usize,
    kernel: usize,
    stride: usize,
    padding: usize,
    size: [usize; 2],
    batch: usize,
    pool: bool,
    arithmetic: ConvolutionArithmetic,
    /// Whether it is the first layer, which is computed directly, on images that integers quantize.
    is_first: bool,
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    // Whole blocks, partial blocks, groups that are blocks, groups that are merged, and groups that
    // cannot be merged into whole blocks.
    let channels = [[32, 32], [33, 17], [64, 96], [64, 64], [64, 64], [36, 36]];
    for (channels, groups) in channels.into_iter().zip([1, 1, 2, 8, 64, 3]) {
        for (kernel, padding) in [(3, 1), (3, 0), (3, 2), (5, 2), (5, 4), (1, 0)] {
            // Smaller than a tile, a whole number of tiles, one pixel more, and a wide map.
            for size in [[5, 7], [12, 20], [13, 9], [6, 41]] {
                let batch = 1 + size[1] % 3;
                let pool = (size[0] + channels[1] / 16 + kernel / 2) % 2 == 0;
                for arithmetic in [ConvolutionArithmetic::F32, ConvolutionArithmetic::Int16] {
                    if arithmetic == ConvolutionArithmetic::F32 || kernel > 1 {
                        cases.push(Case {
                            channels,
                            groups,
                            kernel,
                            stride: 1,
                            padding,
                            size,
                            batch,
                            pool,
                            arithmetic,
                            is_first: false,
                        });
                    }
                }
            }
        }
    }
    cases.extend(enough_channels_for_the_largest_tiles());
    cases.extend(first_layers());
    cases
}

fn enough_channels_for_the_largest_tiles() -> impl Iterator<Item = Case> {
    let cases = [
        ([260, 24], 1, [6, 7], false),
        ([260, 24], 1, [14, 21], true),
        ([512, 32], 2, [15, 8], false),
    ];
    cases.into_iter().map(|(channels, groups, size, pool)| Case {
        channels,
        groups,
        kernel: 3,
        stride: 1,
        padding: 1,
        size,
        batch: 2,
        pool,
        arithmetic: ConvolutionArithmetic::F32,
        is_first: false,
    })
}

/// The papers' first layers, and others: pixels of an odd and an even number of values, rows of the kernel that are not
/// whole pairs, and a size that leaves columns and rows over.
fn first_layers() -> Vec<Case> {
    let mut cases = Vec::new();
    for (kernel, stride, padding) in [(3, 1, 1), (11, 4, 2), (7, 2, 0), (5, 3, 1), (1, 1, 0)] {
        for channels in [[1, 20], [2, 16], [3, 64], [4, 33], [15, 48]] {
            for arithmetic in [ConvolutionArithmetic::F32, ConvolutionArithmetic::Int16] {
                for size in [[11, 14], [25, 33]] {
                    cases.push(Case {
                        channels,
                        groups: 1,
                        kernel,
                        stride,
                        padding,
                        size,
                        batch: 2,
                        pool: false,
                        arithmetic,
                        is_first: true,
                    });
                }
            }
        }
    }
    cases
}

/// Values of both signs without a pattern that could hide a wrong index.
fn noise(seed: usize, index: usize) -> f32 {
    const ODD: u64 = 0x9E37_79B9_7F4A_7C15;
    let mixed = (seed as u64 * 7919 + index as u64).wrapping_mul(ODD);
    // Without a second round, multiples of a constant cancel in sums: the largest output was a quarter of a random one.
    let mixed = (mixed ^ (mixed >> 32)).wrapping_mul(ODD);
    ((mixed >> 40) as f32 / (1 << 24) as f32) - 0.5
}

fn values(parameter: &Parameter, rows: Range<usize>) -> crate::Result<Vec<f32>> {
    let row: usize = parameter.shape[1..].iter().product();
    let seed = parameter.shape.len();
    Ok((rows.start * row..rows.end * row).map(|index| noise(seed, index)).collect())
}

fn table(case: Case) -> Architecture {
    let Case { channels: [inputs, out], groups, kernel, stride, padding, size, pool, .. } = case;
    let init = Init { weight: WeightInit::TorchDefault, bias: BiasInit::TorchDefault };
    let mut features =
        vec![Layer::Conv { out, kernel, stride, padding, groups, init }, Layer::Relu];
    features.extend(pool.then_some(Layer::MaxPool { kernel: 2, stride: 2 }));
    let table = Table {
        name: "one layer".into(),
        input: [inputs, size[0], size[1]],
        features: if case.is_first { features } else { [vec![Layer::Relu], features].concat() },
        pool: [1, 1],
        classifier: Vec::new(),
        numbering: Numbering::Sequential,
    };
    Architecture::new(table).expect("a valid table")
}

/// The outputs by the definition, in f64: `[batch, out, height, width]`.
fn reference(case: Case, images: &[f32]) -> Vec<f64> {
    let Case { channels: [inputs, outputs], groups, kernel, stride, padding, size: [h, w], .. } =
        case;
    let [rows, columns] = [h, w].map(|length| (length + 2 * padding - kernel) / stride + 1);
    let smallest = if case.is_first { f32::MIN } else { 0.0 };
    let group_inputs = inputs / groups;
    let mut result = Vec::new();
    for (n, o) in (0..case.batch).flat_map(|n| (0..outputs).map(move |o| (n, o))) {
        let first = o / (outputs / groups) * group_inputs;
        for (y, x) in (0..rows).flat_map(|y| (0..columns).map(move |x| (y, x))) {
            let mut sum = f64::from(noise(1, o));
            for c in 0..group_inputs {
                for (i, j) in (0..kernel).flat_map(|i| (0..kernel).map(move |j| (i, j))) {
                    let (row, column) = (
                        (y * stride + i).wrapping_sub(padding),
                        (x * stride + j).wrapping_sub(padding),
                    );
                    if row < h && column < w {
                        let image =
                            images[((n * inputs + first + c) * h + row) * w + column].max(smallest);
                        let weight = noise(4, ((o * group_inputs + c) * kernel + i) * kernel + j);
                        sum += f64::from(image) * f64::from(weight);
                    }
                }
            }
            result.push(sum.max(0.0));
        }
    }
    if case.pool { max_pool(&result, [rows, columns]) } else { result }
}

fn max_pool(maps: &[f64], [rows, columns]: [usize; 2]) -> Vec<f64> {
    let pool = |map: &[f64]| -> Vec<f64> {
        let windows = (0..rows / 2).flat_map(|y| (0..columns / 2).map(move |x| (2 * y, 2 * x)));
        let largest = |(y, x): (usize, usize)| {
            let at = [y * columns + x, (y + 1) * columns + x];
            at.iter().map(|&at| map[at].max(map[at + 1])).fold(0.0, f64::max)
        };
        windows.map(largest).collect()
    };
    maps.chunks(rows * columns).flat_map(pool).collect()
}

/// The outputs by the engine, with the candidate that `choose` picks, divided for so many threads.
fn run(
    case: Case,
    isa: Isa,
    threads: usize,
    images: &[f32],
    choose: impl Fn(Vec<Candidate>) -> Candidate,
) -> Vec<f32> {
    let steps = table(case).walk(case.size).expect("a valid table");
    let precision = (LinearWeights::Int24, case.arithmetic);
    let layers = pack_weights(&steps, isa, precision, &mut values).expect("enough memory");
    let machine = Machine::detect(isa);
    let choose_candidate =
        |convolution: &_, outputs| choose(cost_model::candidates(&machine, convolution, outputs));
    let key = PlanKey {
        mode: PlanMode::Images,
        batch: case.batch,
        part_of: case.batch,
        threads,
        size: case.size,
        // The last layer before the classifier's pool.
        outputs: vec![steps.len() - 2].into(),
    };
    let plan = Planner::plan(machine, &choose_candidate, &key, &steps, &layers).expect("a plan");
    let mut pass = plan.take_pass(1).expect("enough memory");
    Arc::get_mut(&mut pass).expect("a new pass").workspace.write(plan.input, 0, images);
    let team = ThreadTeam::new(&Threads::Dedicated(1)).expect("a team");
    let pass = [Some(pass)];
    team.run(&pass).expect("a finished pass");
    let [Some(pass)] = pass else { unreachable!("one pass") };
    let output = &plan.outputs[0];
    let mut values = vec![0.0; case.batch * output.stride];
    pass.workspace.read(output.buffer, 0, &mut values);
    values
}

#[test]
fn all_algorithms_match_the_definition() {
    let isas: Vec<Isa> = Isa::ALL.into_iter().filter(|isa| isa.is_available()).collect();
    let runs_of_case = |case: Case| {
        let len = case.batch * case.channels[0] * case.size[0] * case.size[1];
        let images: Vec<f32> = (0..len).map(|index| noise(9, index)).collect();
        let exact = reference(case, &images);
        isas.iter().map(|&isa| check_all_candidates(case, isa, &images, &exact)).sum::<usize>()
    };
    let runs: usize = cases().into_par_iter().map(runs_of_case).sum();
    assert!(runs > 600 * isas.len(), "{runs} runs on {isas:?}");
}

/// Checks every candidate, and returns how many there are.
fn check_all_candidates(case: Case, isa: Isa, images: &[f32], exact: &[f64]) -> usize {
    let largest = exact.iter().fold(0.0, |largest, &value| f64::max(largest, value));
    // Schedules of the same algorithm come one after the other.
    let mut before: Option<(_, Vec<f32>)> = None;
    let mut index = 0;
    loop {
        let chosen = Cell::new(None);
        let ours = run(case, isa, 1, images, |candidates| {
            let candidate = candidates[index];
            chosen.set(Some((candidates.len(), candidate.algorithm, candidate.schedule)));
            candidate
        });
        let (count, algorithm, schedule) = chosen.get().expect("one convolution");
        assert_eq!(ours.len(), exact.len());
        for (at, (ours, exact)) in ours.iter().zip(exact).enumerate() {
            let error = (f64::from(*ours) - exact).abs() / largest;
            let place = format!("{case:?}, {isa}, {algorithm}, {schedule}, value {at}");
            let is_large = algorithm.tile_size().is_some_and(|size| size.inputs > 6);
            let tolerance = match case.arithmetic {
                ConvolutionArithmetic::F32 => TOLERANCE,
                ConvolutionArithmetic::Int16 => INTEGER_TOLERANCE[usize::from(is_large)],
            };
            assert!(error < tolerance, "{place}: {ours}, expected {exact}");
        }
        let divided = run(case, isa, MANY_THREADS, images, |candidates| candidates[index]);
        assert!(
            divided == ours,
            "{case:?}, {isa}, {algorithm}, {schedule}: other bits for many threads"
        );
        if let Some((same, before)) = &before
            && *same == algorithm
        {
            assert!(*before == ours, "{case:?}, {isa}, {algorithm}: the schedules differ");
        }
        before = Some((algorithm, ours));
        index += 1;
        if index == count {
            return count;
        }
    }
}
