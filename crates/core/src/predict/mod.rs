//! From photos to ranked labels, heat maps and feature vectors.
//!
//! - [`Classifier`] (`classifier`, set up by `classifier_builder`): a network with its preprocessing, views
//!   and labels; `classify_files` decodes further files while the network is busy. The result is a
//!   [`Classification`] (`classification`).
//! - Several predictions for one photo: [`Fusion`] (`fusion`) combines those of several views,
//!   [`McDropout`] (`mc_dropout`) those of several passes with dropout, and [`Classification::mean`] those
//!   of several networks. `dense_evaluation` applies the network to whole images.
//! - [`HeatMap`] (`heat_map`): where in an image a class is seen; `localization` finds its [`BoundingBox`],
//!   `heat_map_overlay` draws it over the photo.
//! - [`FeatureOptions`] (`features`): feature vectors for search and clustering; [`PerceptualDistance`]
//!   (`perceptual`): how different two images look.
//! - [`Batcher`] (`batcher`): requests from many threads or tasks, computed together.
//! - [`Model`] (`model`): what all of these need from a network.
//! - [`top_k`] (`ranking`, `softmax`): the most probable classes, for logits that you computed yourself.

mod batcher;
mod classification;
mod classifier;
mod classifier_builder;
mod classify_files;
mod dense_evaluation;
mod features;
mod fusion;
mod heat_map;
mod heat_map_overlay;
mod localization;
mod lpips;
mod mc_dropout;
mod model;
mod perceptual;
mod ranking;
mod softmax;

pub use batcher::{Answer, BatchOptions, Batcher, BatcherStatistics, Histogram, Pending};
pub use classification::{Classification, Prediction, ViewPrediction};
pub use classifier::Classifier;
pub use classifier_builder::ClassifierBuilder;
pub use features::{FeatureOptions, Pooling, cosine_similarity};
pub use fusion::Fusion;
pub use heat_map::HeatMap;
pub use localization::BoundingBox;
pub use mc_dropout::McDropout;
pub use model::Model;
pub use perceptual::PerceptualDistance;
pub use ranking::{Ranked, top_k};

pub use crate::error::expect_finite;
pub use crate::vision::Labels;
