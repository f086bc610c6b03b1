//! What all requests share.

use crate::log::Log;
use crate::metrics::Metrics;
use crate::networks::Networks;
use crate::options::Options;
use crate::problem::Problem;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;
use tokio::sync::Semaphore;

/// Bytes of a unit of the memory for uploads.
pub const UPLOAD_UNIT: usize = 16 << 10;

pub struct Service {
    pub options: Options,
    pub networks: Networks,
    pub log: Log,
    pub metrics: Metrics,
    /// A permit for each picture that may be decoded at the same time.
    decodes: Arc<Semaphore>,
    /// A permit for each [`UPLOAD_UNIT`] of memory for uploads.
    pub uploads: Arc<Semaphore>,
    is_draining: AtomicBool,
}

impl Service {
    pub fn new(options: Options, networks: Networks, log: Log) -> Self {
        let decodes = Arc::new(Semaphore::new(options.max_decodes()));
        let uploads = Arc::new(Semaphore::new((options.max_uploads << 20) / UPLOAD_UNIT));
        let (metrics, is_draining) = (Metrics::default(), AtomicBool::new(false));
        Self { options, networks, log, metrics, decodes, uploads, is_draining }
    }

    /// Whether it is about to end.
    pub fn is_draining(&self) -> bool {
        self.is_draining.load(Ordering::Relaxed)
    }

    pub fn begin_to_drain(&self) {
        self.is_draining.store(true, Ordering::Relaxed);
    }

    /// Runs work on pictures, which takes milliseconds and more, on one of the threads for it, if one is free before the
    /// deadline.
    pub async fn on_decoder<T: Send + 'static>(
        &self,
        deadline: Instant,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Problem> {
        let permit = self.decodes.clone().acquire_owned();
        let permit = tokio::time::timeout_at(deadline.into(), permit).await;
        let permit =
            permit.map_err(|_| Problem::deadline())?.map_err(|_| Problem::shutting_down())?;
        let work = move || {
            // Also if the client is gone meanwhile, the thread is busy until the work is done.
            let _permit = permit;
            work()
        };
        tokio::task::spawn_blocking(work).await.map_err(|error| {
            self.log.event("panic", &[("error", &error)]);
            Problem::internal(
                "reading the picture failed unexpectedly; the log of the service says more",
            )
        })
    }
}
