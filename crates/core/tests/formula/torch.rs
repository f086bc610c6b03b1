//! A network against PyTorch, layer by layer: see tests/golden/networks.py.

use alexnet_vgg_core::Array;
use alexnet_vgg_core::architecture::{Architecture, NetworkConfig, Step};
use safetensors::SafeTensors;
use safetensors::tensor::TensorView;

const FIXTURE: &[u8] = include_bytes!("../../../../tests/golden/networks.safetensors");

fn fixture() -> SafeTensors<'static> {
    SafeTensors::deserialize(FIXTURE).expect("the fixture")
}

/// The cases of the fixture, each a network and the size of its input: `vgg16@224x224`.
pub fn cases() -> Vec<String> {
    let mut cases: Vec<String> = (fixture().names().into_iter())
        .map(|name| name.split('/').next().unwrap_or_default().to_string())
        .collect();
    cases.sort_unstable();
    cases.dedup();
    cases
}

/// A case's network, and the height and width of its input.
pub fn architecture(case: &str) -> (Architecture, [usize; 2]) {
    let (name, size) = case.split_once('@').expect("name@size");
    let (height, width) = size.split_once('x').expect("HxW");
    let size = [height, width].map(|side| side.parse::<usize>().expect("a number"));
    let config = NetworkConfig::by_name(name).expect("a known network").for_input(size);
    (config.architecture().expect("a published network"), size)
}

/// Compares the shape and the values of every layer's output with the fixture. The tolerance is a share of
/// a layer's largest magnitude.
pub fn check_layers(case: &str, steps: &[Step], outputs: &[Array], engine: &str, tolerance: f64) {
    let fixture = fixture();
    let golden = |key: &str, what: &str| {
        fixture
            .tensor(&format!("{case}/{key}/{what}"))
            .unwrap_or_else(|_| panic!("{case}: PyTorch has no {key}"))
    };
    let of_case =
        fixture.names().iter().filter(|name| name.starts_with(&format!("{case}/"))).count();
    assert_eq!(of_case, 3 * steps.len(), "{case}: as many layers as PyTorch");
    assert_eq!(outputs.len(), steps.len(), "{case}: an output for every layer");
    for (step, output) in steps.iter().zip(outputs) {
        let shape: Vec<usize> =
            i64s(&golden(&step.key, "shape")).iter().map(|&dim| dim as usize).collect();
        assert_eq!(output.shape, shape, "{case} {}", step.key);
        assert_eq!(output.shape[1..], *step.output.dims(), "{case} {}: the step", step.key);
        let magnitude = f64s(&golden(&step.key, "magnitude"));
        let place = format!("{case} {} on {engine}", step.key);
        let samples = f32s(&golden(&step.key, "samples"));
        check_values(&place, &output.values, &samples, &magnitude, tolerance);
    }
}

/// Compares the samples, and the largest and the mean magnitude, which depend on every value of the layer.
fn check_values(place: &str, ours: &[f32], samples: &[f32], magnitude: &[f64], tolerance: f64) {
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

fn f32s(tensor: &TensorView) -> Vec<f32> {
    tensor.data().as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect()
}

fn f64s(tensor: &TensorView) -> Vec<f64> {
    tensor.data().as_chunks().0.iter().map(|&bytes| f64::from_le_bytes(bytes)).collect()
}

fn i64s(tensor: &TensorView) -> Vec<i64> {
    tensor.data().as_chunks().0.iter().map(|&bytes| i64::from_le_bytes(bytes)).collect()
}
