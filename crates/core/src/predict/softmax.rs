//! From logits to probabilities, in f64.

use crate::error::{Result, expect_finite};

/// The probabilities that belong to the logits of one image.
///
/// # Errors
/// [`Error::NotFinite`](crate::Error::NotFinite) if a logit is NaN or infinite.
pub(super) fn softmax(logits: &[f32]) -> Result<Vec<f64>> {
    Outputs::Classes.probabilities_of_logits(logits)
}

/// What the outputs of a network are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outputs {
    /// Classes, of which a photo has one: the softmax.
    Classes,
    /// Labels, of which a photo has any number: the sigmoid of each.
    Labels,
}

impl Outputs {
    /// The probabilities that belong to logits that are known to be finite.
    pub fn probabilities(self, logits: &[f64]) -> Vec<f64> {
        match self {
            Self::Classes => softmax_f64(logits),
            Self::Labels => logits.iter().map(|logit| 1.0 / (1.0 + (-logit).exp())).collect(),
        }
    }

    /// The probabilities that belong to the logits of one image.
    ///
    /// # Errors
    /// [`Error::NotFinite`](crate::Error::NotFinite) if a logit is NaN or infinite.
    pub fn probabilities_of_logits(self, logits: &[f32]) -> Result<Vec<f64>> {
        expect_finite("logits", logits)?;
        let wide: Vec<f64> = logits.iter().map(|&logit| f64::from(logit)).collect();
        Ok(self.probabilities(&wide))
    }
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
