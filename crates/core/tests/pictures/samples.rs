//! The network and the pictures that come with the library: what their files and the documentation claim holds.

use alexnet_vgg_core::Metadata;
use alexnet_vgg_core::architecture::{Head, VggConfig};
use alexnet_vgg_core::engine::{Compiled, Precision};
use alexnet_vgg_core::predict::Classifier;
use alexnet_vgg_core::samples;
use alexnet_vgg_core::weights::LoadOptions;
use std::path::{Path, PathBuf};

/// The share of digits whose label must not change with the precision.
const AGREEMENT: f64 = 0.995;
/// How far the accuracy may be from what the file states, which f32 gave on the machine that trained it.
const ROUNDING: f64 = 0.0011;

fn classifier(precision: Precision) -> Classifier {
    let weights = samples::digits_weights().expect("valid");
    let network = weights.network(None, LoadOptions::default()).expect("a known network");
    let model = Compiled::from_weights(network, &weights, LoadOptions::default(), precision);
    Classifier::builder(model.expect("it fits")).build().expect("valid")
}

/// Pictures in a folder of classes, each with its class.
fn labeled(folder: &Path) -> Vec<(PathBuf, String)> {
    let entries = |folder: &Path| {
        let entries = std::fs::read_dir(folder).expect("a folder").map(|it| it.expect("an entry"));
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
        paths.sort();
        paths
    };
    let classes = entries(folder).into_iter().filter(|path| path.is_dir());
    let pictures = classes.flat_map(|class| {
        let label = class.file_name().expect("a name").to_string_lossy().into_owned();
        entries(&class).into_iter().map(move |picture| (picture, label.clone()))
    });
    pictures.collect()
}

/// The best label of each picture.
fn answers(classifier: &Classifier, pictures: &[(PathBuf, String)]) -> Vec<String> {
    let files: Vec<PathBuf> = pictures.iter().map(|(file, _)| file.clone()).collect();
    let mut answers = vec![String::new(); files.len()];
    let added = classifier.classify_files(&files, 2, |index, result| {
        answers[index].clone_from(&result.expect("a picture").predictions[0].label);
        true
    });
    added.expect("a network");
    answers
}

fn equal<'a>(pairs: impl ExactSizeIterator<Item = (&'a String, &'a String)>) -> f64 {
    let all = pairs.len() as f64;
    pairs.filter(|(a, b)| a == b).count() as f64 / all
}

/// The test set that the shipped pictures are from, which is not part of the repository.
fn test_set() -> Option<Vec<(PathBuf, String)>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/digits/test");
    if !folder.is_dir() {
        eprintln!("skipped: there are no digits in ../shared/data/digits");
        return None;
    }
    let pictures = labeled(&folder);
    assert_eq!(pictures.len(), 2004);
    Some(pictures)
}

#[test]
fn the_pictures_are_what_their_labels_say_at_any_precision() {
    let [plain, others @ ..] = Precision::ALL.map(classifier);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("samples/digits");
    for sample in samples::pictures() {
        assert_eq!(std::fs::read(folder.join(sample.name)).expect("a file"), sample.png);
        let picture = sample.decode().expect("a picture");
        assert_eq!(picture.dimensions(), (28, 28), "{}", sample.name);
        for classifier in others.iter().chain([&plain]) {
            let best = &classifier.classify(&picture).expect("a network").predictions[0];
            assert_eq!(best.label, sample.label, "{}", sample.name);
            assert!(best.probability > 0.5, "{}: {}", sample.name, best.probability);
        }
    }
    assert_eq!(std::fs::read_dir(folder).expect("a folder").count(), samples::pictures().len());
}

/// The 200 digits for the example `train`.
#[test]
fn less_precision_gives_the_same_labels() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/data");
    let pictures = [labeled(&data.join("train")), labeled(&data.join("test"))].concat();
    assert_eq!(pictures.len(), 200);
    expect_agreement(&pictures);
}

/// How many labels are the same as with f32.
fn expect_agreement(pictures: &[(PathBuf, String)]) {
    let plain = answers(&classifier(Precision::F32), pictures);
    for precision in &Precision::ALL[1..] {
        let less = answers(&classifier(*precision), pictures);
        let agreement = equal(plain.iter().zip(&less));
        println!("{precision}: {:.2}% of {} labels agree", 100.0 * agreement, plain.len());
        assert!(agreement >= AGREEMENT, "{precision}: {agreement}");
    }
}

#[test]
fn the_network_is_as_accurate_as_its_file_says() {
    let Some(pictures) = test_set() else { return };
    let weights = samples::digits_weights().expect("valid");
    let stated = weights.accuracy().expect("an accuracy");
    let (percent, rest) = stated.split_once('%').expect("a percentage");
    assert_eq!(rest, " of 2004 validation pictures");
    let stated = percent.parse::<f64>().expect("a number") / 100.0;
    assert!(stated >= 0.99, "{stated}");
    let found = answers(&samples::digits().expect("valid"), &pictures);
    let accuracy = equal(found.iter().zip(pictures.iter().map(|(_, label)| label)));
    println!("{:.2}% of 2004", 100.0 * accuracy);
    assert!((accuracy - stated).abs() <= ROUNDING, "{accuracy}, stated {stated}");
    expect_agreement(&pictures);
}

#[test]
fn the_file_says_all_that_a_reader_needs() {
    let weights = samples::digits_weights().expect("valid");
    assert!(samples::DIGITS.len() < 350_000, "{} bytes", samples::DIGITS.len());
    let network = weights.network(None, LoadOptions::default()).expect("a known network");
    let config = VggConfig::vgg13_bn().with_width(0.125).with_head(Head::linear([1, 1]));
    let expected = config.with_num_classes(10).architecture().expect("valid");
    assert_eq!(network.architecture().expect("valid"), expected);
    let digits = samples::digits().expect("valid");
    assert_eq!(digits.labels().names().join(""), "0123456789");
    assert_eq!(digits.preset().crop, 32);
    let model = Compiled::from_weights(network, &weights, LoadOptions::default(), Precision::F32);
    let Metadata { recipe, accuracy, .. } = model.expect("it fits").metadata().clone();
    assert_eq!((recipe.as_deref(), accuracy.as_deref()), (weights.recipe(), weights.accuracy()));
    assert!(recipe.is_some_and(|recipe| recipe.contains("seed = ")), "a recipe in TOML");
}
