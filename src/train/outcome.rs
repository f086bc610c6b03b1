//! The result of a training run.

use super::history::History;
use crate::models::Network;
use burn::tensor::backend::Backend;

/// The result of a training run.
pub struct Outcome<B: Backend> {
    /// The network after the last step, or the average of its weights: see [`Recipe::ema_decay`](super::Recipe::ema_decay).
    pub last: Network<B>,
    /// The network after the epoch with the best validation scores, or the last one if no epoch was
    /// finished. With several processes, only rank 0 has the best one.
    pub best: Network<B>,
    /// Every epoch.
    pub history: History,
    /// Why the run ended.
    pub stop_reason: StopReason,
    /// The examples that were skipped because they could not be read, in any process: name and reason, each
    /// once.
    pub skipped: Vec<(String, String)>,
}

/// Why a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// All epochs are done.
    Finished,
    /// Validation no longer improved: see [`Recipe::early_stop`](super::Recipe::early_stop).
    EarlyStop,
    /// It was interrupted, and can be resumed.
    Interrupted,
}
