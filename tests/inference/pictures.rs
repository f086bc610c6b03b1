//! What the network sees in pictures, and what others do with it: Grad-CAM, heat maps, perceptual
//! distance and feature vectors, against PyTorch (golden/pictures.py) and by what must hold.

use crate::formula;
use alexnet_vgg::backend::Cpu;
use alexnet_vgg::engine::Precision;
use alexnet_vgg::models::*;
use alexnet_vgg::predict::*;
use alexnet_vgg::vision::RgbImage;
use alexnet_vgg::{Error, Result};
use burn::backend::Autodiff;
use burn::tensor::backend::Backend;
use burn::tensor::{Tensor, TensorData};
use safetensors::SafeTensors;

type Ad = Autodiff<Cpu>;

/// Of the largest value, from PyTorch in f64: what f32 loses in a forward pass (see golden.rs).
const TOLERANCE: f64 = 1e-5;
/// The same for gradients, and for maps made of them, on their way back through all layers.
const GRADIENT: f64 = 1e-4;

fn fixture(name: &str) -> Vec<f32> {
    let fixture = include_bytes!("../golden/pictures.safetensors");
    let fixture = SafeTensors::deserialize(fixture).expect("the fixture");
    let tensor = fixture.tensor(name).unwrap_or_else(|_| panic!("torch has no {name}"));
    match tensor.dtype() {
        safetensors::Dtype::I64 => {
            tensor.data().iter().step_by(8).map(|&byte| f32::from(byte)).collect()
        }
        _ => tensor.data().as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect(),
    }
}

