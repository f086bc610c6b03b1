//! The micro-batches of an epoch.

use super::loader::{Loader, LoaderOptions, Shard};
use super::readers::{Job, ReaderPool};
use crate::Result;
use crate::train::{Batch, MixedClasses};
use crate::vision::augment::Sample;
use burn::tensor::backend::Backend;
use burn::tensor::{Int, Tensor, TensorData};
use std::collections::VecDeque;
use std::ops::Range;
use std::time::{Duration, Instant};

/// One of the parts that a batch of the optimizer is divided into, or all of it.
#[derive(Clone, Debug)]
pub struct MicroBatch<B: Backend> {
    /// The examples. The [shares](Batch::share) of all micro-batches of a batch add up to 1. If the batch is
    /// divided among several processes ([`Shard`]), they add up to 1 over all processes, unless examples were
    /// skipped.
    pub batch: Batch<B>,
    /// The index of the optimizer's batch that it belongs to, from 0 in each epoch.
    pub batch_index: u64,
    /// Whether it is the last one of its batch, which the optimizer's step follows.
    pub is_last: bool,
}

/// An iterator over the micro-batches of an epoch, in order: see [`Loader::epoch`]. Its threads read ahead until it
/// is dropped.
///
/// Skipped examples make their batch smaller; a batch without any example left has no micro-batches. An error ends
/// the iteration.
pub struct MicroBatches<B: Backend> {
    loader: Loader<B>,
    epoch: u64,
    /// The visits of the whole epoch, by position.
    visits: Vec<u64>,
    /// The batches that are still to be read.
    batches: Range<u64>,
    readers: ReaderPool,
    /// The first batch that has not been submitted to the readers.
    submitted: u64,
    current: Current,
    /// Buffers to reuse.
    spare: Vec<Vec<f32>>,
    waited: Duration,
    failed: bool,
}

/// The batch that is being returned.
#[derive(Default)]
struct Current {
    index: u64,
    /// The number of examples that its shares refer to.
    examples: usize,
    remaining: VecDeque<Example>,
    micro_batches_left: usize,
}

struct Example {
    /// With the larger share of the target, if another one is mixed in.
    class: usize,
    sample: Sample,
    values: Vec<f32>,
    /// The other class, and the fraction of the target that is not.
    mixed: Option<(usize, f64)>,
}

impl<B: Backend> Loader<B> {
    /// The micro-batches of an epoch, from the batch `from` on (the first is 0); the examples of earlier batches
    /// are not read. The threads start to read at once.
    ///
    /// # Errors
    /// [`Error::Backend`](crate::Error::Backend) if a thread cannot be started. An error about an example is
    /// returned by the iterator when its batch is due.
    pub fn epoch(&self, epoch: u64, from: u64) -> Result<MicroBatches<B>> {
        MicroBatches::new(self.clone(), epoch, from)
    }
}

impl<B: Backend> MicroBatches<B> {
    fn new(loader: Loader<B>, epoch: u64, from: u64) -> Result<Self> {
        let batches = from.min(loader.batches())..loader.batches();
        let mut epoch_batches = Self {
            epoch,
            visits: loader.visits(epoch),
            batches,
            readers: ReaderPool::start(&loader.examples, loader.options.workers)?,
            submitted: from,
            current: Current::default(),
            spare: Vec::new(),
            waited: Duration::ZERO,
            failed: false,
            loader,
        };
        epoch_batches.read_ahead(from);
        Ok(epoch_batches)
    }

    /// How long [`next`](Iterator::next) has waited for examples so far.
    pub fn waited(&self) -> Duration {
        self.waited
    }

    /// Submits the next batches to the readers, `ahead` of them from `batch` on.
    fn read_ahead(&mut self, batch: u64) {
        let end = batch.saturating_add(self.loader.options.ahead as u64).min(self.batches.end);
        let positions =
            |batch| self.loader.positions(batch).chain(self.loader.position_to_mix(batch));
        let positions: Vec<usize> = (self.submitted..end).flat_map(positions).collect();
        for position in positions {
            let (index, sample) = self.visit(position);
            let buffer = self.spare.pop().unwrap_or_default();
            self.readers.submit(Job { position, index, sample, buffer });
        }
        self.submitted = self.submitted.max(end);
    }

    /// The example at this position of the epoch, and the sample that identifies the visit.
    fn visit(&self, position: usize) -> (usize, Sample) {
        let (index, all) = (self.visits[position], self.loader.examples.classes().len() as u64);
        let sample = Sample { seed: self.loader.options.seed, epoch: self.epoch, index };
        ((index % all) as usize, sample)
    }

    /// Reads the next batch that has any examples left, unless the current one is unfinished. At the end of the
    /// epoch there is none.
    fn read_batch(&mut self) -> Result<()> {
        let LoaderOptions { micro_batches: micro_batches_left, shard, .. } = self.loader.options;
        while self.current.remaining.is_empty() {
            let Some(index) = self.batches.next() else {
                return self.loader.expect_some_readable();
            };
            self.read_ahead(index + 1);
            let started = Instant::now();
            let remaining = self.read_and_mix(index)?;
            self.waited += started.elapsed();
            // What other processes skip of the batch is not known here.
            let examples = match shard {
                Shard::WHOLE => remaining.len(),
                _ => self.loader.global_positions(index).len(),
            };
            self.current = Current { index, examples, remaining, micro_batches_left };
        }
        Ok(())
    }

