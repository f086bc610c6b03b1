//! The threads of the compiled engine: its own, those of a rayon pool, and those of its callers.

use crate::compiled::{logits, logits_of, with};
use crate::formula;
use alexnet_vgg_core::architecture::*;
use alexnet_vgg_core::engine::{CompileOptions, Threads};
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
