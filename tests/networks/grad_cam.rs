//! Grad-CAM against PyTorch (tests/golden/pictures.py), and by where the light is.

use crate::formula;
use alexnet_vgg::Error;
use alexnet_vgg::backend::Cpu;
use alexnet_vgg::models::*;
use alexnet_vgg::predict::HeatMap;
use burn::backend::Autodiff;
use burn::tensor::backend::Backend;
use burn::tensor::{Tensor, TensorData};
use safetensors::SafeTensors;

type Ad = Autodiff<Cpu>;

/// Share of the largest value, from PyTorch in f64: what f32 loses in a forward pass.
pub const TOLERANCE: f64 = 1e-5;
/// The same for gradients, which go back through all layers, and for maps made of them.
pub const GRADIENT: f64 = 1e-4;

pub fn fixture(name: &str) -> Vec<f32> {
    let fixture = include_bytes!("../golden/pictures.safetensors");
    let fixture = SafeTensors::deserialize(fixture).expect("the fixture");
    let tensor = fixture.tensor(name).unwrap_or_else(|_| panic!("PyTorch has no {name}"));
    if tensor.dtype() == safetensors::Dtype::I64 {
        tensor.data().iter().step_by(8).map(|&byte| f32::from(byte)).collect()
    } else {
        tensor.data().as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect()
    }
}

