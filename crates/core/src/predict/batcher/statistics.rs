//! [`BatcherStatistics`]: what a batcher has done so far.

use super::histogram::Histogram;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What a [`Batcher`](super::Batcher) has done so far, and what it is doing. Each request that was accepted is one of
/// `answered`, `failed`, `expired`, `abandoned`, `waiting`, and `computing`.
#[derive(Clone, Debug, PartialEq)]
pub struct BatcherStatistics {
    /// Requests that were accepted.
    pub accepted: u64,
    /// Requests that were refused, because the queue was full.
    pub refused: u64,
    /// Requests that were computed.
    pub answered: u64,
    /// Requests whose answer is an error or a panic of the network.
    pub failed: u64,
    /// Requests whose deadline passed while they waited.
    pub expired: u64,
    /// Requests whose caller was gone before they were computed.
    pub abandoned: u64,
    /// Requests that wait.
    pub waiting: u64,
    /// Requests that are being computed.
    pub computing: u64,
    /// Images in each batch.
    pub batch_sizes: Histogram,
    /// How long each request waited that was computed, in seconds.
    pub queue_seconds: Histogram,
    /// How long each batch and each call was computed, in seconds.
    pub compute_seconds: Histogram,
}

impl Default for BatcherStatistics {
    fn default() -> Self {
        const SIZES: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];
        Self {
            accepted: 0,
            refused: 0,
            answered: 0,
            failed: 0,
            expired: 0,
            abandoned: 0,
            waiting: 0,
            computing: 0,
            batch_sizes: Histogram::new(SIZES),
            queue_seconds: Histogram::new(Histogram::SECONDS),
            compute_seconds: Histogram::new(Histogram::SECONDS),
        }
    }
}

/// Statistics that batchers share, one after the other.
#[derive(Clone, Debug, Default)]
pub(super) struct SharedStatistics(Arc<Mutex<BatcherStatistics>>);

impl SharedStatistics {
    pub fn lock(&self) -> MutexGuard<'_, BatcherStatistics> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
