//! The curves of a run in TensorBoard's format, beside `metrics.csv`.
//!
//! - `event`: what is logged, as protocol buffers.
//! - `record`: how a file frames them.
//!
//! This is written here because the crates that write such files were last changed years ago, and panic where a disk is
//! full; scalars need three messages and a frame.

mod event;
mod record;

use super::history::{Epoch, History};
use super::options::Progress;
use crate::{Error, Result};
use alexnet_vgg_core::atomic_file;
use event::Event;
use record::{Reader, frame};
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// TensorBoard looks for files whose names contain `tfevents`.
const FILE: &str = "events.out.tfevents";
/// Time between two steps that are logged. A run of a week would otherwise have files of gigabytes.
const PAUSE: Duration = Duration::from_secs(1);

/// The log of a run. It has no step twice, and every epoch once: after a crash it is cut back to where the run resumes.
pub(super) struct EventLog {
    path: PathBuf,
    /// `None` after a failure: the end of the file may be half a record.
    file: Option<File>,
    last_step: Option<Instant>,
}

impl EventLog {
    /// Opens the log in `folder` for a run that has taken `steps` and finished the epochs of `history`. Later events are
    /// removed, and epochs that are missing are added.
    pub fn open(folder: &Path, steps: u64, history: &History) -> Result<Self> {
        let path = folder.join(FILE);
        let last_epoch = history.epochs.last().map_or(0, |epoch| epoch.steps);
        let Kept { bytes, length, logged } = kept_events(&path, steps, last_epoch)?;
        if bytes == 0 {
            let start = frame(&Event::start_of_file());
            atomic_file::replace(&path, |out| out.write_all(&start).map_err(Error::io(&path)))?;
        } else if bytes < length {
            cut(&path, bytes)?;
        }
        let file = OpenOptions::new().append(true).open(&path).map_err(Error::io(&path))?;
        let mut log = Self { path, file: Some(file), last_step: None };
        let missing =
            history.epochs.iter().filter(|epoch| logged.is_none_or(|it| epoch.steps > it));
        missing.map(Event::epoch).try_for_each(|event| log.append(&event))?;
        Ok(log)
    }

    /// Logs a step with the scores of its batch, unless another one was logged just before. A failure only
    /// [breaks](Self::is_broken) the log.
    pub fn step(&mut self, step: u64, loss: f64, top1: f64, progress: &Progress) {
        if self.last_step.is_some_and(|last| last.elapsed() < PAUSE) {
            return;
        }
        self.last_step = Some(Instant::now());
        let _ = self.append(&Event::step(step, loss, top1, progress));
    }

    /// Logs an epoch.
    pub fn epoch(&mut self, epoch: &Epoch) -> Result<()> {
        self.append(&Event::epoch(epoch))
    }

    /// Whether something could not be written. Nothing more is written then, until the log is [repaired](Self::repair).
    pub fn is_broken(&self) -> bool {
        self.file.is_none()
    }

    /// [Opens](Self::open) the log again.
    pub fn repair(&mut self, steps: u64, history: &History) -> Result<()> {
        let folder = self.path.parent().unwrap_or(Path::new(""));
        *self = Self::open(folder, steps, history)?;
        Ok(())
    }

    fn append(&mut self, event: &Event) -> Result<()> {
        let Some(file) = &mut self.file else { return Ok(()) };
        let written = file.write_all(&frame(event)).map_err(Error::io(&self.path));
        if written.is_err() {
            self.file = None;
        }
        written
    }
}

/// What remains of a log.
#[derive(Default)]
struct Kept {
    bytes: u64,
    /// The bytes of the whole file.
    length: u64,
    /// The step of the last epoch in it.
    logged: Option<u64>,
}

/// The events up to the step `steps`, and up to the epoch that ended with the step `last_epoch`: everything before the
/// first other event, or the first damaged one.
fn kept_events(path: &Path, steps: u64, last_epoch: u64) -> Result<Kept> {
    let file = match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Kept::default()),
        file => file.map_err(Error::io(path))?,
    };
    let length = file.metadata().map_err(Error::io(path))?.len();
    let mut kept = Kept { length, ..Kept::default() };
    let mut reader = Reader::new(file);
    while let Some(event) = reader.next_event().map_err(Error::io(path))? {
        let step = u64::try_from(event.step).unwrap_or(u64::MAX);
        let last = if event.is_epoch() { last_epoch } else { steps };
        if step > last {
            break;
        }
        kept.logged = if event.is_epoch() { Some(step) } else { kept.logged };
        kept.bytes = reader.position();
    }
    Ok(kept)
}

