//! The precisions below `f32`: how far they are from it, on every instruction set, and that no input breaks them.

use crate::arbitrary_tables::table;
use crate::compiled::{difference_of, isas, largest, logits, logits_of, on};
use crate::formula;
use alexnet_vgg_core::architecture::*;
use alexnet_vgg_core::engine::{CompileOptions, Compiled, Isa, Precision, Threads};
use proptest::prelude::*;

/// Share of the largest logit, which the documentation of [`Precision`] promises.
fn tolerance(precision: Precision) -> f64 {
    match precision {
        Precision::F32 => 1e-5,
        Precision::Int16Convolutions => 5e-3,
        Precision::Int8Linear => 1e-2,
        Precision::Fast => 1.2e-2,
    }
}

/// Of narrow networks, whose few channels do not average rounding errors out. A wrong index or scale is off by more
/// than a tenth.
const NARROW_TOLERANCE: f64 = 3e-2;

fn with_precision(isa: Isa, precision: Precision) -> CompileOptions {
    CompileOptions { isa: Some(isa), ..precision.into() }
}

fn lower() -> impl Iterator<Item = Precision> {
    Precision::ALL.into_iter().filter(|&precision| precision != Precision::F32)
}

#[test]
fn the_papers_networks_are_as_close_as_promised() {
    for (name, size) in [("alexnet", 224), ("alexnet_paper", 224), ("vgg11_bn", 224), ("vgg16", 96)]
    {
        let config = NetworkConfig::by_name(name).expect("known").for_input([size; 2]);
        let architecture = config.architecture().expect("valid");
        let shape = [1, 3, size, size];
        let exact = logits(&formula::compiled(&architecture, CompileOptions::default()), shape);
        for precision in lower() {
            let compiled = formula::compiled(&architecture, precision);
            let error = difference_of(largest(&exact), &logits(&compiled, shape), &exact);
            assert!(error < tolerance(precision), "{name}, {precision}: {error:.1e}");
            assert!(error > 1e-5, "{name}, {precision} rounds: {error:.1e}");
        }
    }
}

/// Sums of integers are exact, so only the transforms' roundings differ.
#[test]
fn all_instruction_sets_and_batches_agree() {
    for config in [
        NetworkConfig::from(AlexNetConfig::paper().with_width(0.25)),
        NetworkConfig::from(VggConfig::vgg11().with_batch_norm(true).with_width(0.25)),
    ] {
        let architecture = config.with_num_classes(10).architecture().expect("valid");
        for (batch, size) in [(1, [224, 224]), (3, [97, 131]), (9, [67, 90])] {
            let shape = [batch, 3, size[0], size[1]];
            let exact = logits(&formula::compiled(&architecture, CompileOptions::default()), shape);
            for (isa, precision) in isas().flat_map(|isa| lower().map(move |it| (isa, it))) {
                if isa == Isa::Portable && batch > 1 {
                    continue;
                }
                let compiled = formula::compiled(&architecture, with_precision(isa, precision));
                let error = difference_of(largest(&exact), &logits(&compiled, shape), &exact);
                let place = format!("{} at {shape:?}, {isa}, {precision}", architecture.name);
                assert!(error < NARROW_TOLERANCE, "{place}: {error:.1e}");
            }
        }
    }
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    let config = VggConfig::vgg11().with_width(0.25).with_num_classes(10);
    let architecture = config.architecture().expect("valid");
    for shape in [[1, 3, 224, 224], [3, 3, 64, 80]] {
        let run = |threads| {
            let threads = Threads::Dedicated(threads);
            let options = CompileOptions { threads, ..Precision::Fast.into() };
            logits(&formula::compiled(&architecture, options), shape)
        };
        let alone = run(1);
        for threads in [2, 3, 5, 16] {
            assert_eq!(run(threads), alone, "{threads} threads, {shape:?}");
        }
    }
}

