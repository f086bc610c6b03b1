//! `fit`: from a network, a recipe and data to a trained network.

use super::broadcast_state::{broadcast_average, broadcast_run, expect_same_run};
use super::checkpoint::Checkpoints;
use super::history::History;
use super::options::{Event, TrainOptions};
use super::outcome::{Outcome, StopReason};
use super::output_lock::lock_output;
use super::recipe::is_of;
use super::run_data::Data;
use super::run_state::RunState;
use super::saving::METRICS;
use super::setting::expect_setting;
use super::sgd::Sgd;
use super::strategy::launch;
use super::tensorboard::EventLog;
use super::train_classifier::{self, ClassifierTask};
use super::train_loop::Trainer;
use super::{Evaluate, Examples, Loader, LoaderOptions, Recipe, Trainable, checkpoint_tensors};
use crate::{Error, Result};
use burn::tensor::backend::AutodiffBackend;
use std::cell::Cell;
use std::collections::HashMap;
use std::marker::PhantomData;
use std::path::Path;
use std::sync::Arc;

/// Trains a network.
///
/// The result is a function of the network, the recipe and the data: on one machine with a given number of
/// compute threads it is the same to the bit for any number of `workers` and any interruptions. With several
/// [`processes`](TrainOptions::processes) it differs by rounding, because sums are made in another order, and
/// by batch norm, which uses the statistics of each process's own images unless it is
/// [synchronized](Recipe::synchronized_batch_norm).
///
/// Training runs on burn-train's [`SupervisedTraining`](burn::train::SupervisedTraining) with our loop as its
/// strategy: a step is the network's [`TrainStep`](burn::train::TrainStep), and metrics, dashboard and
/// interruption are burn-train's. Its checkpointer is not used: it cannot resume within an epoch, and a crash
/// can leave a mixture of two of its checkpoints.
///
/// # Errors
/// - [`Error::Setting`] for a recipe out of range, data that does not fit the network (classes, shape, no
///   examples), nothing to train, or a [`dashboard`](TrainOptions::dashboard) that was not built
/// - [`Error::OtherRun`] if the checkpoint to resume belongs to another run
/// - [`Error::Diverged`] if the loss is NaN or infinite
/// - [`Error::Io`] if the output cannot be written at the end
/// - [`Error::Process`] if another process failed, or trains something else
/// - those of reading the data
pub fn fit<B: AutodiffBackend, N: Trainable<B>>(
    network: N,
    recipe: &Recipe,
    data: &Data,
    options: TrainOptions,
) -> Result<Outcome<B::InnerBackend>> {
    let supported = options.expect_supported();
    let options = options.for_this_rank();
    let processes = options.processes.clone();
    let world_size = processes.world_size();
    let valid = supported.and_then(|()| recipe.validate());
    processes
        .expect_all_ok(valid.and_then(|()| expect_trainable(&network, recipe, data, world_size)))?;
    let state = RunState::new(network.architecture(), recipe, data_identity(data));
    expect_same_run(&state, &*processes)?;
    let overlap = processes.all_gather(&[u8::from(options.overlap_communication)])?;
    let is_same = overlap.iter().all(|other| *other == overlap[0]);
    let expected = "the same setting in all processes";
    expect_setting("overlap_communication", is_same, expected, "both true and false")?;
    let _lock = processes.expect_all_ok(options.output.as_deref().map(lock_output).transpose())?;

    let is_resumed = options.output.as_ref().is_some_and(|output| Checkpoints::new(output).exist());
    let is_resumed = processes.bytes_of_rank_0(&[u8::from(is_resumed)])? == [1];
    match recipe.head.as_ref().filter(|_| !continues_whole_network(recipe, is_resumed)) {
        Some(head) => fit_classifier_first(network, head, recipe, data, options),
        None => launch(prepare(network, recipe, data, &options)?, &options),
    }
}

/// Whether all weights come from the checkpoint, if there is one of the whole network: it means that the classifier's own
/// run is over. If only the classifier is trained, its run needs the network that it began with.
pub(super) fn continues_whole_network(recipe: &Recipe, has_checkpoint: bool) -> bool {
    has_checkpoint && (recipe.head.is_none() || recipe.epochs > 0)
}

