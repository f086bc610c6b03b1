//! Batches of an epoch, read while the network learns from those before.

use super::parts::Parts;
use super::{Broken, Order};
use crate::backend::Limits;
use crate::error::{Error, Result};
use crate::train::{Batch, Examples, setting};
use burn::data::dataloader::{DataLoader, DataLoaderIterator, Progress};
use burn::tensor::backend::Backend;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// How a [`Loader`] divides examples into batches, and reads them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoaderSettings {
    /// Examples of one step of the optimizer, at least 1.
    pub batch: usize,
    /// Parts that a batch comes in, from 1 to `batch`, as equal as they can be: their gradients are
    /// added up where the whole batch does not fit into memory.
    pub parts: usize,
    /// Of the examples in an epoch.
    pub order: Order,
    /// Of the order and the augmentation.
    pub seed: u64,
    /// Threads that read, at least 1. The batches do not depend on it.
    pub workers: usize,
    /// Batches that are read ahead. So many are in memory besides the one that is learned from, and room
    /// for one more.
    pub ahead: usize,
    /// What happens at an example that cannot be read.
    pub broken: Broken,
    /// What of each batch is loaded, where several processes divide it.
    pub shard: Shard,
}

/// A part of every batch: that of one of several processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    /// Which of them, from 0 to below `count`.
    pub index: usize,
    /// How many there are, at least 1; their parts are as equal as they can be, and none is larger than that of the
    /// first, whose batch norms are those that are saved.
    pub count: usize,
}

impl Shard {
    /// All of every batch.
    pub const WHOLE: Self = Self { index: 0, count: 1 };

    /// Its part of these places of a batch.
    pub(in crate::train) fn of(self, places: Range<usize>) -> Range<usize> {
        let at = |index: usize| places.start + (places.len() * index).div_ceil(self.count);
        at(self.index)..at(self.index + 1)
    }
}

impl Default for LoaderSettings {
    /// Shuffled batches of 128 in one part, one read ahead by a thread for each of the processor's, and
    /// no patience with broken pictures.
    fn default() -> Self {
        Self {
            batch: 128,
            parts: 1,
            order: Order::Shuffled,
            seed: 0,
            workers: std::thread::available_parallelism().map_or(1, usize::from),
            ahead: 1,
            broken: Broken::Stop,
            shard: Shard::WHOLE,
        }
    }
}

/// Gives [`Examples`] in batches, epoch by epoch. What an epoch gives depends on the examples, the seed
/// and the epoch's number alone, to the bit.
///
/// ```no_run
/// use alexnet_vgg::backend::Cpu;
/// use alexnet_vgg::train::{Loader, LoaderSettings, PictureList, Pictures};
/// use alexnet_vgg::vision::{Preset, augment::Augmentation};
/// use std::sync::Arc;
///
/// let (list, _) = PictureList::open("flowers")?;
/// let pictures = Pictures::new(list, Some(Augmentation::vgg()), Preset::imagenet())?;
/// let settings = LoaderSettings { batch: 256, parts: 4, ..Default::default() };
/// let loader = Loader::<Cpu>::new(Arc::new(pictures), settings, &Default::default())?;
/// for part in loader.epoch(0, 0)? {
///     let part = part?;
///     println!("{:?} of batch {}", part.batch.images.dims(), part.number); // [64, 3, 224, 224]
/// }
/// # Ok::<(), alexnet_vgg::Error>(())
/// ```
///
/// It is a [`DataLoader`] of burn's, too: each of its iterators is the next epoch. burn's trait has no
/// errors, and so they are panics there.
pub struct Loader<B: Backend> {
    pub(super) examples: Arc<dyn Examples>,
    pub(super) settings: LoaderSettings,
    pub(super) device: B::Device,
    /// Those that are loaded.
    range: Range<usize>,
    /// By their places: why they were left out.
    broken: Arc<Mutex<BTreeMap<usize, String>>>,
    /// Of burn's iterators.
    next_epoch: AtomicU64,
}

impl<B: Backend> Loader<B> {
    /// A loader of all examples, which makes its tensors on `device`.
    ///
    /// # Errors
    /// [`Error::Setting`] for settings out of their range, no examples, or an example whose class has no
    /// label; [`Error::Backend`] if the device does not take a part of a batch.
    pub fn new(
        examples: Arc<dyn Examples>,
        settings: LoaderSettings,
        device: &B::Device,
    ) -> Result<Self> {
        let LoaderSettings { batch, parts, workers, .. } = settings;
        setting("batch", batch > 0, "at least 1", batch)?;
        let most = format!("1 to {batch}, the examples of a batch");
        setting("parts of a batch", (1..=batch).contains(&parts), &most, parts)?;
        setting("workers", workers > 0, "at least 1", workers)?;
        let Shard { index, count } = settings.shard;
        setting("shard", index < count, &format!("below {count}"), index)?;
        let (classes, labels) = (examples.classes(), examples.labels().len());
        setting("examples", !classes.is_empty(), "at least 1", 0)?;
        let largest = classes.iter().copied().max().unwrap_or_default();
        setting("examples", largest < labels, &format!("classes below {labels}"), largest)?;

        let values: usize = examples.shape().iter().product();
        let part = batch.div_ceil(count).div_ceil(parts).min(classes.len());
        let part = part.saturating_mul(values);
        Limits::of::<B>(device)?.expect_tensor("a part of a batch", part as u64)?;
        let (range, device) = (0..classes.len(), device.clone());
        let (broken, next_epoch) = Default::default();
        Ok(Self { examples, settings, device, range, broken, next_epoch })
    }

