//! Prediction: views against torchvision and Pillow, dense evaluation against PyTorch's convolutions
//! (golden/views.py), dropout against what can be computed by hand, and the classifier on good and bad
//! photos.

use crate::formula;
use alexnet_vgg::backend::Cpu;
use alexnet_vgg::engine::{CompileOptions, Compiled, Isa, Precision, Values};
use alexnet_vgg::models::*;
use alexnet_vgg::predict::*;
use alexnet_vgg::vision::{Crop, Pose, Preset, RgbImage, View, Views, decode_file};
use alexnet_vgg::{Error, Result};
use burn::tensor::{Tensor, TensorData};
use safetensors::SafeTensors;
use std::path::{Path, PathBuf};

/// Of the largest score, as for logits: what the README promises.
const TOLERANCE: f64 = 1e-5;

fn golden() -> SafeTensors<'static> {
    SafeTensors::deserialize(include_bytes!("../golden/views.safetensors")).expect("the fixture")
}

fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn f32s(golden: &SafeTensors, name: &str) -> Vec<f32> {
    let data = golden.tensor(name).expect("in the fixture").data();
    data.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

fn compiled(table: impl Into<Architecture>, options: impl Into<CompileOptions>) -> Compiled {
    let values =
        |parameter: &Parameter, rows| Ok(formula::fill(&parameter.key, &parameter.shape, rows));
    Compiled::from_values(table, options, values).expect("a valid table")
}

fn largest_difference(ours: &[f32], theirs: &[f32], largest: f64) -> f64 {
    assert_eq!(ours.len(), theirs.len());
    let differences =
        ours.iter().zip(theirs).map(|(a, b)| (f64::from(*a) - f64::from(*b)).abs() / largest);
    differences.fold(0.0, |largest, d| if d.is_nan() { f64::NAN } else { largest.max(d) })
}

fn magnitude(values: &[f32]) -> f64 {
    values.iter().fold(0.0, |largest, value| f64::max(largest, f64::from(value.abs())))
}

#[test]
fn views_are_torchvisions_and_pillows() {
    let golden = golden();
    let picture = decode_file(here("tests/golden/pictures/lossless.webp")).expect("a picture");
    let preset = Preset { resize: 48, crop: 32, ..Preset::imagenet() };
    let expect = |name: &str, view: View| {
        let ours = preset.view(&picture, view).expect("a view");
        let theirs = golden.tensor(name).expect("in the fixture");
        assert_eq!([ours.height(), ours.width(), 3].map(|n| n as usize), theirs.shape(), "{name}");
        let wrong = ours.iter().zip(theirs.data()).filter(|(a, b)| a != b).count();
        assert_eq!(wrong, 0, "{name}: {wrong} levels of {} are others", theirs.data().len());
    };
    for (index, view) in Views::ten_crop().as_slice().iter().enumerate() {
        expect(&format!("ten-crop/{index}"), *view);
    }
    let whole = |pose| View { scale: None, pose, crop: Crop::Whole, weight: 1.0 };
    for (name, pose) in [
        ("hflip", Pose::FlipHorizontal),
        ("vflip", Pose::FlipVertical),
        ("transpose", Pose::Transpose),
        ("transverse", Pose::Transverse),
    ] {
        expect(name, whole(pose));
    }
    for degrees in [10.0, -35.5, 90.0, 180.0, 261.0] {
        expect(
            &format!("rotate:{degrees}"),
            whole(Pose::Rotate { degrees, fill: [124, 116, 104] }),
        );
    }
}

#[test]
fn what_the_network_is_shown_is_what_a_view_looks_like() {
    let photo = decode_file(here("examples/photos/cat.jpg")).expect("a photo");
    let preset = Preset::caffe();
    let views: Views = "flips + dense + rotate:-20".parse().expect("names");
    let views = views.with(Views::multi_crop(&[230, 300])).at_scales(&[256]);
    let shown = preset.views(&photo, &views).expect("views");
    let mut squares = shown.squares.chunks(3 * 224 * 224);
    let mut wholes = shown.wholes.iter();
    for view in views.as_slice() {
        let values = match view.crop {
            Crop::Whole => &wholes.next().expect("one for each").values[..],
            _ => squares.next().expect("one for each"),
        };
        let pixels = preset.view(&photo, *view).expect("a view");
        let plane = values.len() / 3;
        for (i, pixel) in pixels.pixels().enumerate() {
            for channel in 0..3 {
                let expected = f32::from(pixel[2 - channel]) - preset.mean[channel];
                assert!((values[channel * plane + i] - expected).abs() < 1e-4, "{view}, {i}");
            }
        }
    }
    assert!(squares.next().is_none() && wholes.next().is_none());
}

#[test]
fn sets_of_views_are_what_the_papers_say() {
    let count = |views: &Views| views.as_slice().len();
    assert_eq!(count(&Views::multi_crop(&Views::SCALES)), 150);
    let both = Views::dense_and_multi_crop(&Views::SCALES);
    assert_eq!(count(&both), 156);
    let of_dense: f64 = both.weights()[..6].iter().sum();
    assert!((of_dense - 0.5).abs() < 1e-12);
    assert!((both.weights().iter().sum::<f64>() - 1.0).abs() < 1e-12);
    // Beside others, both halves together count as so many views.
    let with_two = both.with(Views::rotated(10.0)).with(Views::rotated(-10.0));
    assert!((with_two.weights()[157] - 1.0 / 158.0).abs() < 1e-12);
    // The three scales of a set become the one that is asked for, and their weights one.
    let smaller = Views::multi_crop(&Views::SCALES).at_scales(&[300]);
    assert_eq!((count(&smaller), smaller.as_slice()[0].weight), (50, 3.0));
    let paper = |name| Views::paper(&NetworkConfig::by_name(name).expect("known").architecture());
    assert_eq!(paper("alexnet_paper"), Views::ten_crop());
    assert_eq!(paper("vgg19_bn"), Views::dense().at_scales(&[256, 384, 512]));
    assert_eq!(Views::scales_around(384), [352, 384, 416]);

    let named: Views = "ten-crop+rotate:7.5".parse().expect("names");
    let json = serde_json::to_string(&named).expect("data");
    assert_eq!(serde_json::from_str::<Views>(&json).expect("its own"), named);
    for wrong in ["", "ten crops", "rotate:", "rotate:NaN", "center+"] {
        let error = wrong.parse::<Views>().expect_err(wrong);
        assert!(matches!(error, Error::Setting { .. }), "{error}");
    }
    let view = Views::center().as_slice()[0];
    for wrong in [
        vec![],
        vec![View { weight: 0.0, ..view }],
        vec![View { weight: f64::NAN, ..view }],
        vec![View { weight: f64::MAX, ..view }; 2],
        vec![View { scale: Some(0), ..view }],
        vec![View { crop: Crop::Grid { row: 2, column: 0, of: 2 }, ..view }],
    ] {
        assert!(Views::new(wrong.clone()).is_err(), "{wrong:?}");
    }
    // A square that is larger than its picture.
    let photo = RgbImage::new(300, 300);
    assert!(Preset::imagenet().views(&photo, &Views::center().at_scales(&[223])).is_err());
}

#[test]
fn dense_evaluation_is_torchs_convolutions() {
    let golden = golden();
    let device = Default::default();
    let mut cases = 0;
    for name in ["alexnet", "alexnet_paper", "vgg16"] {
        let table = NetworkConfig::by_name(name).expect("known").architecture();
        let isas = Isa::ALL.into_iter().filter(|isa| isa.is_available());
        let isas: Vec<Isa> = if name == "vgg16" { vec![Isa::best()] } else { isas.collect() };
        let network = formula::network::<Cpu>(table.clone(), &device);
        let engines = isas.into_iter().map(|isa| {
            compiled(table.clone(), CompileOptions { isa: Some(isa), ..Default::default() })
        });
        let engines: Vec<Compiled> = engines.collect();
        for size in [[224, 224], [256, 320], [97, 256]] {
            let case = format!("dense/{name}@{}x{}", size[0], size[1]);
            let shape = [2, 3, size[0], size[1]];
            let images = formula::fill("input", &shape, 0..2);
            let expect = |maps: Values, by: String| {
                let bytes = golden.tensor(&format!("{case}/shape")).expect("there").data();
                let theirs =
                    bytes.as_chunks::<8>().0.iter().map(|b| i64::from_le_bytes(*b) as usize);
                assert!(theirs.eq(maps.shape.iter().copied()), "{case}: {:?}", maps.shape);
                let length = maps.values.len() as u64;
                let sample = |i: u64| maps.values[(i * 2_654_435_761 % length) as usize];
                let ours: Vec<f32> = (0..96).map(sample).collect();
                let bytes = golden.tensor(&format!("{case}/largest")).expect("there").data();
                let largest = f64::from_le_bytes(bytes.try_into().expect("one number"));
                let theirs = f32s(&golden, &format!("{case}/samples"));
                let apart = largest_difference(&ours, &theirs, largest);
                assert!(apart < TOLERANCE, "{case} by {by}: {apart:e}");
            };
            for engine in &engines {
                let maps = engine.score_maps(&images, shape).expect("a valid input");
                expect(maps, engine.isa().to_string());
            }
            // burn's CPU backends take seconds for a VGG.
            if name != "vgg16" || size == [97, 256] {
                expect(Model::score_maps(&network, &images, shape).expect("valid"), "burn".into());
            }
            cases += 1;
        }
    }
    assert_eq!(cases, 9);
}

/// Every row of the table, narrow, with more classes and places than fit in one part.
#[test]
fn dense_evaluation_of_every_network_is_the_plain_pass_where_it_must_be() {
    let device = Default::default();
    for config in NetworkConfig::all() {
        let table = config.with_width(0.08).with_num_classes(19).architecture();
        let (name, network) = (table.name.clone(), formula::network::<Cpu>(table.clone(), &device));
        let engine = compiled(table, Precision::F32);
        for shape in [[1, 3, 224, 224], [3, 3, 80, 100], [2, 3, 300, 510]] {
            let images = formula::fill("input", &shape, 0..shape[0]);
            let ours = engine.score_maps(&images, shape).expect("a valid input");
            let burns = Model::score_maps(&network, &images, shape).expect("valid");
            assert_eq!(ours.shape, burns.shape);
            let largest = magnitude(&burns.values);
            let apart = largest_difference(&ours.values, &burns.values, largest);
            assert!(apart < TOLERANCE, "{name}, {shape:?}: {apart:e}");
            let places = ours.shape[2] * ours.shape[3];
            assert_eq!(places == 1, shape != [2, 3, 300, 510], "{name}");
            if places == 1 {
                let logits = Model::logits(&engine, &images, shape).expect("valid");
                let apart = largest_difference(&ours.values, &logits, largest);
                assert!(apart < TOLERANCE, "{name}, {shape:?}, plain: {apart:e}");
            }
        }
        let wrong = engine.score_maps(&[0.0; 12], [1, 3, 2, 2]);
        assert!(matches!(wrong, Err(Error::InputTooSmall { .. })), "{name}");
        let mut images = vec![0.0; 2 * 3 * 100 * 100];
        images[5] = f32::NAN;
        let maps = engine.score_maps(&images, [2, 3, 100, 100]).expect("valid");
        assert!(maps.values[..19].iter().all(|score| score.is_nan()), "{name}");
        assert!(maps.values[19..].iter().all(|score| score.is_finite()), "{name}");
    }
}

/// Columns and rows of the same packed weights, in both precisions and on every instruction set.
#[test]
fn columns_give_what_rows_give() {
    let config = NetworkConfig::by_name("alexnet").expect("known").with_width(0.08);
    for isa in Isa::ALL.into_iter().filter(|isa| isa.is_available()) {
        for precision in [Precision::F32, Precision::Bf16] {
            let options = CompileOptions { precision, isa: Some(isa), ..Default::default() };
            let engine = compiled(config.clone().with_num_classes(101).architecture(), options);
            for batch in [1, 7, 33] {
                let shape = [batch, 3, 70, 64];
                let images = formula::fill("input", &shape, 0..batch);
                let rows = Model::logits(&engine, &images, shape).expect("valid");
                let columns = engine.score_maps(&images, shape).expect("valid");
                assert_eq!(columns.shape, [batch, 101, 1, 1]);
                let apart = largest_difference(&columns.values, &rows, magnitude(&rows));
                assert!(apart < TOLERANCE, "{isa}, {precision}, {batch}: {apart:e}");
            }
        }
    }
}

/// A dropout and a linear layer on `[inputs]`.
fn linear_with_dropout(inputs: usize, p: f64) -> Architecture {
    let init = Init { weight: WeightInit::TorchDefault, bias: BiasInit::TorchDefault };
    Architecture {
        name: "linear".into(),
        input: [inputs, 1, 1],
        features: Vec::new(),
        pool: [1, 1],
        classifier: vec![Layer::Dropout { p }, Layer::Linear { out: 3, init }],
        numbering: Numbering::Sequential,
    }
}

/// With a linear layer alone, mean and variance can be written down: `w·x + b`, and the sum of
/// `(w x)² p / (1 - p)`.
#[test]
fn dropouts_mean_and_variance_are_the_analytical_ones() {
    const INPUTS: usize = 40;
    const PASSES: usize = 4000;
    for p in [0.5, 0.2] {
        let table = linear_with_dropout(INPUTS, p);
        let engine = compiled(table.clone(), Precision::F32);
        let shape = [2, INPUTS, 1, 1];
        let x = formula::fill("input", &shape, 0..2);
        let dropout = McDropout { passes: PASSES, seed: 7 };
        let logits = dropout.logits(&engine, &x, shape).expect("valid");
        assert_eq!(logits.len(), PASSES * 2 * 3);
        let parameters = table.parameters().expect("valid");
        let weight = formula::fill(&parameters[0].key, &parameters[0].shape, 0..3);
        let bias = formula::fill(&parameters[1].key, &parameters[1].shape, 0..3);
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
            // Four standard errors; of a variance of nearly normal values it is sqrt(2 / n).
            let error = (variance / count).sqrt();
            assert!((our_mean - mean).abs() < 4.0 * error, "{our_mean} for {mean} ± {error}");
            let apart = (our_variance / variance - 1.0).abs();
            assert!(apart < 4.0 * (2.0 / count).sqrt(), "{our_variance} for {variance}");
        }
    }
}

