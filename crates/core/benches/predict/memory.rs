//! How much memory the process holds while it classifies many photos.

use crate::harness::Outcome;
use crate::{compile, photos};
use alexnet_vgg_core::architecture::NetworkConfig;
use alexnet_vgg_core::engine::Threads;
use alexnet_vgg_core::predict::Classifier;
use alexnet_vgg_core::vision::{Views, decode_file};
use image::imageops::crop_imm;
use std::path::{Path, PathBuf};

/// Classifies 10,000 photos by their center; then 1,000 photos as a whole, which have 69 sizes once they
/// are resized, each with a plan of its own.
pub fn measure(folder: &Path) -> Outcome<()> {
    let files = photos::write(folder, 100)?;
    let architecture = NetworkConfig::by_name("alexnet")?.architecture()?;
    let model = compile(&architecture, Threads::default())?;
    let classifier = |views| Classifier::builder(model.clone()).views(views).build();
    classify(&classifier(Views::center())?, &files, 10_000)?;
    for (index, file) in files.iter().enumerate() {
        let photo = decode_file(file)?;
        crop_imm(&photo, 0, 0, 500 - index as u32, 375).to_image().save(file)?;
    }
    classify(&classifier(Views::dense())?, &files, 1000)
}

/// Prints the memory after 100 photos, 300, 1,000 and so on.
fn classify(classifier: &Classifier, files: &[PathBuf], count: usize) -> Outcome<()> {
    let view = classifier.views().as_slice()[0];
    let files: Vec<&PathBuf> = files.iter().cycle().take(count).collect();
    let mut result = Ok(());
    classifier.classify_files(&files, 2, |index, classification| {
        result = classification.map(drop);
        if matches!(index + 1, 100 | 300 | 1000 | 3000 | 10_000) {
            println!("{view}: {:6} photos, {} MiB", index + 1, resident_mib());
        }
        result.is_ok()
    })?;
    Ok(result?)
}

/// Resident memory by Linux's `/proc`; 0 on other systems.
fn resident_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) / 1024
}
