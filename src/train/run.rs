//! The loop: batches, steps, epochs, checkpoints.

use super::checkpoint::Checkpoints;
use super::fit::{Components, Ended, Moment, Notice, Outcome};
use super::history::Scores;
use super::processes::Processes;
use super::sgd::Sgd;
use super::state::{State, Sums};
use super::together::{self, OnTheWay, Output, Together};
use super::vote::Vote;
use super::{Batch, Loader, Parts, Trainable, Trial, culprit, gradients, saved};
use crate::backend;
use crate::error::{Error, Result};
use crate::models::Network;
use burn::data::dataloader::Progress;
use burn::optim::{GradientsParams, Optimizer};
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::{Tensor, TensorData};
use burn::train::{
    ClassificationOutput, EventProcessorTraining, Interrupter, Learner, LearnerEvent,
    SupervisedLearningStrategy, SupervisedTrainingEventProcessor, TrainLoader, TrainingComponents,
    TrainingItem, ValidLoader,
};
use std::cell::Cell;
use std::marker::PhantomData;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

const BEST: &str = "best.safetensors";
pub(super) const METRICS: &str = "metrics.csv";

/// All that a run carries along, but for the network.
pub(super) struct Run<B: AutodiffBackend, N> {
    pub processes: Arc<dyn Processes>,
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
    pub overlaps: bool,
    pub state: State,
    pub trains: PhantomData<N>,
    /// Whether it ends by an error that all processes know of.
    pub all_know: Cell<bool>,
    /// What no process could read, once the run is over.
    pub broken: Vec<(String, String)>,
}

/// What batch norms have learned of the data.
fn statistics<B: AutodiffBackend, N: Trainable<B>>(network: &N) -> Vec<Tensor<B, 1>> {
    network.running_statistics().into_iter().map(|running| running.value_sync()).collect()
}

/// What came of a batch.
struct Learned<B: AutodiffBackend> {
    /// The sums over all processes.
    gradients: GradientsParams,
    /// Of this process.
    outputs: Vec<Output<B>>,
    /// Of all.
    told: Vote,
    waited_for_others: Duration,
}

/// Shares of a batch are 1 together, but for their roundings.
const ROUNDING: f64 = 1e-9;

type Processor<B, N> = SupervisedTrainingEventProcessor<Components<B, N>>;