#[test]
fn thinned_networks_are_the_same_on_every_way() {
    let device = Default::default();
    for name in ["alexnet", "vgg11"] {
        let config =
            NetworkConfig::by_name(name).expect("known").with_width(0.1).with_num_classes(9);
        let network = formula::network::<Cpu>(config.architecture(), &device);
        let engine = compiled(config.architecture(), Precision::F32);
        let shape = [2, 3, 96, 96];
        let images = formula::fill("input", &shape, 0..2);
        // Few vectors, which the engine takes as rows, and many, which are columns to it.
        for passes in [3, 90] {
            let dropout = McDropout { passes, seed: 5 };
            let ours = dropout.logits(&engine, &images, shape).expect("valid");
            let burns = dropout.logits(&network, &images, shape).expect("valid");
            let apart = largest_difference(&ours, &burns, magnitude(&burns));
            assert!(apart < TOLERANCE, "{name}, {passes}: {apart:e}");
            // The first passes do not depend on how many follow, and seeds differ.
            let few =
                McDropout { passes: 1, seed: 5 }.logits(&engine, &images, shape).expect("valid");
            assert!(largest_difference(&few, &ours[..18], magnitude(&few)) < TOLERANCE);
            let other =
                McDropout { passes, seed: 6 }.logits(&engine, &images, shape).expect("valid");
            assert!(largest_difference(&other, &ours, magnitude(&ours)) > 0.01);
        }
        // Nothing dropped is the plain pass.
        let mut table = config.architecture();
        for layer in &mut table.classifier {
            if let Layer::Dropout { p } = layer {
                *p = 0.0;
            }
        }
        let kept = compiled(table, Precision::F32);
        let logits = Model::logits(&kept, &images, shape).expect("valid");
        let ours = McDropout { passes: 1, seed: 0 }.logits(&kept, &images, shape).expect("valid");
        assert!(largest_difference(&ours, &logits, magnitude(&logits)) < TOLERANCE);
    }
    // A NaN does not get lost on the way, and slices of other lengths are no tensors.
    let table = VggConfig::vgg11().with_width(0.05).with_num_classes(9).architecture();
    let network = formula::network::<Cpu>(table.clone(), &device);
    let models: [&dyn Model; 2] = [&network, &compiled(table, Precision::F32)];
    for model in models {
        let mut images = vec![0.5; 2 * 3 * 32 * 32];
        images[7] = f32::NAN;
        let shape = [2, 3, 32, 32];
        let logits = McDropout { passes: 3, seed: 0 }.logits(model, &images, shape).expect("valid");
        for (index, logit) in logits.iter().enumerate() {
            assert_eq!(logit.is_nan(), index % 18 < 9, "{index}: {logit}");
        }
        let wrong = [model.logits(&images[1..], shape), model.pooled(&images, [3, 3, 32, 32])];
        for wrong in wrong.into_iter().chain([model.classify(0..1, &images)]) {
            assert!(matches!(wrong, Err(Error::InputShape { .. })), "{wrong:?}");
        }
    }
    let without = compiled(
        VggConfig::vgg11().with_width(0.05).architecture().without_classifier(),
        Precision::F32,
    );
    let error =
        McDropout { passes: 2, seed: 0 }.logits(&without, &[0.0; 3 * 32 * 32], [1, 3, 32, 32]);
    assert!(matches!(error, Err(Error::Setting { .. })));
}

