//! The photos: crops of those of the examples.

use crate::harness::Outcome;
use alexnet_vgg_core::vision;
use alexnet_vgg_core::vision::augment::{Operation, Rectangle, apply};
use image::codecs::jpeg::JpegEncoder;
use std::path::Path;

/// Width and height.
pub const SIZE: (u32, u32) = (500, 375);
const QUALITY: u8 = 90;
const FILES: u32 = 24;

/// Writes the photos into the folder as JPEGs, and returns their bytes.
pub fn write(folder: &Path) -> Outcome<Vec<Vec<u8>>> {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/photos");
    let photos = ["cat.jpg", "rocket.jpg"].map(|name| vision::decode_file(examples.join(name)));
    let [cat, rocket] = photos;
    let photos = [cat?, rocket?];
    let mut files = Vec::new();
    for index in 0..FILES {
        let photo = &photos[index as usize % photos.len()];
        let (width, height) = photo.dimensions();
        // From nine tenths of the photo to all of it.
        let part = |side: u32| side - side * (index / 2) / (10 * FILES / 2);
        let (width, height) = (part(width), part(height));
        let part = apply(
            photo,
            &[
                Operation::Crop(Rectangle::whole((width, height))),
                Operation::Resize { width: SIZE.0, height: SIZE.1 },
            ],
        )?;
        let mut jpeg = Vec::new();
        JpegEncoder::new_with_quality(&mut jpeg, QUALITY).encode_image(&part)?;
        std::fs::write(folder.join(format!("{index:02}.jpg")), &jpeg)?;
        files.push(jpeg);
    }
    Ok(files)
}