    /// Makes sure that a batch is read, and returns whether there is one.
    fn advance(&mut self) -> Result<bool> {
        if self.failed {
            return Ok(false);
        }
        self.read_batch().inspect_err(|_| self.failed = true)?;
        Ok(!self.current.remaining.is_empty())
    }

    /// The next micro-batch of this batch, which must not be later than the current one; `None` at its end.
    pub(in crate::train) fn next_of_batch(&mut self, batch: u64) -> Option<Result<MicroBatch<B>>> {
        if self.current.remaining.is_empty() && self.batches.start > batch {
            return None;
        }
        match self.advance() {
            Ok(true) if self.current.index == batch => Some(Ok(self.next_micro_batch())),
            Ok(_) => None,
            Err(error) => Some(Err(error)),
        }
    }

    /// The examples of a batch that are this process's, without those that are skipped.
    fn read_and_mix(&mut self, batch: u64) -> Result<VecDeque<Example>> {
        let mut examples = Vec::new();
        for position in self.loader.positions(batch) {
            let read = self.read(position);
            let index = self.visit(position).0;
            let skip = |error| self.loader.skip_or_fail(index, error).map(|()| None);
            examples.push(read.map_or_else(skip, |example| Ok(Some(example)))?);
        }
        if !self.loader.options.mixing.is_none() {
            let after_last = self.after_last(batch, &examples)?;
            self.mix(&mut examples, after_last);
        }
        Ok(examples.into_iter().flatten().collect())
    }

    /// The class and the values of the example to mix into the last of these: the next one of the batch, or else its first.
    fn after_last(
        &mut self,
        batch: u64,
        examples: &[Option<Example>],
    ) -> Result<Option<(usize, Vec<f32>)>> {
        match self.loader.position_to_mix(batch).map(|position| self.read(position)) {
            Some(Ok(next)) => Ok(Some((next.class, next.values))),
            // The process that it belongs to records it.
            Some(Err(error)) if self.loader.options.broken.skips(&error) => Ok(None),
            Some(Err(error)) => Err(error),
            None => {
                let first = examples.first().and_then(Option::as_ref);
                let first = first.filter(|_| examples.len() > 1);
                Ok(first.map(|first| (first.class, first.values.clone())))
            }
        }
    }

    fn read(&mut self, position: usize) -> Result<Example> {
        let (index, sample) = self.visit(position);
        let class = self.loader.examples.classes()[index];
        let values = self.readers.receive(position)?;
        Ok(Example { class, sample, values, mixed: None })
    }

    /// Mixes into each example the next one. An example whose next one could not be read stays as it is.
    fn mix(&self, examples: &mut [Option<Example>], after_last: Option<(usize, Vec<f32>)>) {
        let mixing = &self.loader.options.mixing;
        let [_, height, width] = self.loader.examples.shape();
        for index in 0..examples.len() {
            let (until, after) = examples.split_at_mut(index + 1);
            let Some(own) = &mut until[index] else { continue };
            let (class, values) = match (after.first(), &after_last) {
                (Some(Some(next)), _) => (next.class, &next.values),
                (None, Some((class, values))) => (*class, values),
                _ => continue,
            };
            if let Some(mixture) = mixing.draw(own.sample, [height, width]) {
                let share = mixture.apply(&mut own.values, values, [height, width]);
                let own_class = own.class;
                (own.class, own.mixed) = match share < 0.5 {
                    true => (class, Some((own_class, 1.0 - share))),
                    false => (own_class, Some((class, share))),
                };
            }
        }
    }

    /// The next micro-batch of the current batch, which must not be empty.
    fn next_micro_batch(&mut self) -> MicroBatch<B> {
        let Current { index, examples, remaining, micro_batches_left } = &mut self.current;
        let count = remaining.len().div_ceil(*micro_batches_left);
        *micro_batches_left -= 1;
        let [channels, height, width] = self.loader.examples.shape();
        let mut values = Vec::with_capacity(count * channels * height * width);
        let (mut classes, mut samples) = (Vec::new(), Vec::new());
        let (mut others, mut shares, mut is_mixed) = (Vec::new(), Vec::new(), false);
        for example in remaining.drain(..count) {
            values.extend_from_slice(&example.values);
            classes.push(example.class as i64);
            let (other, share) = example.mixed.unwrap_or((example.class, 1.0));
            others.push(other as i64);
            shares.push(share as f32);
            is_mixed |= example.mixed.is_some();
            samples.push(example.sample);
            self.spare.push(example.values);
        }
        let (shape, device) = ([count, channels, height, width], &self.loader.device);
        let integers = |values: Vec<i64>| {
            Tensor::<B, 1, Int>::from_data(TensorData::new(values, [count]), device)
        };
        let mixed = is_mixed.then(|| MixedClasses {
            classes: integers(others),
            shares: Tensor::from_data(TensorData::new(shares, [count]), device),
        });
        let batch = Batch {
            label_smoothing: 0.0,
            mixed,
            images: Tensor::from_data(TensorData::new(values, shape), device),
            classes: integers(classes),
            samples,
            share: count as f64 / *examples as f64,
        };
        MicroBatch { batch, batch_index: *index, is_last: remaining.is_empty() }
    }
}

impl<B: Backend> Iterator for MicroBatches<B> {
    type Item = Result<MicroBatch<B>>;

    fn next(&mut self) -> Option<Self::Item> {
        self.advance().map(|has_next| has_next.then(|| self.next_micro_batch())).transpose()
    }
}