fn narrow() -> Compiled {
    compiled(AlexNetConfig::paper().with_width(0.1).with_num_classes(12), Precision::F32)
}

fn softmax(logits: &[f32]) -> Vec<f64> {
    let exponentials: Vec<f64> = logits.iter().map(|&x| f64::from(x).exp()).collect();
    let sum: f64 = exponentials.iter().sum();
    exponentials.iter().map(|e| e / sum).collect()
}

#[test]
fn an_answer_is_the_mean_of_its_views() {
    let photo = decode_file(here("examples/photos/cat.jpg")).expect("a photo");
    let (model, preset) = (narrow(), Preset::imagenet());
    let views = Views::ten_crop().with(Views::dense().at_scales(&[300]));
    let classifier =
        Classifier::builder(model.clone()).views(views.clone()).build().expect("valid");
    let answer = classifier.classify(&photo).expect("an answer");

    let mut expected = vec![0.0; 12];
    let shown = preset.views(&photo, &views).expect("views");
    let logits = Model::logits(&model, &shown.squares, [10, 3, 224, 224]).expect("valid");
    let mut of_views: Vec<Vec<f32>> = logits.chunks(12).map(<[f32]>::to_vec).collect();
    for whole in &shown.wholes {
        let [height, width] = whole.size;
        let maps = model.score_maps(&whole.values, [1, 3, height, width]).expect("valid");
        let mean = |scores: &[f32]| scores.iter().sum::<f32>() / scores.len() as f32;
        of_views.push(maps.values.chunks(maps.shape[2] * maps.shape[3]).map(mean).collect());
    }
    for logits in &of_views {
        for (sum, p) in expected.iter_mut().zip(softmax(logits)) {
            *sum += p / 12.0;
        }
    }
    for (ours, expected) in answer.probabilities.iter().zip(&expected) {
        assert!((f64::from(*ours) - expected).abs() < 1e-5, "{ours} for {expected}");
    }
    assert_eq!(answer.ranked.len(), 5);
    assert!(answer.ranked.is_sorted_by(|a, b| a.probability >= b.probability));
    assert_eq!(answer.views.len(), 12);
    let best = answer.ranked[0].class;
    let agreeing = answer.views.iter().filter(|view| view.class == best).count();
    assert!((answer.agreement - agreeing as f64 / 12.0).abs() < 1e-9);
    // Of equal shares of a vote, that with the larger probability is first.
    let vote = Classifier::builder(model.clone()).views(views).fusion(Fusion::Vote).top_k(12);
    let vote = vote.build().expect("valid").classify(&photo).expect("an answer");
    for pair in vote.ranked.windows(2) {
        let [first, second] = [&pair[0], &pair[1]];
        let more_likely = expected[first.class] >= expected[second.class] - 1e-6;
        assert!(first.probability > second.probability || more_likely, "{pair:?}");
    }
    assert_eq!(answer.views[9].view, "center hflip");
    assert_eq!(answer.ranked[0].label, format!("class {best}"));
}

