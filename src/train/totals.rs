//! Sums over the examples of an epoch, from which its scores are computed.

use super::history::Scores;
use serde::{Deserialize, Serialize};

/// Sums over the examples and the steps of an epoch so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct EpochTotals {
    loss: f64,
    first: u64,
    first_five: u64,
    pub examples: u64,
    /// The time of all steps.
    pub seconds: f64,
    /// The part of it spent waiting for data.
    pub waited: f64,
    /// The part of it spent waiting for slower processes.
    pub waited_for_others: f64,
    /// The part of it spent in all-reduces alone.
    pub exchanged: f64,
    /// Bytes of gradients that went into all-reduces.
    pub bytes: u64,
    /// The learning rate of the last step.
    pub rate: f64,
}

impl EpochTotals {
    /// Adds examples by their mean loss, their logits (`[N, classes]`, flat) and their classes.
    pub fn add(&mut self, loss: f64, logits: &[f32], classes: &[usize]) {
        let count = classes.len();
        self.loss += loss * count as f64;
        self.examples += count as u64;
        let width = (logits.len() / count.max(1)).max(1);
        for (logits, &class) in logits.chunks(width).zip(classes) {
            // NaN has no rank, so such a prediction is wrong.
            let Some(own) = logits.get(class).filter(|own| own.is_finite()) else { continue };
            // Of equal logits the first class counts, as in `top_k`.
            let before = (logits.iter().enumerate())
                .filter(|(other, logit)| *logit > own || (*logit == own && *other < class))
                .count();
            self.first += u64::from(before < 1);
            self.first_five += u64::from(before < 5);
        }
    }

    /// Everything except times, as numbers in which the counts are exact.
    pub fn to_example_sums(self) -> [f64; 4] {
        let counts = [self.first, self.first_five, self.examples].map(|count| count as f64);
        [self.loss, counts[0], counts[1], counts[2]]
    }

    pub fn from_example_sums([loss, first, first_five, examples]: [f64; 4]) -> Self {
        let [first, first_five, examples] = [first, first_five, examples].map(|count| count as u64);
        Self { loss, first, first_five, examples, ..Self::default() }
    }

    /// Adds the examples of other totals, but not their times.
    pub fn add_examples(&mut self, other: &Self) {
        self.loss += other.loss;
        self.first += other.first;
        self.first_five += other.first_five;
        self.examples += other.examples;
    }

    /// `seconds` as a fraction of the time of all steps.
    pub fn fraction_of_time(&self, seconds: f64) -> f64 {
        seconds / self.seconds.max(f64::MIN_POSITIVE)
    }

    pub fn scores(&self) -> Scores {
        let examples = self.examples.max(1) as f64;
        Scores {
            loss: self.loss / examples,
            top1: self.first as f64 / examples,
            top5: self.first_five as f64 / examples,
        }
    }

    pub fn images_per_second(&self) -> f64 {
        self.examples as f64 / self.seconds.max(f64::MIN_POSITIVE)
    }
}