/// Trains the classifier by the recipe `head`, and then the whole network, if the recipe has epochs for that.
fn fit_classifier_first<B: AutodiffBackend, N: Trainable<B>>(
    network: N,
    head: &Recipe,
    recipe: &Recipe,
    data: &Data,
    options: TrainOptions,
) -> Result<Outcome<B::InnerBackend>> {
    (options.on_event)(Event::TrainingClassifier);
    let (network, task) = train_classifier::start(network, data, &options)?;
    let Some(task) = task else {
        let last = network.valid().to_network()?;
        return Ok(Outcome {
            best: last.clone(),
            last,
            history: History::default(),
            stop_reason: StopReason::Interrupted,
            skipped: Vec::new(),
        });
    };
    let ClassifierTask { classifier, data: features, options: of_classifier, temporary } = task;
    let trained = fit(classifier, head, &features, of_classifier)?;
    drop((features, temporary));
    let network = train_classifier::with_classifier(&network, &trained.best)?;
    let Outcome { history, stop_reason, skipped, .. } = trained;
    if stop_reason == StopReason::Interrupted {
        let last = network.valid().to_network()?;
        return Ok(Outcome { best: last.clone(), last, history, stop_reason, skipped });
    }
    let outcome = launch(prepare(network, recipe, data, &options)?, &options)?;
    if recipe.epochs > 0 {
        return Ok(outcome);
    }
    // The classifier's run was all there is.
    if let Some(output) = &options.output {
        history.save_csv(output.join(METRICS))?;
    }
    Ok(Outcome { history, skipped, ..outcome })
}

/// `Ok` if the folder of a run contains a checkpoint to [resume](TrainOptions::resume).
///
/// # Errors
/// [`Error::Setting`] if there is none.
pub fn expect_checkpoint(folder: impl AsRef<Path>) -> Result<()> {
    let folder = folder.as_ref();
    let places = [folder.to_path_buf(), folder.join(train_classifier::FOLDER)];
    let found = places.into_iter().any(|place| Checkpoints::new(place).exist());
    let place = folder.display().to_string();
    expect_setting(&place, found, "a folder with the checkpoint of a run", "no checkpoint in it")
}

/// The network and its trainer before the first step, fresh or from a checkpoint, the same in all processes.
fn prepare<B: AutodiffBackend, N: Trainable<B>>(
    network: N,
    recipe: &Recipe,
    data: &Data,
    options: &TrainOptions,
) -> Result<(N, Trainer<B, N>)> {
    let processes = &options.processes;
    let opened = open(network, recipe, data, options);
    let (network, average, mut trainer) = processes.expect_all_ok(opened)?;
    let network = broadcast_run(&**processes, network, &mut trainer.state, &mut trainer.sgd)?;
    let average = broadcast_average(&**processes, &network, average)?;
    let is_frozen = &|key: &str| recipe.rate_of(key) == 0.0;
    let network = network.freeze_where(is_frozen);
    trainer.average = average.map(|average| average.freeze_where(is_frozen).valid());
    let mut factors = HashMap::new();
    for trainable in network.trainable_parameters() {
        let factor = recipe.rate_of(&trainable.parameter.key);
        factors.extend(trainable.ids.into_iter().map(|id| (id, factor)));
    }
    trainer.sgd = trainer.sgd.with_factors(factors);
    Ok((network, trainer))
}

/// What this process has by itself, with the weight average of a checkpoint: only rank 0 opens it.
fn open<B: AutodiffBackend, N: Trainable<B>>(
    network: N,
    recipe: &Recipe,
    data: &Data,
    options: &TrainOptions,
) -> Result<(N, Option<N>, Trainer<B, N>)> {
    let checkpoints = options.output.as_ref().map(Checkpoints::new);
    let earlier = checkpoints.as_ref().and_then(Checkpoints::last);
    if let Some(earlier) = earlier.filter(|_| !options.resume) {
        return Err(Error::Setting {
            place: earlier.display().to_string(),
            expected: "no checkpoint of an earlier run, unless it is resumed".into(),
            found: "a checkpoint; resume it, or choose another output folder".into(),
        });
    }
    let saved = checkpoints.as_ref().map(Checkpoints::open).transpose()?.flatten();
    let mut trainer = new_trainer(&network, recipe, data, options, checkpoints)?;
    let mut average = None;
    let network = match saved {
        None => network,
        Some((checkpoint, damage)) => {
            trainer.state.expect_same(&checkpoint.state, &checkpoint.path)?;
            if let Some(error) = &damage {
                (trainer.on_event)(Event::CheckpointDamaged(&checkpoint.path, error));
            }
            let loaded = checkpoint_tensors::load(&checkpoint.tensors, &network, &mut trainer.sgd)?;
            trainer.state = checkpoint.state;
            // The number of epochs may have changed: see `Recipe::differences`.
            trainer.state.recipe.epochs = recipe.epochs;
            average = checkpoint_tensors::load_average(&checkpoint.tensors, &loaded)?;
            trainer.best = trainer.load_best(average.as_ref().unwrap_or(&loaded))?;
            loaded
        }
    };
    if let Some(checkpoints) = &trainer.checkpoints {
        let path = checkpoints.folder().join("recipe.toml");
        checkpoint_tensors::write_text(&path, &recipe.to_toml()?)?;
        let RunState { steps, history, .. } = &trainer.state;
        trainer.log = Some(EventLog::open(checkpoints.folder(), *steps, history)?);
    }
    Ok((network, average, trainer))
}