#[test]
fn an_ensemble_is_the_mean_of_its_networks_and_spreads_are_deviations() {
    let photo = decode_file(here("examples/photos/rocket.jpg")).expect("a photo");
    let classify = |model: Compiled| {
        let classifier = Classifier::builder(model).top_k(12).build().expect("valid");
        classifier.classify(&photo).expect("an answer")
    };
    let vgg = compiled(VggConfig::vgg11().with_width(0.1).with_num_classes(12), Precision::F32);
    let answers = [classify(narrow()), classify(vgg)];
    let mean = Answer::mean(&answers, &Labels::for_classes(12)).expect("alike");
    for class in 0..12 {
        let expected = (answers[0].probabilities[class] + answers[1].probabilities[class]) / 2.0;
        assert!((mean.probabilities[class] - expected).abs() < 1e-6);
    }
    assert_eq!([&mean.views[0].network, &mean.views[1].network], ["alexnet_paper", "vgg11"]);
    assert!((mean.views.iter().map(|view| view.weight).sum::<f64>() - 1.0).abs() < 1e-12);
    assert!(Answer::mean(&[], &Labels::for_classes(12)).is_err());
    assert!(Answer::mean(&answers, &Labels::for_classes(11)).is_err());

    let dropout = McDropout { passes: 30, seed: 1 };
    let builder = Classifier::builder(narrow()).dropout(dropout).top_k(12);
    let answer = builder.build().expect("valid").classify(&photo).expect("an answer");
    let images = Preset::imagenet().views(&photo, &Views::center()).expect("a view").squares;
    let logits = dropout.logits(&narrow(), &images, [1, 3, 224, 224]).expect("valid");
    let passes: Vec<Vec<f64>> = logits.chunks(12).map(softmax).collect();
    for guess in &answer.ranked {
        let of_class: Vec<f64> = passes.iter().map(|pass| pass[guess.class]).collect();
        let mean = of_class.iter().sum::<f64>() / 30.0;
        let variance = of_class.iter().map(|p| (p - mean).powi(2)).sum::<f64>() / 30.0;
        assert!((f64::from(guess.probability) - mean).abs() < 1e-5);
        let spread = guess.spread.expect("with dropout");
        assert!((f64::from(spread) - variance.sqrt()).abs() < 1e-5, "{spread}");
    }
}

