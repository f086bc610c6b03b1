//! A line for each epoch, and one now and then within an epoch.

use crate::cli;
use alexnet_vgg::printable;
use alexnet_vgg::train::{Epoch, Event, Progress, RunResult, StopReason};
use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Time between two lines within an epoch.
const PAUSE: Duration = Duration::from_secs(10);

#[derive(Clone)]
pub struct ProgressLines {
    is_shown: bool,
    last: Arc<Mutex<Instant>>,
}

impl ProgressLines {
    pub fn new(is_shown: bool) -> Self {
        Self { is_shown, last: Arc::new(Mutex::new(Instant::now())) }
    }

    fn print(&self, line: String) {
        if self.is_shown {
            // A run continues if nobody reads its lines.
            let _ = cli::print(line + "\n");
        }
    }

    pub fn on_event(&self) -> Arc<dyn Fn(Event) + Send + Sync> {
        let lines = self.clone();
        Arc::new(move |event| match event {
            Event::DataNote(note) => lines.print(printable(note)),
            Event::Starting(summary) => lines.print(summary.to_string()),
            Event::KeptRandomWeights(path, keys) => cli::warn(format!(
                "initialized at random, because {} has no weights that fit: {}\n",
                path.display(),
                keys.join(", ")
            )),
            Event::TrainingClassifier => {
                lines.print(
                    "training the classifier first, on features that are computed once".into(),
                );
            }
            Event::Step(progress) => lines.step(progress),
            Event::EpochFinished(history) => {
                if let Some(epoch) = history.epochs.last() {
                    lines.epoch(epoch);
                }
            }
            Event::CheckpointSaved(_) => {}
            Event::BestNetworkLost(error) => {
                cli::warn(format!("the best network so far is lost: {error}\n"));
            }
            Event::SaveFailed(error) => {
                cli::warn(format!("could not save, but the run continues: {error}\n"));
            }
            Event::CheckpointDamaged(path, error) => {
                cli::warn(format!("resuming from {}, because: {error}\n", path.display()));
            }
        })
    }

    fn step(&self, progress: Progress) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.elapsed() < PAUSE {
            return;
        }
        *last = Instant::now();
        self.print(format!(
            "  epoch {}/{}, batch {}/{}: loss {:.4}, top-1 {:.2}%, rate {:.2e}, {:.0} images/s, {} left",
            progress.epoch,
            progress.epochs,
            progress.batch,
            progress.batches,
            progress.loss,
            100.0 * progress.top1,
            progress.rate,
            progress.images_per_second,
            clock(progress.remaining),
        ));
    }

    fn epoch(&self, epoch: &Epoch) {
        self.print(format!(
            "epoch {}: train loss {:.4}, top-1 {:.2}%; validation loss {:.4}, top-1 {:.2}%, top-5 {:.2}%; rate {:.2e}, {:.0} images/s, {:.1}% waiting for data",
            epoch.epoch,
            epoch.train.loss,
            100.0 * epoch.train.top1,
            epoch.valid.loss,
            100.0 * epoch.valid.top1,
            100.0 * epoch.valid.top5,
            epoch.rate,
            epoch.images_per_second,
            100.0 * epoch.waited,
        ));
    }

    /// Shown even with the dashboard.
    pub fn end(&self, result: &RunResult) -> Result<(), Box<dyn Error>> {
        let reason = match result.stop_reason {
            StopReason::Finished => "finished",
            StopReason::EarlyStop => "stopped early, because validation no longer improved",
            StopReason::Interrupted => "interrupted; the same command with --resume continues it",
        };
        let best = result.history.best().map_or_else(String::new, |best| {
            let top1 = 100.0 * best.valid.top1;
            format!("; best validation top-1 {top1:.2}% in epoch {}", best.epoch)
        });
        cli::print(format!("{reason}{best}\n"))?;
        if !result.skipped.is_empty() {
            cli::warn(format!("{} pictures could not be read:\n", result.skipped.len()));
        }
        for (name, reason) in &result.skipped {
            cli::warn(format!("  {name}: {reason}\n"));
        }
        Ok(())
    }
}

/// `1:02:03`.
fn clock(time: Duration) -> String {
    let seconds = time.as_secs();
    format!("{}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}