impl<B: AutodiffBackend, N: Trainable<B>> Run<B, N> {
    /// The whole run.
    fn go(&mut self, network: &mut N, processor: &mut Processor<B, N>) -> Result<Ended> {
        let synchronizes = self.state.recipe.synchronized_batch_norm;
        let on_the_way = OnTheWay::of(&*self.processes, synchronizes, self.overlaps);
        let mut together = Together::new(self.processes.clone(), on_the_way);
        loop {
            if let Some(ended) = self.ended() {
                self.finish_together(network)?;
                return Ok(ended);
            }
            let goes_on = self.train_epoch(network, &mut together, processor).or_else(|error| {
                // The steps until then are good, unless they are what is wrong.
                if !matches!(error, Error::Diverged { .. }) {
                    let saved = self.save(network);
                    // Whoever leaves first may end the job.
                    if self.all_know.get() { self.processes.agree(saved) } else { saved }?;
                }
                Err(error)
            })?;
            let scores = match goes_on {
                false => None,
                true => {
                    self.spread_statistics(network)?;
                    self.validate(&network.valid(), processor)?
                }
            };
            let Some(scores) = scores else {
                self.finish_together(network)?;
                return Ok(Ended::Interrupted);
            };
            self.expect_same_weights(network)?;
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

    /// What remains of the current epoch. Whether there is time to go on after it.
    fn train_epoch(
        &mut self,
        network: &mut N,
        together: &mut Together,
        processor: &mut Processor<B, N>,
    ) -> Result<bool> {
        let loader = self.train.clone();
        let epoch = loader.epoch(self.state.epoch() as u64, self.state.batch);
        let mut parts = self.agree(epoch)?;
        let mut saved = Instant::now();
        while self.state.batch < loader.batches() {
            let (started, waited) = (Instant::now(), parts.waited());
            let (idle, sent) = (together.idle(), together.bytes());
            let rate = self.state.rate(loader.batches());
            let learned = self.step(network, &mut parts, together, rate)?;
            let told = &learned.told;
            if told.sums.examples > 0 {
                self.state.steps += 1;
                let sums = &mut self.state.sums;
                sums.add_examples(&told.sums);
                sums.rate = rate;
                sums.seconds += started.elapsed().as_secs_f64();
                sums.waited += (parts.waited() - waited).as_secs_f64();
                sums.waited_for_others += learned.waited_for_others.as_secs_f64();
                sums.exchanged += (together.idle() - idle).as_secs_f64();
                sums.bytes += together.bytes() - sent;
            }
            self.state.batch += 1;
            if told.sums.examples > 0 {
                self.report(learned.outputs, processor);
            }
            let due = self.save_steps.is_some_and(|steps| self.state.steps.is_multiple_of(steps));
            let saves = due || saved.elapsed() >= self.save_after;
            let stops = self.interrupter.should_stop();
            let (wish, ()) = self.vote(Ok((Vote { stops, saves, ..Vote::default() }, ())))?;
            if wish.stops {
                return Ok(false);
            }
            if wish.saves {
                self.save_together(network)?;
                saved = Instant::now();
            }
        }
        expect_some(&self.state.sums)?;
        processor.process_train(LearnerEvent::EndEpoch(self.state.epoch() + 1));
        Ok(true)
    }

    /// A step of the optimizer by the current batch, if it has examples.
    fn step(
        &mut self,
        network: &mut N,
        parts: &mut Parts<B>,
        together: &mut Together,
        rate: f64,
    ) -> Result<Learned<B>> {
        let statistics = statistics(network);
        let learned = self.learn_batch(network, parts, together).and_then(|mut learned| {
            if learned.told.sums.examples > 0 {
                let gradients = std::mem::take(&mut learned.gradients);
                self.update(network, gradients, learned.told.share, rate)?;
            }
            Ok(learned)
        });
        // A batch that ends in an error is begun again.
        learned.inspect_err(|_| {
            let running = network.running_statistics().into_iter().zip(statistics);
            running.for_each(|(running, before)| running.update(before));
        })
    }

    /// This process's share of the current batch, beside those of the others.
    fn learn_batch(
        &self,
        network: &N,
        parts: &mut Parts<B>,
        together: &mut Together,
    ) -> Result<Learned<B>> {
        let (mut told, mut outputs) = (Vote::default(), Vec::new());
        let mut gradients = GradientsParams::new();
        let mut waited_for_others = Duration::ZERO;
        let count = self.state.recipe.parts;
        for number in 1..=count {
            let part = parts.next_of(self.state.batch).transpose();
            // Nobody begins what not all can end.
            let (_, part) =
                self.timed_vote(part.map(|part| (Vote::default(), part)), &mut waited_for_others)?;
            let smoothing = self.state.recipe.label_smoothing;
            let batch = part.map(|part| Batch { smoothing, ..part.batch });
            let images = batch.as_ref().map(|batch| (batch.images.clone(), batch.share));
            let mut agree = |output: Result<Option<Output<B>>>| {
                let own = output.and_then(|output| self.judge(network, images.clone(), output));
                let (all, output) = self.timed_vote(own, &mut waited_for_others)?;
                told.share += all.share;
                told.sums.add_examples(&all.sums);
                outputs.extend(output);
                Ok(())
            };
            let part = together::Part { batch, is_last: number == count };
            network.learn_together(together, part, &mut gradients, &mut agree)?;
        }
        Ok(Learned { gradients, outputs, told, waited_for_others })
    }

    fn timed_vote<T>(&self, own: Result<(Vote, T)>, time: &mut Duration) -> Result<(Vote, T)> {
        let started = Instant::now();
        let voted = self.vote(own);
        *time += started.elapsed();
        voted
    }

    /// What is to be said of a part of a batch, its images and its share, that has gone forward.
    fn judge(
        &self,
        network: &N,
        part: Option<(Tensor<B, 4>, f64)>,
        output: Option<Output<B>>,
    ) -> Result<(Vote, Option<Output<B>>)> {
        let Some(((images, share), output)) = part.zip(output) else {
            return Ok((Vote::default(), None));
        };
        let loss = loss(&output)?;
        if !loss.is_finite() {
            let network = network.valid().whole()?;
            return Err(self.diverged(loss, culprit::find(&network, images.inner())?));
        }
        let mut vote = Vote { share, ..Vote::default() };
        count(&mut vote.sums, &output)?;
        Ok((vote, Some(output)))
    }

    /// [`Processes`]' vote, where a divergence in another process is one of this run.
    fn vote<T>(&self, own: Result<(Vote, T)>) -> Result<(Vote, T)> {
        self.processes.vote(own).map_err(|error| {
            self.all_know.set(true);
            match error {
                Error::Diverged { loss, origin, checkpoint: None, .. } => {
                    self.diverged(loss, origin)
                }
                other => other,
            }
        })
    }

    /// What came of something in this process, if it went well in all of them.
    fn agree<T>(&self, own: Result<T>) -> Result<T> {
        Ok(self.vote(own.map(|own| (Vote::default(), own)))?.1)
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

    /// The optimizer's step, by the gradients of all processes, whose shares come to `shares`.
    fn update(
        &mut self,
        network: &mut N,
        mut gradients: GradientsParams,
        shares: f64,
        rate: f64,
    ) -> Result<()> {
        // Examples were left out: the mean is one over the others.
        if (shares - 1.0).abs() > ROUNDING {
            gradients::scale(network, &mut gradients, 1.0 / shares);
        }
        if let Some(most) = self.state.recipe.clip_norm {
            let norm = self.norm(network, &gradients)?;
            self.expect_finite(gradients::clip(network, &mut gradients, norm, most))?;
        }
        *network = self.sgd.step(rate, network.take(), gradients);
        Ok(())
    }

    /// That of the first process in all of them: another processor's sum may differ by a bit.
    fn norm(&self, network: &N, gradients: &GradientsParams) -> Result<f64> {
        let norm = self.agree(gradients::norm(network, gradients))?;
        let first = self.processes.of_first(&norm.to_le_bytes())?;
        Ok(first.try_into().map_or(norm, f64::from_le_bytes))
    }

    /// All processes have made the same steps, on whatever processors. What differs now would differ more and
    /// more.
    ///
    /// # Errors
    /// [`Error::Process`] for the first that has other weights than the first of all.
    fn expect_same_weights(&self, network: &N) -> Result<()> {
        let processes = &self.processes;
        if processes.count() == 1 {
            return Ok(());
        }
        let sums = processes.gather(&processes.agree(checksum(network))?.to_le_bytes())?;
        match sums.iter().position(|sum| *sum != sums[0]) {
            None => Ok(()),
            Some(rank) => Err(Error::Process {
                rank,
                place: processes.place(rank),
                reason:
                    "its weights are no longer those of process 0: the machines compute differently"
                        .into(),
            }),
        }
    }

    /// Each process's batch norms have seen its own examples alone: all take the first one's statistics, which
    /// are those that are saved.
    fn spread_statistics(&self, network: &N) -> Result<()> {
        if self.processes.count() == 1 {
            return Ok(());
        }
        for running in network.running_statistics() {
            let tensor = running.value_sync();
            let (shape, device) = (tensor.dims(), tensor.device());
            let mut values: Vec<f32> = backend::read(tensor)?.iter().collect();
            self.processes.broadcast(&mut values)?;
            running.update(Tensor::from_data(TensorData::new(values, shape), &device));
        }
        Ok(())
    }

    /// The scores on the validation set; `None` if there was no time for all of it.
    fn validate(
        &mut self,
        network: &N::InnerModule,
        processor: &mut Processor<B, N>,
    ) -> Result<Option<Scores>> {
        let vote = self.validate_share(network, processor);
        let (told, ()) = self.vote(vote.map(|vote| (vote, ())))?;
        if told.stops {
            return Ok(None);
        }
        expect_some(&told.sums)?;
        processor.process_valid(LearnerEvent::EndEpoch(self.state.epoch() + 1));
        Ok(Some(told.sums.scores()))
    }

    /// What this process has of it.
    fn validate_share(
        &mut self,
        network: &N::InnerModule,
        processor: &mut Processor<B, N>,
    ) -> Result<Vote> {
        let epochs = progress(self.state.epoch() + 1, self.state.recipe.epochs);
        let total = self.valid.examples().classes().len().div_ceil(self.processes.count());
        let loader = self.valid.clone();
        let mut vote = Vote { stops: self.interrupter.should_stop(), ..Vote::default() };
        let mut parts = loader.epoch(0, 0)?.enumerate();
        while !vote.stops
            && let Some((index, part)) = parts.next()
        {
            let batch = part?.batch;
            let images = batch.images.clone();
            let output = network.answer(batch)?;
            let loss = loss(&output)?;
            if !loss.is_finite() {
                return Err(self.diverged(loss, culprit::find(&network.whole()?, images)?));
            }
            count(&mut vote.sums, &output)?;
            let done = progress(vote.sums.examples as usize, total);
            if self.dashboard {
                let item = TrainingItem::new(output, done, epochs.clone(), Some(index + 1), None);
                processor.process_valid(LearnerEvent::ProcessedItem(item));
            }
            vote.stops = self.interrupter.should_stop();
        }
        Ok(vote)
    }

    fn after_epoch(&mut self, network: &N) -> Result<()> {
        let history = &self.state.history;
        let is_best =
            history.best().map(|best| best.epoch) == history.epochs.last().map(|e| e.epoch);
        if is_best {
            self.best = Some(network.valid().whole()?);
        }
        let best_is_safe =
            !is_best || self.write(BEST, |run, path| run.best_or(network)?.save(path));
        self.write(METRICS, |run, path| run.state.history.save_csv(path));
        // A checkpoint must not speak of a best network that is nowhere.
        self.processes.agree(match best_is_safe {
            true => self.save(network),
            false => Ok(()),
        })?;
        (self.notice)(Notice::Epoch(&self.state.history));
        Ok(())
    }

    fn best_or(&self, network: &N) -> Result<Network<B::InnerBackend>> {
        self.best.clone().map_or_else(|| network.valid().whole(), Ok)
    }

    /// Writes something into the output. What cannot be written is told, and the run goes on.
    fn write(&self, name: &str, write: impl FnOnce(&Self, PathBuf) -> Result<()>) -> bool {
        let Some(checkpoints) = &self.checkpoints else { return true };
        let written = write(self, checkpoints.folder().join(name));
        written.map_err(|error| (self.notice)(Notice::NotSaved(&error))).is_ok()
    }

    /// [`save`](Self::save), which only one of the processes does; all know how it went.
    fn save_together(&self, network: &N) -> Result<()> {
        self.vote(self.save(network).map(|()| (Vote::default(), ()))).map(|_| ())
    }

    /// # Errors
    /// [`Error::Diverged`] for weights that are no numbers, and nothing else.
    fn save(&self, network: &N) -> Result<()> {
        let Some(checkpoints) = &self.checkpoints else { return Ok(()) };
        match self.expect_finite(saved::save(checkpoints, network, &self.sgd, &self.state)) {
            Ok(()) => (self.notice)(Notice::Saved(&checkpoints.newest())),
            Err(error @ Error::Diverged { .. }) => return Err(error),
            Err(error) => (self.notice)(Notice::NotSaved(&error)),
        }
        Ok(())
    }

    fn finish_together(&mut self, network: &N) -> Result<()> {
        self.processes.agree(self.finish(network))?;
        let own: Vec<_> = self.train.broken().into_iter().chain(self.valid.broken()).collect();
        // Of text, which JSON has; of another process whatever it has sent.
        let all = self.processes.gather(&serde_json::to_vec(&own).unwrap_or_default())?;
        let all = all.iter().flat_map(|own| serde_json::from_slice::<Vec<_>>(own));
        self.broken = all.flatten().collect();
        Ok(())
    }

    /// At the end nothing may fail in silence, and what fails keeps nothing else from being tried.
    fn finish(&self, network: &N) -> Result<()> {
        let Some(checkpoints) = &self.checkpoints else { return Ok(()) };
        let file = |name| checkpoints.folder().join(name);
        let saved = self.expect_finite(saved::save(checkpoints, network, &self.sgd, &self.state));
        if saved.is_ok() {
            (self.notice)(Notice::Saved(&checkpoints.newest()));
        }
        let last = network.valid().whole().and_then(|last| last.save(file("last.safetensors")));
        let best = self.best_or(network).and_then(|best| best.save(file(BEST)));
        let metrics = self.state.history.save_csv(file(METRICS));
        saved.and(last).and(best).and(metrics)
    }

    fn report(&mut self, outputs: Vec<Output<B>>, processor: &mut Processor<B, N>) {
        let state = &self.state;
        let (epoch, epochs, rate) = (state.epoch() + 1, state.recipe.epochs, state.sums.rate);
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
    pub fn saved_best(&self, network: &N) -> Result<Option<Network<B::InnerBackend>>> {
        let Some(checkpoints) = &self.checkpoints else { return Ok(None) };
        if self.state.history.best().is_none() {
            return Ok(None);
        }
        let path = checkpoints.folder().join(BEST);
        match Network::load(network.architecture().clone(), path, &network.device()) {
            Ok(best) => Ok(Some(best)),
            Err(error) => {
                (self.notice)(Notice::NoBest(&error));
                network.valid().whole().map(Some)
            }
        }
    }
}

/// A pass over nothing would be a success of nothing: nobody could read any example.
fn expect_some(sums: &Sums) -> Result<()> {
    let (expected, found) = ("at least one that can be read", "none");
    super::setting("examples", sums.examples > 0, expected, found)
}

/// Of all trained values.
fn checksum<B: AutodiffBackend, N: Trainable<B>>(network: &N) -> Result<u32> {
    let mut sum = crc32fast::Hasher::new();
    for trained in network.trained()? {
        for rows in trained.rows {
            sum.update(bytemuck::cast_slice(&network.values(&trained.parameter, rows)?));
        }
    }
    Ok(sum.finalize())
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
pub(super) struct Strategy<B: AutodiffBackend, N: Trainable<B>>(Mutex<(Run<B, N>, Result<Ended>)>);

impl<B: AutodiffBackend, N: Trainable<B>> Strategy<B, N> {
    pub fn new(run: Run<B, N>) -> Self {
        Self(Mutex::new((run, Ok(Ended::Interrupted))))
    }

    fn lock(&self) -> MutexGuard<'_, (Run<B, N>, Result<Ended>)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What came of it.
    pub fn outcome(&self, last: N::InnerModule) -> Result<Outcome<B::InnerBackend>> {
        let last = last.whole()?;
        let mut inside = self.lock();
        let (run, ended) = &mut *inside;
        let ended = std::mem::replace(ended, Ok(Ended::Interrupted))?;
        let best = run.best.take().unwrap_or_else(|| last.clone());
        let (history, broken) = (run.state.history.clone(), std::mem::take(&mut run.broken));
        Ok(Outcome { last, best, history, ended, broken })
    }
}

impl<B: AutodiffBackend, N: Trainable<B>> SupervisedLearningStrategy<Components<B, N>>
    for Strategy<B, N>
{
    fn fit(
        &self,
        components: TrainingComponents<Components<B, N>>,
        learner: Learner<Components<B, N>>,
        _: TrainLoader<Components<B, N>>,
        _: ValidLoader<Components<B, N>>,
        _: usize,
    ) -> (N, Processor<B, N>) {
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
