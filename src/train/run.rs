//! The loop: batches, steps, epochs, checkpoints.

use super::checkpoint::Checkpoints;
use super::fit::{Components, Ended, Moment, Notice, Outcome};
use super::history::Scores;
use super::sgd::Sgd;
use super::state::{State, Sums};
use super::{Batch, Loader, culprit, gradients, saved, step};
use crate::backend;
use crate::error::{Error, Result};
use crate::models::Network;
use burn::data::dataloader::Progress;
use burn::module::AutodiffModule;
use burn::optim::{GradientsAccumulator, GradientsParams, Optimizer};
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::train::{
    ClassificationOutput, EventProcessorTraining, Interrupter, Learner, LearnerEvent,
    SupervisedLearningStrategy, SupervisedTrainingEventProcessor, TrainLoader, TrainingComponents,
    TrainingItem, ValidLoader,
};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

const BEST: &str = "best.safetensors";
pub(super) const METRICS: &str = "metrics.csv";

/// All that a run carries along, but for the network.
pub(super) struct Run<B: AutodiffBackend> {
    pub train: Loader<B>,
    pub valid: Loader<B::InnerBackend>,
    pub sgd: Sgd<B::InnerBackend>,
    pub best: Option<Network<B::InnerBackend>>,
    pub checkpoints: Option<Checkpoints>,
    pub notice: Arc<dyn Fn(Notice) + Send + Sync>,
    pub interrupter: Interrupter,
    pub dashboard: bool,
    pub save_after: Duration,
    pub save_steps: Option<u64>,
    pub state: State,
}

type Processor<B> = SupervisedTrainingEventProcessor<Components<B>>;

impl<B: AutodiffBackend> Run<B> {
    /// The whole run.
    fn go(&mut self, network: &mut Network<B>, processor: &mut Processor<B>) -> Result<Ended> {
        loop {
            if let Some(ended) = self.ended() {
                self.finish(network)?;
                return Ok(ended);
            }
            if let Err(error) = self.train_epoch(network, processor) {
                // The steps until then are good, unless they are what is wrong.
                if !matches!(error, Error::Diverged { .. }) {
                    self.save(network)?;
                }
                return Err(error);
            }
            let scores = match self.interrupter.should_stop() {
                true => None,
                false => self.validate(&network.valid(), processor)?,
            };
            let Some(scores) = scores else {
                self.finish(network)?;
                return Ok(Ended::Interrupted);
            };
            self.state.end_epoch(scores);
            self.after_epoch(network)?;
        }
    }

    fn ended(&self) -> Option<Ended> {
        let history = &self.state.history;
        match self.state.recipe.early_stop {
            _ if history.epochs.len() >= self.state.recipe.epochs => Some(Ended::Finished),
            Some(patience) if history.idle() >= patience => Some(Ended::Early),
            _ => None,
        }
    }

    /// What remains of the current epoch, or as much of it as there is time for.
    fn train_epoch(
        &mut self,
        network: &mut Network<B>,
        processor: &mut Processor<B>,
    ) -> Result<()> {
        let loader = self.train.clone();
        let mut epoch = loader.epoch(self.state.epoch() as u64, self.state.batch)?;
        let mut saved = Instant::now();
        let (mut started, mut waited) = (Instant::now(), Duration::ZERO);
        let mut accumulator = GradientsAccumulator::new();
        let mut outputs = Vec::new();
        while let Some(part) = epoch.next() {
            let part = part?;
            let (gradients, output) = self.learn(network, part.batch)?;
            outputs.push(output);
            accumulator.accumulate(network, gradients);
            if !part.is_last {
                continue;
            }
            let rate = self.state.rate(loader.batches());
            self.update(network, accumulator.grads(), rate)?;
            // Only now: a batch that ends in an error is begun again.
            outputs.iter().try_for_each(|output| count(&mut self.state.sums, output))?;
            self.state.batch = part.number + 1;
            self.state.steps += 1;
            let sums = &mut self.state.sums;
            sums.rate = rate;
            sums.seconds += started.elapsed().as_secs_f64();
            sums.waited += (epoch.waited() - waited).as_secs_f64();
            (started, waited) = (Instant::now(), epoch.waited());
            self.report(std::mem::take(&mut outputs), rate, processor);
            let stops = self.interrupter.should_stop();
            let due = self.save_steps.is_some_and(|steps| self.state.steps.is_multiple_of(steps));
            if !stops && (due || saved.elapsed() >= self.save_after) {
                self.save(network)?;
                saved = Instant::now();
            }
            if stops {
                return Ok(());
            }
        }
        self.state.batch = loader.batches();
        processor.process_train(LearnerEvent::EndEpoch(self.state.epoch() + 1));
        Ok(())
    }

