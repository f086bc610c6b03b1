//! The training loop: batches, optimizer steps, epochs.

use super::checkpoint::Checkpoints;
use super::consensus::RankStatus;
use super::data_parallel::{DataParallel, GradientSync};
use super::history::Scores;
use super::options::{Event, Progress};
use super::outcome::StopReason;
use super::processes::ProcessGroup;
use super::run_state::RunState;
use super::setting::expect_setting;
use super::sgd::Sgd;
use super::step::Output;
use super::tensorboard::EventLog;
use super::totals::EpochTotals;
use super::{Loader, MicroBatches, Trainable};
use crate::backend;
use crate::models::Network;
use crate::{Error, Result};
use burn::data::dataloader::Progress as ItemProgress;
use burn::lr_scheduler::constant::ConstantLr;
use burn::module::AutodiffModule;
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::train::{
    ClassificationOutput, EventProcessorTraining, Interrupter, LearnerEvent,
    LearningComponentsMarker, SupervisedTrainingEventProcessor, TrainingItem,
};
use std::cell::Cell;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Everything that a run needs, except the network.
pub(super) struct Trainer<B: AutodiffBackend, N: AutodiffModule<B>> {
    pub processes: Arc<dyn ProcessGroup>,
    pub train: Loader<B>,
    pub valid: Loader<B::InnerBackend>,
    pub sgd: Sgd<B::InnerBackend>,
    /// The weight average, after the first step of a recipe that has one.
    pub average: Option<N::InnerModule>,
    pub best: Option<Network<B::InnerBackend>>,
    pub checkpoints: Option<Checkpoints>,
    pub log: Option<EventLog>,
    pub on_event: Arc<dyn Fn(Event) + Send + Sync>,
    pub interrupter: Interrupter,
    pub dashboard: bool,
    pub save_after: Duration,
    pub save_steps: Option<u64>,
    pub overlap_communication: bool,
    pub state: RunState,
    pub network: PhantomData<N>,
    /// Whether the run ends with an error that all processes know of.
    pub failed_everywhere: Cell<bool>,
    /// The examples that some process could not read, once the run is over.
    pub skipped: Vec<(String, String)>,
}

pub(super) type Components<B, N> =
    LearningComponentsMarker<B, ConstantLr, N, Sgd<<B as AutodiffBackend>::InnerBackend>>;

pub(super) type Processor<B, N> = SupervisedTrainingEventProcessor<Components<B, N>>;

impl<B: AutodiffBackend, N: Trainable<B>> Trainer<B, N> {
    /// Trains until the run is finished, stopped or interrupted.
    pub fn run(&mut self, network: &mut N, processor: &mut Processor<B, N>) -> Result<StopReason> {
        let synchronizes = self.state.recipe.synchronized_batch_norm;
        let sync = GradientSync::choose(&*self.processes, synchronizes, self.overlap_communication);
        let mut data_parallel = DataParallel::new(self.processes.clone(), sync);
        loop {
            if let Some(reason) = self.stop_reason() {
                self.finish_all(network)?;
                return Ok(reason);
            }
            let trained = self.train_epoch(network, &mut data_parallel, processor);
            let continues = trained.or_else(|error| self.save_after_error(network, error))?;
            let scores = if continues {
                self.broadcast_statistics(network)?;
                (self.on_event)(Event::Validating);
                self.validate(&self.evaluated(network), processor)?
            } else {
                None
            };
            let Some(scores) = scores else {
                self.finish_all(network)?;
                return Ok(StopReason::Interrupted);
            };
            self.expect_same_weights(network)?;
            self.state.end_epoch(scores);
            self.after_epoch(network)?;
        }
    }

    /// Saves the steps before an error, which are good unless the weights themselves are what is wrong.
    fn save_after_error(&self, network: &N, error: Error) -> Result<bool> {
        if !matches!(error, Error::Diverged { .. }) {
            let saved = self.save(network);
            // The first process to leave may end the whole job, so all wait for the checkpoint.
            if self.failed_everywhere.get() {
                self.processes.expect_all_ok(saved)?;
            } else {
                saved?;
            }
        }
        Err(error)
    }

    fn stop_reason(&self) -> Option<StopReason> {
        let history = &self.state.history;
        match self.state.recipe.early_stop {
            _ if history.epochs.len() >= self.state.recipe.epochs => Some(StopReason::Finished),
            Some(patience) if history.epochs_since_best() >= patience => {
                Some(StopReason::EarlyStop)
            }
            _ => None,
        }
    }

    /// Trains on the rest of the current epoch. Returns false if the run was interrupted.
    fn train_epoch(
        &mut self,
        network: &mut N,
        data_parallel: &mut DataParallel,
        processor: &mut Processor<B, N>,
    ) -> Result<bool> {
        let loader = self.train.clone();
        let epoch = loader.epoch(self.state.epoch() as u64, self.state.batch);
        let mut micro_batches = self.expect_all_ok(epoch)?;
        let mut saved = Instant::now();
        while self.state.batch < loader.batches() {
            self.train_batch(network, &mut micro_batches, data_parallel, processor)?;
            let due = self.save_steps.is_some_and(|steps| self.state.steps.is_multiple_of(steps));
            let saves = due || saved.elapsed() >= self.save_after;
            let stops = self.interrupter.should_stop();
            let own = RankStatus { stops, saves, ..RankStatus::default() };
            let (all, ()) = self.exchange_status(Ok((own, ())))?;
            if all.stops {
                return Ok(false);
            }
            if all.saves {
                self.save_all(network)?;
                saved = Instant::now();
            }
        }
        expect_examples(&self.state.totals)?;
        processor.process_train(LearnerEvent::EndEpoch(self.state.epoch() + 1));
        Ok(true)
    }