/// One value that is far larger than all others, maps of a constant, zeros, subnormal numbers, the largest numbers.
#[test]
fn extreme_images_do_not_break_it() {
    let config = VggConfig::vgg11().with_width(0.25).with_num_classes(10);
    let architecture = config.architecture().expect("valid");
    let shape = [1, 3, 64, 64];
    let image = formula::images(shape);
    let with_peak = |peak: f32| {
        let mut image = image.clone();
        image[64 * 64 + 77] = peak;
        image
    };
    let images = [
        ("a peak", with_peak(1e4)),
        ("a high peak", with_peak(-1e20)),
        ("a constant", vec![-2.5; image.len()]),
        ("zeros", vec![0.0; image.len()]),
        ("subnormal numbers", image.iter().map(|value| value * 1e-40).collect()),
        ("small numbers", image.iter().map(|value| value * 1e-20).collect()),
        ("large numbers", image.iter().map(|value| value * 1e20).collect()),
    ];
    for (isa, precision) in isas().flat_map(|isa| lower().map(move |it| (isa, it))) {
        let compiled = formula::compiled(&architecture, with_precision(isa, precision));
        let exact = formula::compiled(&architecture, on(isa));
        for (what, image) in &images {
            let [ours, exact] = [&compiled, &exact].map(|it| logits_of(it, image, shape));
            let error = difference_of(largest(&exact), &ours, &exact);
            assert!(error < NARROW_TOLERANCE, "{what}, {isa}, {precision}: {error:.1e}");
        }
        // Too large for the transforms of f32, too.
        let overflowing = vec![f32::MAX; image.len()];
        let ours = logits_of(&compiled, &overflowing, shape);
        assert!(ours.iter().all(|logit| !logit.is_finite()), "{isa}, {precision}: {ours:?}");
        // And nothing of it stays behind.
        let [ours, exact] = [&compiled, &exact].map(|it| logits_of(it, &image, shape));
        assert!(difference_of(largest(&exact), &ours, &exact) < NARROW_TOLERANCE);
    }
}

/// What one layer multiplies a channel by, the next divides it by: the same network. Trained networks are uneven, too.
#[test]
fn uneven_channels_are_as_close() {
    let config = VggConfig::vgg11().with_width(0.5).with_num_classes(10);
    let architecture = config.architecture().expect("valid");
    let shape = [1, 3, 64, 64];
    let gain = |channel: usize| [1.0, 100.0, 0.01, 10.0, 0.3][channel % 5] as f32;
    let uneven = |parameter: &Parameter, rows: std::ops::Range<usize>| {
        let mut values = formula::values(parameter, rows.clone())?;
        let len: usize = parameter.shape[1..].iter().product();
        for (i, value) in values.iter_mut().enumerate() {
            match parameter.key.as_str() {
                "features.3.weight" | "features.3.bias" => *value *= gain(rows.start + i / len),
                "features.6.weight" => *value /= gain(i % len / 9),
                _ => {}
            }
        }
        Ok(values)
    };
    let exact = logits(&formula::compiled(&architecture, CompileOptions::default()), shape);
    for isa in isas() {
        let error_of = |values: &dyn Fn(&Parameter, std::ops::Range<usize>) -> _| {
            let options = with_precision(isa, Precision::Int16Convolutions);
            let compiled = Compiled::from_values(&architecture, options, values).expect("valid");
            difference_of(largest(&exact), &logits(&compiled, shape), &exact)
        };
        let [even, uneven] = [error_of(&formula::values), error_of(&uneven)];
        assert!(
            uneven < 2.0 * even + 1e-3,
            "{isa}: {uneven:.1e}, where even channels have {even:.1e}"
        );
    }
}

