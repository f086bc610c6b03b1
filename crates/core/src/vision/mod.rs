//! From image files to normalized batches.
//!
//! - Decoding: [`decode_file`] and [`decode`] (`decode`) give an upright RGB image of any supported file,
//!   within limits on its size; `jpeg` is about the JPEGs that take another decoder, `jpeg_scans` about
//!   damaged ones, `tiff`, `gif` and `webp` about files that `image` does not read as Pillow does, and
//!   `other_formats` about files that are no pictures. [`photo_files`] is about the names of files in folders.
//! - Preprocessing: a [`Preset`] (`preset`) belongs to a set of weights and says how images are resized,
//!   cropped and normalized; `preprocess` does it. `resize` and `rotate` are Pillow's, bit for bit;
//!   `orientation` flips without a copy; `level_table` normalizes by table lookup.
//! - Test-time augmentation: [`Views`] (`test_time_augmentation`; parsed and displayed by `view_names`) say
//!   which views of a photo are classified, such as ten crops.
//! - Training-time augmentation: [`augment`], with PCA color augmentation from `pca_color` and
//!   `color_statistics`.
//! - [`thumbnail`] makes a picture small, for people to look at.
//! - [`Labels`] (`labels`) are the names of classes; `labels_file` reads them.

pub mod augment;
mod color_statistics;
mod decode;
#[cfg(feature = "gif")]
mod gif;
#[cfg(feature = "jpeg")]
mod jpeg;
#[cfg(feature = "jpeg")]
mod jpeg_bits;
#[cfg(feature = "jpeg")]
mod jpeg_scans;
mod labels;
mod labels_file;
mod level_table;
mod orientation;
mod other_formats;
mod pca_color;
pub mod photo_files;
mod preprocess;
mod preset;
mod resize;
mod rotate;
mod test_time_augmentation;
mod thumbnail;
#[cfg(feature = "tiff")]
mod tiff;
mod view_names;
#[cfg(feature = "webp")]
mod webp;

pub use decode::{decode, decode_file};
pub use image::{RgbImage, RgbaImage};
pub(crate) use labels::classes_of;
pub use labels::{Labels, imagenet_labels};
pub use orientation::Orientation;
pub use preprocess::{NormalizedViews, WholeImage};
pub use preset::{Channels, Preset};
pub use test_time_augmentation::{Crop, View, Views};
pub use thumbnail::thumbnail;