    /// An optimizer step by the next batch, and its part in the epoch's totals.
    fn train_batch(
        &mut self,
        network: &mut N,
        micro_batches: &mut MicroBatches<B>,
        data_parallel: &mut DataParallel,
        processor: &mut Processor<B, N>,
    ) -> Result<()> {
        let (started, waited) = (Instant::now(), micro_batches.waited());
        let (exchanged, sent) = (data_parallel.waited(), data_parallel.bytes());
        let rate = self.state.rate(self.train.batches());
        let result = self.step(network, micro_batches, data_parallel, rate)?;
        let has_examples = result.status.totals.examples > 0;
        if has_examples {
            self.state.steps += 1;
            let totals = &mut self.state.totals;
            totals.add_examples(&result.status.totals);
            totals.rate = rate;
            totals.seconds += started.elapsed().as_secs_f64();
            totals.waited += (micro_batches.waited() - waited).as_secs_f64();
            totals.waited_for_others += result.waited_for_others.as_secs_f64();
            totals.exchanged += (data_parallel.waited() - exchanged).as_secs_f64();
            totals.bytes += data_parallel.bytes() - sent;
        }
        self.state.batch += 1;
        if has_examples {
            self.report_step(result.status.totals.scores(), result.outputs, processor);
        }
        Ok(())
    }

    /// Exchanges the status of all processes. A divergence in another process is one of this run.
    pub fn exchange_status<T>(&self, own: Result<(RankStatus, T)>) -> Result<(RankStatus, T)> {
        self.processes.exchange_status(own).map_err(|error| {
            self.failed_everywhere.set(true);
            match error {
                Error::Diverged { loss, origin, checkpoint: None, .. } => {
                    self.diverged(loss, origin)
                }
                other => other,
            }
        })
    }

    /// The value in this process, if all processes have one.
    pub fn expect_all_ok<T>(&self, own: Result<T>) -> Result<T> {
        Ok(self.exchange_status(own.map(|own| (RankStatus::default(), own)))?.1)
    }

    pub fn diverged(&self, loss: f64, origin: String) -> Error {
        let checkpoint = self.checkpoints.as_ref().and_then(Checkpoints::last);
        Error::Diverged { step: self.state.steps, loss, origin, checkpoint }
    }

    /// Makes a divergence of an error about non-finite values. burn's ReLU turns NaN into 0, so the loss can
    /// be finite where weights are not: whatever comes across such a weight ends the run.
    pub fn expect_finite<T>(&self, result: Result<T>) -> Result<T> {
        result.map_err(|error| match error {
            Error::NotFinite { place, count, .. } => self.diverged(
                f64::NAN,
                format!("it began in {place}: {count} values are NaN or infinite"),
            ),
            other => other,
        })
    }

    /// Reports a step to burn-train's metrics, to TensorBoard and to `on_event`.
    fn report_step(
        &mut self,
        batch: Scores,
        outputs: Vec<Output<B>>,
        processor: &mut Processor<B, N>,
    ) {
        let state = &self.state;
        let (epoch, epochs, rate) = (state.epoch() + 1, state.recipe.epochs, state.totals.rate);
        let examples = self.train.examples().classes().len();
        let batches = self.train.batches();
        for output in outputs.into_iter().filter(|_| self.dashboard) {
            let done = item_progress(state.totals.examples as usize, examples);
            let iteration = Some(state.steps as usize);
            let whole = item_progress(epoch, epochs);
            let item = TrainingItem::new(output, done, whole, iteration, Some(rate));
            processor.process_train(LearnerEvent::ProcessedItem(item));
        }
        let scores = state.totals.scores();
        let steps_left = (epochs - state.epoch()) as u64 * batches - state.batch.min(batches);
        let per_step = state.totals.seconds / state.batch.max(1) as f64;
        let progress = Progress {
            epoch,
            epochs,
            batch: state.batch,
            batches,
            loss: scores.loss,
            top1: scores.top1,
            rate,
            images_per_second: state.totals.images_per_second(),
            remaining: Duration::try_from_secs_f64(steps_left as f64 * per_step)
                .unwrap_or_default(),
        };
        if let Some(log) = &mut self.log {
            log.step(state.steps, batch.loss, batch.top1, &progress);
        }
        (self.on_event)(Event::Step(progress));
    }
}

/// `Ok` if at least one example of an epoch could be read: otherwise the epoch would succeed without having
/// done anything.
pub(super) fn expect_examples(totals: &EpochTotals) -> Result<()> {
    let (expected, found) = ("at least one that can be read", "none");
    expect_setting("examples", totals.examples > 0, expected, found)
}

/// The mean loss over the examples, in nats.
pub(super) fn mean_loss<B: Backend>(output: &ClassificationOutput<B>) -> Result<f64> {
    Ok(backend::read(output.loss.clone())?.iter::<f64>().sum())
}

/// Adds a network's output for some examples to the totals.
pub(super) fn add_scores<B: Backend>(
    totals: &mut EpochTotals,
    output: &ClassificationOutput<B>,
) -> Result<()> {
    let logits: Vec<f32> = backend::read(output.output.clone())?.iter().collect();
    let classes = output.targets.clone().into_data();
    let classes: Vec<usize> = classes.iter::<i64>().map(|class| class as usize).collect();
    totals.add(mean_loss(output)?, &logits, &classes);
    Ok(())
}

pub(super) fn item_progress(done: usize, total: usize) -> ItemProgress {
    ItemProgress { items_processed: done, items_total: total }
}