/// Shortens a file, in one step: a program that has it open keeps the old one.
fn cut(path: &Path, bytes: u64) -> Result<()> {
    let mut old = File::open(path).map_err(Error::io(path))?;
    atomic_file::replace(path, |out| {
        let copied = std::io::copy(&mut std::io::Read::take(&mut old, bytes), &mut { out });
        copied.map(drop).map_err(Error::io(path))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::Scores;

    fn epoch(number: usize) -> Epoch {
        let scores = Scores { loss: 0.5 / number as f64, top1: 0.25, top5: 0.75 };
        Epoch {
            epoch: number,
            steps: 10 * number as u64,
            rate: 0.01,
            train: scores,
            valid: scores,
            images_per_second: 100.0,
            waited: 0.0,
            waited_for_others: 0.0,
            exchanged: 0.0,
            exchanged_bytes: 0,
        }
    }

    fn history(epochs: usize) -> History {
        History { epochs: (1..=epochs).map(epoch).collect() }
    }

    fn progress() -> Progress {
        Progress {
            epoch: 1,
            epochs: 3,
            batch: 1,
            batches: 10,
            loss: 0.5,
            top1: 0.25,
            rate: 0.01,
            images_per_second: 100.0,
            remaining: Duration::ZERO,
        }
    }

    /// The steps of all events, with an `e` for epochs.
    fn steps(folder: &Path) -> Vec<String> {
        let file = File::open(folder.join(FILE)).expect("a log");
        let mut reader = Reader::new(file);
        let mut steps = Vec::new();
        while let Some(event) = reader.next_event().expect("readable") {
            steps.push(format!("{}{}", event.step, if event.is_epoch() { "e" } else { "" }));
        }
        assert_eq!(reader.position(), folder.join(FILE).metadata().expect("a log").len());
        steps
    }

    fn log_steps(log: &mut EventLog, steps: std::ops::RangeInclusive<u64>) {
        for step in steps {
            log.last_step = None;
            log.step(step, 0.5, 0.25, &progress());
        }
    }

    #[test]
    fn a_resumed_run_logs_no_step_twice_and_every_epoch_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut log = EventLog::open(folder.path(), 0, &history(0)).expect("a log");
        log_steps(&mut log, 9..=10);
        log.epoch(&epoch(1)).expect("written");
        log_steps(&mut log, 11..=13);
        let all = ["0", "9", "10", "10e", "11", "12", "13"];
        assert_eq!(steps(folder.path()), all);
        // Within the pause, nothing is logged.
        log.step(14, 0.5, 0.25, &progress());
        assert_eq!(steps(folder.path()), all);
        drop(log);

        // Interrupted after step 13, killed after the checkpoint of step 11, and after that of step 10, before the epoch's
        // validation: its log is later than the checkpoint.
        for (at, epochs, kept) in [(13, 1, 7), (11, 1, 5), (10, 0, 3)] {
            drop(EventLog::open(folder.path(), at, &history(epochs)).expect("a log"));
            assert_eq!(steps(folder.path()), all[..kept], "{at}");
        }
        // Killed between the checkpoint of two epochs and their log.
        drop(EventLog::open(folder.path(), 20, &history(2)).expect("a log"));
        assert_eq!(steps(folder.path()), ["0", "9", "10", "10e", "20e"]);
        // A torn event, and another run in the same folder.
        let path = folder.path().join(FILE);
        let whole = std::fs::read(&path).expect("a log");
        std::fs::write(&path, &whole[..whole.len() - 3]).expect("writable");
        drop(EventLog::open(folder.path(), 20, &history(2)).expect("a log"));
        assert_eq!(steps(folder.path()), ["0", "9", "10", "10e", "20e"]);
        drop(EventLog::open(folder.path(), 0, &history(0)).expect("a log"));
        assert_eq!(steps(folder.path()), ["0"]);
    }

    #[test]
    fn a_log_is_complete_again_after_a_failure() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut log = EventLog::open(folder.path(), 0, &history(0)).expect("a log");
        // A file that cannot be written to.
        log.file = Some(File::open(folder.path().join(FILE)).expect("a log"));
        assert!(log.epoch(&epoch(1)).is_err());
        assert!(log.is_broken());
        log.epoch(&epoch(2)).expect("nothing is written");
        assert_eq!(steps(folder.path()), ["0"]);
        log.repair(20, &history(2)).expect("repaired");
        log.epoch(&epoch(3)).expect("written");
        assert_eq!(steps(folder.path()), ["0", "10e", "20e", "30e"]);
    }
}
