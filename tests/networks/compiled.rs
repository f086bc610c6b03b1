//! Networks layer by layer and the compiled engine give the same answers, as each other's reference; and on the CPU the
//! engine does the passes of burn's networks.

use crate::arbitrary_tables::table;
use crate::core_formula::compiled;
use crate::formula;
use alexnet_vgg::backend::{self, Cpu};
use alexnet_vgg::engine::{CompileOptions, Compiled, Isa};
use alexnet_vgg::models::*;
use alexnet_vgg::predict::{Classifier, McDropout, Model};
use alexnet_vgg::vision::{Preset, decode_file};
use alexnet_vgg::weights::{LoadOptions, Weights};
use alexnet_vgg::{Array, Error, Result};
use burn::backend::Autodiff;
use burn::module::{AutodiffModule, Module, ModuleMapper, Param};
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::{Tensor, TensorData};
use proptest::prelude::*;
use safetensors::SafeTensors;
use std::path::{Path, PathBuf};

/// Share of the largest value: what the README promises.
const TOLERANCE: f64 = 1e-5;

/// One that computes layer by layer, as all do on autodiff backends: the engine does the passes of the others.
fn burn(architecture: impl IntoArchitecture) -> Network<Autodiff<Cpu>> {
    formula::network(architecture, &Default::default()).freeze()
}

fn images(shape: [usize; 4]) -> Vec<f32> {
    formula::fill("input", &shape, 0..shape[0])
}

fn cat() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/photos/cat.jpg")
}

fn largest(values: &[f32]) -> f64 {
    values.iter().fold(1e-30, |largest, value| f64::max(largest, f64::from(value.abs())))
}

/// The largest difference, as a share of the second's largest value.
fn difference(ours: &[f32], theirs: &[f32]) -> f64 {
    difference_of(largest(theirs), ours, theirs)
}

fn difference_of(scale: f64, ours: &[f32], theirs: &[f32]) -> f64 {
    assert_eq!(ours.len(), theirs.len());
    let pairs = ours.iter().zip(theirs);
    let differences = pairs.map(|(a, b)| (f64::from(*a) - f64::from(*b)).abs() / scale);
    differences.fold(0.0, |largest, d| if d.is_nan() { f64::NAN } else { largest.max(d) })
}

#[test]
fn a_batch_of_any_size_is_that_of_burn() -> Result<()> {
    let narrow_vgg = VggConfig::vgg11_bn().with_width(0.25);
    for config in [
        NetworkConfig::from(AlexNetConfig::paper().with_width(0.25)),
        NetworkConfig::from(narrow_vgg),
    ] {
        let architecture = config.with_num_classes(10).architecture()?;
        let (network, compiled) =
            (burn(&architecture), compiled(&architecture, CompileOptions::default()));
        for [height, width] in [[224, 224], [97, 131]] {
            let all = images([9, 3, height, width]);
            let theirs = Model::logits(&network, &all, [9, 3, height, width])?;
            for batch in [1, 2, 3, 5, 8, 9] {
                let images = &all[..batch * 3 * height * width];
                let ours = Model::logits(&compiled, images, [batch, 3, height, width])?;
                let error = difference(&ours, &theirs[..batch * 10]);
                let name = &architecture.name;
                assert!(error < TOLERANCE, "{name} at {batch}x{height}x{width}: {error:.1e}");
            }
        }
    }
    Ok(())
}

/// Real convolutions and a real photo: the rounding of Winograd's algorithm should not depend on what weights are
/// like.
#[test]
fn trained_features_equal_those_of_burn() -> Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/weights");
    let path = folder.join("vgg16-features.safetensors");
    if !path.exists() {
        eprintln!("skipped: there is no {}", path.display());
        return Ok(());
    }
    let device = Default::default();
    let vgg16 = VggConfig::vgg16().architecture()?.without_classifier();
    let batch = Preset::imagenet().batch(&[decode_file(cat())?])?;
    let images = backend::to_tensor::<Autodiff<Cpu>, 4>(batch.clone(), &device)?;
    let weights = Weights::open(&path)?;
    let features = LoadOptions::features();
    let network = Network::from_weights(&vgg16, &weights, features, &device)?.freeze();
    let layers = ["relu1_1", "relu2_2", "relu3_3", "relu4_3", "relu5_3", "pool5"];
    let theirs = network.taps(images, &layers)?;
    for isa in Isa::ALL.into_iter().filter(|isa| isa.is_available() && *isa != Isa::Portable) {
        let options = CompileOptions { isa: Some(isa), ..Default::default() };
        let compiled = Compiled::from_weights(&vgg16, &weights, features, options)?;
        let taps = compiled.taps(&batch.values, [1, 3, 224, 224], &layers)?;
        for ((ours, theirs), layer) in taps.iter().zip(&theirs).zip(layers) {
            let theirs: Vec<f32> = theirs.clone().into_data()?.iter::<f32>().collect();
            let error = difference(&ours.values, &theirs);
            assert!(error < TOLERANCE, "{layer} on {isa}: {error:.1e}");
        }
    }
    Ok(())
}