#[test]
fn an_image_is_the_same_in_every_batch_and_beside_nan() {
    let config = VggConfig::vgg11().with_width(0.25).with_num_classes(10);
    let compiled = formula::compiled(config, Precision::Fast);
    let shape = [9, 3, 64, 80];
    let mut images = formula::images(shape);
    let alone = logits_of(&compiled, &images[..3 * 64 * 80], [1, 3, 64, 80]);
    for batch in [2, 3, 8, 9] {
        let among = logits_of(&compiled, &images[..batch * 3 * 64 * 80], [batch, 3, 64, 80]);
        let error = difference_of(largest(&alone), &among[..10], &alone);
        // Roundings of f32, some of which move a value to the next integer.
        assert!(error < 1e-3, "{batch}: {error:.1e}");
    }
    images[3 * 64 * 80 + 5] = f32::NAN;
    let beside = logits_of(&compiled, &images[..2 * 3 * 64 * 80], [2, 3, 64, 80]);
    assert!(beside[10..].iter().all(|logit| logit.is_nan()));
    assert!(difference_of(largest(&alone), &beside[..10], &alone) < 1e-3);
}

/// The weights are all as large as they can be, so every sum is as large as it may get.
#[test]
fn no_sum_overflows() {
    let config = VggConfig::vgg11().with_width(0.5).with_num_classes(10);
    let shape = [1, 3, 32, 32];
    let images = vec![1.0; 3 * 32 * 32];
    let constant = |parameter: &Parameter, rows: std::ops::Range<usize>| {
        let len: usize = parameter.shape[1..].iter().product();
        Ok(vec![if parameter.shape.len() > 1 { 1.0 / len as f32 } else { 0.0 }; rows.len() * len])
    };
    let run = |options: CompileOptions| {
        let compiled = Compiled::from_values(config.clone(), options, constant).expect("valid");
        logits_of(&compiled, &images, shape)
    };
    let exact = run(CompileOptions::default());
    for (isa, precision) in isas().flat_map(|isa| lower().map(move |it| (isa, it))) {
        let error = difference_of(largest(&exact), &run(with_precision(isa, precision)), &exact);
        assert!(error < tolerance(precision), "{isa}, {precision}: {error:.1e}");
    }
}

#[test]
fn names_are_parsed_back() {
    for precision in Precision::ALL {
        assert_eq!(precision.to_string().parse::<Precision>().ok(), Some(precision));
    }
    let error = "int4".parse::<Precision>().expect_err("unknown").to_string();
    assert!(error.contains("int4") && error.contains("int8-linear"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, max_global_rejects: 20000, ..Default::default() })]

    /// Any kernel, stride, padding and groups, in any order that a table allows. Layers of few channels cancel, and
    /// long chains without ReLU amplify, so this only looks for what is wrong, not for what is rounded.
    #[test]
    fn random_tables_are_close(table in table(), batch in 1..4usize) {
        let architecture = Architecture::new(table);
        prop_assume!(architecture.is_ok());
        let architecture = architecture.expect("valid");
        let [channels, height, width] = architecture.input;
        let shape = [batch, channels, height, width];
        let images = formula::images(shape);
        let keys: Vec<&str> = architecture.steps().iter().map(|step| step.key.as_str()).collect();
        let exact = formula::compiled(&architecture, CompileOptions::default());
        let exact = exact.taps(&images, shape, &keys).expect("valid");
        prop_assume!(exact.iter().all(|tap| tap.values.iter().all(|value| value.is_finite())));
        for isa in isas() {
            let compiled = formula::compiled(&architecture, with_precision(isa, Precision::Fast));
            let taps = compiled.taps(&images, shape, &keys).expect("valid");
            // A value may be nearly 0 where its terms are not: so the layers before count, too.
            let mut scale = 0.0;
            for ((tap, exact), key) in taps.iter().zip(&exact).zip(&keys) {
                scale = f64::max(scale, largest(&exact.values));
                let error = difference_of(scale, &tap.values, &exact.values);
                prop_assert!(error < 0.05, "{} on {}: {:.1e}", key, isa, error);
            }
        }
    }
}
