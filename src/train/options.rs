//! What surrounds a training run: where it is saved, who is told about it, which processes share it.

use super::history::History;
use super::processes::{ProcessGroup, SingleProcess};
use super::run_summary::RunSummary;
use super::setting::expect_setting;
use super::{BrokenPicture, Shard};
use crate::{Error, Result};
use burn::train::Interrupter;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Everything about a training run except what determines its result.
#[derive(Clone)]
pub struct TrainOptions {
    /// The folder that the run is written to, created if it does not exist: `checkpoint.safetensors` and the
    /// checkpoint before it, `best.safetensors` and `last.safetensors` (weights with preset and labels),
    /// `metrics.csv`, `recipe.toml`. With `None` nothing is written.
    pub output: Option<PathBuf>,
    /// Whether to continue from the checkpoint in `output`, if there is one. If this is false and there is a
    /// checkpoint, training fails rather than overwrite an earlier run.
    pub resume: bool,
    /// Time between checkpoints within an epoch. A checkpoint is also written after every epoch.
    pub save_after: Duration,
    /// Optimizer steps between checkpoints within an epoch, in addition to `save_after`.
    pub save_steps: Option<u64>,
    /// [Stopping](Interrupter::stop) it ends the run after the current step, with a checkpoint.
    pub interrupter: Interrupter,
    /// Whether to show burn-train's terminal dashboard if stdout is a terminal. It needs the feature
    /// `dashboard` and keeps one core busy. In the dashboard, `q` stops the run; Ctrl-C does not reach the
    /// program.
    pub dashboard: bool,
    /// Called with everything that happens in the run.
    pub on_event: Arc<dyn Fn(Event) + Send + Sync>,
    /// Threads that read the data, at least 1. The result does not depend on their number.
    pub workers: usize,
    /// What to do about an example that cannot be read.
    pub broken: BrokenPicture,
    /// The processes that train together, each of which calls [`fit`](super::fit) with the same network,
    /// recipe and data. Each process works on its shard of every batch: the recipe's batch is the global
    /// batch. Only rank 0 reports progress and uses `output`, so the folder need not exist on other hosts.
    pub processes: Arc<dyn ProcessGroup>,
    /// Whether the classifier's gradients, which are most of the bytes, are all-reduced while the backward
    /// pass through the features is still running. This changes the result only by rounding. It must be the
    /// same in all processes.
    pub overlap_communication: bool,
}

impl TrainOptions {
    /// The options as this process uses them: only rank 0 reports and writes.
    pub(super) fn for_this_rank(self) -> Self {
        if self.processes.rank() == 0 {
            return self;
        }
        Self { output: None, resume: false, dashboard: false, on_event: Arc::new(|_| {}), ..self }
    }

    /// The part of every batch that this process works on.
    pub(super) fn shard(&self) -> Shard {
        Shard { index: self.processes.rank(), count: self.processes.world_size() }
    }

    /// `Ok` if this build can do what is asked for.
    ///
    /// # Errors
    /// [`Error::Setting`] if the dashboard is asked for, but is not in this build.
    pub(super) fn expect_supported(&self) -> Result<()> {
        expect_dashboard(self.dashboard)
    }

    /// Whether the dashboard is asked for and there is a terminal to show it in.
    pub(super) fn shows_dashboard(&self) -> bool {
        self.dashboard && std::io::stdout().is_terminal()
    }
}

/// `Ok` if the dashboard is not asked for, or is in this build.
pub(super) fn expect_dashboard(asked: bool) -> Result<()> {
    let is_supported = !asked || cfg!(feature = "dashboard");
    let expected = "a build with the feature `dashboard`";
    expect_setting("dashboard", is_supported, expected, "a build without it")
}

impl Default for TrainOptions {
    fn default() -> Self {
        Self {
            output: None,
            resume: false,
            save_after: Duration::from_secs(600),
            save_steps: None,
            interrupter: Interrupter::new(),
            dashboard: false,
            on_event: Arc::new(|_| {}),
            workers: 1,
            broken: BrokenPicture::Stop,
            processes: Arc::new(SingleProcess),
            overlap_communication: true,
        }
    }
}

/// What happens in a training run.
#[derive(Debug)]
pub enum Event<'a> {
    /// What people should know about how the data was read: a line of [`PictureList::notes`](super::PictureList::notes).
    DataNote(&'a str),
    /// The parameters with these keys keep their random values, because the weights file has none that fit.
    KeptRandomWeights(&'a Path, &'a [String]),
    /// [`train_on_folder`](super::train_on_folder) has prepared everything, and begins to train.
    Starting(&'a RunSummary),
    /// The classifier is trained by itself first, on features that are now being computed.
    TrainingClassifier,
    /// An optimizer step is done.
    Step(Progress),
    /// All steps of an epoch are done, and the network is being validated.
    Validating,
    /// An epoch is finished, and validated.
    EpochFinished(&'a History),
    /// A checkpoint was written to this file.
    CheckpointSaved(&'a Path),
    /// A checkpoint or a weights file could not be written. The run continues, and the earlier file is
    /// still there.
    SaveFailed(&'a Error),
    /// A resumed run could not read its best network so far, and continues without it.
    BestNetworkLost(&'a Error),
    /// The run resumes from this older checkpoint, because the newest one is damaged.
    CheckpointDamaged(&'a Path, &'a Error),
}

/// How far a run is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Progress {
    /// The current epoch, from 1.
    pub epoch: usize,
    /// Epochs of the run.
    pub epochs: usize,
    /// Batches of this epoch that are done.
    pub batch: u64,
    /// Batches of an epoch.
    pub batches: u64,
    /// The mean training loss of this epoch so far, in nats.
    pub loss: f64,
    /// The fraction of this epoch's images so far whose class was ranked first, 0 to 1.
    pub top1: f64,
    /// The learning rate of the step.
    pub rate: f64,
    /// Training images per second in this epoch.
    pub images_per_second: f64,
    /// The estimated time until the end of the run, without validation.
    pub remaining: Duration,
}
