//! The threads of the compiled engine: its own, those of a rayon pool, and those of its callers.

use crate::compiled::{logits, logits_of, with};
use crate::formula;
use alexnet_vgg_core::architecture::*;
use alexnet_vgg_core::engine::{BatchSplit, CompileOptions, Threads};
use std::sync::Arc;

fn pool(threads: usize) -> Arc<rayon::ThreadPool> {
    Arc::new(rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads"))
}

/// Which thread does what is left to chance; the bits are not.
#[test]
fn bits_do_not_depend_on_threads() {
    let architecture = VggConfig::vgg11().with_width(0.25).architecture().expect("valid");
    let shape = [2, 3, 120, 136];
    let alone = logits(&formula::compiled(&architecture, with(Threads::Dedicated(1))), shape);
    for threads in [Threads::Dedicated(2), Threads::Dedicated(7), Threads::RayonPool(pool(3))] {
        let compiled = formula::compiled(&architecture, with(threads.clone()));
        for _ in 0..5 {
            assert!(logits(&compiled, shape) == alone, "{threads:?}");
        }
    }
}

/// More threads than cores, than rows, than images, and numbers that divide nothing evenly. Each number has a plan
/// of its own, with other items.
#[test]
fn bits_do_not_depend_on_how_the_work_is_divided() {
    let vgg = VggConfig::vgg11().with_width(0.1).with_batch_norm(true).with_num_classes(7);
    let alexnet = AlexNetConfig::paper().with_width(0.2).with_num_classes(11);
    for config in [NetworkConfig::from(vgg), NetworkConfig::from(alexnet)] {
        let architecture = config.architecture().expect("valid");
        let shapes = [[1, 3, 65, 67], [8, 3, 64, 64], [3, 3, 97, 131]];
        let all = |options| {
            let compiled = formula::compiled(&architecture, options);
            let images = formula::images(shapes[2]);
            let dense = compiled.score_maps(&images, shapes[2]).expect("valid");
            (shapes.map(|shape| logits(&compiled, shape)), dense)
        };
        let name = &architecture.name;
        let alone = all(with(Threads::Dedicated(1)));
        for threads in [2, 3, 5, 8, 16, 33, 64] {
            assert!(all(with(Threads::Dedicated(threads))) == alone, "{name}: {threads} threads");
        }
        for (threads, parts) in [(1, 3), (2, 2), (5, 3), (8, 8), (33, 4), (64, usize::MAX)] {
            let batch_split = BatchSplit::Parts(parts);
            let options = CompileOptions { batch_split, ..with(Threads::Dedicated(threads)) };
            assert!(all(options) == alone, "{name}: {threads} threads, {parts} parts");
        }
        let batch_split = BatchSplit::Parts(3);
        let options = CompileOptions { batch_split, ..with(Threads::RayonPool(pool(5))) };
        assert!(all(options) == alone, "{name}: 3 parts in a pool");
    }
}

/// What is predicted for a number of threads does not depend on how many there are.
#[test]
fn a_prediction_is_for_the_threads_asked_for() {
    let architecture = VggConfig::vgg11().with_width(0.25).architecture().expect("valid");
    let predict = |own: usize, threads: usize| {
        let compiled = formula::compiled(&architecture, with(Threads::Dedicated(own)));
        compiled.predict([8, 3, 64, 64], threads).expect("valid")
    };
    let [few, many] = [2, 64].map(|threads| predict(1, threads));
    assert!(predict(3, 64).cycles() == many.cycles());
    assert!(many.cycles() < few.cycles() && many.stages.len() >= 12);
    let items = |layers: &str| {
        let stage = many.stages.iter().find(|stage| stage.layers.starts_with(layers));
        stage.map_or(0, |stage| stage.items)
    };
    assert!(items("conv1_1") >= 64 && items("fc6") >= 64);
    for stage in many.stages.iter().chain(&few.stages) {
        assert!(stage.efficiency() > 0.0 && stage.efficiency() <= 1.0, "{stage:?}");
        assert!(stage.longest_share() >= 0.99, "{stage:?}");
    }
    let compiled = formula::compiled(&architecture, with(Threads::Dedicated(1)));
    for threads in [0, 1025] {
        assert!(compiled.predict([1, 3, 64, 64], threads).is_err());
        assert!(compiled.batch_parts([1, 3, 64, 64], threads).is_err());
    }
    assert!(compiled.batch_parts([1, 3, 64, 64], 64).expect("valid") == 1);
}

#[test]
fn eight_threads_share_one() {
    let config = AlexNetConfig::paper().with_width(0.25);
    let compiled = formula::compiled(config, CompileOptions::default());
    let shapes = [[1, 3, 224, 224], [2, 3, 120, 136]];
    let alone = shapes.map(|shape| logits(&compiled, shape));
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let (compiled, alone) = (compiled.clone(), &alone);
            scope.spawn(move || {
                for round in 0..6 {
                    let which = (thread + round) % 2;
                    assert!(logits(&compiled, shapes[which]) == alone[which]);
                }
            });
        }
    });
}

/// All threads of the pool call, so that none is free to help: jobs that wait for one must not pile up, and
/// callers must not wait for each other's plans.
#[test]
fn a_pool_whose_threads_all_call_needs_no_others() {
    let pool = pool(4);
    let architecture = VggConfig::vgg11().with_width(0.05).architecture().expect("valid");
    let compiled = formula::compiled(&architecture, with(Threads::RayonPool(pool.clone())));
    let shapes = [[1, 3, 32, 32], [1, 3, 40, 32], [2, 3, 32, 32]];
    let alone = shapes.map(|shape| logits(&compiled, shape));
    pool.broadcast(|_| {
        for round in 0..300 {
            assert!(logits(&compiled, shapes[round % 3]) == alone[round % 3]);
        }
    });
    // A caller from outside the pool is one thread more than the pool has. It must not return before its work is
    // done: the memory then still holds the other picture's logits.
    let formulas = formula::images(shapes[0]);
    let pictures = [vec![0.5; formulas.len()], formulas];
    let answers = pictures.each_ref().map(|picture| logits_of(&compiled, picture, shapes[0]));
    assert!(answers[0] != answers[1]);
    for round in 0..1000 {
        assert!(logits_of(&compiled, &pictures[round % 2], shapes[0]) == answers[round % 2]);
    }
    // Rayon's global pool packs the weights, and here every thread of it wants them.
    let fresh = formula::compiled(&architecture, CompileOptions::default());
    rayon::broadcast(|_| assert!(logits(&fresh, shapes[0]) == alone[0]));
}
