//! Threads that read examples ahead.

use crate::train::Examples;
use crate::train::setting::expect_setting;
use crate::vision::augment::Sample;
use crate::{Error, Result};
use std::any::Any;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};

/// An example to read.
pub(super) struct Job {
    /// Its position in the epoch.
    pub position: usize,
    pub index: usize,
    pub sample: Sample,
    /// A buffer for its values, whose contents are discarded.
    pub buffer: Vec<f32>,
}

/// The position of an example, and its values or why it could not be read.
type Done = (usize, Result<Vec<f32>>);

/// The threads. They take jobs in the order in which they are submitted, and end when the pool is dropped.
pub(super) struct ReaderPool {
    /// `None` once the threads should end.
    channels: Option<(Sender<Job>, Receiver<Done>)>,
    /// Results that have not been asked for yet, by position.
    early: BTreeMap<usize, Result<Vec<f32>>>,
    threads: Vec<JoinHandle<()>>,
}

impl ReaderPool {
    pub fn start(examples: &Arc<dyn Examples>, count: usize) -> Result<Self> {
        let (submit, jobs) = channel();
        let (done, results) = channel();
        let jobs = Arc::new(Mutex::new(jobs));
        let channels = Some((submit, results));
        let mut readers = Self { channels, early: BTreeMap::new(), threads: Vec::new() };
        for _ in 0..count {
            let (examples, jobs, done) = (examples.clone(), jobs.clone(), done.clone());
            let work = move || read_all(&*examples, &jobs, &done);
            let thread = Builder::new().name("reader".into()).spawn(work);
            let thread = thread.map_err(|e| failed(format!("a thread could not be started: {e}")));
            readers.threads.push(thread?);
        }
        Ok(readers)
    }

    pub fn submit(&self, job: Job) {
        if let Some((submit, _)) = &self.channels {
            // If all threads have ended, no result will come, which `receive` reports.
            let _ = submit.send(job);
        }
    }

    /// The result of the job of that position, for which it waits.
    pub fn receive(&mut self, position: usize) -> Result<Vec<f32>> {
        loop {
            if let Some(result) = self.early.remove(&position) {
                return result;
            }
            let next = self.channels.as_ref().and_then(|(_, results)| results.recv().ok());
            let (position, result) = next.ok_or_else(|| failed("all threads have ended".into()))?;
            self.early.insert(position, result);
        }
    }
}

impl Drop for ReaderPool {
    fn drop(&mut self) {
        // Closes both channels, which ends every thread.
        self.channels = None;
        for thread in self.threads.drain(..) {
            // The threads catch their panics.
            let _ = thread.join();
        }
    }
}

fn read_all(examples: &dyn Examples, jobs: &Mutex<Receiver<Job>>, done: &Sender<Done>) {
    let next = || jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
    while let Ok(job) = next() {
        let Job { position, index, .. } = job;
        let result = catch_unwind(AssertUnwindSafe(|| read(examples, job)));
        let result = result.unwrap_or_else(|panic| {
            let name = catch_unwind(AssertUnwindSafe(|| examples.name(index)));
            let name = name.unwrap_or_else(|_| format!("example {index}"));
            Err(failed(format!("{name}: reading it panicked: {}", message(&*panic))))
        });
        if done.send((position, result)).is_err() {
            return;
        }
    }
}

fn read(examples: &dyn Examples, job: Job) -> Result<Vec<f32>> {
    let Job { index, sample, buffer: mut values, .. } = job;
    values.clear();
    examples.read(index, sample, &mut values)?;
    let expected: usize = examples.shape().iter().product();
    let found = values.len();
    expect_setting(&examples.name(index), found == expected, &format!("{expected} values"), found)?;
    Ok(values)
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("no message")
}

fn failed(reason: String) -> Error {
    Error::Thread { threads: "threads that read examples".into(), reason }
}
