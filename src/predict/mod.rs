//! From photos to ranked labels.
//!
//! - [`Classifier`] (`classifier`): a network with its preprocessing, views and labels; `stream`: many
//!   files, decoded while the network is busy; `answer`: what it says.
//! - `fusion`: from several views to one answer; `dropout`: from several thinned networks;
//!   [`Answer::mean`]: from several networks.
//! - [`HeatMap`] (`heat_map`): where in the picture a class is seen, drawn by `drawing`;
//!   `grad_cam`: such a map by gradients.
//! - `features`: vectors for searching; `perceptual`: how alike two pictures look to a network.
//! - `model`: what all of them need of a network; [`Labels`]: the names of its classes.
//! - [`top_k`]: from one image's logits, for who has his own way to them.

mod answer;
mod classifier;
mod drawing;
mod dropout;
mod features;
mod fusion;
mod grad_cam;
mod heat_map;
mod model;
mod perceptual;
mod stream;

pub use answer::{Answer, Guess, Opinion};
pub use classifier::{Classifier, ClassifierBuilder};
pub use dropout::McDropout;
pub use features::{FeatureSettings, Pooling, cosine_similarity};
pub use fusion::Fusion;
pub use grad_cam::grad_cam;
pub use heat_map::{BoundingBox, HeatMap};
pub use model::Model;
pub use perceptual::PerceptualDistance;

pub use crate::vision::Labels;

use crate::error::{Error, Result};
use fusion::softmax;

/// A class that the network considers.
#[derive(Clone, Debug, PartialEq)]
pub struct Ranked {
    /// Index of the class.
    pub class: usize,
    /// Its probability, 0 to 1.
    pub probability: f32,
}

/// The `k` most probable classes of one image, best first: softmax of its logits, ranked. Equal
/// probabilities stay in the order of their classes. Fewer than `k` if there are fewer classes.
///
/// ```
/// use alexnet_vgg::predict::top_k;
///
/// let ranked = top_k(&[0.0, 3.0, 1.0], 2)?;
/// assert_eq!([ranked[0].class, ranked[1].class], [1, 2]);
/// assert!(ranked[0].probability > 0.8);
/// # Ok::<(), alexnet_vgg::Error>(())
/// ```
///
/// # Errors
/// [`Error::NotFinite`] if a logit is NaN or infinite: there is no order to report.
pub fn top_k(logits: &[f32], k: usize) -> Result<Vec<Ranked>> {
    let mut ranked: Vec<Ranked> = (softmax(logits)?.into_iter().enumerate())
        .map(|(class, probability)| Ranked { class, probability: probability as f32 })
        .collect();
    ranked.sort_by(|a, b| b.probability.total_cmp(&a.probability));
    ranked.truncate(k);
    Ok(ranked)
}

/// `Ok` if every value is a number.
///
/// # Errors
/// [`Error::NotFinite`] with `place`, the number of NaN and infinite values, and the first of them.
pub fn expect_finite(place: &str, values: &[f32]) -> Result<()> {
    let mut wrong = values.iter().enumerate().filter(|(_, value)| !value.is_finite());
    match wrong.next() {
        None => Ok(()),
        Some((first, _)) => {
            Err(Error::NotFinite { place: place.into(), count: 1 + wrong.count(), first })
        }
    }
}