/// The networks of the fixture, and their inputs' height and width.
fn cases() -> [(&'static str, Architecture, [usize; 2]); 3] {
    let vgg = |config: VggConfig| config.with_width(0.125).with_num_classes(10).architecture();
    let alexnet = AlexNetConfig::torchvision().with_width(0.125).with_num_classes(10);
    [
        ("vgg16", vgg(VggConfig::vgg16()), [64, 80]),
        ("vgg11_bn", vgg(VggConfig::vgg11().with_batch_norm(true)), [64, 80]),
        ("alexnet", alexnet.architecture(), [127, 95]),
    ]
}

fn images<B: Backend>(count: usize, [height, width]: [usize; 2]) -> Tensor<B, 4> {
    let shape = [count, 3, height, width];
    let values = formula::fill("input", &shape, 0..count);
    Tensor::from_data(TensorData::new(values, shape), &Default::default())
}

fn values<B: Backend, const D: usize>(tensor: Tensor<B, D>) -> Vec<f32> {
    tensor.into_data().iter::<f32>().collect()
}

fn largest(values: &[f32]) -> f64 {
    values.iter().fold(1e-30, |largest, value| f64::max(largest, f64::from(value.abs())))
}

fn expect_close(place: &str, ours: &[f32], theirs: &[f32], scale: f64, tolerance: f64) {
    assert_eq!(ours.len(), theirs.len(), "{place}");
    for (i, (a, b)) in ours.iter().zip(theirs).enumerate() {
        let error = (f64::from(*a) - f64::from(*b)).abs() / scale;
        assert!(error <= tolerance, "{place} [{i}]: {a} is not {b}, {error:.1e} of the largest");
    }
}

fn expect_equal(place: &str, ours: &[f32], theirs: &[f32], tolerance: f64) {
    expect_close(place, ours, theirs, largest(theirs), tolerance);
}

#[test]
fn grad_cam_equals_torch() {
    for (name, table, size) in cases() {
        let network = formula::network::<Ad>(table, &Default::default());
        for (what, asked) in [("answer", None), ("other", Some(5))] {
            let place = format!("{name}/cam/{what}");
            let (map, class) = grad_cam(&network, images(1, size), None, asked).expect("a map");
            assert_eq!(class as f32, fixture(&format!("{place}/class"))[0], "{place}");
            expect_equal(&place, map.values(), &fixture(&place), GRADIENT);
        }
    }
}

#[test]
fn grad_cam_refuses_what_it_cannot_answer() {
    let (_, table, size) = cases().into_iter().next().expect("a case");
    let network = formula::network::<Ad>(table, &Default::default());
    let ask = |count, layer, class| grad_cam(&network, images(count, size), layer, class);
    assert!(matches!(ask(2, None, None), Err(Error::InputShape { .. })));
    assert!(matches!(ask(1, Some("conv9"), None), Err(Error::UnknownLayer { .. })));
    assert!(matches!(ask(1, Some("avgpool"), None), Err(Error::Setting { .. })));
    assert!(matches!(ask(1, Some("fc7"), None), Err(Error::Setting { .. })));
    assert!(matches!(ask(1, None, Some(10)), Err(Error::Setting { .. })));
    let broken = images::<Ad>(1, size).mul_scalar(f32::NAN);
    assert!(matches!(grad_cam(&network, broken, None, None), Err(Error::NotFinite { .. })));
}

#[test]
fn perceptual_distance_equals_torch() {
    for (name, distance) in
        [("vgg16", PerceptualDistance::vgg16()), ("alexnet", PerceptualDistance::alexnet())]
    {
        let (_, table, size) = cases().into_iter().find(|case| case.0 == name).expect("a case");
        let steps = table.steps().expect("valid");
        let channels = |layer: &String| steps[table.find(layer).expect("there")].output.dims()[0];
        let weights = distance.layers().iter().map(channels).enumerate();
        let weights = weights.map(|(i, c)| formula::fill(&format!("lin{i}.weight"), &[c], 0..c));
        let learned = distance.clone().with_weights(weights.collect::<Vec<_>>());

        let network = formula::network::<Ad>(table.clone(), &Default::default()).frozen();
        let [a, b] = <[_; 2]>::try_from(images::<Ad>(4, size).split(2, 0)).expect("two halves");
        let a = a.require_grad();
        let ours = distance.between(&network, a.clone(), b.clone()).expect("distances");
        let gradient = a.grad(&ours.clone().sum().backward()).expect("a gradient");
        expect_equal(name, &values(ours), &fixture(&format!("{name}/lpips")), TOLERANCE);
        let gradient = values(gradient);
        let scale = f64::from(fixture(&format!("{name}/lpips/gradient/largest"))[0]);
        assert!((largest(&gradient) - scale).abs() < GRADIENT * scale);
        let samples = fixture(&format!("{name}/lpips/gradient"));
        let at = |i: usize| gradient[(i as u64 * 2_654_435_761 % gradient.len() as u64) as usize];
        let ours: Vec<f32> = (0..samples.len()).map(at).collect();
        expect_close(name, &ours, &samples, scale, GRADIENT);

        let ours = learned.between(&network, a.clone(), b.clone()).expect("distances");
        let golden = fixture(&format!("{name}/lpips/learned"));
        expect_equal(name, &values(ours), &golden, TOLERANCE);
        let compiled = network.compile(Precision::F32).expect("a machine");
        let (a, b) = (values(a), values(b));
        let shape = [2, 3, size[0], size[1]];
        let ours = learned.compiled_between(&compiled, &a, &b, shape).expect("distances");
        expect_equal(name, &ours, &golden, TOLERANCE);

        let json = serde_json::to_string(&learned).expect("JSON");
        assert_eq!(serde_json::from_str::<PerceptualDistance>(&json).expect("JSON"), learned);
    }
}

#[test]
fn perceptual_distance_is_a_distance() {
    let (_, table, size) = cases().into_iter().next().expect("a case");
    let distance = PerceptualDistance::vgg16();
    let network = formula::network::<Ad>(table, &Default::default()).frozen();
    let a = images::<Ad>(1, size);
    let between = |a, b| distance.between(&network, a, b).expect("a distance");
    assert_eq!(values(between(a.clone(), a.clone())), [0.0]);
    let mirrored = a.clone().flip([3]);
    let there = values(between(a.clone(), mirrored.clone()));
    assert!(there[0] > 0.1);
    expect_equal("the way back", &values(between(mirrored, a.clone())), &there, TOLERANCE);
    // Small steps are small distances.
    let near = values(between(a.clone(), a.clone() + 0.01))[0];
    let far = values(between(a.clone(), a.clone() + 0.5))[0];
    assert!(0.0 < near && near < far, "{near} {far}");
    let broken = between(a.clone() * f32::NAN, a.clone());
    assert!(values(broken)[0].is_nan());
    // Black in a network without biases: no channel answers, and the root of 0 has no slope. (After a
    // ReLU, burn's gradient is 0 there whatever comes.)
    let black = Tensor::zeros(a.dims(), &a.device()).require_grad();
    let light = light::<Ad>(network.architecture().clone()).frozen();
    let by_convolution = PerceptualDistance::new(["conv1_1"]);
    let seen = by_convolution.between(&light, a.clone(), black.clone()).expect("a distance");
    let gradient = black.grad(&seen.sum().backward()).expect("a gradient");
    assert!(values(gradient).iter().all(|value| value.is_finite()));

    let narrow = a.clone().narrow(3, 0, 64);
    let error = distance.between(&network, a.clone(), narrow).expect_err("another shape");
    assert!(matches!(error, Error::InputShape { .. }), "{error}");
    for wrong in [
        PerceptualDistance::new(["conv9"]),
        PerceptualDistance::new(["fc7"]),
        PerceptualDistance::new([""; 0]),
        PerceptualDistance::new(["relu1_1"]).with_weights(vec![vec![1.0; 9]]),
        PerceptualDistance::new(["relu1_1"]).with_weights(vec![]),
        PerceptualDistance::new(["relu1_1"]).with_weights(vec![vec![-1.0; 8]]),
        PerceptualDistance::new(["relu1_1"]).with_weights(vec![vec![f32::NAN; 8]]),
    ] {
        assert!(wrong.between(&network, a.clone(), a.clone()).is_err(), "{wrong:?}");
    }
}

#[test]
fn features_equal_torch_on_burn_and_compiled() {
    for (name, table, size) in cases() {
        let network = formula::network::<Cpu>(table.clone(), &Default::default());
        let images = images::<Cpu>(4, size);
        let presets = [("fc7", FeatureSettings::fc7()), ("conv5", FeatureSettings::conv5())];
        for (what, settings) in &presets {
            let golden = fixture(&format!("{name}/{what}"));
            let ours = settings.vectors(&network, images.clone()).expect("vectors");
            assert_eq!(
                Ok(ours.dims()[1]),
                settings.length(&table, size).map_err(|e| e.to_string())
            );
            expect_equal(name, &values(ours), &golden, TOLERANCE);
        }
        let maximum = FeatureSettings {
            layers: vec!["pool5".into(), "classifier.1".into(), "features.0".into()],
            pooling: Pooling::Max,
            normalize: true,
        };
        let burn = values(maximum.vectors(&network, images.clone()).expect("vectors"));
        let compiled = network.compile(Precision::F32).expect("a machine");
        let shape = images.dims();
        let images = values(images);
        let ours = maximum.compiled_vectors(&compiled, &images, shape).expect("vectors");
        expect_equal(name, &ours.values, &burn, TOLERANCE);
        for image in ours.values.chunks(ours.shape[1]) {
            let square: f32 = image.iter().map(|value| value * value).sum();
            assert!((square - 1.0).abs() < 1e-5, "{square}");
        }
        for (what, settings) in &presets {
            let ours = settings.compiled_vectors(&compiled, &images, shape).expect("vectors");
            assert_eq!(ours.shape[0], 4);
            expect_equal(name, &ours.values, &fixture(&format!("{name}/{what}")), TOLERANCE);
        }
        let mut broken = images.clone();
        broken[7] = f32::NAN;
        let answer = maximum.compiled_vectors(&compiled, &broken, shape);
        assert!(matches!(answer, Err(Error::NotFinite { .. })));
    }
}

#[test]
fn settings_come_back_from_json_and_wrong_ones_do_not() {
    for settings in [FeatureSettings::fc7(), FeatureSettings::conv5()] {
        let json = serde_json::to_string(&settings).expect("JSON");
        assert_eq!(serde_json::from_str::<FeatureSettings>(&json).expect("JSON"), settings);
        for config in NetworkConfig::all() {
            settings.validate(&config.architecture()).expect("layers of all published networks");
        }
    }
    let least: FeatureSettings = serde_json::from_str(r#"{ "layers": ["pool5"] }"#).expect("JSON");
    assert_eq!((least.pooling, least.normalize), (Pooling::None, false));
    for wrong in [r#"{}"#, r#"{ "layers": ["pool5"], "pool": "Max" }"#] {
        assert!(serde_json::from_str::<FeatureSettings>(wrong).is_err(), "{wrong}");
    }
    let vgg16 = VggConfig::vgg16().architecture();
    let of = |layers: &[&str]| FeatureSettings {
        layers: layers.iter().map(|layer| layer.to_string()).collect(),
        ..FeatureSettings::conv5()
    };
    assert!(matches!(of(&["fc9"]).validate(&vgg16), Err(Error::UnknownLayer { .. })));
    assert!(matches!(of(&[]).validate(&vgg16), Err(Error::Setting { .. })));
    assert!(matches!(cosine_similarity(&[1.0], &[]), Err(Error::Setting { .. })));
    assert!(matches!(cosine_similarity(&[1.0], &[f32::NAN]), Err(Error::NotFinite { .. })));
    assert_eq!(cosine_similarity(&[0.0], &[1.0]).expect("no direction"), 0.0);
}

/// A network that answers light: what comes out of a place is the sum of what it sees.
fn light<B: Backend>(table: Architecture) -> Network<B> {
    let ones = |parameter: &Parameter, rows: std::ops::Range<usize>| {
        let row: usize = parameter.shape[1..].iter().product();
        let value = match parameter.role {
            Role::Weight => 1.0 / parameter.shape[1] as f32,
            _ => 0.0,
        };
        Ok(vec![value; rows.len() * row])
    };
    Network::from_values(table, &Default::default(), ones).expect("a valid table")
}

fn light_tables() -> [Architecture; 2] {
    [
        AlexNetConfig::torchvision().with_width(0.05).with_num_classes(4).architecture(),
        VggConfig::vgg11().with_width(0.05).with_num_classes(4).architecture(),
    ]
}

/// One light pixel is seen by those cells whose squares it lies in, and by no other.
#[test]
fn cells_see_what_their_grid_says() {
    const SIDE: usize = 224;
    for table in light_tables() {
        let network = light::<Cpu>(table.clone());
        let steps = table.steps().expect("valid");
        let features = steps.iter().filter(|step| step.part == Part::Features);
        let keys: Vec<&str> = features.map(|step| step.key.as_str()).collect();
        for (y, x) in [(0, 223), (97, 130), (111, 8)] {
            let mut picture = vec![0.0; 3 * SIDE * SIDE];
            picture[y * SIDE + x] = 1.0;
            let picture = TensorData::new(picture, [1, 3, SIDE, SIDE]);
            let picture = Tensor::from_data(picture, &Default::default());
            for (tap, key) in network.taps(picture, &keys).expect("taps").into_iter().zip(&keys) {
                let [_, _, rows, columns] = <[usize; 4]>::try_from(tap.dims()).expect("a map");
                let map: Vec<f32> = tap.into_data().expect("data").iter().collect();
                let grid = table.grid_of(key).expect("a layer of the features");
                let sees = |cell: usize, pixel: usize| {
                    let center = grid.first + (cell as u64 * grid.step) as f64;
                    (center - (pixel as f64 + 0.5)).abs() < grid.field as f64 / 2.0
                };
                for (cell, value) in map.iter().take(rows * columns).enumerate() {
                    let expected = sees(cell / columns, y) && sees(cell % columns, x);
                    assert_eq!(*value > 0.0, expected, "{} {key} {cell}", table.name);
                }
            }
        }
    }
}

/// A map over 448x448 pixels of which one corner is light: where Grad-CAM, a layer's channel and the
/// slid classifier see it.
#[test]
fn the_light_corner_is_found() {
    const SIDE: usize = 448;
    const LIGHT: usize = 150;
    for table in light_tables() {
        let network = light::<Ad>(table.clone());
        for (low, right) in [(false, false), (false, true), (true, false), (true, true)] {
            let is_light = |place: usize, far: bool| match far {
                true => place >= SIDE - LIGHT,
                false => place < LIGHT,
            };
            let lit = |i: usize| is_light(i / SIDE % SIDE, low) && is_light(i % SIDE, right);
            let picture: Vec<f32> = (0..3 * SIDE * SIDE).map(|i| lit(i).into()).collect();
            let picture = TensorData::new(picture, [1, 3, SIDE, SIDE]);
            let picture = Tensor::<Ad, 4>::from_data(picture, &Default::default());

            let (cam, _) = grad_cam(&network, picture.clone(), None, Some(2)).expect("a map");
            let maps = network.features(picture).expect("maps");
            let [_, _, height, width] = maps.dims();
            let channel = values(maps.narrow(1, 0, 1));
            let last = table.steps().expect("valid")[table.features.len() - 1].key.clone();
            let layer = HeatMap::of_layer(&table, &last, &channel, [height, width], [SIDE; 2]);
            let scores = slid_sum(&channel, [height, width], table.pool);
            let size = [height - table.pool[0] + 1, width - table.pool[1] + 1];
            let scores = HeatMap::of_scores(&table, &scores, size, [SIDE; 2]);
            for (what, map, share) in [
                ("Grad-CAM", cam, HeatMap::SHARE),
                ("a channel", layer.expect("a map"), HeatMap::SHARE),
                // Half the picture is in every window.
                ("scores", scores.expect("a map"), 0.8),
            ] {
                let place = format!("{} {what} {low} {right}", table.name);
                let [down, along] = map.peak();
                assert_eq!((down > 0.5, along > 0.5), (low, right), "{place}: {:?}", map.peak());
                let found = map.localize(share);
                let on_edge = |far: bool, near: f64, end: f64| {
                    if far { end == 1.0 && near > 0.3 } else { near == 0.0 && end < 0.7 }
                };
                assert!(on_edge(low, found.top, found.bottom), "{place}: {found:?}");
                assert!(on_edge(right, found.left, found.right), "{place}: {found:?}");
            }
        }
    }
}

/// What a linear layer of ones says where it is slid over a map.
fn slid_sum(map: &[f32], [height, width]: [usize; 2], window: [usize; 2]) -> Vec<f32> {
    let sum = |top: usize, left: usize| -> f32 {
        let rows = top..top + window[0];
        rows.map(|y| map[y * width + left..][..window[1]].iter().sum::<f32>()).sum()
    };
    let lefts = 0..=width - window[1];
    (0..=height - window[0])
        .flat_map(|top| lefts.clone().map(move |left| (top, left)))
        .map(|(top, left)| sum(top, left))
        .collect()
}

#[test]
fn maps_are_drawn_whatever_their_shape_and_the_photos() {
    let map = |values: &[f32], size| HeatMap::new(values, size, [8.0; 2], [16.0; 2], [64, 64]);
    let shapes = [(1, 1), (1, 999), (999, 1), (3, 2), (640, 427)];
    for (values, size) in [
        (&[0.0][..], [1, 1]),
        (&[-1.0, 2.0, 5.0], [1, 3]),
        (&[f32::MAX, f32::MIN, 0.0], [3, 1]),
        (&[1e-9, 0.0, 0.0, 0.0], [2, 2]),
    ] {
        for (width, height) in shapes {
            let title = "Ägyptische Katze, 99.9 %, and a line that is longer than small pictures";
            let map = map(values, size).expect("a map").with_title(title).with_share(f32::NAN);
            let drawn = map.draw(&RgbImage::new(width, height)).expect("a picture");
            assert!(drawn.width() >= width && drawn.height() > height);
        }
    }
    // The photo's pixels are where they were; the colors grow lighter with the values.
    let two_cells = map(&[0.0, 1.0], [1, 2]).expect("a map");
    let drawn = two_cells.draw(&RgbImage::new(640, 100)).expect("a picture");
    let [left, _, _, bottom] = two_cells.localize(HeatMap::SHARE).on(640, 100);
    assert_eq!(drawn.get_pixel(left + 1, bottom / 2).0, [255; 3], "the box's left edge");
    let light = |x| drawn.get_pixel(x, 50).0.iter().map(|&level| u32::from(level)).sum::<u32>();
    assert!(
        light(90) < light(105) && light(160) < light(220),
        "{:?}",
        [90, 105, 160, 220].map(light)
    );

    for broken in [
        map(&[1.0, f32::NAN], [1, 2]),
        map(&[f32::INFINITY], [1, 1]),
        map(&[], [0, 0]),
        map(&[1.0], [1, 2]),
        map(&[1.0], [usize::MAX, 2]),
        HeatMap::new([1.0], [1, 1], [f64::NAN; 2], [1.0; 2], [1, 1]),
        HeatMap::new([1.0], [1, 1], [0.5; 2], [0.0; 2], [1, 1]),
        HeatMap::new([1.0], [1, 1], [0.5; 2], [1.0; 2], [0, 1]),
    ] {
        assert!(broken.is_err(), "{broken:?}");
    }
    assert!(matches!(map(&[1.0, f32::NAN], [1, 2]), Err(Error::NotFinite { first: 1, .. })));
    let nothing = map(&[1.0], [1, 1]).expect("a map").draw(&RgbImage::new(0, 5));
    assert!(matches!(nothing, Err(Error::Picture { .. })));
}

#[test]
fn boxes_are_around_the_connected_part() {
    // Two things: the larger and weaker one, to the left, is another than that of the maximum.
    let row = [0.0, 6.0, 6.0, 6.0, 0.0, 0.0, 9.0, 0.0];
    let map = HeatMap::new(row, [1, 8], [4.0; 2], [8.0; 2], [8, 64]).expect("a map");
    let found = map.localize(0.5);
    assert_eq!((found.top, found.bottom), (0.0, 1.0));
    // Half of the maximum is half a cell from its center, at 52 pixels.
    assert!((found.left - 48.0 / 64.0).abs() < 1.0 / 64.0, "{found:?}");
    assert!((found.right - 56.0 / 64.0).abs() < 1.0 / 64.0, "{found:?}");
    let everything = BoundingBox { left: 0.0, top: 0.0, right: 1.0, bottom: 1.0 };
    assert_eq!(map.localize(0.0), everything);
    assert_eq!(map.localize(f32::NAN), everything);
    let flat = HeatMap::new([2.0; 6], [2, 3], [4.0; 2], [8.0; 2], [16, 24]).expect("a map");
    assert_eq!(flat.localize(0.9), everything);
    assert_eq!(everything.on(640, 1), [0, 0, 640, 1]);
    let corner = BoundingBox { left: 0.999, top: 0.0, right: 1.0, bottom: 0.001 };
    assert_eq!(corner.on(10, 10), [9, 0, 10, 1]);
}

#[test]
fn a_network_resumed_anywhere_answers_the_same() -> Result<()> {
    for (name, table, size) in cases() {
        let network = formula::network::<Cpu>(table.clone(), &Default::default());
        let images = images::<Cpu>(2, size);
        let logits = values(network.forward(images.clone()));
        let steps = table.walk(size)?;
        let keys: Vec<&str> = steps.iter().map(|step| step.key.as_str()).collect();
        for (tap, key) in network.taps(images.clone(), &keys)?.into_iter().zip(&keys) {
            expect_equal(key, &values(network.resume(key, tap)?), &logits, TOLERANCE);
        }
        // On an autodiff backend a frozen network does not train: no dropout, no batch statistics.
        let frozen = formula::network::<Ad>(table.clone(), &Default::default()).frozen();
        let images = Tensor::<Ad, 4>::from_inner(images);
        expect_equal(name, &values(frozen.forward(images.clone())), &logits, TOLERANCE);
        let compiled = frozen.compile(Precision::F32)?;
        expect_equal(name, &values(compiled.forward(images)), &logits, TOLERANCE);
    }
    Ok(())
}

#[test]
fn a_network_does_not_resume_from_what_its_layers_do_not_give() {
    let (_, table, _) = cases().into_iter().next().expect("a case");
    let network = formula::network::<Cpu>(table, &Default::default());
    let device = Default::default();
    let map = |shape: [usize; 4]| Tap::<Cpu>::Map(Tensor::ones(shape, &device));
    let vector = |shape: [usize; 2]| Tap::<Cpu>::Vector(Tensor::ones(shape, &device));
    for (layer, output) in [
        ("relu5_3", map([1, 63, 4, 4])),
        ("relu5_3", map([1, 64, 1, 1])),
        ("relu5_3", vector([1, 64])),
        ("fc7", map([1, 512, 1, 1])),
        ("fc7", vector([1, 511])),
    ] {
        let error = network.resume(layer, output).expect_err("not its output");
        assert!(matches!(error, Error::InputShape { .. }), "{layer}: {error}");
    }
    let unknown = network.resume("conv6", vector([1, 512]));
    assert!(matches!(unknown, Err(Error::UnknownLayer { .. })));
    // Another size than the network was designed for, and NaN that burn's layers would drop.
    assert_eq!(network.resume("relu5_3", map([3, 64, 9, 2])).expect("logits").dims(), [3, 10]);
    for (layer, output) in [("relu4_1", [1, 64, 8, 8]), ("avgpool", [1, 64, 7, 7])] {
        let Tap::Map(broken) = map(output) else { continue };
        let logits = network.resume(layer, Tap::Map(broken * f32::NAN)).expect("logits");
        assert!(values(logits).iter().all(|logit| logit.is_nan()), "{layer}");
    }
    let broken = Tap::Vector(Tensor::<Cpu, 2>::ones([1, 512], &device) * f32::NAN);
    let logits = network.resume("fc6", broken).expect("logits");
    assert!(values(logits).iter().all(|logit| logit.is_nan()));
}
