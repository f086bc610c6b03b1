//! Recall, precision and F1 of a class.

use serde::Serialize;

/// How well a class is recognized.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClassScores {
    /// The name of the class.
    pub label: String,
    /// The number of examples of the class.
    pub count: u64,
    /// The fraction of them that were recognized, 0 to 1; `None` without examples.
    pub recall: Option<f64>,
    /// The fraction of predictions of the class that were correct, 0 to 1; `None` without predictions.
    pub precision: Option<f64>,
    /// The harmonic mean of recall and precision, 0 to 1; `None` without examples and predictions.
    pub f1: Option<f64>,
}

impl ClassScores {
    pub(super) fn new(label: &str, correct: u64, actual: u64, predicted: u64) -> Self {
        let fraction = |part: u64, all: u64| (all > 0).then(|| part as f64 / all as f64);
        Self {
            label: label.into(),
            count: actual,
            recall: fraction(correct, actual),
            precision: fraction(correct, predicted),
            f1: fraction(2 * correct, actual + predicted),
        }
    }
}
