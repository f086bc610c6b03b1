//! Monte Carlo dropout: against what can be computed by hand, and against the plain pass.

use crate::dense_evaluation::{largest_difference, magnitude};
use crate::formula;
use alexnet_vgg_core::architecture::*;
use alexnet_vgg_core::engine::CompileOptions;
use alexnet_vgg_core::predict::{McDropout, Model};
use alexnet_vgg_core::{Error, Result};

const TOLERANCE: f64 = 1e-5;

/// A dropout and a linear layer on `[inputs]`.
fn linear_with_dropout(inputs: usize, p: f64) -> Architecture {
    let init = Init { weight: WeightInit::TorchDefault, bias: BiasInit::TorchDefault };
    let table = Table {
        name: "linear".into(),
        input: [inputs, 1, 1],
        features: Vec::new(),
        pool: [1, 1],
        classifier: vec![Layer::Dropout { p }, Layer::Linear { out: 3, init }],
        numbering: Numbering::Sequential,
    };
    Architecture::new(table).expect("valid")
}

/// With a linear layer alone, mean and variance can be written down: `w·x + b`, and the sum of
/// `(w x)² p / (1 - p)`.
#[test]
fn mean_and_variance_are_the_analytical_ones() {
    const INPUTS: usize = 40;
    const PASSES: usize = 4000;
    for p in [0.5, 0.2] {
        let architecture = linear_with_dropout(INPUTS, p);
        let engine = formula::compiled(&architecture, CompileOptions::default());
        let shape = [2, INPUTS, 1, 1];
        let x = formula::images(shape);
        let dropout = McDropout { passes: PASSES, seed: 7 };
        let logits = dropout.logits(&engine, &x, shape).expect("valid");
        assert_eq!(logits.len(), PASSES * 2 * 3);
        let [weight, bias] =
            &architecture.parameters().map(formula::all_values).collect::<Vec<_>>()[..]
        else {
            panic!("a weight and a bias")
        };
        for (image, class) in (0..2).flat_map(|image| (0..3).map(move |class| (image, class))) {
            let terms = (0..INPUTS)
                .map(|i| f64::from(weight[class * INPUTS + i]) * f64::from(x[image * INPUTS + i]));
            let terms: Vec<f64> = terms.collect();
            let mean = terms.iter().sum::<f64>() + f64::from(bias[class]);
            let variance = terms.iter().map(|t| t * t).sum::<f64>() * p / (1.0 - p);
            let ours: Vec<f64> =
                logits.chunks(6).map(|pass| f64::from(pass[image * 3 + class])).collect();
            let count = PASSES as f64;
            let our_mean = ours.iter().sum::<f64>() / count;
            let our_variance = ours.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / count;
            // Four standard errors; that of the variance of nearly normal values is a share of sqrt(2 / n).
            let error = (variance / count).sqrt();
            assert!((our_mean - mean).abs() < 4.0 * error, "{our_mean} for {mean} ± {error}");
            let difference = (our_variance / variance - 1.0).abs();
            assert!(difference < 4.0 * (2.0 / count).sqrt(), "{our_variance} for {variance}");
        }
    }
}

#[test]
fn passes_depend_on_their_seed_and_number_alone() -> Result<()> {
    for config in
        [NetworkConfig::from(AlexNetConfig::torchvision()), NetworkConfig::from(VggConfig::vgg11())]
    {
        let architecture = config.with_width(0.1).with_num_classes(9).architecture()?;
        let name = &architecture.name;
        let engine = formula::compiled(&architecture, CompileOptions::default());
        let shape = [2, 3, 96, 96];
        let images = formula::images(shape);
        let first = McDropout { passes: 1, seed: 5 }.logits(&engine, &images, shape)?;
        // Few vectors, which the engine takes as rows, and many, which are columns to it.
        for passes in [3, 90] {
            let ours = McDropout { passes, seed: 5 }.logits(&engine, &images, shape)?;
            assert_eq!(ours.len(), passes * 2 * 9);
            let error = largest_difference(&first, &ours[..18], magnitude(&first));
            assert!(error < TOLERANCE, "{name}, {passes}: {error:e}");
            let other = McDropout { passes, seed: 6 }.logits(&engine, &images, shape)?;
            assert!(largest_difference(&other, &ours, magnitude(&ours)) > 0.01);
        }
        // With nothing dropped it is the plain pass.
        let mut table = architecture.table().clone();
        for layer in &mut table.classifier {
            if let Layer::Dropout { p } = layer {
                *p = 0.0;
            }
        }
        let kept = formula::compiled(table, CompileOptions::default());
        let logits = Model::logits(&kept, &images, shape)?;
        let ours = McDropout { passes: 1, seed: 0 }.logits(&kept, &images, shape)?;
        assert!(largest_difference(&ours, &logits, magnitude(&logits)) < TOLERANCE);
    }
    Ok(())
}

/// A NaN reaches the logits, and slices of other lengths are no tensors.
#[test]
fn what_is_not_a_number_or_has_another_shape() -> Result<()> {
    let vgg = VggConfig::vgg11().with_width(0.05).with_num_classes(9).architecture()?;
    let model = formula::compiled(&vgg, CompileOptions::default());
    let mut images = vec![0.5; 2 * 3 * 32 * 32];
    images[7] = f32::NAN;
    let shape = [2, 3, 32, 32];
    let logits = McDropout { passes: 3, seed: 0 }.logits(&model, &images, shape)?;
    for (index, logit) in logits.iter().enumerate() {
        assert_eq!(logit.is_nan(), index % 18 < 9, "{index}: {logit}");
    }
    for wrong in [
        model.logits(&images[1..], shape),
        model.pooled_features(&images, [3, 3, 32, 32]),
        Model::run_classifier_layers(&model, 0..1, &images),
    ] {
        assert!(matches!(wrong, Err(Error::InputShape { .. })), "{wrong:?}");
    }
    let without = formula::compiled(vgg.without_classifier(), CompileOptions::default());
    let dropout = McDropout { passes: 2, seed: 0 };
    let error = dropout.logits(&without, &[0.0; 3 * 32 * 32], [1, 3, 32, 32]);
    assert!(matches!(error, Err(Error::Setting { .. })));
    Ok(())
}
