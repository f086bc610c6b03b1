//! The thread that computes what a [`Batcher`](super::Batcher) gathers.

use super::Shared;
use super::pending::Answer;
use super::request::{Images, Request, Work, logits, of_each};
use super::request_queue::{LeftOut, Next};
use crate::error::Error;
use crate::predict::Model;
use std::sync::PoisonError;
use std::time::Instant;

/// Computes until the batcher is closed and nothing waits.
pub(super) fn work(shared: &Shared, model: &dyn Model) {
    // The images of a batch, one after the other. Its memory is used again.
    let mut joined = Vec::new();
    while let Some(batch) = next_batch(shared) {
        let mut images = Vec::new();
        for request in batch {
            match request.work {
                Work::Images(of_request) => images.push((request.arrived, of_request)),
                Work::Call(call) => {
                    let queue_time = request.arrived.elapsed();
                    let (is_ok, compute_time) = call.run(model, queue_time);
                    let mut statistics = shared.statistics.lock();
                    statistics.queue_seconds.add(queue_time.as_secs_f64());
                    statistics.compute_seconds.add(compute_time.as_secs_f64());
                    *(if is_ok { &mut statistics.answered } else { &mut statistics.failed }) += 1;
                    statistics.computing -= 1;
                }
            }
        }
        if !images.is_empty() {
            compute(shared, model, images, &mut joined);
        }
    }
}

/// Waits for the next requests that are to be computed together.
fn next_batch(shared: &Shared) -> Option<Vec<Request>> {
    let mut state = shared.lock();
    loop {
        let now = Instant::now();
        let left_out = state.queue.sweep(now);
        if !left_out.expired.is_empty() || !left_out.abandoned.is_empty() {
            drop(state);
            leave_out(shared, left_out);
            state = shared.lock();
            continue;
        }
        let is_closed = state.is_closed;
        state = match state.queue.next(now, is_closed) {
            Next::Compute(batch) => {
                let mut statistics = shared.statistics.lock();
                statistics.waiting -= batch.len() as u64;
                statistics.computing += batch.len() as u64;
                return Some(batch);
            }
            Next::WaitUntil(until) => {
                let wait = shared.arrived.wait_timeout(state, until - now);
                wait.unwrap_or_else(PoisonError::into_inner).0
            }
            Next::Idle if is_closed => return None,
            Next::Idle => shared.arrived.wait(state).unwrap_or_else(PoisonError::into_inner),
        };
    }
}

/// Answers requests that will not be computed.
pub(super) fn leave_out(shared: &Shared, left_out: LeftOut<Request>) {
    let mut statistics = shared.statistics.lock();
    statistics.expired += left_out.expired.len() as u64;
    statistics.abandoned += left_out.abandoned.len() as u64;
    statistics.waiting -= (left_out.expired.len() + left_out.abandoned.len()) as u64;
    drop(statistics);
    for request in left_out.expired {
        let (network, waited) = (shared.network.to_string(), request.arrived.elapsed());
        request.refuse(Error::DeadlinePassed { network, waited });
    }
}

/// Computes images together, and gives each request its own logits.
fn compute(
    shared: &Shared,
    model: &dyn Model,
    requests: Vec<(Instant, Images)>,
    joined: &mut Vec<f32>,
) {
    let begin = Instant::now();
    let Some((_, first)) = requests.first() else { return };
    let count: usize = requests.iter().map(|(_, images)| images.shape[0]).sum();
    let shape = [count, first.shape[1], first.shape[2], first.shape[3]];
    requests.iter().for_each(|(_, images)| images.reply.begin());
    let result = match &requests[..] {
        [(_, alone)] => logits(model, &alone.values, shape),
        _ => {
            joined.clear();
            requests.iter().for_each(|(_, images)| joined.extend_from_slice(&images.values));
            logits(model, joined, shape)
        }
    };
    let compute_time = begin.elapsed();
    let mut statistics = shared.statistics.lock();
    statistics.computing -= requests.len() as u64;
    *(if result.is_ok() { &mut statistics.answered } else { &mut statistics.failed }) +=
        requests.len() as u64;
    statistics.batch_sizes.add(count as f64);
    statistics.compute_seconds.add(compute_time.as_secs_f64());
    for (arrived, _) in &requests {
        statistics.queue_seconds.add((begin - *arrived).as_secs_f64());
    }
    drop(statistics);
    let logits = match result {
        Ok(logits) => logits,
        Err(error) => {
            let error = of_each(error, count);
            requests.into_iter().for_each(|(_, images)| images.reply.send(Err(error())));
            return;
        }
    };
    let mut rest = &logits[..];
    let classes = logits.len() / count;
    for (arrived, images) in requests {
        let (of_request, others) = rest.split_at(images.shape[0] * classes);
        rest = others;
        let (value, queue_time) = (of_request.to_vec(), begin - arrived);
        images.reply.send(Ok(Answer { value, queue_time, compute_time, batch_size: count }));
    }
}
