//! The classifier on the compiled engine, on good and bad photos.

use crate::{GOLDEN_PICTURES, formula, photo};
use alexnet_vgg_core::architecture::*;
use alexnet_vgg_core::engine::{CompileOptions, Compiled};
use alexnet_vgg_core::predict::*;
use alexnet_vgg_core::vision::{Labels, Preset, RgbImage, Views, decode_file};
use alexnet_vgg_core::{Error, Metadata, Result};
use std::path::{Path, PathBuf};

/// Between logits of batches of different sizes: what the README promises.
const TOLERANCE: f64 = 1e-5;

/// A narrow network of 12 classes.
fn narrow(config: impl Into<NetworkConfig>) -> Compiled {
    let config = config.into().with_width(0.1).with_num_classes(12);
    formula::compiled(config, CompileOptions::default())
}

fn alexnet() -> Compiled {
    narrow(AlexNetConfig::paper())
}

fn softmax(logits: &[f32]) -> Vec<f64> {
    let exponentials: Vec<f64> = logits.iter().map(|&x| f64::from(x).exp()).collect();
    let sum: f64 = exponentials.iter().sum();
    exponentials.iter().map(|e| e / sum).collect()
}

/// A photo of a cat and a dog has both labels.
#[test]
fn labels_have_a_sigmoid_each() -> Result<()> {
    let photo = decode_file(photo("cat.jpg"))?;
    let model = narrow(VggConfig::vgg11());
    let views = "center+hflip".parse::<Views>()?;
    let squares = Preset::imagenet().views(&photo, &views)?.squares;
    let logits = Model::logits(&model, &squares, [2, 3, 224, 224])?;
    let sigmoid = |logit: f32| 1.0 / (1.0 + f64::from(-logit).exp());
    let builder = || Classifier::builder(model.clone()).views(views.clone()).multi_label();
    let mean = builder().build()?.classify(&photo)?;
    let of_mean = builder().fusion(Fusion::MeanLogit).build()?.classify(&photo)?;
    for label in 0..12 {
        let [a, b] = [logits[label], logits[12 + label]];
        let close = |found: f32, wanted: f64| (f64::from(found) - wanted).abs() < TOLERANCE;
        assert!(close(mean.probabilities[label], f64::midpoint(sigmoid(a), sigmoid(b))));
        assert!(close(of_mean.probabilities[label], sigmoid(f32::midpoint(a, b))));
    }
    for wrong in [Fusion::Vote, Fusion::GeometricMean] {
        assert!(builder().fusion(wrong).build().is_err());
    }
    let one = VggConfig::vgg11().with_width(0.1).with_num_classes(1);
    let one = formula::compiled(one, CompileOptions::default());
    assert!(Classifier::builder(one).multi_label().build().is_err());
    Ok(())
}

/// Cat or dog by a sigmoid: the softmax of one logit would be 1 for every photo.
#[test]
fn one_output_is_the_probability_of_the_second_of_two_classes() -> Result<()> {
    let photo = decode_file(photo("cat.jpg"))?;
    let config = VggConfig::vgg11().with_width(0.1).with_num_classes(1);
    let model = formula::compiled(config, CompileOptions::default());
    let labels = Labels::new(["cat", "dog"]);
    let views = Views::center().joined_with(Views::dense());
    let builder = || Classifier::builder(model.clone());
    let classifier = builder().labels(labels).views(views.clone()).build()?;
    let found = classifier.classify(&photo)?;

    let shown = Preset::imagenet().views(&photo, &views)?;
    let center = Model::logits(&model, &shown.squares, [1, 3, 224, 224])?[0];
    let mut logits = vec![center];
    for whole in &shown.whole_images {
        let [height, width] = whole.size;
        let scores = model.score_maps(&whole.values, [1, 3, height, width])?.values;
        logits.push(scores.iter().sum::<f32>() / scores.len() as f32);
    }
    let sigmoid = |logit: &f32| 1.0 / (1.0 + f64::from(-logit).exp());
    let dog = logits.iter().map(sigmoid).sum::<f64>() / logits.len() as f64;
    assert!((f64::from(found.probabilities[1]) - dog).abs() < TOLERANCE, "{found:?} for {dog}");
    assert!((found.probabilities[0] + found.probabilities[1] - 1.0).abs() < 1e-6);
    let best = if dog > 0.5 { "dog" } else { "cat" };
    assert_eq!(found.predictions[0].label, best);
    assert_eq!(top_k(&[center], 1)?[0].class, usize::from(center > 0.0));

    let maps = [0, 1].map(|class| classifier.heat_map(&photo, class, 224).expect("a map"));
    let negated: Vec<f32> = maps[1].values().iter().map(|score| -score).collect();
    assert_eq!(maps[0].values(), negated);
    assert!(classifier.heat_map(&photo, 2, 224).is_err());
    assert_eq!(builder().build()?.labels().names(), ["class 0", "class 1"]);
    let one = builder().labels(Labels::new(["cat"])).build();
    assert!(matches!(one, Err(Error::LabelsMismatch { classes: 2, labels: 1, .. })));
    Ok(())
}

