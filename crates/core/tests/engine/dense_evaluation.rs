//! Dense evaluation on the compiled engine: against PyTorch's convolutions (tests/golden/views.py), and against
//! the classifier on one window after the other.

use crate::compiled::{isas, on};
use crate::formula;
use alexnet_vgg_core::architecture::*;
use alexnet_vgg_core::engine::{CompileOptions, Compiled, Isa, LinearWeights};
use alexnet_vgg_core::predict::Model;
use alexnet_vgg_core::{Array, Error, Result};
use safetensors::SafeTensors;

/// Share of the largest score, as for logits: what the README promises.
const TOLERANCE: f64 = 1e-5;

fn golden() -> SafeTensors<'static> {
    let fixture = include_bytes!(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../tests/golden/views.safetensors"
    ));
    SafeTensors::deserialize(fixture).expect("the fixture")
}

/// The largest difference, as a share of `largest`; NaN if there is one among them.
pub fn largest_difference(ours: &[f32], theirs: &[f32], largest: f64) -> f64 {
    assert_eq!(ours.len(), theirs.len());
    let differences =
        ours.iter().zip(theirs).map(|(a, b)| (f64::from(*a) - f64::from(*b)).abs() / largest);
    differences.fold(0.0, |largest, d| if d.is_nan() { f64::NAN } else { largest.max(d) })
}

pub fn magnitude(values: &[f32]) -> f64 {
    values.iter().fold(0.0, |largest, value| f64::max(largest, f64::from(value.abs())))
}

#[test]
fn dense_evaluation_is_torchs_convolutions() {
    let golden = golden();
    let mut cases = 0;
    for name in ["alexnet", "alexnet_paper", "vgg16"] {
        let isas: Vec<Isa> = if name == "vgg16" { vec![Isa::best()] } else { isas().collect() };
        let config = NetworkConfig::by_name(name).expect("known");
        let engines: Vec<Compiled> =
            isas.into_iter().map(|isa| formula::compiled(config.clone(), on(isa))).collect();
        for size in [[224, 224], [256, 320], [97, 256]] {
            let case = format!("dense/{name}@{}x{}", size[0], size[1]);
            let shape = [2, 3, size[0], size[1]];
            let images = formula::images(shape);
            for engine in &engines {
                let maps = engine.score_maps(&images, shape).expect("a valid input");
                expect_golden(&golden, &case, &maps, &engine.isa().to_string());
            }
            cases += 1;
        }
    }
    assert_eq!(cases, 9);
}

fn expect_golden(golden: &SafeTensors, case: &str, maps: &Array, by: &str) {
    let bytes = |what: &str| golden.tensor(&format!("{case}/{what}")).expect("there").data();
    let shape = bytes("shape").as_chunks::<8>().0.iter();
    let shape = shape.map(|dim| i64::from_le_bytes(*dim) as usize);
    assert!(shape.eq(maps.shape.iter().copied()), "{case}: {:?}", maps.shape);
    let length = maps.values.len() as u64;
    let sample = |i: u64| maps.values[(i * 2_654_435_761 % length) as usize];
    let ours: Vec<f32> = (0..96).map(sample).collect();
    let largest = f64::from_le_bytes(bytes("largest").try_into().expect("one number"));
    let samples = bytes("samples").as_chunks::<4>().0.iter();
    let theirs: Vec<f32> = samples.map(|value| f32::from_le_bytes(*value)).collect();
    let error = largest_difference(&ours, &theirs, largest);
    assert!(error < TOLERANCE, "{case} by {by}: {error:e}");
}

