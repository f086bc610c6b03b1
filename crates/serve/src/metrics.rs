//! Counters of requests and pictures, for `/metrics`.

use crate::problem::Problem;
use alexnet_vgg_core::predict::Histogram;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What was counted so far.
#[derive(Clone, Debug)]
pub struct Counters {
    /// Requests whose head was read.
    pub requests_begun: u64,
    /// Answers by path and status.
    pub answers: BTreeMap<(&'static str, u16), u64>,
    /// Requests whose client left before the answer.
    pub left: u64,
    /// Time of all answered requests, in seconds.
    pub request_seconds: Histogram,
    /// Pictures by network and what became of them: `classified`, or the kind of their problem.
    pub pictures: BTreeMap<(String, &'static str), u64>,
    /// Time of decoding and resizing a picture, in seconds.
    pub decode_seconds: Histogram,
    pub connections: u64,
    pub reloads: u64,
    pub reloads_failed: u64,
}

pub struct Metrics(Mutex<Counters>);

impl Default for Metrics {
    fn default() -> Self {
        Self(Mutex::new(Counters {
            requests_begun: 0,
            answers: BTreeMap::new(),
            left: 0,
            request_seconds: Histogram::new(Histogram::SECONDS),
            pictures: BTreeMap::new(),
            decode_seconds: Histogram::new(Histogram::SECONDS),
            connections: 0,
            reloads: 0,
            reloads_failed: 0,
        }))
    }
}

impl Metrics {
    pub fn lock(&self) -> MutexGuard<'_, Counters> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn count_decode(&self, time: Duration) {
        self.lock().decode_seconds.add(time.as_secs_f64());
    }

    pub fn count_picture(&self, network: &str, problem: Option<&Problem>) {
        let outcome = problem.map_or("classified", |problem| problem.kind.name);
        *self.lock().pictures.entry((network.into(), outcome)).or_default() += 1;
    }
}
