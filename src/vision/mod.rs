//! From a photo's file to a batch of pixels as the network was trained on.
//!
//! `decode` makes an upright RGB picture of any file, within limits; `preprocess` resizes, crops and
//! normalises it. How that is done belongs to the weights: see [`Preset`]. [`augment`] does the same at
//! random, for training.

pub mod augment;
mod decode;
mod preprocess;
mod principal_colours;
mod resize;

pub use decode::{decode, decode_file};
pub use image::RgbImage;
pub use preprocess::{Channels, Preset};

/// The 1000 classes of ImageNet (ILSVRC 2012) in the order of the published weights, in
/// torchvision's wording (`torchvision.models._meta`, BSD 3-clause licence).
pub fn imagenet_labels() -> Vec<&'static str> {
    include_str!("imagenet.txt").lines().collect()
}
