//! The scores of every epoch of a run.

use serde::{Deserialize, Serialize};

/// The epochs of a run so far.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct History {
    /// In order.
    pub epochs: Vec<Epoch>,
}

/// One pass over the training set, followed by one over the validation set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Epoch {
    /// The number of the epoch, from 1.
    pub epoch: usize,
    /// Optimizer steps since the start of the run.
    pub steps: u64,
    /// The learning rate of the last step.
    pub rate: f64,
    /// On the training set, during the epoch: with augmentation and dropout.
    pub train: Scores,
    /// On the validation set, after the epoch.
    pub valid: Scores,
    /// Training images per second.
    pub images_per_second: f64,
    /// The fraction of the training time spent waiting for data, 0 to 1.
    pub waited: f64,
    /// The fraction of the training time that rank 0 spent waiting for slower processes, 0 to 1.
    #[serde(default)]
    pub waited_for_others: f64,
    /// The fraction of the training time that rank 0 spent in all-reduces of gradients, without other work, 0 to 1.
    #[serde(default)]
    pub exchanged: f64,
    /// Bytes of gradients that rank 0 contributed to all-reduces.
    #[serde(default)]
    pub exchanged_bytes: u64,
}

/// Means over examples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// The cross-entropy in nats.
    pub loss: f64,
    /// The fraction of examples whose class was ranked first, 0 to 1.
    pub top1: f64,
    /// The fraction of examples whose class was among the first five, 0 to 1.
    pub top5: f64,
}

impl History {
    /// The epoch with the best top-1 accuracy on the validation set; among equal ones, that with
    /// the lower loss.
    pub fn best(&self) -> Option<&Epoch> {
        self.epochs.iter().reduce(
            |best, epoch| {
                if epoch.valid.is_better(&best.valid) { epoch } else { best }
            },
        )
    }

    /// Epochs since the validation top-1 accuracy was last improved.
    pub(super) fn epochs_since_best(&self) -> usize {
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