    /// A part of a batch: its gradients, and what burn-train's metrics are made of.
    fn learn(
        &self,
        network: &Network<B>,
        batch: Batch<B>,
    ) -> Result<(GradientsParams, ClassificationOutput<B::InnerBackend>)> {
        let images = batch.images.clone();
        let batch = Batch { smoothing: self.state.recipe.label_smoothing, ..batch };
        let output = step::learn(network, batch)?;
        let loss = loss(&output.item)?;
        match loss.is_finite() {
            true => Ok((output.grads, output.item)),
            false => Err(self.diverged(loss, culprit::find(&network.valid(), images.inner())?)),
        }
    }

    fn diverged(&self, loss: f64, origin: String) -> Error {
        let checkpoint = self.checkpoints.as_ref().and_then(Checkpoints::last);
        Error::Diverged { step: self.state.steps, loss, origin, checkpoint }
    }

    /// burn's ReLU makes 0 of NaN, so that a loss can be finite where weights are not: whoever meets such
    /// a weight ends the run.
    fn expect_finite<T>(&self, result: Result<T>) -> Result<T> {
        result.map_err(|error| match error {
            Error::NotFinite { place, count, .. } => self
                .diverged(f64::NAN, format!("it began in {place}: {count} values are no numbers")),
            other => other,
        })
    }

    fn update(
        &mut self,
        network: &mut Network<B>,
        mut gradients: GradientsParams,
        rate: f64,
    ) -> Result<()> {
        if let Some(most) = self.state.recipe.clip_norm {
            self.expect_finite(gradients::clip(network, &mut gradients, most))?;
        }
        *network = self.sgd.step(rate, network.take(), gradients);
        Ok(())
    }

    /// The scores on the validation set; `None` if there was no time for all of it.
    fn validate(
        &mut self,
        network: &Network<B::InnerBackend>,
        processor: &mut Processor<B>,
    ) -> Result<Option<Scores>> {
        let epoch = self.state.epoch();
        let epochs = progress(epoch + 1, self.state.recipe.epochs);
        let total = self.valid.examples().classes().len();
        let loader = self.valid.clone();
        let mut sums = Sums::default();
        for (index, part) in loader.epoch(0, 0)?.enumerate() {
            let batch = part?.batch;
            let images = batch.images.clone();
            let output = step::answer(network, batch)?;
            let loss = loss(&output)?;
            if !loss.is_finite() {
                return Err(self.diverged(loss, culprit::find(network, images)?));
            }
            count(&mut sums, &output)?;
            let done = progress(sums.examples as usize, total);
            if self.dashboard {
                let item = TrainingItem::new(output, done, epochs.clone(), Some(index + 1), None);
                processor.process_valid(LearnerEvent::ProcessedItem(item));
            }
            if self.interrupter.should_stop() {
                return Ok(None);
            }
        }
        processor.process_valid(LearnerEvent::EndEpoch(epoch + 1));
        Ok(Some(sums.scores()))
    }

    fn after_epoch(&mut self, network: &Network<B>) -> Result<()> {
        let history = &self.state.history;
        let is_best =
            history.best().map(|best| best.epoch) == history.epochs.last().map(|e| e.epoch);
        if is_best {
            self.best = Some(network.valid());
        }
        let best_is_safe =
            !is_best || self.write(BEST, |run, path| run.best_or(network).save(path));
        self.write(METRICS, |run, path| run.state.history.save_csv(path));
        // A checkpoint must not speak of a best network that is nowhere.
        if best_is_safe {
            self.save(network)?;
        }
        (self.notice)(Notice::Epoch(&self.state.history));
        Ok(())
    }

    fn best_or(&self, network: &Network<B>) -> Network<B::InnerBackend> {
        self.best.clone().unwrap_or_else(|| network.valid())
    }

    /// Writes something into the output. What cannot be written is told, and the run goes on.
    fn write(&self, name: &str, write: impl FnOnce(&Self, PathBuf) -> Result<()>) -> bool {
        let Some(checkpoints) = &self.checkpoints else { return true };
        let written = write(self, checkpoints.folder().join(name));
        written.map_err(|error| (self.notice)(Notice::NotSaved(&error))).is_ok()
    }

    /// # Errors
    /// [`Error::Diverged`] for weights that are no numbers, and nothing else.
    fn save(&self, network: &Network<B>) -> Result<()> {
        let Some(checkpoints) = &self.checkpoints else { return Ok(()) };
        match self.expect_finite(saved::save(checkpoints, network, &self.sgd, &self.state)) {
            Ok(()) => (self.notice)(Notice::Saved(&checkpoints.newest())),
            Err(error @ Error::Diverged { .. }) => return Err(error),
            Err(error) => (self.notice)(Notice::NotSaved(&error)),
        }
        Ok(())
    }

