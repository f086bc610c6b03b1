//! `fit`: from a network, a recipe and data to a trained network, on burn-train.

use super::checkpoint::Checkpoints;
use super::forgetful::Forgetful;
use super::head::{self, Headed};
use super::history::History;
use super::images_per_second::ImagesPerSecond;
use super::processes::{Alone, Processes};
use super::recipe::is_of;
use super::run::{METRICS, Run, Strategy};
use super::sgd::Sgd;
use super::state::State;
use super::{
    Broken, Examples, Loader, LoaderSettings, Recipe, Shard, Trainable, Trial, folder, saved, start,
};
use crate::error::{Error, Result};
use crate::models::Network;
use burn::lr_scheduler::constant::ConstantLr;
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::train::metric::{AccuracyMetric, LearningRateMetric, LossMetric, TopKAccuracyMetric};
use burn::train::{
    Interrupter, Learner, LearningComponentsMarker, SupervisedTraining, TrainingStrategy,
};
use std::cell::Cell;
use std::collections::HashMap;
use std::io::IsTerminal;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// What a network learns from, and what it is judged by.
#[derive(Clone)]
pub struct Data {
    /// The training set, augmented.
    pub train: Arc<dyn Examples>,
    /// The same without augmentation, for a recipe with a [`head`](Recipe::head).
    pub still: Arc<dyn Examples>,
    /// The validation set.
    pub valid: Arc<dyn Examples>,
}

/// What happens beside the training itself.
#[derive(Clone)]
pub struct Hooks {
    /// A folder for all that a run leaves: `checkpoint.safetensors` and the one before it,
    /// `best.safetensors` and `last.safetensors` (weights, with preset and labels), `metrics.csv`,
    /// `recipe.toml`. It is made if it is not there. `None` keeps nothing.
    pub output: Option<PathBuf>,
    /// Whether to go on from the checkpoint in `output`, if there is one; if not, and there is one, it is an
    /// error: no run is begun over another one.
    pub resume: bool,
    /// Time between two checkpoints within an epoch. There is one after every epoch in any case.
    pub save_after: Duration,
    /// Steps between two checkpoints within an epoch, beside the time.
    pub save_steps: Option<u64>,
    /// Its [`stop`](Interrupter::stop) ends the run after the step, with a checkpoint.
    pub interrupter: Interrupter,
    /// Whether burn-train's dashboard is shown, where stdout is a terminal: `q` stops the run there, Ctrl-C
    /// does not reach it. It takes a core for itself.
    pub dashboard: bool,
    /// Is told what happens.
    pub notice: Arc<dyn Fn(Notice) + Send + Sync>,
    /// Threads that read the data, at least 1. What they read does not depend on it.
    pub workers: usize,
    /// What happens at an example that cannot be read.
    pub broken: Broken,
    /// Those that train together, each calling [`fit`] with the same network, recipe and data. Each sees its
    /// shard of every batch: the recipe's batch is that of all together. The first one alone shows how it
    /// goes and uses `output`, which the others may not even have.
    pub processes: Arc<dyn Processes>,
    /// Whether processes send the classifier's gradients while the features still go back, which is most of
    /// all bytes. The run is the same but for roundings. All have the same wish.
    pub overlaps: bool,
}

impl Hooks {
    /// Those of the process that this is.
    fn of_process(self) -> Self {
        match self.processes.rank() {
            0 => self,
            _ => Self {
                output: None,
                resume: false,
                dashboard: false,
                notice: Arc::new(|_| {}),
                ..self
            },
        }
    }

    pub(super) fn shard(&self) -> Shard {
        Shard { index: self.processes.rank(), count: self.processes.count() }
    }

    fn shows_dashboard(&self) -> bool {
        self.dashboard && std::io::stdout().is_terminal()
    }
}

impl Default for Hooks {
    fn default() -> Self {
        Self {
            output: None,
            resume: false,
            save_after: Duration::from_secs(600),
            save_steps: None,
            interrupter: Interrupter::new(),
            dashboard: false,
            notice: Arc::new(|_| {}),
            workers: 1,
            broken: Broken::Stop,
            processes: Arc::new(Alone),
            overlaps: true,
        }
    }
}

