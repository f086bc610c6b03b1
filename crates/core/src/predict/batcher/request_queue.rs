//! [`RequestQueue`]: what is computed next. It knows neither threads nor clocks; the time is an argument.

use super::options::BatchOptions;
use std::collections::VecDeque;
use std::time::Instant;

/// What the queue needs to know of a request.
pub(super) trait Queued {
    fn arrived(&self) -> Instant;
    /// When computing must have begun.
    fn deadline(&self) -> Option<Instant>;
    fn images(&self) -> usize;
    /// Whether it can be computed together with another one.
    fn joins(&self, first: &Self) -> bool;
    fn is_abandoned(&self) -> bool;
}

/// Requests in the order of their arrival.
#[derive(Debug)]
pub(super) struct RequestQueue<R> {
    options: BatchOptions,
    waiting: VecDeque<R>,
    images: usize,
}

/// What to do next.
#[derive(Debug, PartialEq)]
pub(super) enum Next<R> {
    /// Compute these requests together.
    Compute(Vec<R>),
    /// Wait for more requests until then.
    WaitUntil(Instant),
    /// Nothing waits.
    Idle,
}

/// Requests that will not be computed.
#[derive(Debug, PartialEq)]
pub(super) struct LeftOut<R> {
    /// Their deadline has passed.
    pub expired: Vec<R>,
    /// Nobody waits for their answers any more.
    pub abandoned: Vec<R>,
}

impl<R: Queued> RequestQueue<R> {
    pub fn new(options: BatchOptions) -> Self {
        Self { options, waiting: VecDeque::new(), images: 0 }
    }

    /// The images of the requests that wait.
    pub fn images(&self) -> usize {
        self.images
    }

    /// Whether there is room for a request of so many images. An empty queue takes a request of any size.
    pub fn has_room(&self, images: usize) -> bool {
        self.waiting.is_empty() || self.images.saturating_add(images) <= self.options.queue
    }

    pub fn push(&mut self, request: R) {
        self.images += request.images();
        self.waiting.push_back(request);
    }

    /// Takes out what will not be computed.
    pub fn sweep(&mut self, now: Instant) -> LeftOut<R> {
        let mut left_out = LeftOut { expired: Vec::new(), abandoned: Vec::new() };
        let is_expired = |request: &R| request.deadline().is_some_and(|deadline| deadline <= now);
        if !self.waiting.iter().any(|request| is_expired(request) || request.is_abandoned()) {
            return left_out;
        }
        for request in std::mem::take(&mut self.waiting) {
            if is_expired(&request) {
                left_out.expired.push(request);
            } else if request.is_abandoned() {
                left_out.abandoned.push(request);
            } else {
                self.waiting.push_back(request);
            }
        }
        self.images = self.waiting.iter().map(Queued::images).sum();
        left_out
    }

    /// What to do at this time. If `is_closed`, no more requests will come. [Sweep](Self::sweep) first.
    pub fn next(&mut self, now: Instant, is_closed: bool) -> Next<R> {
        let Some(first) = self.waiting.front() else { return Next::Idle };
        let gathered = self.gathered();
        let until = first.arrived() + self.options.max_wait;
        let may_wait = |request: &R| request.deadline().is_none_or(|deadline| deadline > until);
        let can_grow = gathered.can_grow && !is_closed;
        if can_grow && until > now && self.waiting.iter().take(gathered.joined).all(may_wait) {
            return Next::WaitUntil(until);
        }
        let batch: Vec<R> = self.waiting.drain(..gathered.batch).collect();
        self.images -= batch.iter().map(Queued::images).sum::<usize>();
        Next::Compute(batch)
    }

    /// The requests from the first one on that can be computed together.
    ///
    /// The engine has a plan with its own memory for each size of a batch. So that there are few of them, batches have a
    /// power of two images or `max_batch`, unless the first request makes another number by itself; what is left
    /// goes first next time.
    fn gathered(&self) -> Gathered {
        let max_batch = self.options.max_batch;
        let mut gathered = Gathered { joined: 0, batch: 1, can_grow: true };
        let mut images = 0;
        for request in &self.waiting {
            images += request.images();
            if images > max_batch || !request.joins(&self.waiting[0]) {
                gathered.can_grow = false;
                break;
            }
            gathered.joined += 1;
            if images == max_batch || images.is_power_of_two() {
                gathered.batch = gathered.joined;
            }
        }
        gathered.can_grow &= images < max_batch;
        gathered
    }
}

struct Gathered {
    /// How many requests fit together.
    joined: usize,
    /// How many of them are computed now.
    batch: usize,
    /// Whether a further request could join them.
    can_grow: bool,
}
