//! Classes ranked by their probabilities.

use super::softmax::{of_classes, softmax};
use crate::error::Result;

/// A class and its probability.
#[derive(Clone, Debug, PartialEq)]
pub struct Ranked {
    /// Index of the class.
    pub class: usize,
    /// Its probability, 0 to 1.
    pub probability: f32,
}

/// The `k` most probable classes of one image, best first: the softmax of its logits, ranked. Classes with
/// equal probabilities stay in the order of their indices. If there are fewer than `k` classes, the result
/// has all of them. A single logit is that of class 1 of two: its probability is the sigmoid.
///
/// ```
/// use alexnet_vgg_core::predict::top_k;
///
/// let ranked = top_k(&[0.0, 3.0, 1.0], 2)?;
/// assert_eq!([ranked[0].class, ranked[1].class], [1, 2]);
/// assert!(ranked[0].probability > 0.8);
/// # Ok::<(), alexnet_vgg_core::Error>(())
/// ```
///
/// # Errors
/// [`Error::NotFinite`](crate::Error::NotFinite) if a logit is NaN or infinite.
pub fn top_k(logits: &[f32], k: usize) -> Result<Vec<Ranked>> {
    let logits = of_classes(logits.to_vec(), logits.len());
    let mut ranked: Vec<Ranked> = (softmax(&logits)?.into_iter().enumerate())
        .map(|(class, probability)| Ranked { class, probability: probability as f32 })
        .collect();
    ranked.sort_by(|a, b| b.probability.total_cmp(&a.probability));
    ranked.truncate(k);
    Ok(ranked)
}

/// Index of the largest value; the first one of equal values.
pub(super) fn argmax(values: &[f64]) -> usize {
    (values.iter().enumerate())
        .fold(0, |best, (index, value)| if *value > values[best] { index } else { best })
}