/// What happens in a run.
#[derive(Debug)]
pub enum Notice<'a> {
    /// The classifier alone is trained first, on features that are computed now.
    Head,
    /// A step is done.
    Step(Moment),
    /// An epoch is over, and validated.
    Epoch(&'a History),
    /// A checkpoint is on the disk.
    Saved(&'a Path),
    /// A checkpoint or the weights could not be written; the run goes on, and what was there still is.
    NotSaved(&'a Error),
    /// The run goes on, but its best network so far could not be read.
    NoBest(&'a Error),
    /// The run goes on from this checkpoint, because the newer one is damaged.
    Damaged(&'a Path, &'a Error),
}

/// Where a run is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Moment {
    /// From 1 on.
    pub epoch: usize,
    /// Of the run.
    pub epochs: usize,
    /// Batches of this epoch that are done.
    pub batch: u64,
    /// Of an epoch.
    pub batches: u64,
    /// The mean training loss of this epoch so far, in nats.
    pub loss: f64,
    /// The part of this epoch's images whose class was ranked first, 0 to 1.
    pub top1: f64,
    /// The learning rate of the step.
    pub rate: f64,
    /// Training images a second in this epoch.
    pub images_per_second: f64,
    /// Until the end of the run, validation left out.
    pub left: Duration,
}

/// What a run came to.
pub struct Outcome<B: Backend> {
    /// The network after the last step.
    pub last: Network<B>,
    /// The network after the epoch with the best validation; the last one if no epoch was finished. (Of several
    /// processes the first one knows it.)
    pub best: Network<B>,
    /// Every epoch.
    pub history: History,
    /// Why it ended.
    pub ended: Ended,
    /// The examples that were left out because they could not be read: name and reason, each once; those of all
    /// processes.
    pub broken: Vec<(String, String)>,
}

/// Why a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// All epochs are over.
    Finished,
    /// Validation no longer improved: [`Recipe::early_stop`].
    Early,
    /// It was interrupted, and can be resumed.
    Interrupted,
}

pub(super) type Components<B, N> =
    LearningComponentsMarker<B, ConstantLr, N, Sgd<<B as AutodiffBackend>::InnerBackend>>;

/// Trains a network.
///
/// A run is a function of the network, the recipe and the data: it comes to the same bits on any number of
/// `workers`, and with any interruptions, on one machine and number of threads. On several
/// [`processes`](Hooks::processes) it is the same but for roundings, as sums are made in another order, and
/// for batch norm, which takes each one's own statistics or
/// [all of them](Recipe::synchronized_batch_norm).
///
/// burn-train's [`SupervisedTraining`] does it, with our loop as its strategy: steps are the network's
/// [`TrainStep`](burn::train::TrainStep), metrics, dashboard and interruption are burn-train's. Its writer of
/// checkpoints is not used: it cannot go on within an epoch, and a crash can mix two of its checkpoints.
///
/// # Errors
/// [`Error::Setting`] for a recipe out of range, data that does not fit the network (classes, shape, none at
/// all), or nothing to train; [`Error::OtherRun`] on resuming another run; [`Error::Diverged`] at a loss
/// that is no number; those of the data; [`Error::Io`] if the output cannot be written at the end;
/// [`Error::Process`] if another process failed, or has another run.
pub fn fit<B: AutodiffBackend, N: Trainable<B>>(
    network: N,
    recipe: &Recipe,
    data: &Data,
    hooks: Hooks,
) -> Result<Outcome<B::InnerBackend>> {
    let hooks = hooks.of_process();
    let processes = hooks.processes.clone();
    let count = processes.count();
    processes
        .agree(recipe.validate().and_then(|()| expect_fitting(&network, recipe, data, count)))?;
    State::new(network.architecture(), recipe, identity(data)).expect_everywhere(&*processes)?;
    let overlaps = processes.gather(&[u8::from(hooks.overlaps)])?;
    let same = overlaps.iter().all(|wish| *wish == overlaps[0]);
    super::setting("overlaps", same, "the same wish in all processes", "two")?;
    let _alone = processes.agree(hooks.output.as_deref().map(folder::take).transpose())?;
    // Once all layers learn, the classifier's own run is over.
    let goes_on = hooks.output.as_ref().is_some_and(|output| Checkpoints::new(output).exist());
    let goes_on = processes.of_first(&[u8::from(goes_on)])? == [1];
    let Some(head) = recipe.head.as_ref().filter(|_| !goes_on || recipe.epochs == 0) else {
        return launch(prepare(network, recipe, data, &hooks)?, hooks);
    };
    let Headed { network, history, ended, broken } = head::fit(network, head, data, &hooks)?;
    if ended == Ended::Interrupted {
        let last = network.valid().whole()?;
        return Ok(Outcome { best: last.clone(), last, history, ended, broken });
    }
    let output = hooks.output.clone();
    let outcome = launch(prepare(network, recipe, data, &hooks)?, hooks)?;
    if recipe.epochs > 0 {
        return Ok(outcome);
    }
    // The classifier's run was the whole.
    if let Some(output) = output {
        history.save_csv(output.join(METRICS))?;
    }
    Ok(Outcome { history, broken, ..outcome })
}

/// `Ok` if there is a checkpoint in the folder of a run, to [resume](Hooks::resume).
///
/// # Errors
/// [`Error::Setting`] if there is none.
pub fn expect_checkpoint(folder: impl AsRef<Path>) -> Result<()> {
    let folder = folder.as_ref();
    let places = [folder.to_path_buf(), folder.join(head::FOLDER)];
    let found = places.into_iter().any(|place| Checkpoints::new(place).exist());
    super::setting(&folder.display().to_string(), found, "the checkpoint of a run", "none")
}

/// Everything at its place before the first step, fresh or from a checkpoint.
fn prepare<B: AutodiffBackend, N: Trainable<B>>(
    network: N,
    recipe: &Recipe,
    data: &Data,
    hooks: &Hooks,
) -> Result<(N, Run<B, N>)> {
    let processes = &hooks.processes;
    let (network, mut run) = processes.agree(open(network, recipe, data, hooks))?;
    let network = start::alike(&**processes, network, &mut run)?;
    let network = network.frozen_where(&|key| recipe.rate_of(key) == 0.0)?;
    let mut factors = HashMap::new();
    for trained in network.trained()? {
        let factor = recipe.rate_of(&trained.parameter.key);
        factors.extend(trained.ids.into_iter().map(|id| (id, factor)));
    }
    run.sgd = run.sgd.with_factors(factors);
    Ok((network, run))
}

/// What this process has of it: the first one opens the checkpoint.
fn open<B: AutodiffBackend, N: Trainable<B>>(
    network: N,
    recipe: &Recipe,
    data: &Data,
    hooks: &Hooks,
) -> Result<(N, Run<B, N>)> {
    let state = State::new(network.architecture(), recipe, identity(data));
    let checkpoints = hooks.output.as_ref().map(Checkpoints::new);
    if let Some(last) = checkpoints.as_ref().and_then(Checkpoints::last).filter(|_| !hooks.resume) {
        return Err(Error::Setting {
            place: last.display().to_string(),
            expected: "no checkpoint of an earlier run, or a wish to resume it".into(),
            found: "one".into(),
        });
    }
    let saved = checkpoints.as_ref().map(Checkpoints::open).transpose()?.flatten();
    let device = network.device();
    let (training, validation) = (
        LoaderSettings { shard: hooks.shard(), ..recipe.training(hooks.workers, hooks.broken) },
        LoaderSettings { shard: hooks.shard(), ..recipe.validation(hooks.workers, hooks.broken) },
    );
    let mut run = Run {
        processes: hooks.processes.clone(),
        train: Loader::new(data.train.clone(), training, &device)?,
        valid: Loader::new(data.valid.clone(), validation, &device)?,
        sgd: Sgd::new(recipe.optimizer, HashMap::new()),
        best: None,
        checkpoints,
        notice: hooks.notice.clone(),
        interrupter: hooks.interrupter.clone(),
        dashboard: hooks.shows_dashboard(),
        save_after: hooks.save_after,
        save_steps: hooks.save_steps,
        overlaps: hooks.overlaps,
        state,
        trains: PhantomData,
        all_know: Cell::new(false),
        broken: Vec::new(),
    };
    let network = match saved {
        None => network,
        Some((checkpoint, damaged)) => {
            run.state.expect_same(&checkpoint.state, &checkpoint.path)?;
            if let Some(error) = &damaged {
                (run.notice)(Notice::Damaged(&checkpoint.path, error));
            }
            let epochs = recipe.epochs;
            let loaded = saved::load(&checkpoint.tensors, &network, &mut run.sgd)?;
            run.state = checkpoint.state;
            // More of them are allowed: see `Recipe::differences`.
            run.state.recipe.epochs = epochs;
            run.best = run.saved_best(&loaded)?;
            loaded
        }
    };
    if let Some(checkpoints) = &run.checkpoints {
        saved::text(&checkpoints.folder().join("recipe.toml"), &recipe.to_toml()?)?;
    }
    Ok((network, run))
}

fn launch<B: AutodiffBackend, N: Trainable<B>>(
    (network, run): (N, Run<B, N>),
    hooks: Hooks,
) -> Result<Outcome<B::InnerBackend>> {
    let classes = network.architecture().num_classes()?;
    let dashboard = run.dashboard;
    let epochs = run.state.recipe.epochs;
    let loaders = (Arc::new(run.train.clone()), Arc::new(run.valid.clone()));
    let learner = Learner::new(network, run.sgd.clone(), ConstantLr::new(run.state.recipe.rate));
    let strategy = Arc::new(Strategy::new(run));
    type Cpu = burn_flex::Flex;
    let training = SupervisedTraining::new(PathBuf::new(), loaders.0, loaders.1)
        .with_training_strategy(TrainingStrategy::Custom(strategy.clone()))
        .with_application_logger(None)
        .with_metric_logger(Forgetful)
        .with_interrupter(hooks.interrupter)
        .num_epochs(epochs)
        .metric_train_numeric(LossMetric::<Cpu>::new())
        .metric_valid_numeric(LossMetric::<Cpu>::new())
        .metric_train_numeric(AccuracyMetric::<Cpu>::new())
        .metric_valid_numeric(AccuracyMetric::<Cpu>::new())
        .metric_train_numeric(TopKAccuracyMetric::<Cpu>::new(classes.min(5)))
        .metric_valid_numeric(TopKAccuracyMetric::<Cpu>::new(classes.min(5)))
        .metric_train_numeric(LearningRateMetric::new())
        .metric_train_numeric(ImagesPerSecond::default());
    let training = match dashboard {
        // burn-train's own choice is its dashboard.
        true => training,
        false => training.renderer(Forgetful),
    };
    let result = training.launch(learner);
    strategy.outcome(result.model)
}

fn identity(data: &Data) -> Vec<(String, String)> {
    let named = |set: &str, examples: &Arc<dyn Examples>| {
        let lines = examples.identity().into_iter();
        lines.map(|(name, value)| (format!("{set}: {name}"), value)).collect::<Vec<_>>()
    };
    [named("training set", &data.train), named("validation set", &data.valid)].concat()
}

fn expect_fitting<B: AutodiffBackend, N: Trainable<B>>(
    network: &N,
    recipe: &Recipe,
    data: &Data,
    processes: usize,
) -> Result<()> {
    let synchronizes = processes > 1 && recipe.synchronized_batch_norm;
    let expected = "a network on one device in each process";
    let can = !synchronizes || network.synchronizes();
    super::setting("synchronized batch norm", can, expected, "one on two")?;
    let classes = network.architecture().num_classes()?;
    // A device may take larger images where nothing goes back.
    let learning = network.clone().frozen_where(&|key| recipe.rate_of(key) == 0.0)?;
    let still = network.valid();
    for (set, examples, learns) in [
        ("training set", &data.train, recipe.epochs > 0),
        ("training set", &data.still, false),
        ("validation set", &data.valid, false),
    ] {
        let found = examples.labels().len();
        super::setting(set, !examples.classes().is_empty(), "at least one example", "none")?;
        super::setting(set, found == classes, &format!("{classes} classes"), found)?;
        let most = recipe.batch.div_ceil(processes).div_ceil(recipe.parts);
        let most = most.min(examples.classes().len());
        let [channels, height, width] = examples.shape();
        let shape = [most, channels, height, width];
        if learns { learning.check(shape) } else { still.check(shape) }?;
    }
    let trained = network.trained()?;
    for layer in recipe.rates.keys() {
        if !trained.iter().any(|trained| is_of(&trained.parameter.key, layer)) {
            let known = trained.iter().map(|trained| trained.parameter.key.as_str());
            return Err(Error::UnknownLayer {
                network: network.architecture().name.clone(),
                name: layer.clone(),
                known: known.collect::<Vec<_>>().join(", "),
            });
        }
    }
    let learns = trained.iter().any(|trained| recipe.rate_of(&trained.parameter.key) > 0.0);
    super::setting("rates of the layers", learns, "one above 0", "none")
}
