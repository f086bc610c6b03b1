//! From photos to ranked labels, heat maps and features, on the compiled engine or any burn backend.
//!
//! All of it comes from `alexnet-vgg-core` and works on any [`Model`], which a
//! [`Network`](crate::models::Network) is on every backend. Only what needs gradients needs burn:
//! [`grad_cam`] is here, and so are
//! [`Network::feature_vectors`](crate::models::Network::feature_vectors) and
//! [`Network::perceptual_distance`](crate::models::Network::perceptual_distance).

pub use crate::models::grad_cam;
#[doc(inline)]
pub use alexnet_vgg_core::predict::*;
