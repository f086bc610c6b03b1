//! From a photo's file to a batch of pixels as the network was trained on.
//!
//! `decode` makes an upright RGB picture of any file, within limits; `preprocess` resizes, crops and
//! normalizes it. How that is done belongs to the weights: see [`Preset`]. `views` is what is shown of a
//! photo when it is looked at more than once, and `pose` how it is turned for that. [`augment`] shows
//! photos at random, for training. `resize` is Pillow's. [`Labels`] are the names of what is seen, and
//! `lettering` writes into pictures. [`ContactSheet`] shows
//! many on one.

pub mod augment;
mod contact_sheet;
mod decode;
mod labels;
pub(crate) mod lettering;
mod pose;
mod preprocess;
mod principal_colors;
mod resize;
mod views;

pub use contact_sheet::{Captioned, ContactSheet};
pub use decode::{decode, decode_file};
pub use image::RgbImage;
pub use labels::Labels;
pub use pose::Pose;
pub use preprocess::{Channels, Preset};
pub use views::{Crop, Shown, View, Views, Whole};

/// The 1000 classes of ImageNet (ILSVRC 2012) in the order of the published weights, in
/// torchvision's wording (`torchvision.models._meta`, BSD 3-clause license).
pub fn imagenet_labels() -> Vec<&'static str> {
    include_str!("imagenet.txt").lines().collect()
}
