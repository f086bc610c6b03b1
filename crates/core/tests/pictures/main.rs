//! From photos to labels: decoding, preprocessing, augmentation, views, and the classifier.

#[path = "../formula/mod.rs"]
mod formula;

mod augment;
mod classifier;
mod photo_files;
mod photos;
mod presets;
mod samples;
mod views;

use std::path::{Path, PathBuf};

/// Photos of the examples.
const PHOTOS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/photos");
/// Pictures of unusual formats: tests/golden/photos.py wrote them.
const GOLDEN_PICTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/pictures");

fn photo(name: &str) -> PathBuf {
    Path::new(PHOTOS).join(name)
}

fn golden_picture(name: &str) -> PathBuf {
    Path::new(GOLDEN_PICTURES).join(name)
}
