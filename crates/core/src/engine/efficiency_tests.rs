//! How well the plans of the published networks keep many threads busy, by the cost model, on machines of
//! several kinds.

use super::compile_options::Precision;
use super::cost_model::{self, Machine};
use super::plan::{Plan, PlanKey, PlanMode, Planner};
use super::predicted_pass::{PredictedPass, PredictedStage};
use super::simd::Isa;
use super::weight_packing::{PackedLayer, pack_weights};
use crate::architecture::{AlexNetConfig, Architecture, IntoArchitecture, Parameter, VggConfig};
use std::ops::Range;

/// The least share of the threads' time that is work.
const EFFICIENCY: f64 = 0.85;
/// The least share of the ideal speed-up over one thread. It may be lower, since smaller items read weights more
/// often, and since threads that share a convolution move V and M through the L3 cache. With integers, moving them takes
/// a larger share of the time, since the products take half as long.
fn least_speed_up(precision: Precision) -> f64 {
    match precision {
        Precision::F32 => 0.8,
        _ => 0.78,
    }
}

/// For each batch, the most threads that the goal holds for.
type Goals = [(usize, usize); 2];

/// One with small caches, one like a Zen 4, and one like a server with two units for AVX-512.
fn machines(isa: Isa) -> impl Iterator<Item = Machine> {
    let full_width = match isa {
        Isa::Avx512 => 32.0,
        _ => isa.multiply_adds_per_cycle(),
    };
    let half_width = full_width.min(16.0);
    let kinds = [
        (half_width, 512 << 10, 8 << 20),
        (half_width, 1 << 20, 32 << 20),
        (full_width, 2 << 20, 96 << 20),
    ];
    kinds.into_iter().map(move |(multiply_adds_per_cycle, l2_bytes, l3_bytes)| Machine {
        isa,
        multiply_adds_per_cycle,
        l2_bytes,
        l3_bytes,
    })
}

fn plan(
    architecture: &Architecture,
    packed: &[PackedLayer],
    machine: &Machine,
    batch: usize,
    threads: usize,
) -> Plan {
    let steps = architecture.steps();
    let [_, height, width] = architecture.input;
    let key = PlanKey {
        mode: PlanMode::Images,
        batch,
        part_of: batch,
        threads,
        size: [height, width],
        outputs: vec![steps.len() - 1].into(),
    };
    let choose = |conv: &_, outputs| cost_model::cheapest_of_part(machine, conv, batch, outputs);
    Planner::plan(*machine, &choose, &key, steps, packed).expect("a plan")
}

fn pack(architecture: &Architecture, isa: Isa, precision: Precision) -> Vec<PackedLayer> {
    let mut values = |parameter: &Parameter, rows: Range<usize>| {
        Ok(vec![0.01; rows.len() * parameter.shape[1..].iter().product::<usize>()])
    };
    pack_weights(architecture.steps(), isa, precision.parts(), &mut values).expect("enough memory")
}

fn check(config: impl IntoArchitecture, goals: Goals) {
    let architecture = config.into_architecture().expect("valid");
    let isas = Isa::ALL.into_iter().filter(|isa| isa.is_available());
    let in_f32 = isas.map(|isa| (isa, Precision::F32));
    for (isa, precision) in in_f32.chain([(Isa::best(), Precision::Fast)]) {
        let packed = pack(&architecture, isa, precision);
        for machine in machines(isa) {
            for (batch, most) in goals {
                check_threads(
                    &architecture,
                    &packed,
                    &machine,
                    [batch, most],
                    least_speed_up(precision),
                );
            }
        }
    }
}

fn check_threads(
    architecture: &Architecture,
    packed: &[PackedLayer],
    machine: &Machine,
    [batch, most]: [usize; 2],
    least_speed_up: f64,
) {
    let alone = plan(architecture, packed, machine, batch, 1).predict(machine, 1).cycles();
    for threads in [2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64].into_iter().filter(|&it| it <= most) {
        let predicted =
            plan(architecture, packed, machine, batch, threads).predict(machine, threads);
        let speed_up = alone / predicted.cycles() / threads as f64;
        let (name, efficiency) = (&architecture.name, predicted.efficiency());
        assert!(
            efficiency >= EFFICIENCY && speed_up >= least_speed_up,
            "{name}, batch {batch}, {machine:?}: {threads} threads work {efficiency:.3} of the time, and are \
             {speed_up:.3} of {threads} times as fast as one\n{}",
            where_time_is_lost(&predicted)
        );
        if threads == most {
            println!("{name}, {batch}, {threads}, {machine:?}: {efficiency:.3}, {speed_up:.3}");
        }
    }
}

/// The stages, with the share of the whole time that is no work.
fn where_time_is_lost(predicted: &PredictedPass) -> String {
    let line = |stage: &PredictedStage| {
        let lost = (1.0 - stage.efficiency()) * stage.cycles / predicted.cycles();
        let (layers, items, share) = (&stage.layers, stage.items, stage.longest_share());
        format!("{layers}: {items} items, longest share {share:.2}, lost {:.1}%\n", 100.0 * lost)
    };
    predicted.stages.iter().map(line).collect()
}

/// Otherwise the goal would hold by itself.
#[test]
fn few_items_do_not_keep_many_threads_busy() {
    let architecture = AlexNetConfig::torchvision().architecture().expect("valid");
    let isa = Isa::best();
    let packed = pack(&architecture, isa, Precision::F32);
    let cycles = |machine: &Machine, threads: usize| {
        plan(&architecture, &packed, machine, 8, threads).predict(machine, 64).cycles()
    };
    for machine in machines(isa) {
        let [undivided, divided] = [1, 64].map(|threads| cycles(&machine, threads));
        assert!(divided < 0.97 * undivided, "{divided} and {undivided} cycles on {machine:?}");
    }
}

#[test]
fn vgg16_keeps_threads_busy() {
    check(VggConfig::vgg16(), [(1, 16), (8, 64)]);
}

#[test]
fn alexnet_keeps_threads_busy() {
    check(AlexNetConfig::torchvision(), [(1, 8), (8, 32)]);
    check(AlexNetConfig::paper(), [(1, 8), (8, 32)]);
}
