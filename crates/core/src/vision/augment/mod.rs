//! Training-time augmentation as data: that of the AlexNet paper (section 4.1), of the VGG paper (section
//! 3.1) and of torchvision, and your own.
//!
//! An [`Augmentation`] (`augmentation`) is a list of random [`Step`]s (`step`). First, what they do to one
//! photo is drawn (`sampler`), as a list of deterministic [`Operation`]s (`operation`); then these are applied
//! (`lazy_image`, with `color_jitter`). The draw depends only on the [`Sample`] and on the photo's size, so a
//! training run is reproducible on any number of threads and can be resumed anywhere.

mod augmentation;
mod color_jitter;
mod lazy_image;
mod operation;
mod sample;
mod sampler;
mod step;

pub use super::color_statistics::ColorStatistics;
pub use super::pca_color::ColorPca;
pub use super::resize::Rectangle;
pub use augmentation::Augmentation;
pub use lazy_image::apply;
pub use operation::Operation;
pub use sample::Sample;
pub use step::Step;
