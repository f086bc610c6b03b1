//! A request that waits: images, or a call.

use super::pending::{Answer, Reply};
use super::request_queue::Queued;
use crate::error::{Error, Result};
use crate::predict::Model;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A request, with what the queue needs to know of it.
pub(super) struct Request {
    pub work: Work,
    pub arrived: Instant,
    pub deadline: Option<Instant>,
}

pub(super) enum Work {
    Images(Images),
    Call(Box<dyn Call>),
}

/// Images whose logits are asked for.
pub(super) struct Images {
    /// `[N, C, H, W]`, flat.
    pub values: Vec<f32>,
    pub shape: [usize; 4],
    pub reply: Reply<Vec<f32>>,
}

/// A function of the network, with the end that its result goes to.
pub(super) trait Call: Send {
    fn is_abandoned(&self) -> bool;
    /// Whether it gave a result, and the time it took.
    fn run(self: Box<Self>, model: &dyn Model, queue_time: Duration) -> (bool, Duration);
    fn refuse(self: Box<Self>, error: Error);
}

pub(super) struct CallOf<T, F> {
    pub function: F,
    pub reply: Reply<T>,
}

impl<T: Send, F: FnOnce(&dyn Model) -> Result<T> + Send> Call for CallOf<T, F> {
    fn is_abandoned(&self) -> bool {
        self.reply.is_abandoned()
    }

    fn run(self: Box<Self>, model: &dyn Model, queue_time: Duration) -> (bool, Duration) {
        let Self { function, reply } = *self;
        reply.begin();
        let start = Instant::now();
        let result = caught(|| function(model));
        let compute_time = start.elapsed();
        let is_ok = result.is_ok();
        let answer = result.map(|value| Answer { value, queue_time, compute_time, batch_size: 1 });
        reply.send(answer);
        (is_ok, compute_time)
    }

    fn refuse(self: Box<Self>, error: Error) {
        self.reply.send(Err(error));
    }
}

impl Request {
    pub fn refuse(self, error: Error) {
        match self.work {
            Work::Images(images) => images.reply.send(Err(error)),
            Work::Call(call) => call.refuse(error),
        }
    }
}

impl Queued for Request {
    fn arrived(&self) -> Instant {
        self.arrived
    }

    fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    fn images(&self) -> usize {
        match &self.work {
            Work::Images(images) => images.shape[0],
            Work::Call(_) => 1,
        }
    }

    fn joins(&self, first: &Self) -> bool {
        match (&self.work, &first.work) {
            (Work::Images(images), Work::Images(first)) => images.shape[1..] == first.shape[1..],
            _ => false,
        }
    }

    fn is_abandoned(&self) -> bool {
        match &self.work {
            Work::Images(images) => images.reply.is_abandoned(),
            Work::Call(call) => call.is_abandoned(),
        }
    }
}

/// The logits of images; a panic is an error.
pub(super) fn logits(model: &dyn Model, images: &[f32], shape: [usize; 4]) -> Result<Vec<f32>> {
    let logits = caught(|| model.logits(images, shape))?;
    if logits.len() == shape[0] * model.architecture().num_classes() {
        Ok(logits)
    } else {
        Err(Error::ModelOutput)
    }
}

/// The error of a batch, for each of its requests.
pub(super) fn of_each(error: Error, images: usize) -> impl Fn() -> Error {
    let error = Arc::new(error);
    move || Error::Batch { images, error: error.clone() }
}

fn caught<T>(compute: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(compute)).unwrap_or_else(|panic| {
        let message = (panic.downcast_ref::<&str>().copied())
            .or_else(|| panic.downcast_ref::<String>().map(String::as_str));
        Err(Error::Thread {
            threads: "batcher".into(),
            reason: format!("the network panicked: {}", message.unwrap_or("without a message")),
        })
    })
}
