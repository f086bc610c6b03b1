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

/// The logits of both classes for each output of a network with a single one: its probability is the sigmoid of the
/// output, which is the softmax of 0 and the output. Other logits stay as they are.
pub(super) fn of_classes(logits: Vec<f32>, outputs: usize) -> Vec<f32> {
    if outputs == 1 { logits.into_iter().flat_map(|logit| [0.0, logit]).collect() } else { logits }
}

/// [`softmax`] of logits that are known to be finite.
pub(super) fn softmax_f64(logits: &[f64]) -> Vec<f64> {
    let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let exponentials: Vec<f64> = logits.iter().map(|x| (x - largest).exp()).collect();
    let sum: f64 = exponentials.iter().sum();
    exponentials.iter().map(|e| e / sum).collect()
}