    /// At the end nothing may fail in silence, and what fails keeps nothing else from being tried.
    fn finish(&self, network: &Network<B>) -> Result<()> {
        let Some(checkpoints) = &self.checkpoints else { return Ok(()) };
        let file = |name| checkpoints.folder().join(name);
        let saved = self.expect_finite(saved::save(checkpoints, network, &self.sgd, &self.state));
        if saved.is_ok() {
            (self.notice)(Notice::Saved(&checkpoints.newest()));
        }
        let last = network.valid().save(file("last.safetensors"));
        let best = self.best_or(network).save(file(BEST));
        let metrics = self.state.history.save_csv(file(METRICS));
        saved.and(last).and(best).and(metrics)
    }

    fn report(
        &mut self,
        outputs: Vec<ClassificationOutput<B::InnerBackend>>,
        rate: f64,
        processor: &mut Processor<B>,
    ) {
        let state = &self.state;
        let (epoch, epochs) = (state.epoch() + 1, state.recipe.epochs);
        let examples = self.train.examples().classes().len();
        let batches = self.train.batches();
        for output in outputs.into_iter().filter(|_| self.dashboard) {
            let done = progress(state.sums.examples as usize, examples);
            let iteration = Some(state.steps as usize);
            let whole = progress(epoch, epochs);
            let item = TrainingItem::new(output, done, whole, iteration, Some(rate));
            processor.process_train(LearnerEvent::ProcessedItem(item));
        }
        let (scores, speed) = (state.sums.scores(), state.sums.images_per_second());
        let steps_left = (epochs - state.epoch()) as u64 * batches - state.batch.min(batches);
        let per_step = state.sums.seconds / state.batch.max(1) as f64;
        (self.notice)(Notice::Step(Moment {
            epoch,
            epochs,
            batch: state.batch,
            batches,
            loss: scores.loss,
            top1: scores.top1,
            rate,
            images_per_second: speed,
            left: Duration::try_from_secs_f64(steps_left as f64 * per_step).unwrap_or_default(),
        }));
    }

    /// The best network of a run that goes on. If its file is gone, that is told, and the current network
    /// stands in for it.
    pub fn saved_best(
        &self,
        network: &Network<B>,
        device: &B::Device,
    ) -> Option<Network<B::InnerBackend>> {
        self.state.history.best()?;
        let path = self.checkpoints.as_ref()?.folder().join(BEST);
        match Network::load(network.architecture().clone(), path, device) {
            Ok(best) => Some(best),
            Err(error) => {
                (self.notice)(Notice::NoBest(&error));
                Some(network.valid())
            }
        }
    }
}

/// The mean over the examples.
fn loss<B: Backend>(output: &ClassificationOutput<B>) -> Result<f64> {
    Ok(backend::read(output.loss.clone())?.iter::<f64>().sum())
}

/// Adds what a network said of some examples.
fn count<B: Backend>(sums: &mut Sums, output: &ClassificationOutput<B>) -> Result<()> {
    let logits: Vec<f32> = backend::read(output.output.clone())?.iter().collect();
    let classes = output.targets.clone().into_data();
    let classes: Vec<usize> = classes.iter::<i64>().map(|class| class as usize).collect();
    sums.add(loss(output)?, &logits, &classes);
    Ok(())
}

fn progress(done: usize, total: usize) -> Progress {
    Progress { items_processed: done, items_total: total }
}

/// Our loop, as burn-train's [`SupervisedTraining`](burn::train::SupervisedTraining) calls it.
pub(super) struct Strategy<B: AutodiffBackend>(Mutex<(Run<B>, Result<Ended>)>);

impl<B: AutodiffBackend> Strategy<B> {
    pub fn new(run: Run<B>) -> Self {
        Self(Mutex::new((run, Ok(Ended::Interrupted))))
    }

    fn lock(&self) -> MutexGuard<'_, (Run<B>, Result<Ended>)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What came of it.
    pub fn outcome(&self, last: Network<B::InnerBackend>) -> Result<Outcome<B::InnerBackend>> {
        let mut inside = self.lock();
        let (run, ended) = &mut *inside;
        let ended = std::mem::replace(ended, Ok(Ended::Interrupted))?;
        let best = run.best.take().unwrap_or_else(|| last.clone());
        let broken = run.train.broken().into_iter().chain(run.valid.broken()).collect();
        Ok(Outcome { last, best, history: run.state.history.clone(), ended, broken })
    }
}

impl<B: AutodiffBackend> SupervisedLearningStrategy<Components<B>> for Strategy<B> {
    fn fit(
        &self,
        components: TrainingComponents<Components<B>>,
        learner: Learner<Components<B>>,
        _: TrainLoader<Components<B>>,
        _: ValidLoader<Components<B>>,
        _: usize,
    ) -> (Network<B>, Processor<B>) {
        let mut processor = components.event_processor;
        let mut network = learner.model();
        // Its copy would keep the optimizer from working in place.
        drop(learner);
        let mut inside = self.lock();
        let (run, ended) = &mut *inside;
        *ended = run.go(&mut network, &mut processor);
        (network, processor)
    }
}
