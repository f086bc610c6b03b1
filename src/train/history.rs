//! How a run went.

use serde::{Deserialize, Serialize};

/// Every epoch of a run so far.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct History {
    /// In their order.
    pub epochs: Vec<Epoch>,
}

/// One pass over the training set, and over the validation set after it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Epoch {
    /// From 1 on.
    pub epoch: usize,
    /// Steps of the optimizer since the start of the run.
    pub steps: u64,
    /// The learning rate of its last step.
    pub rate: f64,
    /// On the training set, while it was learned from: with augmentation and dropout.
    pub train: Scores,
    /// On the validation set.
    pub valid: Scores,
    /// Training images a second.
    pub images_per_second: f64,
    /// The part of the training time in which the network waited for its data, 0 to 1.
    pub waited: f64,
    /// The part of the training time in which the first process waited for the others of its job, 0 to 1.
    #[serde(default)]
    pub waited_for_others: f64,
    /// The part of the training time in which gradients were added up over processes and nothing else was
    /// done, 0 to 1.
    #[serde(default)]
    pub exchanged: f64,
    /// Bytes of gradients that the first process gave to the sums.
    #[serde(default)]
    pub exchanged_bytes: u64,
}

/// Means over some examples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// Cross-entropy in nats.
    pub loss: f64,
    /// The part whose class was ranked first, 0 to 1.
    pub top1: f64,
    /// The part whose class was among the first five, 0 to 1.
    pub top5: f64,
}

impl History {
    /// The epoch with the best top-1 on the validation set; of equals, the one with the lower loss.
    pub fn best(&self) -> Option<&Epoch> {
        self.epochs.iter().reduce(|best, epoch| match epoch.valid.is_better(&best.valid) {
            true => epoch,
            false => best,
        })
    }
}

impl History {
    /// Epochs since the one whose top-1 was better than ever before.
    pub(super) fn idle(&self) -> usize {
        let top1 = |epoch: &Epoch| epoch.valid.top1;
        let best = self.epochs.iter().map(top1).fold(f64::NEG_INFINITY, f64::max);
        let first = self.epochs.iter().position(|epoch| top1(epoch) >= best);
        first.map_or(0, |first| self.epochs.len() - 1 - first)
    }
}

impl Scores {
    fn is_better(&self, other: &Self) -> bool {
        self.top1 > other.top1 || (self.top1 == other.top1 && self.loss < other.loss)
    }
}
