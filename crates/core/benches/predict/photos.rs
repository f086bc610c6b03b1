//! The photos: different crops of those of the examples.

use crate::harness::Outcome;
use alexnet_vgg_core::vision::decode_file;
use image::codecs::jpeg::JpegEncoder;
use image::imageops::{FilterType, crop_imm, resize};
use std::fs::File;
use std::path::{Path, PathBuf};

/// Writes `count` photos of 500×375 into the folder as JPEGs, and returns their paths.
pub fn write(folder: &Path, count: u32) -> Outcome<Vec<PathBuf>> {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/photos");
    let sources = ["cat.jpg", "rocket.jpg"].map(|name| decode_file(examples.join(name)));
    let mut files = Vec::new();
    for index in 0..count {
        let source = sources[index as usize % 2].as_ref().map_err(|error| error.to_string())?;
        let (width, height) = source.dimensions();
        let part = crop_imm(source, index, index / 2, width - 50, height - 50).to_image();
        let photo = resize(&part, 500, 375, FilterType::CatmullRom);
        let file = folder.join(format!("{index}.jpg"));
        photo.write_with_encoder(JpegEncoder::new_with_quality(File::create(&file)?, 90))?;
        files.push(file);
    }
    Ok(files)
}
