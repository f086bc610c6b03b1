//! Forward passes that begin at any layer.

use crate::formula;
use crate::grad_cam::{TOLERANCE, cases, expect_equal, images, values};
use alexnet_vgg::backend::Cpu;
use alexnet_vgg::engine::{CompileOptions, ForwardTensors};
use alexnet_vgg::models::*;
use alexnet_vgg::{Error, Result};
use burn::backend::Autodiff;
use burn::tensor::Tensor;

type Ad = Autodiff<Cpu>;

#[test]
fn the_logits_are_the_same_from_any_layer_on() -> Result<()> {
    for (name, architecture, size) in cases() {
        let network = formula::network::<Cpu>(&architecture, &Default::default());
        let images = images::<Cpu>(2, size);
        let logits = values(network.forward(images.clone()));
        let steps = architecture.walk(size)?;
        let keys: Vec<&str> = steps.iter().map(|step| step.key.as_str()).collect();
        for (tap, key) in network.taps(images.clone(), &keys)?.into_iter().zip(&keys) {
            expect_equal(key, &values(network.forward_from(key, tap)?), &logits, TOLERANCE);
        }
        // On an autodiff backend a frozen network does not train: no dropout, no batch statistics.
        let frozen = formula::network::<Ad>(&architecture, &Default::default()).freeze();
        let images = Tensor::<Ad, 4>::from_inner(images);
        expect_equal(name, &values(frozen.forward(images.clone())), &logits, TOLERANCE);
        let compiled = frozen.compile(CompileOptions::default())?;
        expect_equal(name, &values(compiled.forward(images)), &logits, TOLERANCE);
    }
    Ok(())
}

#[test]
fn outputs_that_a_layer_does_not_give_are_errors() {
    let (_, architecture, _) = cases().into_iter().next().expect("a case");
    let network = formula::network::<Cpu>(architecture, &Default::default());
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
        let error = network.forward_from(layer, output).expect_err("not its output");
        assert!(matches!(error, Error::InputShape { .. }), "{layer}: {error}");
    }
    let unknown = network.forward_from("conv6", vector([1, 512]));
    assert!(matches!(unknown, Err(Error::UnknownLayer { .. })));
    // Another size than the network was designed for, and NaN that burn's layers would drop.
    let logits = network.forward_from("relu5_3", map([3, 64, 9, 2])).expect("logits");
    assert_eq!(logits.dims(), [3, 10]);
    for (layer, output) in [("relu4_1", [1, 64, 8, 8]), ("avgpool", [1, 64, 7, 7])] {
        let broken = Tap::Map(Tensor::<Cpu, 4>::ones(output, &device) * f32::NAN);
        let logits = network.forward_from(layer, broken).expect("logits");
        assert!(values(logits).iter().all(|logit| logit.is_nan()), "{layer}");
    }
    let broken = Tap::Vector(Tensor::<Cpu, 2>::ones([1, 512], &device) * f32::NAN);
    let logits = network.forward_from("fc6", broken).expect("logits");
    assert!(values(logits).iter().all(|logit| logit.is_nan()));
}
