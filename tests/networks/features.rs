//! Feature vectors and perceptual distances on burn's tensors, with gradients: against PyTorch
//! (tests/golden/pictures.py), against the compiled engine, and by what must hold.

use crate::formula;
use crate::grad_cam::{
    GRADIENT, TOLERANCE, cases, expect_close, expect_equal, fixture, images, largest, light_meter,
    values,
};
use alexnet_vgg::backend::Cpu;
use alexnet_vgg::engine::CompileOptions;
use alexnet_vgg::predict::*;
use alexnet_vgg::{Error, Result};
use burn::backend::Autodiff;
use burn::tensor::Tensor;

type Ad = Autodiff<Cpu>;

#[test]
fn perceptual_distance_equals_torch() -> Result<()> {
    for (name, distance) in
        [("vgg16", PerceptualDistance::vgg16()), ("alexnet", PerceptualDistance::alexnet())]
    {
        let (_, architecture, size) = cases().into_iter().find(|it| it.0 == name).expect("a case");
        let mut weights = Vec::new();
        for (i, layer) in distance.layers().iter().enumerate() {
            let channels = architecture.steps()[architecture.find(layer)?].output.channels();
            weights.push(formula::fill(&format!("lin{i}.weight"), &[channels], 0..channels));
        }
        let learned = distance.clone().with_weights(weights);

        let network = formula::network::<Ad>(architecture, &Default::default()).freeze();
        let [a, b] = <[_; 2]>::try_from(images::<Ad>(4, size).split(2, 0)).expect("two halves");
        let a = a.require_grad();
        let ours = network.perceptual_distance(&distance, a.clone(), b.clone())?;
        let gradient = a.grad(&ours.clone().sum().backward()).expect("a gradient");
        expect_equal(name, &values(ours), &fixture(&format!("{name}/lpips")), TOLERANCE);
        let gradient = values(gradient);
        let scale = f64::from(fixture(&format!("{name}/lpips/gradient/largest"))[0]);
        assert!((largest(&gradient) - scale).abs() < GRADIENT * scale);
        let samples = fixture(&format!("{name}/lpips/gradient"));
        let at = |i: usize| gradient[(i as u64 * 2_654_435_761 % gradient.len() as u64) as usize];
        let ours: Vec<f32> = (0..samples.len()).map(at).collect();
        expect_close(name, &ours, &samples, scale, GRADIENT);

        let ours = network.perceptual_distance(&learned, a.clone(), b.clone())?;
        let golden = fixture(&format!("{name}/lpips/learned"));
        expect_equal(name, &values(ours), &golden, TOLERANCE);
        let compiled = network.compile(CompileOptions::default())?;
        let shape = [2, 3, size[0], size[1]];
        let ours = learned.between(&compiled, &values(a), &values(b), shape)?;
        expect_equal(name, &ours, &golden, TOLERANCE);
    }
    Ok(())
}

#[test]
fn perceptual_distance_is_a_distance() -> Result<()> {
    let (_, architecture, size) = cases().into_iter().next().expect("a case");
    let distance = PerceptualDistance::vgg16();
    let network = formula::network::<Ad>(architecture, &Default::default()).freeze();
    let a = images::<Ad>(1, size);
    let between = |a, b| network.perceptual_distance(&distance, a, b).map(values);
    assert_eq!(between(a.clone(), a.clone())?, [0.0]);
    let mirrored = a.clone().flip([3]);
    let there = between(a.clone(), mirrored.clone())?;
    assert!(there[0] > 0.1);
    expect_equal("the other direction", &between(mirrored, a.clone())?, &there, TOLERANCE);
    // Small steps are small distances.
    let near = between(a.clone(), a.clone() + 0.01)?[0];
    let far = between(a.clone(), a.clone() + 0.5)?[0];
    assert!(0.0 < near && near < far, "{near} {far}");
    assert!(between(a.clone() * f32::NAN, a.clone())?[0].is_nan());
    // Black in a network without biases: no channel answers, and the root of 0 has no slope. (After a
    // ReLU, burn's gradient is 0 there in any case.)
    let black = Tensor::zeros(a.dims(), &a.device()).require_grad();
    let light = light_meter::<Ad>(network.architecture().clone()).freeze();
    let by_convolution = PerceptualDistance::new(["conv1_1"]);
    let seen = light.perceptual_distance(&by_convolution, a.clone(), black.clone())?;
    let gradient = black.grad(&seen.sum().backward()).expect("a gradient");
    assert!(values(gradient).iter().all(|value| value.is_finite()));

    let narrow = a.clone().narrow(3, 0, 64);
    let error = between(a.clone(), narrow).expect_err("another shape");
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
        assert!(network.perceptual_distance(&wrong, a.clone(), a.clone()).is_err(), "{wrong:?}");
    }
    Ok(())
}

#[test]
fn features_equal_torch_on_burn_and_compiled() -> Result<()> {
    for (name, architecture, size) in cases() {
        let network = formula::network::<Cpu>(&architecture, &Default::default());
        let images = images::<Cpu>(4, size);
        let presets = [("fc7", FeatureOptions::fc7()), ("conv5", FeatureOptions::conv5())];
        for (what, options) in &presets {
            let golden = fixture(&format!("{name}/{what}"));
            let ours = network.feature_vectors(images.clone(), options)?;
            assert_eq!(ours.dims()[1], options.length(&architecture, size)?);
            expect_equal(name, &values(ours), &golden, TOLERANCE);
        }
        let maximum = FeatureOptions {
            layers: vec!["pool5".into(), "classifier.1".into(), "features.0".into()],
            pooling: Pooling::Max,
            normalize: true,
        };
        let burn = values(network.feature_vectors(images.clone(), &maximum)?);
        // On slices, burn's network is a model like the compiled one.
        let shape = images.dims();
        let images = values(images);
        let ours = maximum.vectors(&network, &images, shape)?;
        expect_equal(name, &ours.values, &burn, TOLERANCE);
        let compiled = network.compile(CompileOptions::default())?;
        let ours = maximum.vectors(&compiled, &images, shape)?;
        expect_equal(name, &ours.values, &burn, TOLERANCE);
        for (what, options) in &presets {
            let ours = options.vectors(&compiled, &images, shape)?;
            assert_eq!(ours.shape[0], 4);
            expect_equal(name, &ours.values, &fixture(&format!("{name}/{what}")), TOLERANCE);
        }
    }
    Ok(())
}
