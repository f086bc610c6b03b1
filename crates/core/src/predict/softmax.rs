//! Softmax, in f64.

use crate::error::{Result, expect_finite};

/// The probabilities that belong to the logits of one image.
///
/// # Errors
/// [`Error::NotFinite`](crate::Error::NotFinite) if a logit is NaN or infinite.
pub(super) fn softmax(logits: &[f32]) -> Result<Vec<f64>> {
    expect_finite("logits", logits)?;
    let wide: Vec<f64> = logits.iter().map(|&logit| f64::from(logit)).collect();
    Ok(softmax_f64(&wide))
}

/// [`softmax`] of logits that are known to be finite.
pub(super) fn softmax_f64(logits: &[f64]) -> Vec<f64> {
    let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let exponentials: Vec<f64> = logits.iter().map(|x| (x - largest).exp()).collect();
    let sum: f64 = exponentials.iter().sum();
    exponentials.iter().map(|e| e / sum).collect()
}
