//! Every layer of every network against PyTorch, at full size, on burn's backends.

use crate::{formula, torch};
use alexnet_vgg::Array;
use alexnet_vgg::models::{NetworkConfig, Tap};
use burn::backend::Autodiff;
use burn::tensor::backend::Backend;
use burn::tensor::{Tensor, TensorData};

/// Share of a layer's largest magnitude. f32 sums of up to 25,088 products, against float64.
const TOLERANCE: f64 = 1e-5;

fn array<B: Backend>(tap: Tap<B>) -> Array {
    let shape = tap.dims();
    let values = tap.into_data().expect("a device that works").iter::<f32>().collect();
    Array { shape, values }
}

/// Every layer of one case of the fixture, and the logits of `forward`.
pub fn compare<B: Backend>(case: &str, device: &B::Device, tolerance: f64) {
    let (architecture, size) = torch::architecture(case);
    let network = formula::network::<B>(architecture, device).freeze();
    let steps = network.architecture().walk(size).expect("a valid network");
    let shape = [1, 3, size[0], size[1]];
    let input = TensorData::new(formula::fill("input", &shape, 0..1), shape);
    let input = || Tensor::from_data(input.clone(), device);
    let keys: Vec<&str> = steps.iter().map(|step| step.key.as_str()).collect();
    let taps = network.taps(input(), &keys).expect("taps");
    let mut outputs: Vec<Array> = taps.into_iter().map(array).collect();
    torch::check_layers(case, &steps, &outputs, &B::name(device), tolerance);
    // Where all layers are tapped, the engine cannot fold batch norm into the weights.
    let logits = array(Tap::Vector(network.forward(input())));
    let last = network.taps(input(), &keys[keys.len() - 1..]).expect("taps").remove(0);
    assert_eq!(logits, array(last), "{case}: forward and taps");
    outputs.pop();
    outputs.push(logits);
    torch::check_layers(case, &steps, &outputs, &B::name(device), tolerance);
}

/// `vgg16@224x224`, ...: 16 networks at their own size, and five at others.
#[test]
fn every_layer_of_every_network_equals_torch_on_flex() {
    let cases = torch::cases();
    // alexnet_two_gpu is alexnet_paper but for its LRN, which is compared with slices.
    assert_eq!(cases.len(), NetworkConfig::all().len() - 1 + 5);
    for case in cases {
        compare::<alexnet_vgg::backend::Flex>(&case, &Default::default(), TOLERANCE);
    }
}

/// By the kernels of training.
#[test]
fn every_layer_of_every_network_equals_torch_with_autodiff() {
    for case in torch::cases() {
        compare::<Autodiff<alexnet_vgg::backend::Flex>>(&case, &Default::default(), TOLERANCE);
    }
}

#[cfg(feature = "ndarray")]
#[test]
fn every_layer_of_every_network_equals_torch_on_ndarray() {
    for case in torch::cases() {
        compare::<alexnet_vgg::backend::NdArray>(&case, &Default::default(), TOLERANCE);
    }
}