/// The classifier on the windows of the last map, one after the other: `[N, places, classes]`.
fn by_windows(network: &Compiled, images: &[f32], shape: [usize; 4]) -> Result<Vec<Vec<Vec<f32>>>> {
    let architecture = network.architecture();
    let steps = architecture.steps();
    let first = architecture.features.len() + 1;
    let maps = network.taps(images, shape, &[&steps[first - 2].key])?.remove(0);
    let [_, channels, height, width] = maps.shape[..] else { panic!("{:?}", maps.shape) };
    let [window_height, window_width] = architecture.pool;
    let of_image = |maps: &[f32]| {
        let tops = 0..=height - window_height;
        let places = tops.flat_map(|top| (0..=width - window_width).map(move |left| (top, left)));
        let window = |(top, left): (usize, usize)| {
            let rows = (0..channels).flat_map(|c| (top..top + window_height).map(move |y| (c, y)));
            let row = |(c, y): (usize, usize)| {
                maps[(c * height + y) * width + left..][..window_width].iter().copied()
            };
            let vector: Vec<f32> = rows.flat_map(row).collect();
            Model::run_classifier_layers(network, first..steps.len(), &vector)
        };
        places.map(window).collect::<Result<Vec<_>>>()
    };
    maps.values.chunks(channels * height * width).map(of_image).collect()
}

/// Every published network, narrow, with more classes and places than fit in one part.
#[test]
fn dense_evaluation_of_every_network_is_its_classifier_on_every_window() -> Result<()> {
    const CLASSES: usize = 19;
    for config in NetworkConfig::all() {
        let config = config.with_width(0.08).with_num_classes(CLASSES);
        let engine = formula::compiled(config, CompileOptions::default());
        let name = engine.architecture().name.clone();
        // Up to the size that the network was designed for there is one place.
        for shape in [[1, 3, 224, 224], [3, 3, 80, 100]] {
            let images = formula::images(shape);
            let maps = engine.score_maps(&images, shape)?;
            assert_eq!(maps.shape, [shape[0], CLASSES, 1, 1], "{name}");
            let logits = Model::logits(&engine, &images, shape)?;
            let error = largest_difference(&maps.values, &logits, magnitude(&logits));
            assert!(error < TOLERANCE, "{name}, {shape:?}: {error:e}");
        }
        let shape = [2, 3, 300, 510];
        let images = formula::images(shape);
        let maps = engine.score_maps(&images, shape)?;
        let places = maps.shape[2] * maps.shape[3];
        assert!(places > 1, "{name}");
        for (maps, windows) in
            maps.values.chunks(CLASSES * places).zip(by_windows(&engine, &images, shape)?)
        {
            assert_eq!(windows.len(), places, "{name}");
            let transposed = (0..CLASSES).flat_map(|class| windows.iter().map(move |w| w[class]));
            let windows: Vec<f32> = transposed.collect();
            let error = largest_difference(maps, &windows, magnitude(&windows));
            assert!(error < TOLERANCE, "{name}, {shape:?}: {error:e}");
        }

        let wrong = engine.score_maps(&[0.0; 12], [1, 3, 2, 2]);
        assert!(matches!(wrong, Err(Error::InputTooSmall { .. })), "{name}");
        let mut images = vec![0.0; 2 * 3 * 100 * 100];
        images[5] = f32::NAN;
        let maps = engine.score_maps(&images, [2, 3, 100, 100])?;
        assert!(maps.values[..CLASSES].iter().all(|score| score.is_nan()), "{name}");
        assert!(maps.values[CLASSES..].iter().all(|score| score.is_finite()), "{name}");
    }
    Ok(())
}

/// Columns and rows of the same packed weights, of either width and on every instruction set.
#[test]
fn columns_give_what_rows_give() {
    let config = NetworkConfig::by_name("alexnet").expect("known");
    let config = config.with_width(0.08).with_num_classes(101);
    for isa in isas() {
        for (linear_weights, tolerance) in [
            (LinearWeights::Int24, TOLERANCE),
            (LinearWeights::Int16, TOLERANCE),
            // Few rows are rounded to 16 bits, and columns are not.
            (LinearWeights::Int8, 1e-3),
        ] {
            let options = CompileOptions { linear_weights, ..on(isa) };
            let engine = formula::compiled(config.clone(), options);
            for batch in [1, 7, 33] {
                let shape = [batch, 3, 70, 64];
                let images = formula::images(shape);
                let rows = Model::logits(&engine, &images, shape).expect("valid");
                let columns = engine.score_maps(&images, shape).expect("valid");
                assert_eq!(columns.shape, [batch, 101, 1, 1]);
                let error = largest_difference(&columns.values, &rows, magnitude(&rows));
                assert!(error < tolerance, "{isa}, {linear_weights}, {batch}: {error:e}");
            }
        }
    }
}
