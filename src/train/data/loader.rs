//! The batches of an epoch, read while the network trains on earlier ones.

use super::broken_picture::BrokenPicture;
use super::mixing::Mixing;
use super::order::Order;
use crate::backend::Limits;
use crate::train::Examples;
use crate::train::setting::expect_setting;
use crate::{Error, Result};
use burn::tensor::backend::Backend;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// How a [`Loader`] divides examples into batches and reads them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LoaderOptions {
    /// Examples of one optimizer step, at least 1.
    pub batch: usize,
    /// Micro-batches that a batch is divided into, from 1 to `batch`, of nearly equal size: their gradients are
    /// accumulated, for batches that do not fit into memory.
    pub micro_batches: usize,
    /// The order of the examples in an epoch.
    pub order: Order,
    /// The seed of the order and the augmentation.
    pub seed: u64,
    /// Threads that read examples, at least 1. The batches do not depend on their number.
    pub workers: usize,
    /// Batches that are read ahead. They are in memory in addition to the current one, with room for one more.
    pub ahead: usize,
    /// What to do about an example that cannot be read.
    pub broken: BrokenPicture,
    /// How the examples of a batch are mixed with each other.
    pub mixing: Mixing,
    /// The part of every batch that is loaded, if several processes divide it.
    pub shard: Shard,
}

/// The part of every batch that one of several processes loads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    /// The index of the part, from 0 to below `count`.
    pub index: usize,
    /// The number of parts, at least 1. They have nearly equal sizes, and none is larger than the first: the batch
    /// norms of the first process are the ones that are saved.
    pub count: usize,
}

impl Shard {
    /// The whole of every batch.
    pub const WHOLE: Self = Self { index: 0, count: 1 };

    /// Its part of a range of positions.
    pub(in crate::train) fn slice(self, range: Range<usize>) -> Range<usize> {
        let at = |index: usize| range.start + (range.len() * index).div_ceil(self.count);
        at(self.index)..at(self.index + 1)
    }
}

impl Default for LoaderOptions {
    /// Shuffled, undivided batches of 128, without mixing; one batch is read ahead, by as many threads
    /// as the machine can run at once; a broken picture is an error.
    fn default() -> Self {
        Self {
            batch: 128,
            micro_batches: 1,
            order: Order::Shuffled,
            seed: 0,
            workers: std::thread::available_parallelism().map_or(1, usize::from),
            ahead: 1,
            broken: BrokenPicture::Stop,
            mixing: Mixing::default(),
            shard: Shard::WHOLE,
        }
    }
}

/// Loads [`Examples`] in batches, epoch by epoch. The batches of an epoch depend only on the examples, the seed and
/// the number of the epoch, to the bit.
///
/// ```no_run
/// use alexnet_vgg::backend::Cpu;
/// use alexnet_vgg::train::{Loader, LoaderOptions, PictureList, Pictures};
/// use alexnet_vgg::vision::{Preset, augment::Augmentation};
/// use std::sync::Arc;
///
/// let (list, _) = PictureList::open("flowers")?;
/// let pictures = Pictures::new(list, Some(Augmentation::vgg()), Preset::imagenet())?;
/// let options = LoaderOptions { batch: 256, micro_batches: 4, ..Default::default() };
/// let loader = Loader::<Cpu>::new(Arc::new(pictures), options, &Default::default())?;
/// for micro_batch in loader.epoch(0, 0)? {
///     let micro_batch = micro_batch?;
///     let shape = micro_batch.batch.images.dims(); // [64, 3, 224, 224]
///     println!("{shape:?} of batch {}", micro_batch.batch_index);
/// }
/// # Ok::<(), alexnet_vgg::Error>(())
/// ```
///
/// It is also a [`DataLoader`](burn::data::dataloader::DataLoader) of burn: each iterator is the
/// next epoch. burn's trait cannot return errors, so they become panics there.
pub struct Loader<B: Backend> {
    pub(super) examples: Arc<dyn Examples>,
    pub(super) options: LoaderOptions,
    pub(super) device: B::Device,
    /// The examples that are loaded.
    pub(super) range: Range<usize>,
    /// Why examples were skipped, by their index.
    pub(super) skipped: Arc<Mutex<BTreeMap<usize, String>>>,
    /// The epoch of burn's next iterator.
    pub(super) next_epoch: AtomicU64,
}

