//! A network against PyTorch, layer by layer: see ../golden/networks.py.

use super::formula;
use alexnet_vgg::models::{Architecture, NetworkConfig, Step, Tap};
use burn::tensor::backend::Backend;
use burn::tensor::{Tensor, TensorData};
use safetensors::SafeTensors;
use safetensors::tensor::TensorView;

const FIXTURE: &[u8] = include_bytes!("../golden/networks.safetensors");

fn fixture() -> SafeTensors<'static> {
    SafeTensors::deserialize(FIXTURE).expect("the fixture")
}

/// What the fixture holds: network and size, as `vgg16@224x224`.
#[allow(dead_code)] // The GPU's tests take some cases only.
pub fn cases() -> Vec<String> {
    let mut cases: Vec<String> = (fixture().names().into_iter())
        .map(|name| name.split('/').next().unwrap_or_default().to_string())
        .collect();
    cases.sort_unstable();
    cases.dedup();
    cases
}

/// A network of the fixture, and the size of its input.
pub fn table(case: &str) -> (Architecture, [usize; 2]) {
    let (name, size) = case.split_once('@').expect("name@size");
    let (height, width) = size.split_once('x').expect("HxW");
    let size = [height, width].map(|side| side.parse::<usize>().expect("a number"));
    let config = NetworkConfig::by_name(name).expect("a known network").for_input(size);
    (config.architecture(), size)
}

#[allow(dead_code)] // The engine's tests have their own.
pub fn compare<B: Backend>(case: &str, device: &B::Device, tolerance: f64) {
    let (table, size) = table(case);
    let steps = table.walk(size).expect("a valid table");

    let shape = [1, 3, size[0], size[1]];
    let input = TensorData::new(formula::fill("input", &shape, 0..1), shape);
    let network = formula::network::<B>(table, device);
    let keys: Vec<&str> = steps.iter().map(|step| step.key.as_str()).collect();
    let taps = network.taps(Tensor::from_data(input.clone(), device), &keys).expect("taps");
    let outputs: Vec<_> = taps.iter().map(|tap| (tap.dims(), values(tap.clone()))).collect();
    check_layers(case, &steps, &outputs, &B::name(device), tolerance);
    let logits = network.forward(Tensor::from_data(input, device));
    let last = taps.into_iter().last().expect("a last layer");
    assert_eq!(values(Tap::Vector(logits)), values(last), "{case}: forward and taps");
}

/// Shape and values of every layer, against the fixture.
pub fn check_layers(
    case: &str,
    steps: &[Step],
    outputs: &[(Vec<usize>, Vec<f32>)],
    engine: &str,
    tolerance: f64,
) {
    let fixture = fixture();
    let golden = |key: &str, what: &str| {
        fixture
            .tensor(&format!("{case}/{key}/{what}"))
            .unwrap_or_else(|_| panic!("{case}: torch has no {key}"))
    };
    let theirs =
        fixture.names().iter().filter(|name| name.starts_with(&format!("{case}/"))).count();
    assert_eq!(theirs, 3 * steps.len(), "{case}: as many layers as torch");
    for (step, (dims, values)) in steps.iter().zip(outputs) {
        let shape: Vec<usize> =
            i64s(&golden(&step.key, "shape")).iter().map(|&dim| dim as usize).collect();
        assert_eq!(*dims, shape, "{case} {}", step.key);
        assert_eq!(dims[1..], *step.output.dims(), "{case} {}: the table's shape", step.key);
        let magnitude = f64s(&golden(&step.key, "magnitude"));
        let place = format!("{case} {} on {engine}", step.key);
        check(&place, values, &f32s(&golden(&step.key, "samples")), &magnitude, tolerance);
    }
}

/// The samples, the largest and the mean magnitude: the last two see every value of the layer.
fn check(place: &str, ours: &[f32], samples: &[f32], magnitude: &[f64], tolerance: f64) {
    let (largest, mean) = (magnitude[0], magnitude[1]);
    for (i, &theirs) in samples.iter().enumerate() {
        let index = (i as u64 * 2_654_435_761 % ours.len() as u64) as usize;
        let error = (f64::from(ours[index]) - f64::from(theirs)).abs() / largest;
        assert!(
            error <= tolerance,
            "{place} [{index}]: {} is not {theirs}, {error:.1e} of the largest",
            ours[index]
        );
    }
    let our_largest = ours.iter().map(|value| f64::from(value.abs())).fold(0.0, f64::max);
    let our_mean = ours.iter().map(|value| f64::from(value.abs())).sum::<f64>() / ours.len() as f64;
    assert!(
        (our_largest - largest).abs() <= tolerance * largest,
        "{place}: largest {our_largest}, not {largest}"
    );
    assert!((our_mean - mean).abs() <= tolerance * largest, "{place}: mean {our_mean}, not {mean}");
}

fn values<B: Backend>(tap: Tap<B>) -> Vec<f32> {
    tap.into_data().expect("a device that works").iter::<f32>().collect()
}

fn f32s(tensor: &TensorView) -> Vec<f32> {
    tensor.data().as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect()
}

fn f64s(tensor: &TensorView) -> Vec<f64> {
    tensor.data().as_chunks().0.iter().map(|&bytes| f64::from_le_bytes(bytes)).collect()
}

fn i64s(tensor: &TensorView) -> Vec<i64> {
    tensor.data().as_chunks().0.iter().map(|&bytes| i64::from_le_bytes(bytes)).collect()
}
