//! An epoch, part by part.

use super::readers::{Job, Readers};
use super::{Loader, LoaderSettings, Shard};
use crate::error::Result;
use crate::train::Batch;
use crate::vision::augment::Sample;
use burn::tensor::backend::Backend;
use burn::tensor::{Int, Tensor, TensorData};
use std::collections::VecDeque;
use std::ops::Range;
use std::time::{Duration, Instant};

/// A batch of the optimizer's, or one of its parts.
#[derive(Clone, Debug)]
pub struct Part<B: Backend> {
    /// The examples. The [shares](Batch::share) of all parts of a batch are 1 together; where it is divided over
    /// several processes ([`Shard`](super::Shard)), the shares of all parts of all of them are, unless examples
    /// were left out.
    pub batch: Batch<B>,
    /// The optimizer's batch that it belongs to, from 0 on in each epoch.
    pub number: u64,
    /// Whether the batch ends with it, and the optimizer's step comes next.
    pub is_last: bool,
}

/// The parts of all batches of an epoch, in their order: [`Loader::epoch`]. Its threads read ahead until
/// it is dropped.
///
/// Examples that are left out make their batch smaller; of a batch of which nothing is left, there are
/// no parts. After an error nothing follows.
pub struct Parts<B: Backend> {
    loader: Loader<B>,
    epoch: u64,
    /// Of the whole epoch, by their places in it.
    visits: Vec<u64>,
    /// Still to come.
    batches: Range<u64>,
    readers: Readers,
    /// Batches below are given to the readers.
    given: u64,
    current: Current,
    /// Memory to read into.
    spare: Vec<Vec<f32>>,
    waited: Duration,
    failed: bool,
}

/// The batch that is given at the time.
#[derive(Default)]
struct Current {
    number: u64,
    /// What its shares are shares of.
    examples: usize,
    rest: VecDeque<Example>,
    parts_left: usize,
}

struct Example {
    class: usize,
    sample: Sample,
    values: Vec<f32>,
}

impl<B: Backend> Parts<B> {
    pub(super) fn new(loader: Loader<B>, epoch: u64, from: u64) -> Result<Self> {
        let batches = from.min(loader.batches())..loader.batches();
        let mut parts = Self {
            epoch,
            visits: loader.visits(epoch),
            batches,
            readers: Readers::start(&loader.examples, loader.settings.workers)?,
            given: from,
            current: Current::default(),
            spare: Vec::new(),
            waited: Duration::ZERO,
            failed: false,
            loader,
        };
        parts.read_ahead(from);
        Ok(parts)
    }

    /// How long [`next`](Iterator::next) has stood still so far because an example was not read yet.
    pub fn waited(&self) -> Duration {
        self.waited
    }

    /// Lets the readers go on to so many batches from `batch` on.
    fn read_ahead(&mut self, batch: u64) {
        let end = batch.saturating_add(self.loader.settings.ahead as u64).min(self.batches.end);
        for place in (self.given..end).flat_map(|batch| self.loader.places(batch)) {
            let (index, sample) = self.visit(place);
            let buffer = self.spare.pop().unwrap_or_default();
            self.readers.give(Job { place, index, sample, buffer });
        }
        self.given = self.given.max(end);
    }

    /// Which example is at this place of the epoch, and in which visit.
    fn visit(&self, place: usize) -> (usize, Sample) {
        let (index, all) = (self.visits[place], self.loader.examples.classes().len() as u64);
        let sample = Sample { seed: self.loader.settings.seed, epoch: self.epoch, index };
        ((index % all) as usize, sample)
    }

    /// The next batch of which anything is left; nothing at the end.
    fn read_batch(&mut self) -> Result<()> {
        let LoaderSettings { parts: parts_left, shard, .. } = self.loader.settings;
        while self.current.rest.is_empty() {
            let Some(number) = self.batches.next() else {
                return self.loader.expect_some_whole();
            };
            self.read_ahead(number + 1);
            let asked = Instant::now();
            let rest = self.read(self.loader.places(number))?;
            self.waited += asked.elapsed();
            // What other processes leave out of it, nobody knows here.
            let examples = match shard {
                Shard::WHOLE => rest.len(),
                _ => self.loader.whole(number).len(),
            };
            self.current = Current { number, examples, rest, parts_left };
        }
        Ok(())
    }

    /// Whether anything follows; its batch is read then.
    fn reach(&mut self) -> Result<bool> {
        if self.failed {
            return Ok(false);
        }
        self.read_batch().inspect_err(|_| self.failed = true)?;
        Ok(!self.current.rest.is_empty())
    }

    /// The next part of this batch, once those of the batches before were given; nothing once it is over.
    pub(in crate::train) fn next_of(&mut self, batch: u64) -> Option<Result<Part<B>>> {
        if self.current.rest.is_empty() && self.batches.start > batch {
            return None;
        }
        match self.reach() {
            Ok(true) if self.current.number == batch => Some(Ok(self.part())),
            Ok(_) => None,
            Err(error) => Some(Err(error)),
        }
    }

    /// The examples at these places, without those that are left out.
    fn read(&mut self, places: Range<usize>) -> Result<VecDeque<Example>> {
        let mut examples = VecDeque::with_capacity(places.len());
        for place in places {
            let (index, sample) = self.visit(place);
            let class = self.loader.examples.classes()[index];
            match self.readers.take(place) {
                Ok(values) => examples.push_back(Example { class, sample, values }),
                Err(error) => self.loader.leave_out(index, error)?,
            }
        }
        Ok(examples)
    }

    /// The next part of the current batch, of which something is left.
    fn part(&mut self) -> Part<B> {
        let Current { number, examples, rest, parts_left } = &mut self.current;
        let count = rest.len().div_ceil(*parts_left);
        *parts_left -= 1;
        let [channels, height, width] = self.loader.examples.shape();
        let mut values = Vec::with_capacity(count * channels * height * width);
        let (mut classes, mut samples) = (Vec::new(), Vec::new());
        for example in rest.drain(..count) {
            values.extend_from_slice(&example.values);
            classes.push(example.class as i64);
            samples.push(example.sample);
            self.spare.push(example.values);
        }
        let (shape, device) = ([count, channels, height, width], &self.loader.device);
        let batch = Batch {
            smoothing: 0.0,
            images: Tensor::from_data(TensorData::new(values, shape), device),
            classes: Tensor::<B, 1, Int>::from_data(TensorData::new(classes, [count]), device),
            samples,
            share: count as f64 / *examples as f64,
        };
        Part { batch, number: *number, is_last: rest.is_empty() }
    }
}

impl<B: Backend> Iterator for Parts<B> {
    type Item = Result<Part<B>>;

    fn next(&mut self) -> Option<Self::Item> {
        self.reach().map(|follows| follows.then(|| self.part())).transpose()
    }
}
