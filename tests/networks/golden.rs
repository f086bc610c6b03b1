//! Every layer of every network against PyTorch, at full size, on the CPU backends.

use crate::torch;
use alexnet_vgg::models::NetworkConfig;

/// Share of a layer's largest magnitude. f32 sums of up to 25,088 products, against float64.
const TOLERANCE: f64 = 1e-5;

/// `vgg16@224x224`, ...: 14 networks at their own size, and five at others.
#[test]
fn every_layer_of_every_network_equals_torch_on_ndarray() {
    let cases = torch::cases();
    // alexnet_towers is alexnet_paper but for its LRN, which is held to slices.
    assert_eq!(cases.len(), NetworkConfig::all().len() - 1 + 5);
    for case in cases {
        torch::compare::<alexnet_vgg::backend::NdArray>(&case, &Default::default(), TOLERANCE);
    }
}

#[cfg(feature = "flex")]
#[test]
fn every_layer_of_every_network_equals_torch_on_flex() {
    for case in torch::cases() {
        torch::compare::<alexnet_vgg::backend::Flex>(&case, &Default::default(), TOLERANCE);
    }
}