proptest! {
    // The core compares 400 with the forward pass by definition, on every instruction set.
    #![proptest_config(ProptestConfig { cases: 100, max_global_rejects: 20000, failure_persistence: None, ..Default::default() })]

    /// Any kernel, stride, padding and groups, in any order that a table allows.
    #[test]
    fn random_tables_equal_the_compiled_engine(table in table(), batch in 1..4usize) {
        /// Larger than for the papers' networks, because values may cancel: see the core's test.
        const ROUGH: f64 = 5e-5;
        let architecture = Architecture::new(table);
        prop_assume!(architecture.is_ok());
        let architecture = architecture.expect("valid");
        let [channels, height, width] = architecture.input;
        let shape = [batch, channels, height, width];
        let tensor = TensorData::new(images(shape), shape);
        let logits = burn(&architecture).forward(Tensor::from_data(tensor, &Default::default()));
        let logits: Vec<f32> = logits.into_data().iter::<f32>().collect();
        prop_assume!(logits.iter().all(|value| value.is_finite()));
        let compiled = compiled(&architecture, CompileOptions::default());
        let keys: Vec<&str> = architecture.steps().iter().map(|step| step.key.as_str()).collect();
        let taps = compiled.taps(&images(shape), shape, &keys).expect("valid");
        // A logit may be nearly 0 where its terms are not: so the last layer's inputs count, too.
        let values = taps.iter().rev().take(2).map(|tap| largest(&tap.values));
        let scale = values.fold(largest(&logits), f64::max);
        let ours = Model::logits(&compiled, &images(shape), shape).expect("valid");
        let error = difference_of(scale, &ours, &logits);
        prop_assert!(error < ROUGH, "{:.1e}", error);
    }
}

#[test]
fn dense_evaluation_is_torchs_convolutions() -> Result<()> {
    let fixture = include_bytes!("../golden/views.safetensors");
    let golden = SafeTensors::deserialize(fixture).expect("the fixture");
    for name in ["alexnet", "alexnet_paper", "vgg16"] {
        let network = burn(NetworkConfig::by_name(name)?);
        for size in [[224, 224], [256, 320], [97, 256]] {
            // burn's CPU backends take seconds for a VGG.
            if name == "vgg16" && size != [97, 256] {
                continue;
            }
            let shape = [2, 3, size[0], size[1]];
            let maps = Model::score_maps(&network, &images(shape), shape)?;
            expect_golden(&golden, &format!("dense/{name}@{}x{}", size[0], size[1]), &maps);
        }
    }
    Ok(())
}

fn expect_golden(golden: &SafeTensors, case: &str, maps: &Array) {
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
    let error = difference_of(largest, &ours, &theirs);
    assert!(error < TOLERANCE, "{case}: {error:e}");
}

/// Every published network, narrow, with more classes and places than fit in one part.
#[test]
fn dense_evaluation_of_every_network_is_that_of_burn() -> Result<()> {
    for config in NetworkConfig::all() {
        let architecture = config.with_width(0.08).with_num_classes(19).architecture()?;
        let name = &architecture.name;
        let (network, engine) =
            (burn(&architecture), compiled(&architecture, CompileOptions::default()));
        for shape in [[1, 3, 224, 224], [3, 3, 80, 100], [2, 3, 300, 510]] {
            let images = images(shape);
            let ours = engine.score_maps(&images, shape)?;
            let theirs = Model::score_maps(&network, &images, shape)?;
            assert_eq!(ours.shape, theirs.shape);
            let error = difference(&ours.values, &theirs.values);
            assert!(error < TOLERANCE, "{name}, {shape:?}: {error:e}");
            let places = ours.shape[2] * ours.shape[3];
            assert_eq!(places == 1, shape != [2, 3, 300, 510], "{name}");
        }
    }
    Ok(())
}