#[test]
fn a_classification_is_the_mean_of_its_views() {
    let photo = decode_file(photo("cat.jpg")).expect("a photo");
    let (model, preset) = (alexnet(), Preset::imagenet());
    let views = Views::ten_crop().joined_with(Views::dense().at_scales(&[300]));
    let classifier =
        Classifier::builder(model.clone()).views(views.clone()).build().expect("valid");
    let found = classifier.classify(&photo).expect("a classification");

    let mut expected = vec![0.0; 12];
    let shown = preset.views(&photo, &views).expect("views");
    let logits = Model::logits(&model, &shown.squares, [10, 3, 224, 224]).expect("valid");
    let mut views_logits: Vec<Vec<f32>> = logits.chunks(12).map(<[f32]>::to_vec).collect();
    for whole in &shown.whole_images {
        let [height, width] = whole.size;
        let maps = model.score_maps(&whole.values, [1, 3, height, width]).expect("valid");
        let mean = |scores: &[f32]| scores.iter().sum::<f32>() / scores.len() as f32;
        views_logits.push(maps.values.chunks(maps.shape[2] * maps.shape[3]).map(mean).collect());
    }
    for logits in &views_logits {
        for (sum, p) in expected.iter_mut().zip(softmax(logits)) {
            *sum += p / 12.0;
        }
    }
    for (ours, expected) in found.probabilities.iter().zip(&expected) {
        assert!((f64::from(*ours) - expected).abs() < 1e-5, "{ours} for {expected}");
    }
    assert_eq!(found.predictions.len(), 5);
    assert!(found.predictions.is_sorted_by(|a, b| a.probability >= b.probability));
    assert_eq!(found.views.len(), 12);
    let best = found.predictions[0].class;
    let agreeing = found.views.iter().filter(|view| view.class == best).count();
    assert!((found.agreement - agreeing as f64 / 12.0).abs() < 1e-9);
    // Of equal shares of a vote, that with the larger probability is first.
    let vote = Classifier::builder(model.clone()).views(views).fusion(Fusion::Vote).top_k(12);
    let vote = vote.build().expect("valid").classify(&photo).expect("a classification");
    for pair in vote.predictions.windows(2) {
        let [first, second] = [&pair[0], &pair[1]];
        let more_likely = expected[first.class] >= expected[second.class] - 1e-6;
        assert!(first.probability > second.probability || more_likely, "{pair:?}");
    }
    assert_eq!(found.views[9].view, "center hflip");
    assert_eq!(found.predictions[0].label, format!("class {best}"));
}

#[test]
fn an_ensemble_is_the_mean_of_its_networks() {
    let photo = decode_file(photo("rocket.jpg")).expect("a photo");
    let classify = |model: Compiled| {
        let classifier = Classifier::builder(model).top_k(12).build().expect("valid");
        classifier.classify(&photo).expect("a classification")
    };
    let of_networks = [classify(alexnet()), classify(narrow(VggConfig::vgg11()))];
    let mean = Classification::mean(&of_networks, &Labels::for_classes(12)).expect("alike");
    for class in 0..12 {
        let [first, second] = of_networks.each_ref().map(|found| found.probabilities[class]);
        assert!((mean.probabilities[class] - (first + second) / 2.0).abs() < 1e-6);
    }
    assert_eq!([&mean.views[0].network, &mean.views[1].network], ["alexnet_paper", "vgg11"]);
    assert!((mean.views.iter().map(|view| view.weight).sum::<f64>() - 1.0).abs() < 1e-12);
    assert!(Classification::mean(&[], &Labels::for_classes(12)).is_err());
    assert!(Classification::mean(&of_networks, &Labels::for_classes(11)).is_err());
}

#[test]
fn spreads_are_deviations_between_passes_with_dropout() {
    let photo = decode_file(photo("rocket.jpg")).expect("a photo");
    let dropout = McDropout { passes: 30, seed: 1 };
    let builder = Classifier::builder(alexnet()).dropout(dropout).top_k(12);
    let found = builder.build().expect("valid").classify(&photo).expect("a classification");
    let images = Preset::imagenet().views(&photo, &Views::center()).expect("a view").squares;
    let logits = dropout.logits(&alexnet(), &images, [1, 3, 224, 224]).expect("valid");
    let passes: Vec<Vec<f64>> = logits.chunks(12).map(softmax).collect();
    for prediction in &found.predictions {
        let of_class: Vec<f64> = passes.iter().map(|pass| pass[prediction.class]).collect();
        let mean = of_class.iter().sum::<f64>() / 30.0;
        let variance = of_class.iter().map(|p| (p - mean).powi(2)).sum::<f64>() / 30.0;
        assert!((f64::from(prediction.probability) - mean).abs() < 1e-5);
        let spread = prediction.std_dev.expect("with dropout");
        assert!((f64::from(spread) - variance.sqrt()).abs() < 1e-5, "{spread}");
    }
}

