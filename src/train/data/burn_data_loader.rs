//! A [`Loader`] as one of burn's data loaders.

use super::loader::Loader;
use super::micro_batches::MicroBatches;
use crate::train::Batch;
use burn::data::dataloader::{DataLoader, DataLoaderIterator, Progress};
use burn::tensor::backend::Backend;
use std::sync::Arc;
use std::sync::atomic::Ordering;

impl<B: Backend> DataLoader<B, Batch<B>> for Loader<B> {
    fn iter<'a>(&'a self) -> Box<dyn DataLoaderIterator<Batch<B>> + 'a> {
        let epoch = self.next_epoch.fetch_add(1, Ordering::Relaxed);
        let micro_batches = self.epoch(epoch, 0).unwrap_or_else(|error| panic!("{error}"));
        Box::new(PanicOnError { micro_batches, loaded: 0, total: self.range.len() })
    }

    fn num_items(&self) -> usize {
        self.range.len()
    }

    fn to_device(&self, device: &B::Device) -> Arc<dyn DataLoader<B, Batch<B>>> {
        Arc::new(Self { device: device.clone(), ..self.clone() })
    }

    fn slice(&self, start: usize, end: usize) -> Arc<dyn DataLoader<B, Batch<B>>> {
        let index = |index: usize| (self.range.start + index).min(self.range.end);
        Arc::new(Self { range: index(start)..index(end.max(start)), ..self.clone() })
    }
}

/// An epoch as burn's trait has it, where errors are panics.
struct PanicOnError<B: Backend> {
    micro_batches: MicroBatches<B>,
    /// Examples so far.
    loaded: usize,
    total: usize,
}

impl<B: Backend> Iterator for PanicOnError<B> {
    type Item = Batch<B>;

    fn next(&mut self) -> Option<Batch<B>> {
        let next = self.micro_batches.next()?;
        let batch = next.unwrap_or_else(|error| panic!("{error}")).batch;
        self.loaded += batch.samples.len();
        Some(batch)
    }
}

impl<B: Backend> DataLoaderIterator<Batch<B>> for PanicOnError<B> {
    fn progress(&self) -> Progress {
        Progress::new(self.loaded, self.total)
    }
}
