//! A step of one of several processes that train together: each goes through the network with its share of
//! the batch, and all come to the gradients of the whole.

use super::exchange::{Exchange, put, take};
use super::processes::Processes;
use super::step::{cross_entropy, masks};
use super::stretch::Stretch;
use super::{Batch, Trainable, gradients};
use crate::error::Result;
use crate::models::{Network, Pass};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use burn::tensor::backend::AutodiffBackend;
use burn::train::ClassificationOutput;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What processes do with each other while they are on their way through the network. After it, they add up
/// what is left of the gradients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OnTheWay {
    /// Nothing: batch norm takes the statistics of each process's own images. Running statistics differ, and
    /// those of rank 0 are the network's, as in PyTorch's DistributedDataParallel.
    Nothing,
    /// The classifier's gradients, most of all bytes, are sent while the features still go back. For processes
    /// of their own: burn makes threads of one process that train on a CPU wait for each other between two
    /// stretches.
    SendClassifier,
    /// Batch norm takes the statistics of all processes' images, which then learn the same running ones.
    SynchronizeBatchNorm,
}

impl OnTheWay {
    /// What suits these processes.
    pub(super) fn of(processes: &dyn Processes, synchronizes: bool, overlaps: bool) -> Self {
        match (processes.count(), synchronizes) {
            (1, _) => Self::Nothing,
            (_, true) => Self::SynchronizeBatchNorm,
            (_, false) if processes.are_threads() || !overlaps => Self::Nothing,
            (_, false) => Self::SendClassifier,
        }
    }
}

/// How processes take a step together. All have the same settings.
pub struct Together {
    exchange: Exchange,
    /// In which the sums were waited for and nothing else was done.
    idle: Duration,
    on_the_way: OnTheWay,
}

impl Together {
    pub(super) fn new(processes: Arc<dyn Processes>, on_the_way: OnTheWay) -> Self {
        Self { exchange: Exchange::new(processes), idle: Duration::ZERO, on_the_way }
    }

    /// Of gradients that were given to sums until now.
    pub(super) fn bytes(&self) -> u64 {
        self.exchange.bytes()
    }

    /// How long it stood still until now because gradients were not there yet.
    pub(super) fn idle(&self) -> Duration {
        self.idle
    }

    /// What is done before that.
    pub(super) fn on_the_way(&self) -> OnTheWay {
        self.on_the_way
    }

    /// [`Trainable::learn_together`] of any network: the sums come after all else.
    pub(super) fn learn<B: AutodiffBackend, N: Trainable<B>>(
        &mut self,
        network: &N,
        part: Part<B>,
        gradients: &mut GradientsParams,
        agree: Agree<B>,
    ) -> Result<()> {
        let learned = match part.batch.map(|batch| network.learn(batch)).transpose() {
            Ok(learned) => learned,
            Err(error) => return agree(Err(error)),
        };
        let (own, output) = learned.map(|learned| (learned.grads, learned.item)).unzip();
        agree(Ok(output))?;
        if let Some(own) = own {
            gradients::merge(network, own, gradients);
        }
        match part.is_last && self.exchange.processes().count() > 1 {
            true => self.waiting(|together| together.exchange.sum(network, gradients)),
            false => Ok(()),
        }
    }

    /// [`Trainable::learn_together`] of a network in stretches.
    pub(super) fn learn_in_stretches<B: AutodiffBackend>(
        &mut self,
        network: &Network<B>,
        part: Part<B>,
        gradients: &mut GradientsParams,
        agree: Agree<B>,
    ) -> Result<()> {
        let Part { batch: part, is_last } = part;
        let processes = self.exchange.processes().clone();
        let synchronizes = self.on_the_way == OnTheWay::SynchronizeBatchNorm;
        let synchronized = synchronizes.then_some(&*processes);
        let samples = part.as_ref().map(|part| part.samples.clone()).unwrap_or_default();
        let images = part.as_ref().map(|part| part.images.clone().inner());
        let masks = masks(&samples);
        let pass = network.in_stretches(images, &masks, synchronized);
        let pass = pass.map(|pass| {
            let (output, of_logits) = part.zip(pass.logits()).map(loss).unzip();
            (pass, output, of_logits)
        });
        let (mut pass, output, of_logits) = match pass {
            Ok(pass) => pass,
            Err(error) => return agree(Err(error)),
        };
        agree(Ok(output))?;
        pass.back_through_classifier(of_logits.flatten(), gradients);
        match is_last {
            true => self.sum(network, pass, gradients),
            false => pass.back_through_features(gradients),
        }
    }

    /// The rest of the way back, and the sums: the classifier's first, whether somebody waits for them or not.
    fn sum<B: AutodiffBackend>(
        &mut self,
        network: &Network<B>,
        pass: Pass<B>,
        gradients: &mut GradientsParams,
    ) -> Result<()> {
        let (features, classifier) = network.halves();
        let mut taken = take(classifier, gradients)?;
        let exchange = &mut self.exchange;
        match self.on_the_way {
            OnTheWay::SendClassifier => std::thread::scope(|scope| {
                let sending = scope.spawn(|| exchange.sum_taken(&mut taken));
                let back = pass.back_through_features(gradients);
                let started = Instant::now();
                let sent = sending.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
                self.idle += started.elapsed();
                back.and(sent)
            })?,
            _ => {
                pass.back_through_features(gradients)?;
                self.waiting(|together| together.exchange.sum_taken(&mut taken))?;
            }
        }
        put(classifier, taken, gradients);
        self.waiting(|together| together.exchange.sum(features, gradients))
    }

    fn waiting(&mut self, work: impl FnOnce(&mut Self) -> Result<()>) -> Result<()> {
        let started = Instant::now();
        let done = work(self);
        self.idle += started.elapsed();
        done
    }
}

/// What a process has of a part of a batch.
pub struct Part<B: AutodiffBackend> {
    /// None where it has no images.
    pub batch: Option<Batch<B>>,
    /// Whether the optimizer's step comes after it.
    pub is_last: bool,
}

/// Takes what came of the way forward, or why it came to nothing, and says whether all processes go back.
pub type Agree<'a, B> = &'a mut dyn FnMut(Result<Option<Output<B>>>) -> Result<()>;

/// Of a part of a batch.
pub type Output<B> = ClassificationOutput<<B as AutodiffBackend>::InnerBackend>;

/// The loss of a part of the batch, and the gradient of its logits.
fn loss<B: AutodiffBackend>(
    (part, logits): (Batch<B>, Tensor<B::InnerBackend, 2>),
) -> (ClassificationOutput<B::InnerBackend>, Option<Tensor<B::InnerBackend, 2>>) {
    let classes = part.classes.clone();
    let device = logits.device();
    let loss = Stretch::<B, 2, 1>::forward(logits.clone(), true, |logits| {
        cross_entropy(logits, classes, part.smoothing)
    });
    let output = ClassificationOutput::new(loss.output(), logits, part.classes.inner());
    (output, loss.backward(Tensor::full([1], part.share, &device)).1)
}

#[cfg(test)]
mod tests;