    /// The batches of an epoch, from the optimizer's batch `from` on (0 is the first); the examples of
    /// those before are not read. Its threads begin at once.
    ///
    /// # Errors
    /// [`Error::Backend`] if a thread could not be started. What is wrong with an example, the iterator
    /// says when its batch comes.
    pub fn epoch(&self, epoch: u64, from: u64) -> Result<Parts<B>> {
        Parts::new(self.clone(), epoch, from)
    }

    /// The optimizer's batches in an epoch.
    pub fn batches(&self) -> u64 {
        self.range.len().div_ceil(self.settings.batch) as u64
    }

    /// What is loaded.
    pub fn examples(&self) -> &Arc<dyn Examples> {
        &self.examples
    }

    /// How it is loaded.
    pub fn settings(&self) -> &LoaderSettings {
        &self.settings
    }

    /// The examples that could not be read so far and were left out: name and reason, each once.
    pub fn broken(&self) -> Vec<(String, String)> {
        let broken = self.broken.lock().unwrap_or_else(PoisonError::into_inner);
        broken.iter().map(|(&index, why)| (self.examples.name(index), why.clone())).collect()
    }

    /// Remembers why; the error itself if it should stop the epoch.
    pub(super) fn leave_out(&self, index: usize, error: Error) -> Result<()> {
        if !self.settings.broken.skips(&error) {
            return Err(error);
        }
        let mut broken = self.broken.lock().unwrap_or_else(PoisonError::into_inner);
        broken.entry(index).or_insert_with(|| error.to_string());
        Ok(())
    }

    /// An epoch without a batch would be a success of nothing.
    pub(super) fn expect_some_whole(&self) -> Result<()> {
        let broken = self.broken.lock().unwrap_or_else(PoisonError::into_inner);
        let mut broken = broken.range(self.range.clone()).map(|(_, why)| why);
        let (first, others) = (broken.next(), broken.count());
        match first {
            Some(why) if others + 1 == self.range.len() => {
                setting("examples", false, "at least one that can be read", format!("none: {why}"))
            }
            _ => Ok(()),
        }
    }

    /// The places in the epoch of what is loaded of a batch.
    pub(super) fn places(&self, batch: u64) -> Range<usize> {
        self.settings.shard.of(self.whole(batch))
    }

    /// The places in the epoch of a batch.
    pub(super) fn whole(&self, batch: u64) -> Range<usize> {
        let (size, all) = (self.settings.batch, self.range.len());
        let start = (batch as usize).saturating_mul(size).min(all);
        start..start.saturating_add(size).min(all)
    }

    /// The visits of an epoch, as [`Order::visits`] of all examples gives them.
    pub(super) fn visits(&self, epoch: u64) -> Vec<u64> {
        let classes = self.examples.classes();
        let Range { start, end } = self.range;
        let mut visits =
            self.settings.order.visits(&classes[start..end], self.settings.seed, epoch);
        let (part, all) = ((end - start) as u64, classes.len() as u64);
        for visit in &mut visits {
            *visit = start as u64 + *visit % part + *visit / part * all;
        }
        visits
    }
}

impl<B: Backend> Clone for Loader<B> {
    /// It remembers the same broken examples, and counts burn's epochs by itself.
    fn clone(&self) -> Self {
        Self {
            examples: self.examples.clone(),
            settings: self.settings,
            device: self.device.clone(),
            range: self.range.clone(),
            broken: self.broken.clone(),
            next_epoch: AtomicU64::new(self.next_epoch.load(Ordering::Relaxed)),
        }
    }
}

impl<B: Backend> DataLoader<B, Batch<B>> for Loader<B> {
    fn iter<'a>(&'a self) -> Box<dyn DataLoaderIterator<Batch<B>> + 'a> {
        let epoch = self.next_epoch.fetch_add(1, Ordering::Relaxed);
        let parts = self.epoch(epoch, 0).unwrap_or_else(|error| panic!("{error}"));
        Box::new(OrPanic { parts, loaded: 0, all: self.range.len() })
    }

    fn num_items(&self) -> usize {
        self.range.len()
    }

    fn to_device(&self, device: &B::Device) -> Arc<dyn DataLoader<B, Batch<B>>> {
        Arc::new(Self { device: device.clone(), ..self.clone() })
    }

    fn slice(&self, start: usize, end: usize) -> Arc<dyn DataLoader<B, Batch<B>>> {
        let place = |place: usize| (self.range.start + place).min(self.range.end);
        Arc::new(Self { range: place(start)..place(end.max(start)), ..self.clone() })
    }
}

/// An epoch without errors, as burn wants it.
struct OrPanic<B: Backend> {
    parts: Parts<B>,
    /// Examples so far.
    loaded: usize,
    all: usize,
}

impl<B: Backend> Iterator for OrPanic<B> {
    type Item = Batch<B>;

    fn next(&mut self) -> Option<Batch<B>> {
        let batch = self.parts.next()?.unwrap_or_else(|error| panic!("{error}")).batch;
        self.loaded += batch.samples.len();
        Some(batch)
    }
}

impl<B: Backend> DataLoaderIterator<Batch<B>> for OrPanic<B> {
    fn progress(&self) -> Progress {
        Progress::new(self.loaded, self.all)
    }
}