/// The networks of the fixture, and the height and width of their inputs.
pub fn cases() -> [(&'static str, Architecture, [usize; 2]); 3] {
    let narrow = |config: NetworkConfig| {
        config.with_width(0.125).with_num_classes(10).architecture().expect("valid")
    };
    [
        ("vgg16", narrow(VggConfig::vgg16().into()), [64, 80]),
        ("vgg11_bn", narrow(VggConfig::vgg11_bn().into()), [64, 80]),
        ("alexnet", narrow(AlexNetConfig::torchvision().into()), [127, 95]),
    ]
}

pub fn images<B: Backend>(count: usize, [height, width]: [usize; 2]) -> Tensor<B, 4> {
    let shape = [count, 3, height, width];
    let values = formula::fill("input", &shape, 0..count);
    Tensor::from_data(TensorData::new(values, shape), &Default::default())
}

pub fn values<B: Backend, const D: usize>(tensor: Tensor<B, D>) -> Vec<f32> {
    tensor.into_data().iter::<f32>().collect()
}

pub fn largest(values: &[f32]) -> f64 {
    values.iter().fold(1e-30, |largest, value| f64::max(largest, f64::from(value.abs())))
}

pub fn expect_close(place: &str, ours: &[f32], theirs: &[f32], scale: f64, tolerance: f64) {
    assert_eq!(ours.len(), theirs.len(), "{place}");
    for (i, (a, b)) in ours.iter().zip(theirs).enumerate() {
        let error = (f64::from(*a) - f64::from(*b)).abs() / scale;
        assert!(error <= tolerance, "{place} [{i}]: {a} is not {b}, {error:.1e} of the largest");
    }
}

pub fn expect_equal(place: &str, ours: &[f32], theirs: &[f32], tolerance: f64) {
    expect_close(place, ours, theirs, largest(theirs), tolerance);
}

/// A network that measures light: what comes out of a cell is the sum of what it sees.
pub fn light_meter<B: Backend>(architecture: Architecture) -> Network<B> {
    let weights = |parameter: &Parameter, rows: std::ops::Range<usize>| {
        let row: usize = parameter.shape[1..].iter().product();
        let is_weight = parameter.role == Role::Weight;
        let value = if is_weight { 1.0 / parameter.shape[1] as f32 } else { 0.0 };
        Ok(vec![value; rows.len() * row])
    };
    Network::from_values(architecture, &Default::default(), weights).expect("a valid network")
}

fn light_meters() -> [Architecture; 2] {
    [NetworkConfig::from(AlexNetConfig::torchvision()), NetworkConfig::from(VggConfig::vgg11())]
        .map(|config| config.with_width(0.05).with_num_classes(4).architecture().expect("valid"))
}

#[test]
fn grad_cam_equals_torch() {
    for (name, architecture, size) in cases() {
        let network = formula::network::<Ad>(architecture, &Default::default());
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
    let (_, architecture, size) = cases().into_iter().next().expect("a case");
    let network = formula::network::<Ad>(architecture, &Default::default());
    let ask = |count, layer, class| grad_cam(&network, images(count, size), layer, class);
    assert!(matches!(ask(2, None, None), Err(Error::InputShape { .. })));
    assert!(matches!(ask(1, Some("conv9"), None), Err(Error::UnknownLayer { .. })));
    assert!(matches!(ask(1, Some("avgpool"), None), Err(Error::Setting { .. })));
    assert!(matches!(ask(1, Some("fc7"), None), Err(Error::Setting { .. })));
    assert!(matches!(ask(1, None, Some(10)), Err(Error::Setting { .. })));
    let broken = images::<Ad>(1, size).mul_scalar(f32::NAN);
    assert!(matches!(grad_cam(&network, broken, None, None), Err(Error::NotFinite { .. })));
}

/// Cat or dog by a sigmoid: what speaks for one speaks against the other.
#[test]
fn one_output_has_two_classes() {
    let config = VggConfig::vgg11().with_width(0.05).with_num_classes(1);
    let network = formula::network::<Ad>(config, &Default::default());
    let size = [70, 63];
    let map = |class| grad_cam(&network, images(1, size), None, class).expect("a map");
    let [(cat, _), (dog, _)] = [map(Some(0)), map(Some(1))];
    assert!(cat.values().iter().zip(dog.values()).all(|(cat, dog)| cat.min(*dog) == 0.0));
    assert!(cat.values().iter().chain(dog.values()).any(|value| *value > 0.0));
    let logit = network.clone().freeze().forward(images(1, size)).into_scalar();
    let best = grad_cam(&network, images(1, size), None, None).expect("a map").1;
    assert_eq!(best, usize::from(logit > 0.0));
    let third = grad_cam(&network, images(1, size), None, Some(2));
    assert!(matches!(third, Err(Error::Setting { .. })));
}

/// One light pixel is seen by those cells whose receptive fields it lies in, and by no other. In f64, where each
/// cell is computed by itself: Winograd's algorithm rounds all cells of a tile, whether they see the pixel or not.
#[cfg(feature = "ndarray")]
#[test]
fn cells_see_what_their_receptive_fields_say_on_ndarray() {
    const SIDE: usize = 224;
    for architecture in light_meters() {
        let network = light_meter::<alexnet_vgg::backend::NdArray<f64>>(architecture.clone());
        let features = architecture.steps().iter().filter(|step| step.section == Section::Features);
        let keys: Vec<&str> = features.map(|step| step.key.as_str()).collect();
        for (y, x) in [(0, 223), (97, 130), (111, 8)] {
            let mut picture = vec![0.0; 3 * SIDE * SIDE];
            picture[y * SIDE + x] = 1.0;
            let picture = TensorData::new(picture, [1, 3, SIDE, SIDE]);
            let picture = Tensor::from_data(picture, &Default::default());
            for (tap, key) in network.taps(picture, &keys).expect("taps").into_iter().zip(&keys) {
                let [_, _, rows, columns] = <[usize; 4]>::try_from(tap.dims()).expect("a map");
                let map: Vec<f64> = tap.into_data().expect("data").iter().collect();
                let field = architecture.receptive_field(key).expect("a layer of the features");
                let sees = |cell: usize, pixel: usize| {
                    let center = field.first_center + (cell as u64 * field.stride) as f64;
                    (center - (pixel as f64 + 0.5)).abs() < field.size as f64 / 2.0
                };
                for (cell, value) in map.iter().take(rows * columns).enumerate() {
                    let expected = sees(cell / columns, y) && sees(cell % columns, x);
                    assert_eq!(*value > 0.0, expected, "{} {key} {cell}", architecture.name);
                }
            }
        }
    }
}

/// A picture of 448x448 pixels of which one corner is light: Grad-CAM's peak and box are there. (For maps of
/// channels and scores the core tests the same.)
#[test]
fn grad_cam_finds_the_light_corner() {
    const SIDE: usize = 448;
    const LIGHT: usize = 150;
    for architecture in light_meters() {
        let network = light_meter::<Ad>(architecture.clone());
        for (low, right) in [(false, false), (false, true), (true, false), (true, true)] {
            let is_lit = |place: usize, far: bool| {
                if far { place >= SIDE - LIGHT } else { place < LIGHT }
            };
            let lit = |i: usize| is_lit(i / SIDE % SIDE, low) && is_lit(i % SIDE, right);
            let picture: Vec<f32> = (0..3 * SIDE * SIDE).map(|i| f32::from(lit(i))).collect();
            let picture = TensorData::new(picture, [1, 3, SIDE, SIDE]);
            let picture = Tensor::<Ad, 4>::from_data(picture, &Default::default());

            let (map, _) = grad_cam(&network, picture, None, Some(2)).expect("a map");
            let place = format!("{} {low} {right}", architecture.name);
            let [down, along] = map.peak();
            assert_eq!((down > 0.5, along > 0.5), (low, right), "{place}: {:?}", map.peak());
            let found = map.localize(HeatMap::THRESHOLD);
            let on_edge = |far: bool, near: f64, end: f64| {
                if far { end == 1.0 && near > 0.3 } else { near == 0.0 && end < 0.7 }
            };
            assert!(on_edge(low, found.top, found.bottom), "{place}: {found:?}");
            assert!(on_edge(right, found.left, found.right), "{place}: {found:?}");
        }
    }
}