#[test]
fn settings_that_contradict_each_other_are_errors() {
    let built = |what: &str, builder: ClassifierBuilder| match builder.build() {
        Err(
            Error::Setting { place, .. }
            | Error::LabelsMismatch { place, .. }
            | Error::PresetMismatch { network: place, .. },
        ) => assert!(place.starts_with(what), "{place}, not {what}"),
        other => panic!("{what}: {:?}", other.map(|_| "a classifier")),
    };
    let builder = || Classifier::builder(alexnet());
    built("labels", builder().labels(Labels::imagenet()));
    built("top_k", builder().top_k(0));
    built("passes with dropout", builder().dropout(McDropout { passes: 0, seed: 0 }));
    let dropout = McDropout { passes: 5, seed: 0 };
    built("passes with dropout", builder().dropout(dropout).views(Views::dense()));
    built("views", builder().views(Views::ten_crop().at_scales(&[200])));
    let trained = alexnet().with_metadata(Metadata::from(Preset::caffe()));
    let builder = Classifier::builder(trained).preset(Preset::imagenet());
    built("alexnet_paper", builder);

    let labels = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(labels.path(), "a\nb\r\nc").expect("written");
    let labels = Labels::read(labels.path()).expect("text");
    assert_eq!((labels.count(), labels.get(1), labels.get(3)), (3, "b", ""));
    assert!(matches!(Labels::read("no such file"), Err(Error::Io { .. })));
}

#[test]
fn logits_that_are_no_numbers_are_an_error_and_no_label() {
    let config = AlexNetConfig::paper().with_width(0.1).with_num_classes(12);
    let values = |parameter: &Parameter, rows| -> Result<Vec<f32>> {
        let mut values = formula::values(parameter, rows)?;
        if parameter.key == "classifier.6.bias" {
            values[3] = f32::NAN;
        }
        Ok(values)
    };
    let model = Compiled::from_values(config, CompileOptions::default(), values).expect("valid");
    let photo = RgbImage::new(64, 64);
    for views in [Views::ten_crop(), Views::dense()] {
        let classifier = Classifier::builder(model.clone()).views(views).build().expect("valid");
        let error = classifier.classify(&photo).expect_err("NaN");
        assert!(matches!(error, Error::NotFinite { first: 3, .. }), "{error}");
    }
}

/// Good files and bad ones in one call: each gets what it would get alone, in order, with any number of
/// readers.
#[test]
fn files_are_classified_in_order_and_broken_ones_do_not_stop_the_others() {
    let folder = tempfile::tempdir().expect("a folder");
    let files = good_and_bad_files(folder.path());
    for views in [Views::center(), Views::ten_crop(), Views::dense()] {
        let classifier = Classifier::builder(alexnet()).views(views).build().expect("valid");
        let alone: Vec<_> = files.iter().map(|file| classifier.classify_file(file)).collect();
        let of_one_reader = classify_files(&classifier, &files, 1);
        for ((file, found), alone) in files.iter().zip(&of_one_reader).zip(&alone) {
            match (found, alone) {
                (Ok(found), Ok(alone)) => {
                    let pairs = found.probabilities.iter().zip(&alone.probabilities);
                    let apart = pairs.map(|(a, b)| f64::from((a - b).abs())).fold(0.0, f64::max);
                    assert!(apart < TOLERANCE, "{}: {apart:e}", file.display());
                }
                (Err(error), Err(alone)) => assert_eq!(*error, alone.to_string()),
                (one, other) => panic!("{}: {one:?}, {other:?}", file.display()),
            }
        }
        let failed = of_one_reader.iter().filter(|found| found.is_err()).count();
        assert_eq!(failed, 3, "{of_one_reader:?}");
        let of_three_readers = classify_files(&classifier, &files, 3);
        assert_eq!(of_one_reader, of_three_readers, "bits depend on the number of readers");

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

fn classify_files(
    classifier: &Classifier,
    files: &[PathBuf],
    readers: usize,
) -> Vec<Result<Classification, String>> {
    let mut all = Vec::new();
    let each = |index, found: Result<Classification>| {
        assert_eq!(index, all.len());
        all.push(found.map_err(|error| error.to_string()));
        true
    };
    classifier.classify_files(files, readers, each).expect("readers");
    assert_eq!(all.len(), files.len());
    all
}

/// Pictures of all formats, and three files that cannot be classified.
fn good_and_bad_files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(GOLDEN_PICTURES)
        .expect("the fixtures")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.sort();
    let deep =
        image::ImageBuffer::from_fn(90, 70, |x, y| image::Rgb([x as u16 * 700, y as u16 * 900, 9]));
    let mut write = |name: &str, write: &dyn Fn(&Path)| {
        let path = folder.join(name);
        write(&path);
        files.push(path);
    };
    write("deep.png", &|path| deep.save(path).expect("written"));
    write("wide.png", &|path| RgbImage::new(20, 2).save(path).expect("written"));
    write("too_wide.png", &|path| RgbImage::new(40_000, 1).save(path).expect("written"));
    write("broken.jpg", &|path| std::fs::write(path, b"\xff\xd8 no").expect("written"));
    write("missing.jpg", &|_| {});
    files.push(photo("cat.jpg"));
    files
}
