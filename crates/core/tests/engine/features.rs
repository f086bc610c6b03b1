//! Feature vectors and perceptual distances on the compiled engine, against PyTorch (tests/golden/pictures.py)
//! and by what must hold.

use crate::formula;
use alexnet_vgg_core::architecture::*;
use alexnet_vgg_core::engine::{CompileOptions, Compiled};
use alexnet_vgg_core::predict::*;
use alexnet_vgg_core::weights::Weights;
use alexnet_vgg_core::{Error, Result};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};

/// Share of the largest value, from PyTorch in f64.
const TOLERANCE: f64 = 1e-5;

fn fixture(name: &str) -> Vec<f32> {
    let fixture = include_bytes!(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../tests/golden/pictures.safetensors"
    ));
    let fixture = SafeTensors::deserialize(fixture).expect("the fixture");
    let tensor = fixture.tensor(name).unwrap_or_else(|_| panic!("PyTorch has no {name}"));
    tensor.data().as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect()
}

/// The networks of the fixture, and the height and width of their inputs.
fn cases() -> [(&'static str, Compiled, [usize; 2]); 3] {
    let compiled = |config: NetworkConfig| {
        let config = config.with_width(0.125).with_num_classes(10);
        formula::compiled(config, CompileOptions::default())
    };
    [
        ("vgg16", compiled(VggConfig::vgg16().into()), [64, 80]),
        ("vgg11_bn", compiled(VggConfig::vgg11_bn().into()), [64, 80]),
        ("alexnet", compiled(AlexNetConfig::torchvision().into()), [127, 95]),
    ]
}

fn expect_equal(place: &str, ours: &[f32], theirs: &[f32]) {
    assert_eq!(ours.len(), theirs.len(), "{place}");
    let largest = theirs.iter().fold(1e-30, |largest, v| f64::max(largest, f64::from(v.abs())));
    for (i, (a, b)) in ours.iter().zip(theirs).enumerate() {
        let error = (f64::from(*a) - f64::from(*b)).abs() / largest;
        assert!(error <= TOLERANCE, "{place} [{i}]: {a} is not {b}, {error:.1e} of the largest");
    }
}

#[test]
fn features_equal_torch() -> Result<()> {
    for (name, network, size) in cases() {
        let shape = [4, 3, size[0], size[1]];
        let images = formula::images(shape);
        for (what, options) in [("fc7", FeatureOptions::fc7()), ("conv5", FeatureOptions::conv5())]
        {
            let vectors = options.vectors(&network, &images, shape)?;
            assert_eq!(vectors.shape, [4, options.length(network.architecture(), size)?]);
            expect_equal(name, &vectors.values, &fixture(&format!("{name}/{what}")));
        }
    }
    Ok(())
}

#[test]
fn layers_are_pooled_normalized_and_joined() -> Result<()> {
    let maximum = FeatureOptions {
        layers: vec!["pool5".into(), "classifier.1".into(), "features.0".into()],
        pooling: Pooling::Max,
        normalize: true,
    };
    for (name, network, size) in cases() {
        let shape = [4, 3, size[0], size[1]];
        let images = formula::images(shape);
        let ours = maximum.vectors(&network, &images, shape)?;
        let taps = network.taps(&images, shape, &maximum.layers)?;
        let to_unit_length = |vector: Vec<f32>| -> Vec<f32> {
            let length = vector.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
            vector.into_iter().map(|value| (f64::from(value) / length) as f32).collect()
        };
        for (image, vector) in ours.values.chunks(ours.shape[1]).enumerate() {
            let of_layers = taps.iter().map(|tap| {
                let values = &tap.values[image * tap.values.len() / 4..][..tap.values.len() / 4];
                let cells = tap.shape[2..].iter().product();
                let largest = |channel: &[f32]| channel.iter().copied().fold(f32::MIN, f32::max);
                to_unit_length(values.chunks(cells).map(largest).collect())
            });
            expect_equal(name, vector, &to_unit_length(of_layers.flatten().collect()));
            let square: f32 = vector.iter().map(|value| value * value).sum();
            assert!((square - 1.0).abs() < 1e-5, "{square}");
        }
        let mut broken = images;
        broken[7] = f32::NAN;
        let vectors = maximum.vectors(&network, &broken, shape);
        assert!(matches!(vectors, Err(Error::NotFinite { .. })));
    }
    Ok(())
}

#[test]
fn options_come_back_from_json_and_wrong_ones_do_not() {
    for options in [FeatureOptions::fc7(), FeatureOptions::conv5()] {
        let json = serde_json::to_string(&options).expect("JSON");
        assert_eq!(serde_json::from_str::<FeatureOptions>(&json).expect("JSON"), options);
        for config in NetworkConfig::all() {
            let architecture = config.architecture().expect("valid");
            options.validate(&architecture).expect("layers of all published networks");
        }
    }
    let least: FeatureOptions = serde_json::from_str(r#"{ "layers": ["pool5"] }"#).expect("JSON");
    assert_eq!((least.pooling, least.normalize), (Pooling::None, false));
    for wrong in [r#"{}"#, r#"{ "layers": ["pool5"], "pool": "Max" }"#] {
        assert!(serde_json::from_str::<FeatureOptions>(wrong).is_err(), "{wrong}");
    }
    let vgg16 = VggConfig::vgg16().architecture().expect("valid");
    let of = |layers: &[&str]| FeatureOptions {
        layers: layers.iter().map(|layer| layer.to_string()).collect(),
        ..FeatureOptions::conv5()
    };
    assert!(matches!(of(&["fc9"]).validate(&vgg16), Err(Error::UnknownLayer { .. })));
    assert!(matches!(of(&[]).validate(&vgg16), Err(Error::Setting { .. })));
    assert!(matches!(cosine_similarity(&[1.0], &[]), Err(Error::Setting { .. })));
    assert!(matches!(cosine_similarity(&[1.0], &[f32::NAN]), Err(Error::NotFinite { .. })));
    assert_eq!(cosine_similarity(&[0.0], &[1.0]).expect("no direction"), 0.0);
}

/// Two halves of a batch of four.
fn pairs([height, width]: [usize; 2]) -> ([Vec<f32>; 2], [usize; 4]) {
    let mut a = formula::images([4, 3, height, width]);
    let b = a.split_off(a.len() / 2);
    ([a, b], [2, 3, height, width])
}

#[test]
fn perceptual_distance_equals_torch() -> Result<()> {
    for (name, distance) in
        [("vgg16", PerceptualDistance::vgg16()), ("alexnet", PerceptualDistance::alexnet())]
    {
        let (_, network, size) = cases().into_iter().find(|case| case.0 == name).expect("a case");
        let architecture = network.architecture();
        let mut weights = Vec::new();
        for (i, layer) in distance.layers().iter().enumerate() {
            let channels = architecture.steps()[architecture.find(layer)?].output.channels();
            weights.push(formula::fill(&format!("lin{i}.weight"), &[channels], 0..channels));
        }
        let learned = distance.clone().with_weights(weights);
        let ([a, b], shape) = pairs(size);
        let ours = distance.between(&network, &a, &b, shape)?;
        expect_equal(name, &ours, &fixture(&format!("{name}/lpips")));
        let ours = learned.between(&network, &a, &b, shape)?;
        expect_equal(name, &ours, &fixture(&format!("{name}/lpips/learned")));

        let json = serde_json::to_string(&learned).expect("JSON");
        assert_eq!(serde_json::from_str::<PerceptualDistance>(&json).expect("JSON"), learned);
    }
    Ok(())
}

/// A file as the authors of LPIPS write them.
fn lpips_file(layers: &[(&str, Vec<f32>)]) -> Weights {
    let bytes = |values: &[f32]| values.iter().flat_map(|value| value.to_le_bytes()).collect();
    let bytes: Vec<Vec<u8>> = layers.iter().map(|(_, values)| bytes(values)).collect();
    let views = layers.iter().zip(&bytes).map(|((name, values), bytes)| {
        let shape = vec![1, values.len(), 1, 1];
        (*name, TensorView::new(Dtype::F32, shape, bytes).expect("its size"))
    });
    let bytes = safetensors::serialize(views, None).expect("a file");
    Weights::from_bytes("lpips", bytes).expect("a weights file")
}

#[test]
fn lpips_takes_its_weights_from_a_file() -> Result<()> {
    let names: Vec<String> = (0..7).map(|i| format!("lin{i}.model.1.weight")).collect();
    let layers = |channels: &[usize]| -> Vec<(&str, Vec<f32>)> {
        let values = channels.iter().enumerate();
        let values = values.map(|(i, &c)| formula::fill(&format!("lin{i}.weight"), &[c], 0..c));
        names.iter().map(String::as_str).zip(values).collect()
    };
    for (name, channels) in [("vgg16", [8, 16, 32, 64, 64]), ("alexnet", [8, 24, 48, 32, 32])] {
        let (_, network, size) = cases().into_iter().find(|case| case.0 == name).expect("a case");
        let distance = PerceptualDistance::lpips_from_weights(&lpips_file(&layers(&channels)))?;
        let ([a, b], shape) = pairs(size);
        let ours = distance.between(&network, &a, &b, shape)?;
        expect_equal(name, &ours, &fixture(&format!("{name}/lpips/learned")));
    }
    for wrong in [&[64, 128, 256, 384, 384, 512, 512][..], &[8, 16, 32, 64], &[]] {
        let error = PerceptualDistance::lpips_from_weights(&lpips_file(&layers(wrong)));
        let error = error.expect_err("SqueezeNet, or a layer is missing").to_string();
        assert!(error.contains("lin0.model.1.weight to lin4.model.1.weight"), "{error}");
    }
    Ok(())
}

#[test]
fn perceptual_distance_is_a_distance() -> Result<()> {
    let (_, network, [height, width]) = cases().into_iter().next().expect("a case");
    let distance = PerceptualDistance::vgg16();
    let shape = [1, 3, height, width];
    let a = formula::images(shape);
    let between = |a: &[f32], b: &[f32]| distance.between(&network, a, b, shape);
    assert_eq!(between(&a, &a)?, [0.0]);
    let mirrored: Vec<f32> = a.chunks(width).flat_map(|row| row.iter().rev().copied()).collect();
    let there = between(&a, &mirrored)?;
    assert!(there[0] > 0.1);
    expect_equal("the other direction", &between(&mirrored, &a)?, &there);
    // Small steps are small distances.
    let lighter = |by: f32| a.iter().map(|value| value + by).collect::<Vec<f32>>();
    let (near, far) = (between(&a, &lighter(0.01))?[0], between(&a, &lighter(0.5))?[0]);
    assert!(0.0 < near && near < far, "{near} {far}");
    let broken = between(&vec![f32::NAN; a.len()], &a);
    assert!(matches!(broken, Err(Error::NotFinite { .. })), "{broken:?}");
    let other_shape = between(&a, &a[..a.len() / 2]);
    assert!(matches!(other_shape, Err(Error::InputShape { .. })), "{other_shape:?}");

    for wrong in [
        PerceptualDistance::new(["conv9"]),
        PerceptualDistance::new(["fc7"]),
        PerceptualDistance::new([""; 0]),
        PerceptualDistance::new(["relu1_1"]).with_weights(vec![vec![1.0; 9]]),
        PerceptualDistance::new(["relu1_1"]).with_weights(vec![]),
        PerceptualDistance::new(["relu1_1"]).with_weights(vec![vec![-1.0; 8]]),
        PerceptualDistance::new(["relu1_1"]).with_weights(vec![vec![f32::NAN; 8]]),
    ] {
        assert!(wrong.between(&network, &a, &a, shape).is_err(), "{wrong:?}");
    }
    Ok(())
}
