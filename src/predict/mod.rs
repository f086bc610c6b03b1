//! From logits to ranked labels; where in a picture an answer is ([`HeatMap`], [`grad_cam`]); and what
//! a network's layers are to others ([`FeatureSettings`], [`PerceptualDistance`]).

mod drawing;
mod features;
mod grad_cam;
mod heat_map;
mod lettering;
mod perceptual;

pub use features::{FeatureSettings, Pooling, cosine_similarity};
pub use grad_cam::grad_cam;
pub use heat_map::{BoundingBox, HeatMap};
pub use perceptual::PerceptualDistance;

use crate::error::{Error, Result};

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
    expect_finite("logits", logits)?;
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let exponentials: Vec<f64> = logits.iter().map(|&x| f64::from(x - largest).exp()).collect();
    let sum: f64 = exponentials.iter().sum();
    let mut ranked: Vec<Ranked> = (exponentials.iter().enumerate())
        .map(|(class, e)| Ranked { class, probability: (e / sum) as f32 })
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
