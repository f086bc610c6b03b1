//! A line for each epoch. Within an epoch: a bar in a terminal, and elsewhere a line now and then.

use crate::cli;
use alexnet_vgg::printable;
use alexnet_vgg::train::{Epoch, Event, Progress, RunResult, StopReason};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::error::Error;
use std::io::IsTerminal;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// Time between two lines within an epoch.
const PAUSE: Duration = Duration::from_secs(10);
/// Drawings of the bar in a second. It has no thread of its own: where nothing happens, nothing is drawn.
const DRAWINGS: u8 = 10;

#[derive(Clone)]
pub struct ProgressDisplay {
    is_shown: bool,
    last: Arc<Mutex<Instant>>,
    /// From the first step on; `None` where there is no terminal.
    bar: Option<Arc<OnceLock<ProgressBar>>>,
}

impl ProgressDisplay {
    pub fn new(is_shown: bool) -> Self {
        let has_bar =
            is_shown && std::io::stdout().is_terminal() && std::io::stderr().is_terminal();
        Self {
            is_shown,
            last: Arc::new(Mutex::new(Instant::now())),
            bar: has_bar.then(Arc::default),
        }
    }

    fn bar(&self) -> Option<&ProgressBar> {
        self.bar.as_ref()?.get()
    }

    fn print(&self, line: String) {
        // A run continues if nobody reads its lines.
        let print = || drop(cli::print(line + "\n"));
        match self.bar() {
            _ if !self.is_shown => {}
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }

    fn warn(&self, line: String) {
        let warn = || cli::warn(line);
        match self.bar() {
            Some(bar) => bar.suspend(warn),
            None => warn(),
        }
    }

    /// Call this when the run was asked to stop, which takes until the end of the current step.
    pub fn stopping(&self) {
        self.print("stopping after this step; Ctrl-C again ends the program at once".into());
    }

    pub fn on_event(&self) -> Arc<dyn Fn(Event) + Send + Sync> {
        let lines = self.clone();
        Arc::new(move |event| match event {
            Event::DataNote(note) => lines.print(printable(note)),
            Event::Starting(summary) => lines.print(summary.to_string()),
            Event::KeptRandomWeights(path, keys) => lines.warn(format!(
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
            Event::Validating => lines.validating(),
            Event::EpochFinished(history) => {
                if let Some(epoch) = history.epochs.last() {
                    lines.epoch(epoch);
                }
            }
            Event::CheckpointSaved(_) => {}
            Event::BestNetworkLost(error) => {
                lines.warn(format!("the best network so far is lost: {error}\n"));
            }
            Event::SaveFailed(error) => {
                lines.warn(format!("could not save, but the run continues: {error}\n"));
            }
            Event::CheckpointDamaged(path, error) => {
                lines.warn(format!("resuming from {}, because: {error}\n", path.display()));
            }
        })
    }

    fn step(&self, progress: Progress) {
        if let Some(bar) = &self.bar {
            return step_of_bar(bar.get_or_init(progress_bar), &progress);
        }
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

    fn validating(&self) {
        if let Some(bar) = self.bar() {
            bar.set_message("validating");
        }
    }

    fn epoch(&self, epoch: &Epoch) {
        if let Some(bar) = self.bar() {
            // The position is that of the next epoch.
            bar.set_position(0);
        }
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

    /// Call this when the run is over, before anything else is printed.
    pub fn close(&self) {
        if let Some(bar) = self.bar() {
            bar.finish_and_clear();
        }
    }

    /// Shown even with the dashboard. `folder` is that of the run.
    pub fn end(&self, result: &RunResult, folder: &Path) -> Result<(), Box<dyn Error>> {
        let reason = match result.stop_reason {
            StopReason::Finished => "finished".into(),
            StopReason::EarlyStop => "stopped early, because validation no longer improved".into(),
            StopReason::Interrupted => {
                let folder = printable(&folder.display().to_string());
                format!("interrupted; `--resume {folder}` alone continues it")
            }
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

fn progress_bar() -> ProgressBar {
    let target = ProgressDrawTarget::stderr_with_hz(DRAWINGS);
    let template = "{prefix} {wide_bar:.cyan/dim} {pos}/{len}  {msg}";
    // The template is valid; without it, the bar would be a plain one.
    let style = ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("━╸─");
    ProgressBar::with_draw_target(Some(1), target).with_style(style)
}

fn step_of_bar(bar: &ProgressBar, progress: &Progress) {
    bar.update(|state| {
        state.set_len(progress.batches);
        state.set_pos(progress.batch);
    });
    bar.set_prefix(format!("epoch {}/{}", progress.epoch, progress.epochs));
    bar.set_message(format!(
        "loss {:.4}  top-1 {:.2}%  {:.0} images/s  {} left",
        progress.loss,
        100.0 * progress.top1,
        progress.images_per_second,
        clock(progress.remaining),
    ));
}

/// `1:02:03`.
fn clock(time: Duration) -> String {
    let seconds = time.as_secs();
    format!("{}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}