#[test]
fn what_does_not_fit_together_is_an_error() {
    let built = |what: &str, builder: ClassifierBuilder| match builder.build() {
        Err(Error::Setting { place, .. }) => assert_eq!(place, what),
        other => panic!("{what}: {:?}", other.map(|_| "a classifier")),
    };
    let builder = || Classifier::builder(narrow());
    built("labels", builder().labels(Labels::imagenet()));
    built("top_k", builder().top_k(0));
    built("passes with dropout", builder().dropout(McDropout { passes: 0, seed: 0 }));
    let dropout = McDropout { passes: 5, seed: 0 };
    built("passes with dropout", builder().dropout(dropout).views(Views::dense()));
    built("views", builder().views(Views::ten_crop().at_scales(&[200])));
    let device = Default::default();
    let network = formula::network::<Cpu>(AlexNetConfig::paper().with_width(0.1), &device);
    let trained = network.with_preset(Preset::caffe());
    let builder = Classifier::builder(trained).preset(Preset::imagenet());
    built("preset of alexnet_paper", builder);

    let labels = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(labels.path(), "a\nb\r\nc").expect("written");
    let labels = Labels::read(labels.path()).expect("text");
    assert_eq!((labels.count(), labels.get(1), labels.get(3)), (3, "b", ""));
    assert!(matches!(Labels::read("no such file"), Err(Error::Io { .. })));
}

