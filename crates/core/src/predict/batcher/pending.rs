//! [`Pending`]: an answer that is still to come, for threads and for asynchronous tasks.

use crate::error::{Error, Result};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// What a request to a [`Batcher`](super::Batcher) gave.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer<T> {
    /// The result: for images, their logits, `[N, num_classes]`, flat.
    pub value: T,
    /// How long the request waited.
    pub queue_time: Duration,
    /// How long its batch was computed.
    pub compute_time: Duration,
    /// The images in its batch; 1 for a call.
    pub batch_size: usize,
}

/// An answer that is still to come. Await it, or [`wait`](Self::wait) for it. A request whose `Pending` is dropped before
/// it is computed is not computed.
#[must_use = "a request whose answer is dropped is not computed"]
#[derive(Debug)]
pub struct Pending<T> {
    slot: Arc<Slot<T>>,
    deadline: Option<Instant>,
    network: Arc<str>,
}

/// The other end: what the batcher answers to.
#[derive(Debug)]
pub(super) struct Reply<T> {
    slot: Arc<Slot<T>>,
    is_sent: bool,
}

#[derive(Debug)]
struct Slot<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
}

#[derive(Debug)]
enum State<T> {
    Queued(Option<Waker>),
    Computing(Option<Waker>),
    Ready(Result<Answer<T>>),
    /// The caller has the answer.
    Taken,
    /// The caller is gone.
    Abandoned,
}

/// A pair of both ends. `deadline` is when computing must have begun.
pub(super) fn pending<T>(network: Arc<str>, deadline: Option<Instant>) -> (Pending<T>, Reply<T>) {
    let slot = Arc::new(Slot { state: Mutex::new(State::Queued(None)), changed: Condvar::new() });
    (Pending { slot: slot.clone(), deadline, network }, Reply { slot, is_sent: false })
}

impl<T> Slot<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> State<T> {
    /// The answer, if it is there.
    fn take(&mut self) -> Option<Result<Answer<T>>> {
        match std::mem::replace(self, Self::Taken) {
            Self::Ready(answer) => Some(answer),
            Self::Taken => panic!("an answer was polled after it was taken"),
            other => {
                *self = other;
                None
            }
        }
    }
}

impl<T> Pending<T> {
    /// Blocks the thread until the answer is there, or until the request's deadline if it is not being computed by then.
    /// (As a future, it is told that the deadline has passed only when the batch before it is done.)
    ///
    /// # Errors
    /// [`Error::DeadlinePassed`], and the errors of the network: see [`Batcher::submit`](super::Batcher::submit).
    pub fn wait(self) -> Result<Answer<T>> {
        let start = Instant::now();
        let mut state = self.slot.lock();
        loop {
            if let Some(answer) = state.take() {
                return answer;
            }
            let left = match (&*state, self.deadline) {
                (State::Queued(_), Some(deadline)) => {
                    deadline.checked_duration_since(Instant::now())
                }
                _ => Some(Duration::MAX),
            };
            let Some(left) = left else {
                let network = self.network.to_string();
                return Err(Error::DeadlinePassed { network, waited: start.elapsed() });
            };
            let changed = &self.slot.changed;
            state = match left {
                Duration::MAX => changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                left => changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0,
            };
        }
    }

    /// Whether the network has begun to compute the answer, or has it.
    pub fn has_begun(&self) -> bool {
        !matches!(*self.slot.lock(), State::Queued(_))
    }
}

impl<T> Future for Pending<T> {
    type Output = Result<Answer<T>>;

    /// # Panics
    /// If it is polled again after it was ready.
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.slot.lock();
        if let Some(answer) = state.take() {
            return Poll::Ready(answer);
        }
        if let State::Queued(waker) | State::Computing(waker) = &mut *state {
            match waker {
                Some(waker) => waker.clone_from(context.waker()),
                None => *waker = Some(context.waker().clone()),
            }
        }
        Poll::Pending
    }
}

impl<T> Drop for Pending<T> {
    fn drop(&mut self) {
        let mut state = self.slot.lock();
        // What is dropped here is dropped after the lock is released.
        let _former = std::mem::replace(&mut *state, State::Abandoned);
        drop(state);
    }
}

impl<T> Reply<T> {
    /// Whether nobody waits for the answer.
    pub fn is_abandoned(&self) -> bool {
        matches!(*self.slot.lock(), State::Abandoned)
    }

    /// Tells the caller that the answer is being computed.
    pub fn begin(&self) {
        let mut state = self.slot.lock();
        if let State::Queued(waker) = &mut *state {
            *state = State::Computing(waker.take());
        }
        drop(state);
        self.slot.changed.notify_all();
    }

    pub fn send(mut self, answer: Result<Answer<T>>) {
        self.is_sent = true;
        self.put(answer);
    }

    fn put(&self, answer: Result<Answer<T>>) {
        let mut state = self.slot.lock();
        if matches!(*state, State::Abandoned) {
            return;
        }
        let former = std::mem::replace(&mut *state, State::Ready(answer));
        drop(state);
        self.slot.changed.notify_all();
        // Without the lock: a waker may run the task at once.
        if let State::Queued(Some(waker)) | State::Computing(Some(waker)) = former {
            waker.wake();
        }
    }
}

impl<T> Drop for Reply<T> {
    /// No request stays without an answer.
    fn drop(&mut self) {
        if !self.is_sent {
            self.put(Err(Error::Thread {
                threads: "batcher".into(),
                reason: "the thread that computes has ended".into(),
            }));
        }
    }
}
