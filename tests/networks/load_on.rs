//! Networks on a backend that is chosen at run time answer as those of the backend's type.

use crate::formula;
use alexnet_vgg::Error;
use alexnet_vgg::backend::{BackendName, Cpu};
use alexnet_vgg::models::{BackendModel, Network, VggConfig, init_on, load_on};
use alexnet_vgg::predict::{HeatMap, Model, grad_cam};
use alexnet_vgg::weights::{LoadOptions, Weights};
use burn::backend::Autodiff;
use burn::tensor::{Tensor, TensorData};

const SHAPE: [usize; 4] = [2, 3, 64, 48];

fn config() -> VggConfig {
    VggConfig::vgg11().with_width(0.05).with_num_classes(7)
}

#[test]
fn a_loaded_network_answers_as_on_its_type() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("vgg11.safetensors");
    let network: Network<Cpu> = formula::network(config(), &Default::default());
    network.save(&path).expect("saved");

    let weights = Weights::open(&path).expect("a weights file");
    let loaded = load_on(BackendName::Flex, config(), &weights, LoadOptions::default());
    let loaded = loaded.expect("flex is compiled in");
    let images = formula::fill("input", &SHAPE, 0..2);
    let typed: &dyn Model = &network;
    assert_eq!(loaded.logits(&images, SHAPE).ok(), typed.logits(&images, SHAPE).ok());
    assert_eq!(loaded.score_maps(&images, SHAPE).ok(), typed.score_maps(&images, SHAPE).ok());
    let layers = ["conv3_1", "fc7"];
    let taps = loaded.taps(&images, SHAPE, &layers).expect("taps");
    assert_eq!(Some(&taps), typed.taps(&images, SHAPE, &layers).ok().as_ref());
    assert_eq!((&taps[0].shape[..2], &taps[1].shape[..]), (&[2, 12][..], &[2, 204][..]));

    let one = [1, 3, 64, 48];
    let image = formula::fill("input", &one, 0..1);
    let (map, class) = loaded.grad_cam(&image, one, None, None).expect("a map");
    let gradients: Network<Autodiff<Cpu>> = formula::network(config(), &Default::default());
    let tensor = Tensor::from_data(TensorData::new(image, one), &Default::default());
    let (theirs, their_class) = grad_cam(&gradients, tensor, None, None).expect("a map");
    let numbers = |map: &HeatMap| serde_json::to_string(&format!("{map:?}")).expect("text");
    assert_eq!((numbers(&map), class), (numbers(&theirs), their_class));
}

#[test]
fn a_fresh_network_follows_its_seed() {
    let logits = |seed| {
        let network: Box<dyn BackendModel> =
            init_on(BackendName::preferred(), config(), seed).expect("compiled in");
        network.logits(&[0.5; 3 * 32 * 32], [1, 3, 32, 32]).expect("logits")
    };
    let first = logits(1);
    assert!(first.iter().all(|logit| logit.is_finite()));
    assert_ne!(first, logits(2));
}

#[test]
fn what_it_cannot_do_is_an_error() {
    let network = init_on(BackendName::preferred(), config(), 0).expect("compiled in");
    let short = network.logits(&[0.5; 7], SHAPE);
    assert!(matches!(short, Err(Error::InputShape { .. })), "{short:?}");
    assert!(matches!(network.check([1, 3, 8, 8]), Err(Error::InputTooSmall { .. })));
    assert!(network.grad_cam(&[0.5; 3 * 32 * 32], [1, 3, 32, 32], Some("fc7"), None).is_err());
    if cfg!(not(feature = "ndarray")) {
        let missing = init_on(BackendName::NdArray, config(), 0).map(|_| "built");
        let message = missing.expect_err("not compiled in").to_string();
        assert!(message.contains("--features ndarray"), "{message}");
    }
}