#[test]
fn logits_that_are_no_numbers_are_an_error_and_no_label() {
    let table = AlexNetConfig::paper().with_width(0.1).with_num_classes(12).architecture();
    let values = |parameter: &Parameter, rows| -> Result<Vec<f32>> {
        let mut values = formula::fill(&parameter.key, &parameter.shape, rows);
        if parameter.key == "classifier.6.bias" {
            values[3] = f32::NAN;
        }
        Ok(values)
    };
    let model = Compiled::from_values(table, Precision::F32, values).expect("a valid table");
    let photo = RgbImage::new(64, 64);
    for views in [Views::ten_crop(), Views::dense()] {
        let classifier = Classifier::builder(model.clone()).views(views).build().expect("valid");
        let error = classifier.classify(&photo).expect_err("NaN");
        assert!(matches!(error, Error::NotFinite { first: 3, .. }), "{error}");
    }
}

/// Good files and bad ones in one go: each gets what it would get alone, in order, by any number of
/// readers.
#[test]
fn files_are_answered_in_order_and_broken_ones_stop_nobody() {
    let folder = tempfile::tempdir().expect("a folder");
    let odd = here("tests/golden/pictures");
    let mut files: Vec<PathBuf> = std::fs::read_dir(&odd)
        .expect("the fixtures")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.sort();
    let deep =
        image::ImageBuffer::from_fn(90, 70, |x, y| image::Rgb([x as u16 * 700, y as u16 * 900, 9]));
    let write = |name: &str, write: &dyn Fn(&Path)| {
        let path = folder.path().join(name);
        write(&path);
        path
    };
    files.push(write("deep.png", &|path| deep.save(path).expect("written")));
    files.push(write("wide.png", &|path| RgbImage::new(20, 2).save(path).expect("written")));
    files
        .push(write("too_wide.png", &|path| RgbImage::new(40_000, 1).save(path).expect("written")));
    files.push(write("broken.jpg", &|path| std::fs::write(path, b"\xff\xd8 no").expect("written")));
    files.push(folder.path().join("missing.jpg"));
    files.push(here("examples/photos/cat.jpg"));
    for views in [Views::center(), Views::ten_crop(), Views::dense()] {
        let builder = Classifier::builder(narrow()).views(views);
        let classifier = builder.build().expect("valid");
        let mut of_one_reader = Vec::new();
        for readers in [1, 3] {
            let mut answers = Vec::new();
            let each = |index, answer: Result<Answer>| {
                assert_eq!(index, answers.len());
                answers.push(answer.map_err(|error| error.to_string()));
                true
            };
            classifier.classify_files(&files, readers, each).expect("readers");
            assert_eq!(answers.len(), files.len());
            for (file, answer) in files.iter().zip(&answers) {
                let alone = classifier.classify_file(file);
                match (answer, alone) {
                    (Ok(answer), Ok(alone)) => {
                        let ours = &answer.probabilities;
                        let apart = largest_difference(ours, &alone.probabilities, 1.0);
                        assert!(apart < TOLERANCE, "{}: {apart:e}", file.display());
                    }
                    (Err(error), Err(alone)) => assert_eq!(*error, alone.to_string()),
                    (one, other) => panic!("{}: {one:?}, {other:?}", file.display()),
                }
            }
            let failed = answers.iter().filter(|answer| answer.is_err()).count();
            assert_eq!(failed, 3, "{answers:?}");
            match readers {
                1 => of_one_reader = answers,
                _ => assert_eq!(of_one_reader, answers, "bits depend on the readers"),
            }
        }
        let mut seen = 0;
        let two = |_, _| {
            seen += 1;
            seen < 2
        };
        classifier.classify_files(&files, 2, two).expect("readers");
        assert_eq!(seen, 2);
        assert!(classifier.classify_files(&files, 0, |_, _| true).is_err());
    }
}

/// On burn's tensors as on the engine's slices.
#[test]
fn burns_networks_classify_too() {
    let device = Default::default();
    let table = AlexNetConfig::paper().with_width(0.1).with_num_classes(12).architecture();
    let network = formula::network::<Cpu>(table, &device);
    let photo = decode_file(here("examples/photos/cat.jpg")).expect("a photo");
    let images: Tensor<Cpu, 4> =
        Preset::imagenet().batch(std::slice::from_ref(&photo), &device).expect("a batch");
    let data: TensorData = network.forward(images).into_data();
    let logits: Vec<f32> = data.iter::<f32>().collect();
    let classifier = Classifier::builder(network).build().expect("valid");
    let answer = classifier.classify(&photo).expect("an answer");
    for (ours, expected) in answer.probabilities.iter().zip(softmax(&logits)) {
        assert!((f64::from(*ours) - expected).abs() < 1e-5);
    }
}