impl<B: Backend> Loader<B> {
    /// A loader of all examples, which puts its tensors on `device`.
    ///
    /// # Errors
    /// [`Error::Setting`] for options out of range, no examples, or an example whose class has no label;
    /// [`Error::Backend`] if a micro-batch is too large for the device.
    pub fn new(
        examples: Arc<dyn Examples>,
        options: LoaderOptions,
        device: &B::Device,
    ) -> Result<Self> {
        let LoaderOptions { batch, micro_batches, workers, .. } = options;
        expect_setting("batch", batch > 0, "at least 1", batch)?;
        let most = format!("1 to {batch}, the examples of a batch");
        let is_valid = (1..=batch).contains(&micro_batches);
        expect_setting("micro-batches of a batch", is_valid, &most, micro_batches)?;
        options.mixing.validate()?;
        expect_setting("workers", workers > 0, "at least 1", workers)?;
        let Shard { index, count } = options.shard;
        expect_setting("shard", index < count, &format!("below {count}"), index)?;
        let (classes, labels) = (examples.classes(), examples.labels().len());
        expect_setting("examples", !classes.is_empty(), "at least 1", 0)?;
        let largest = classes.iter().copied().max().unwrap_or_default();
        expect_setting("examples", largest < labels, &format!("classes below {labels}"), largest)?;

        let values: usize = examples.shape().iter().product();
        let largest = batch.div_ceil(count).div_ceil(micro_batches).min(classes.len());
        let values = largest.saturating_mul(values) as u64;
        Limits::of::<B>(device)?.expect_tensor("a micro-batch", values)?;
        let (range, device) = (0..classes.len(), device.clone());
        let (skipped, next_epoch) = Default::default();
        Ok(Self { examples, options, device, range, skipped, next_epoch })
    }

    /// The number of batches in an epoch.
    pub fn batches(&self) -> u64 {
        self.range.len().div_ceil(self.options.batch) as u64
    }

    /// The examples that are loaded.
    pub fn examples(&self) -> &Arc<dyn Examples> {
        &self.examples
    }

    /// How they are loaded.
    pub fn options(&self) -> &LoaderOptions {
        &self.options
    }

    /// The examples that could not be read so far and were skipped: name and reason, each once.
    pub fn skipped(&self) -> Vec<(String, String)> {
        let skipped = self.skipped.lock().unwrap_or_else(PoisonError::into_inner);
        let name = |index: &usize| self.examples.name(*index);
        skipped.iter().map(|(index, reason)| (name(index), reason.clone())).collect()
    }

    /// Records an example that could not be read, or returns the error if it ends the epoch.
    pub(super) fn skip_or_fail(&self, index: usize, error: Error) -> Result<()> {
        if !self.options.broken.skips(&error) {
            return Err(error);
        }
        let mut skipped = self.skipped.lock().unwrap_or_else(PoisonError::into_inner);
        skipped.entry(index).or_insert_with(|| error.to_string());
        Ok(())
    }

    /// `Ok` unless every example was skipped: otherwise an epoch would succeed without a batch.
    pub(super) fn expect_some_readable(&self) -> Result<()> {
        let skipped = self.skipped.lock().unwrap_or_else(PoisonError::into_inner);
        let mut reasons = skipped.range(self.range.clone()).map(|(_, reason)| reason);
        let (first, others) = (reasons.next(), reasons.count());
        match first {
            Some(reason) if others + 1 == self.range.len() => {
                let (expected, found) =
                    ("at least one that can be read", format!("none: {reason}"));
                expect_setting("examples", false, expected, found)
            }
            _ => Ok(()),
        }
    }

    /// The positions in the epoch of the loaded part of a batch.
    pub(super) fn positions(&self, batch: u64) -> Range<usize> {
        self.options.shard.slice(self.global_positions(batch))
    }

    /// The positions in the epoch of a batch of all processes.
    pub(super) fn global_positions(&self, batch: u64) -> Range<usize> {
        let (size, all) = (self.options.batch, self.range.len());
        let start = (batch as usize).saturating_mul(size).min(all);
        start..start.saturating_add(size).min(all)
    }

    /// The position of an example that is only read to be mixed into the last of the loaded part: the next one of the
    /// batch, or the first after its last. `None` if that is loaded anyway.
    pub(super) fn position_to_mix(&self, batch: u64) -> Option<usize> {
        let (own, all) = (self.positions(batch), self.global_positions(batch));
        let next = if own.end < all.end { own.end } else { all.start };
        let is_needed = !self.options.mixing.is_none() && !own.is_empty() && !own.contains(&next);
        is_needed.then_some(next)
    }

    /// The visits of an epoch to the loaded examples, as [`Order::visits`] numbers them.
    pub(super) fn visits(&self, epoch: u64) -> Vec<u64> {
        let classes = self.examples.classes();
        let Range { start, end } = self.range;
        let mut visits = self.options.order.visits(&classes[start..end], self.options.seed, epoch);
        let (part, all) = ((end - start) as u64, classes.len() as u64);
        for visit in &mut visits {
            *visit = start as u64 + *visit % part + *visit / part * all;
        }
        visits
    }
}

impl<B: Backend> Clone for Loader<B> {
    /// The copy shares the record of skipped examples, and has its own count of burn's epochs.
    fn clone(&self) -> Self {
        Self {
            examples: self.examples.clone(),
            options: self.options,
            device: self.device.clone(),
            range: self.range.clone(),
            skipped: self.skipped.clone(),
            next_epoch: AtomicU64::new(self.next_epoch.load(Ordering::Relaxed)),
        }
    }
}
