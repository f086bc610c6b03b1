//! A run in plain lines, for logs and where there is no terminal.

use crate::cli;
use alexnet_vgg::models::Network;
use alexnet_vgg::train::{Data, Ended, Epoch, Moment, Notice, Outcome, Recipe};
use burn::tensor::backend::Backend;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Time between two lines within an epoch.
const PAUSE: Duration = Duration::from_secs(10);

#[derive(Clone)]
pub struct Lines {
    shown: bool,
    last: Arc<Mutex<Instant>>,
}

impl Lines {
    pub fn new(shown: bool) -> Self {
        Self { shown, last: Arc::new(Mutex::new(Instant::now())) }
    }

    fn say(&self, line: String) {
        if self.shown {
            // Nobody to read it is no reason to stop a run.
            let _ = cli::print(line + "\n");
        }
    }

    pub fn start<B: Backend>(&self, network: &Network<B>, recipe: &Recipe, data: &Data) {
        let table = network.architecture();
        let parameters = table.parameters().unwrap_or_default();
        let parameters = parameters.iter().filter(|parameter| parameter.role.is_trained());
        let count: u64 = parameters.map(|parameter| parameter.elements()).sum();
        let [channels, height, width] = data.train.shape();
        self.say(format!(
            "{}: {count} parameters, {} classes, input {channels}x{height}x{width}; {} training and {} validation pictures; recipe {}",
            table.name,
            data.train.labels().len(),
            data.train.classes().len(),
            data.valid.classes().len(),
            recipe.name,
        ));
    }

    pub fn notice(&self) -> Arc<dyn Fn(Notice) + Send + Sync> {
        let lines = self.clone();
        Arc::new(move |notice| match notice {
            Notice::Head => {
                lines.say("the classifier first, on features that are computed once".into())
            }
            Notice::Step(moment) => lines.step(moment),
            Notice::Epoch(history) => {
                history.epochs.iter().last().map_or((), |epoch| lines.epoch(epoch))
            }
            Notice::Saved(_) => {}
            Notice::NoBest(error) => {
                cli::complain(format!("the best network so far is lost: {error}\n"));
            }
            Notice::NotSaved(error) => {
                cli::complain(format!("not saved, the run goes on: {error}\n"))
            }
            Notice::Damaged(path, error) => {
                cli::complain(format!("going on from {}, because: {error}\n", path.display()));
            }
        })
    }

    fn step(&self, moment: Moment) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.elapsed() < PAUSE {
            return;
        }
        *last = Instant::now();
        self.say(format!(
            "  epoch {}/{}, batch {}/{}: loss {:.4}, top-1 {:.2} %, rate {:.2e}, {:.0} images/s, {} left",
            moment.epoch,
            moment.epochs,
            moment.batch,
            moment.batches,
            moment.loss,
            100.0 * moment.top1,
            moment.rate,
            moment.images_per_second,
            time(moment.left),
        ));
    }

    fn epoch(&self, epoch: &Epoch) {
        self.say(format!(
            "epoch {}: train loss {:.4}, top-1 {:.2} %; validation loss {:.4}, top-1 {:.2} %, top-5 {:.2} %; rate {:.2e}, {:.0} images/s, {:.1} % waited for data",
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

    /// Shown in any case.
    pub fn end<B: Backend>(&self, outcome: &Outcome<B>) {
        let ended = match outcome.ended {
            Ended::Finished => "finished",
            Ended::Early => "stopped early, as validation no longer improved",
            Ended::Interrupted => "interrupted; the same with --resume goes on",
        };
        let best = outcome.history.best().map_or_else(String::new, |best| {
            format!(
                "; best validation top-1 {:.2} % in epoch {}",
                100.0 * best.valid.top1,
                best.epoch
            )
        });
        let _ = cli::print(format!("{ended}{best}\n"));
        if !outcome.broken.is_empty() {
            cli::complain(format!("{} pictures could not be read:\n", outcome.broken.len()));
        }
        for (name, reason) in &outcome.broken {
            cli::complain(format!("  {name}: {reason}\n"));
        }
    }
}

/// `1:02:03`.
fn time(left: Duration) -> String {
    let seconds = left.as_secs();
    format!("{}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}
