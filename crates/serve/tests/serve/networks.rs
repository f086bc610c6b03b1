//! Small networks with fresh weights, pictures, and what the library says of them.

use alexnet_vgg_core::Metadata;
use alexnet_vgg_core::architecture::{FreshWeights, VggConfig};
use alexnet_vgg_core::engine::{CompileOptions, Compiled, Threads};
use alexnet_vgg_core::predict::Classifier;
use alexnet_vgg_core::vision::{Labels, Preset, RgbImage, Views, decode};
use alexnet_vgg_core::weights::{SaveOptions, save};
use image::ImageFormat;
use serde_json::Value;
use std::io::Cursor;
use std::path::{Path, PathBuf};

pub const CLASSES: usize = 10;

/// Between batches of different sizes, and the digits that JSON has.
pub const TOLERANCE: f64 = 2e-5;

/// Writes the weights of a small VGG whose classes are named after `prefix`.
pub fn write(file: &Path, seed: u64, prefix: &str) {
    write_wide(file, seed, prefix, 0.05, 64);
}

/// One that is slower: of another width, for pictures of another size.
pub fn write_wide(file: &Path, seed: u64, prefix: &str, width: f64, side: u32) {
    let config = VggConfig::vgg11().with_width(width).with_num_classes(CLASSES);
    let network = config.architecture().expect("valid");
    let labels = (0..CLASSES).map(|class| format!("{prefix}{class}"));
    let preset = Preset { resize: side + 8, crop: side, ..Preset::imagenet() };
    let metadata = Metadata::from(preset).with_labels(Labels::new(labels));
    let weights = FreshWeights::new(seed);
    let values = |parameter: &_, rows| {
        // Larger, so that different pictures have clearly different answers.
        Ok(weights.rows(parameter, rows).into_iter().map(|value| 2.0 * value).collect())
    };
    save(&network, &metadata, file, &SaveOptions::default(), values).expect("written");
}

/// The library's own classifier of a file.
pub fn classifier(file: &Path, views: Views) -> Classifier {
    let options = CompileOptions { threads: Threads::Dedicated(1), ..CompileOptions::default() };
    let compiled = Compiled::open(file, options).expect("a network");
    Classifier::builder(compiled).views(views).top_k(CLASSES).build().expect("valid")
}

/// Pictures of different sizes, colors and formats, as files.
pub fn pictures() -> Vec<Vec<u8>> {
    let photos = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../examples/photos");
    let photo = |name: &str| std::fs::read(photos.join(name)).expect("a photo");
    let mut pictures = vec![photo("cat.jpg"), photo("rocket.jpg")];
    for number in 0..8u32 {
        let image = RgbImage::from_fn(90 + 11 * number, 80 + 7 * number, |x, y| {
            let stripe = ((x * (number + 1) + y * (8 - number)) / 16 % 2) * 200;
            [stripe as u8, (31 * number) as u8, 255 - (20 * number) as u8].into()
        });
        pictures.push(png(&image));
    }
    pictures
}

pub fn png(image: &RgbImage) -> Vec<u8> {
    let mut bytes = Vec::new();
    image.write_to(&mut Cursor::new(&mut bytes), ImageFormat::Png).expect("written");
    bytes
}

/// The probability of each class, by the library.
pub fn expected(classifier: &Classifier, picture: &[u8]) -> Vec<f64> {
    let classification = classifier.classify(&decode(picture).expect("a picture")).expect("finite");
    classification.probabilities.iter().map(|&it| it.into()).collect()
}

/// The probability of each class in an answer to `top_k=10`.
pub fn probabilities(result: &Value) -> Vec<f64> {
    let predictions = result["predictions"].as_array().unwrap_or_else(|| panic!("{result}"));
    let mut all = vec![f64::NAN; CLASSES];
    for prediction in predictions {
        let index = prediction["index"].as_u64().expect("a class") as usize;
        all[index] = prediction["probability"].as_f64().expect("a number");
    }
    all
}

/// The largest difference.
pub fn distance(a: &[f64], b: &[f64]) -> f64 {
    a.iter()
        .zip(b)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, |a, b| if b.is_nan() { b } else { a.max(b) })
}

pub fn is_close(a: &[f64], b: &[f64]) -> bool {
    a.len() == b.len() && distance(a, b) < TOLERANCE
}
