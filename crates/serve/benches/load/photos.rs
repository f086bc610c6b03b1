//! The pictures that are sent: crops of the repository's photos, as JPEG.

use alexnet_vgg_core::vision::decode_file;
use image::codecs::jpeg::JpegEncoder;
use image::imageops::{FilterType, crop_imm, resize};
use std::io;
use std::path::PathBuf;

/// Crops of each photo.
const CROPS: u32 = 12;

/// Different pictures of 4:3 with this short side.
pub fn photos(side: u32) -> io::Result<Vec<Vec<u8>>> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../examples/photos");
    let mut photos = Vec::new();
    for name in ["cat.jpg", "rocket.jpg"] {
        let photo = decode_file(folder.join(name)).map_err(io::Error::other)?;
        let (width, height) = photo.dimensions();
        for number in 0..CROPS {
            let crop_height = height - height / 3 * (number % 4) / 3;
            let crop_width = (crop_height * 4 / 3).min(width);
            let left = (width - crop_width) * number / CROPS;
            let crop = crop_imm(&photo, left, (height - crop_height) / 2, crop_width, crop_height);
            let picture = resize(&crop.to_image(), side * 4 / 3, side, FilterType::Triangle);
            let mut bytes = Vec::new();
            let written = picture.write_with_encoder(JpegEncoder::new_with_quality(&mut bytes, 90));
            written.map_err(io::Error::other)?;
            photos.push(bytes);
        }
    }
    Ok(photos)
}
