//! What a number of clients measured.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

#[derive(Debug)]
pub struct Summary {
    clients: usize,
    times: Vec<Duration>,
    wrong: usize,
    /// By status.
    refused: BTreeMap<u16, usize>,
    whole: Duration,
}

impl Summary {
    pub fn new(clients: usize) -> Self {
        let (times, refused) = (Vec::new(), BTreeMap::new());
        Self { clients, times, wrong: 0, refused, whole: Duration::ZERO }
    }

    pub fn add(&mut self, time: Duration, is_right: bool) {
        self.times.push(time);
        self.wrong += usize::from(!is_right);
    }

    pub fn refuse(&mut self, status: u16) {
        *self.refused.entry(status).or_default() += 1;
    }

    pub fn join(&mut self, other: Self) {
        self.times.extend(other.times);
        self.wrong += other.wrong;
        for (status, count) in other.refused {
            *self.refused.entry(status).or_default() += count;
        }
    }

    /// Call this once, with the time that all clients took together.
    pub fn finish(&mut self, whole: Duration) {
        self.times.sort_unstable();
        self.whole = whole;
    }

    /// In milliseconds.
    fn quantile(&self, fraction: f64) -> f64 {
        let index = (fraction * self.times.len() as f64) as usize;
        let last = self.times.len().saturating_sub(1);
        self.times.get(index.min(last)).map_or(f64::NAN, |time| 1e3 * time.as_secs_f64())
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:4} clients: {:6.1} pictures/s, p50 {:.1} ms, p99 {:.1} ms, {} answers, {} wrong, refused {:?}",
            self.clients,
            self.times.len() as f64 / self.whole.as_secs_f64(),
            self.quantile(0.5),
            self.quantile(0.99),
            self.times.len(),
            self.wrong,
            self.refused,
        )
    }
}
