//! [`BatchOptions`]: how large batches become, and how much may wait.

use crate::error::{Error, Result};
use std::time::Duration;

/// How a [`Batcher`](super::Batcher) gathers requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchOptions {
    /// The most images that are computed together, 1 to 1024; default: 8, the most that the compiled engine computes
    /// at once. A request with more images is computed alone.
    pub max_batch: usize,
    /// How long a request waits for others while the network has nothing to do. Default: not at all. While the network
    /// is busy, requests gather anyway.
    pub max_wait: Duration,
    /// The most images that wait, at least 1; default: 256. Beyond that, requests are refused with
    /// [`Error::Busy`](crate::Error::Busy).
    pub queue: usize,
}

impl Default for BatchOptions {
    fn default() -> Self {
        Self { max_batch: 8, max_wait: Duration::ZERO, queue: 256 }
    }
}

impl BatchOptions {
    /// The largest `max_batch`.
    const LARGEST_BATCH: usize = 1024;

    /// Checks the ranges.
    ///
    /// # Errors
    /// [`Error::Setting`] with the first option that is out of its range.
    pub fn validate(&self) -> Result<()> {
        let wrong = |place: &str, expected: String, found: usize| {
            Err(Error::Setting { place: place.into(), expected, found: found.to_string() })
        };
        if !(1..=Self::LARGEST_BATCH).contains(&self.max_batch) {
            let expected = format!("1 to {} images", Self::LARGEST_BATCH);
            return wrong("max_batch", expected, self.max_batch);
        }
        if self.queue == 0 {
            return wrong("queue", "room for at least 1 image".into(), self.queue);
        }
        Ok(())
    }
}