#[test]
fn passes_with_dropout_are_those_of_burn() -> Result<()> {
    for name in ["alexnet", "vgg11"] {
        let config = NetworkConfig::by_name(name)?.with_width(0.1).with_num_classes(9);
        let architecture = config.architecture()?;
        let (network, engine) =
            (burn(&architecture), compiled(&architecture, CompileOptions::default()));
        let shape = [2, 3, 96, 96];
        let images = images(shape);
        // Few vectors, which the engine takes as rows, and many, which are columns to it.
        for passes in [3, 90] {
            let dropout = McDropout { passes, seed: 5 };
            let ours = dropout.logits(&engine, &images, shape)?;
            let theirs = dropout.logits(&network, &images, shape)?;
            let error = difference(&ours, &theirs);
            assert!(error < TOLERANCE, "{name}, {passes}: {error:e}");
        }
    }
    // A NaN reaches the logits, and slices of other lengths are no tensors.
    let config = VggConfig::vgg11().with_width(0.05).with_num_classes(9);
    let network: Network<Cpu> = formula::network(config, &Default::default());
    let mut images = vec![0.5; 2 * 3 * 32 * 32];
    images[7] = f32::NAN;
    let shape = [2, 3, 32, 32];
    let logits = McDropout { passes: 3, seed: 0 }.logits(&network, &images, shape)?;
    for (index, logit) in logits.iter().enumerate() {
        assert_eq!(logit.is_nan(), index % 18 < 9, "{index}: {logit}");
    }
    for wrong in [
        Model::logits(&network, &images[1..], shape),
        network.pooled_features(&images, [3, 3, 32, 32]),
        network.run_classifier_layers(0..1, &images),
    ] {
        assert!(matches!(wrong, Err(Error::InputShape { .. })), "{wrong:?}");
    }
    Ok(())
}

/// On burn's tensors as on slices.
#[test]
fn burns_networks_classify_photos() -> Result<()> {
    let config = AlexNetConfig::paper().with_width(0.1).with_num_classes(12);
    let network: Network<Cpu> = formula::network(config, &Default::default());
    let photo = decode_file(cat())?;
    let batch = Preset::imagenet().batch(std::slice::from_ref(&photo))?;
    let images = backend::to_tensor::<Cpu, 4>(batch, &Default::default())?;
    let logits: Vec<f64> = network.forward(images).into_data().iter::<f64>().collect();
    let exponentials: Vec<f64> = logits.iter().map(|logit| logit.exp()).collect();
    let sum: f64 = exponentials.iter().sum();
    let found = Classifier::builder(network).build()?.classify(&photo)?;
    for (ours, exponential) in found.probabilities.iter().zip(exponentials) {
        assert!((f64::from(*ours) - exponential / sum).abs() < 1e-5);
    }
    Ok(())
}

/// A network's passes are the engine's, bit by bit, with the weights that it has: not with those that it had.
fn follow_the_weights<B: AutodiffBackend>() -> Result<()> {
    let config = AlexNetConfig::paper().with_width(0.1).with_num_classes(7);
    let device = Default::default();
    let mut network: Network<B> = formula::network(config, &device);
    let shape = [2, 3, 97, 131];
    let values = images(shape);
    let mut answers = Vec::new();
    for _ in 0..3 {
        let valid = network.valid();
        let batch = || Tensor::from_data(TensorData::new(values.clone(), shape), &device);
        let ours = [valid.forward(batch()), valid.forward(batch()), valid.clone().forward(batch())];
        let taps = valid.taps(batch(), &["pool5", "fc8"])?;
        let features = valid.features(batch())?;
        assert_eq!(taps[0].clone().into_data()?, features.into_data());
        let compiled = valid.compile(CompileOptions::default())?;
        let theirs = Model::logits(&compiled, &values, shape)?;
        for logits in
            ours.into_iter().map(Tensor::into_data).chain([taps[1].clone().into_data()?])
        {
            assert_eq!(logits.iter::<f32>().collect::<Vec<_>>(), theirs);
        }
        assert!(!answers.contains(&theirs), "the weights have changed");
        answers.push(theirs);
        // As an optimizer does, which writes to a parameter's own memory where it can.
        network = network.map(&mut Halve);
    }
    Ok(())
}

/// Halves every parameter.
struct Halve;

impl<B: Backend> ModuleMapper<B> for Halve {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        param.map(|tensor| tensor * 0.5)
    }
}

#[test]
fn passes_on_the_cpu_are_the_engines_and_follow_the_weights() -> Result<()> {
    follow_the_weights::<Autodiff<Cpu>>()?;
    #[cfg(feature = "ndarray")]
    follow_the_weights::<Autodiff<backend::NdArray>>()?;
    Ok(())
}
