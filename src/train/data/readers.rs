//! Threads that read examples, as far ahead as they are told to.

use crate::error::{Error, Result};
use crate::train::Examples;
use crate::vision::augment::Sample;
use std::any::Any;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};

/// An example to be read.
pub(super) struct Job {
    /// Its place in the epoch.
    pub place: usize,
    pub index: usize,
    pub sample: Sample,
    /// Memory for its values: what is in it is not looked at.
    pub buffer: Vec<f32>,
}

/// What became of it: its values.
type Read = (usize, Result<Vec<f32>>);

/// They take jobs in the order in which they are given, and end as soon as they are dropped.
pub(super) struct Readers {
    /// `None` once they should end.
    ends: Option<(Sender<Job>, Receiver<Read>)>,
    /// Read before it was its turn.
    early: BTreeMap<usize, Result<Vec<f32>>>,
    threads: Vec<JoinHandle<()>>,
}

impl Readers {
    pub fn start(examples: &Arc<dyn Examples>, count: usize) -> Result<Self> {
        let (jobs, to_read) = channel();
        let (done, read) = channel();
        let to_read = Arc::new(Mutex::new(to_read));
        let ends = Some((jobs, read));
        let mut readers = Self { ends, early: BTreeMap::new(), threads: Vec::new() };
        for _ in 0..count {
            let (examples, to_read, done) = (examples.clone(), to_read.clone(), done.clone());
            let work = move || read_all(&*examples, &to_read, &done);
            let thread = Builder::new().name("reader".into()).spawn(work);
            let thread = thread.map_err(|e| failed(format!("a thread could not be started: {e}")));
            readers.threads.push(thread?);
        }
        Ok(readers)
    }

    pub fn give(&self, job: Job) {
        if let Some((jobs, _)) = &self.ends {
            // Where nobody is left to take it, nothing will come back, which `take` notices.
            let _ = jobs.send(job);
        }
    }

    /// What became of the job of that place, as soon as it is there.
    pub fn take(&mut self, place: usize) -> Result<Vec<f32>> {
        loop {
            if let Some(read) = self.early.remove(&place) {
                return read;
            }
            let next = self.ends.as_ref().and_then(|(_, read)| read.recv().ok());
            let (at, read) = next.ok_or_else(|| failed("all of them have ended".into()))?;
            self.early.insert(at, read);
        }
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        // Who waits for a job gets none, and who has read one cannot hand it in.
        self.ends = None;
        for thread in self.threads.drain(..) {
            // It catches its panics.
            let _ = thread.join();
        }
    }
}

fn read_all(examples: &dyn Examples, jobs: &Mutex<Receiver<Job>>, done: &Sender<Read>) {
    let next = || jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
    while let Ok(job) = next() {
        let Job { place, index, .. } = job;
        let read = catch_unwind(AssertUnwindSafe(|| read(examples, job)));
        let read = read.unwrap_or_else(|panic| {
            let name = catch_unwind(AssertUnwindSafe(|| examples.name(index)));
            let name = name.unwrap_or_else(|_| format!("example {index}"));
            Err(failed(format!("{name}: a panic: {}", message(&*panic))))
        });
        if done.send((place, read)).is_err() {
            return;
        }
    }
}

fn read(examples: &dyn Examples, job: Job) -> Result<Vec<f32>> {
    let Job { index, sample, buffer: mut values, .. } = job;
    values.clear();
    examples.read(index, sample, &mut values)?;
    let expected: usize = examples.shape().iter().product();
    match values.len() == expected {
        true => Ok(values),
        false => Err(Error::Setting {
            place: examples.name(index),
            expected: format!("{expected} values"),
            found: values.len().to_string(),
        }),
    }
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("no message")
}

fn failed(reason: String) -> Error {
    Error::Backend { backend: "readers".into(), reason }
}