fn new_trainer<B: AutodiffBackend, N: Trainable<B>>(
    network: &N,
    recipe: &Recipe,
    data: &Data,
    options: &TrainOptions,
    checkpoints: Option<Checkpoints>,
) -> Result<Trainer<B, N>> {
    let shard = options.shard();
    let training = recipe.training_loader(options.workers, options.broken);
    let validation = recipe.validation_loader(options.workers, options.broken);
    let training = LoaderOptions { shard, ..training };
    let validation = LoaderOptions { shard, ..validation };
    let device = network.device();
    Ok(Trainer {
        processes: options.processes.clone(),
        train: Loader::new(data.train.clone(), training, &device)?,
        valid: Loader::new(data.valid.clone(), validation, &device)?,
        sgd: Sgd::new(recipe.optimizer, HashMap::new()),
        average: None,
        best: None,
        checkpoints,
        log: None,
        on_event: options.on_event.clone(),
        interrupter: options.interrupter.clone(),
        dashboard: options.shows_dashboard(),
        save_after: options.save_after,
        save_steps: options.save_steps,
        overlap_communication: options.overlap_communication,
        state: RunState::new(network.architecture(), recipe, data_identity(data)),
        network: PhantomData,
        failed_everywhere: Cell::new(false),
        skipped: Vec::new(),
    })
}

fn data_identity(data: &Data) -> Vec<(String, String)> {
    let named = |set: &str, examples: &Arc<dyn Examples>| {
        let lines = examples.identity().into_iter();
        lines.map(|(name, value)| (format!("{set}: {name}"), value)).collect::<Vec<_>>()
    };
    [named("training set", &data.train), named("validation set", &data.valid)].concat()
}

/// `Ok` if the recipe can train the network on the data.
fn expect_trainable<B: AutodiffBackend, N: Trainable<B>>(
    network: &N,
    recipe: &Recipe,
    data: &Data,
    processes: usize,
) -> Result<()> {
    let synchronizes = processes > 1 && recipe.synchronized_batch_norm;
    let is_supported = !synchronizes || network.supports_sync_batch_norm();
    let expected = "a network on one device per process";
    expect_setting("synchronized batch norm", is_supported, expected, "a network on two devices")?;
    expect_fitting_data(network, recipe, data, processes)?;
    let trainable = network.trainable_parameters();
    for layer in recipe.rates.keys() {
        if !trainable.iter().any(|trainable| is_of(&trainable.parameter.key, layer)) {
            let known = trainable.iter().map(|trainable| trainable.parameter.key.as_str());
            return Err(Error::UnknownLayer {
                network: network.architecture().name.clone(),
                name: layer.clone(),
                known: known.collect::<Vec<_>>().join(", "),
            });
        }
    }
    let learns = trainable.iter().any(|own| recipe.rate_of(&own.parameter.key) > 0.0);
    expect_setting("rates of the layers", learns, "at least one above 0", "none")
}

fn expect_fitting_data<B: AutodiffBackend, N: Trainable<B>>(
    network: &N,
    recipe: &Recipe,
    data: &Data,
    processes: usize,
) -> Result<()> {
    let classes = network.architecture().num_classes();
    // A device may take larger batches where there is no backward pass.
    let training = network.clone().freeze_where(&|key| recipe.rate_of(key) == 0.0);
    let evaluating = network.valid();
    for (set, examples, has_backward) in [
        ("training set", &data.train, recipe.epochs > 0),
        ("training set", &data.still, false),
        ("validation set", &data.valid, false),
    ] {
        let found = examples.labels().len();
        expect_setting(set, !examples.classes().is_empty(), "at least one example", "none")?;
        expect_setting(set, found == classes, &format!("{classes} classes"), found)?;
        let largest = recipe.batch.div_ceil(processes).div_ceil(recipe.micro_batches);
        let largest = largest.min(examples.classes().len());
        let [channels, height, width] = examples.shape();
        let shape = [largest, channels, height, width];
        if has_backward { training.check(shape) } else { evaluating.check(shape) }?;
    }
    Ok(())
}
