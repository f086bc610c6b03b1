//! Every way to compute a convolution, also those that no plan would choose here: each algorithm in each
//! schedule on each instruction set, against the definition in f64. Debug builds check all accesses.

use super::cost::{self, Choice, Machine};
use super::plan::{Planner, Way};
use super::run::{Team, Threads};
use super::simd::Isa;
use super::{Precision, prepare};
use crate::models::{Architecture, BiasInit, Init, Layer, Numbering, Parameter, WeightInit};
use std::ops::Range;
use std::sync::Arc;

/// Of the largest output. Here few channels are summed, and the largest output is that of a small map;
/// a wrong index would be off by a tenth.
const TOLERANCE: f64 = 2e-5;

/// A convolution, ReLU, and perhaps the pool that may join them.
#[derive(Clone, Copy, Debug)]
struct Case {
    channels: [usize; 2],
    groups: usize,
    kernel: usize,
    padding: usize,
    size: [usize; 2],
    batch: usize,
    pool: bool,
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    // Whole blocks, parts of one, groups that are blocks, that are joined, and that cannot be.
    let channels = [[32, 32], [33, 17], [64, 96], [64, 64], [64, 64], [36, 36]];
    for (channels, groups) in channels.into_iter().zip([1, 1, 2, 8, 64, 3]) {
        for (kernel, padding) in [(3, 1), (3, 0), (3, 2), (5, 2), (5, 4), (1, 0)] {
            // Smaller than a tile, a whole number of tiles, one pixel more, and long.
            for size in [[5, 7], [12, 20], [13, 9], [6, 41]] {
                let batch = 1 + size[1] % 3;
                let pool = (size[0] + channels[1] / 16 + kernel / 2) % 2 == 0;
                cases.push(Case { channels, groups, kernel, padding, size, batch, pool });
            }
        }
    }
    cases
}

/// Different, of both signs, and no pattern that a wrong index could hide in.
fn noise(seed: usize, index: usize) -> f32 {
    let mixed = (seed as u64 * 7919 + index as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    ((mixed >> 40) as f32 / (1 << 24) as f32) - 0.5
}

fn values(parameter: &Parameter, rows: Range<usize>) -> crate::Result<Vec<f32>> {
    let row: usize = parameter.shape[1..].iter().product();
    let seed = parameter.shape.len();
    Ok((rows.start * row..rows.end * row).map(|index| noise(seed, index)).collect())
}

fn table(case: Case) -> Architecture {
    let Case { channels: [inputs, out], groups, kernel, padding, size, pool, .. } = case;
    let init = Init { weight: WeightInit::TorchDefault, bias: BiasInit::TorchDefault };
    let mut features =
        vec![Layer::Conv { out, kernel, stride: 1, padding, groups, init }, Layer::Relu];
    features.extend(pool.then_some(Layer::MaxPool { kernel: 2, stride: 2 }));
    Architecture {
        name: "one layer".into(),
        // The first layer of a network is always a direct one.
        input: [inputs, size[0], size[1]],
        features: [vec![Layer::Relu], features].concat(),
        pool: [1, 1],
        classifier: Vec::new(),
        numbering: Numbering::Sequential,
    }
}

/// By the definition: `[batch, out, height, width]`.
fn defined(case: Case, images: &[f32]) -> Vec<f64> {
    let Case { channels: [inputs, outputs], groups, kernel, padding, size: [h, w], batch, .. } =
        case;
    let [rows, columns] = [h, w].map(|length| length + 2 * padding + 1 - kernel);
    let of_group = inputs / groups;
    let mut result = Vec::new();
    for (n, o) in (0..batch).flat_map(|n| (0..outputs).map(move |o| (n, o))) {
        let first = o / (outputs / groups) * of_group;
        for (y, x) in (0..rows).flat_map(|y| (0..columns).map(move |x| (y, x))) {
            let mut sum = f64::from(noise(1, o));
            for c in 0..of_group {
                for (i, j) in (0..kernel).flat_map(|i| (0..kernel).map(move |j| (i, j))) {
                    let (row, column) =
                        ((y + i).wrapping_sub(padding), (x + j).wrapping_sub(padding));
                    if row < h && column < w {
                        let image =
                            images[((n * inputs + first + c) * h + row) * w + column].max(0.0);
                        let weight = noise(4, ((o * of_group + c) * kernel + i) * kernel + j);
                        sum += f64::from(image) * f64::from(weight);
                    }
                }
            }
            result.push(sum.max(0.0));
        }
    }
    match case.pool {
        true => pooled(&result, [rows, columns]),
        false => result,
    }
}

fn pooled(maps: &[f64], [rows, columns]: [usize; 2]) -> Vec<f64> {
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

fn run(case: Case, isa: Isa, images: &[f32], way: impl Fn(Vec<Choice>) -> Choice) -> Vec<f32> {
    let steps = table(case).walk(case.size).expect("a valid table");
    let prepared = prepare::prepare(&steps, isa, Precision::F32, &mut values).expect("memory");
    let machine = Machine::this(isa);
    let choose = |convolution: &_, batch, size| way(cost::ways(&machine, convolution, batch, size));
    // What comes out of the last layer of the features.
    let wanted = [steps.len() - 2];
    let plan =
        Planner::plan(machine, &choose, (case.batch, Way::Images), &steps, &prepared, &wanted);
    let plan = plan.expect("a plan");
    let mut pass = plan.pass(1).expect("memory");
    Arc::get_mut(&mut pass).expect("new").memory.write(plan.input, 0, images);
    Team::new(&Threads::Own(1)).and_then(|team| team.run(&pass)).expect("a pass");
    let output = &plan.outputs[0];
    let mut numbers = vec![0.0; case.batch * output.stride];
    pass.memory.read(output.buffer, 0, &mut numbers);
    numbers
}

#[test]
fn every_way_is_the_definition() {
    let mut ways = 0;
    for case in cases() {
        let length = case.batch * case.channels[0] * case.size[0] * case.size[1];
        let images: Vec<f32> = (0..length).map(|index| noise(9, index)).collect();
        let exact = defined(case, &images);
        let largest = exact.iter().fold(0.0, |largest, &value| f64::max(largest, value));
        for isa in Isa::ALL.into_iter().filter(|isa| isa.is_available()) {
            for index in 0.. {
                let count = std::cell::Cell::new(0);
                let chosen = std::cell::Cell::new(None);
                let ours = run(case, isa, &images, |ways| {
                    count.set(ways.len());
                    let way = ways[index.min(ways.len() - 1)];
                    chosen.set(Some((way.algorithm, way.schedule)));
                    way
                });
                if index >= count.get() {
                    break;
                }
                ways += 1;
                assert_eq!(ours.len(), exact.len());
                for (at, (ours, exact)) in ours.iter().zip(&exact).enumerate() {
                    let apart = (f64::from(*ours) - exact).abs() / largest;
                    let place = format!("{case:?}, {isa}, {:?}, at {at}", chosen.get());
                    assert!(apart < TOLERANCE, "{place}: {ours}, not {exact}");
                }
            }
        }
    }
    let isas = Isa::ALL.into_iter().filter(|isa| isa.is_available()).count();
    assert!(ways > 600 * isas, "{ways} ways on {isas} instruction sets");
}
