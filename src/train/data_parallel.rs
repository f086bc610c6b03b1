//! The training step of one of several processes: each takes its share of the batch through the network, and
//! all end up with the gradients of the whole batch.

use super::all_reduce::{GradientAllReduce, put_gradients, take_gradients};
use super::processes::ProcessGroup;
use super::segment::Segment;
use super::segmented_backward::SegmentedPass;
use super::step::{ConfirmForward, LocalMicroBatch, Output, dropout_masks};
use super::{Batch, gradients};
use crate::Result;
use crate::models::Network;
use burn::module::AutodiffModule;
use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use burn::tensor::backend::AutodiffBackend;
use burn::train::{ClassificationOutput, TrainOutput};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What processes exchange during the forward and backward pass. Whatever is left of the gradients is
/// all-reduced after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum GradientSync {
    /// Nothing. Batch norm uses the statistics of each process's own images; the running statistics differ,
    /// and those of rank 0 count, as in PyTorch's DistributedDataParallel.
    AfterBackward,
    /// The classifier's gradients, most of the bytes, during the backward pass through the features. This is
    /// for separate processes: in threads of one process that train on a CPU, burn makes each thread wait for
    /// the others between two segments.
    OverlapClassifier,
    /// The statistics of batch norm, which then cover the images of all processes.
    SyncBatchNorm,
}

impl GradientSync {
    /// The one that fits these processes.
    pub fn choose(processes: &dyn ProcessGroup, sync_batch_norm: bool, overlap: bool) -> Self {
        match (processes.world_size(), sync_batch_norm) {
            (1, _) => Self::AfterBackward,
            (_, true) => Self::SyncBatchNorm,
            (_, false) if processes.are_threads() || !overlap => Self::AfterBackward,
            (_, false) => Self::OverlapClassifier,
        }
    }
}

/// One process's part in data-parallel training. All processes use the same settings.
pub struct DataParallel {
    all_reduce: GradientAllReduce,
    /// Time in which nothing was done but to wait for an all-reduce.
    waited: Duration,
    sync: GradientSync,
}

impl DataParallel {
    pub(super) fn new(processes: Arc<dyn ProcessGroup>, sync: GradientSync) -> Self {
        Self { all_reduce: GradientAllReduce::new(processes), waited: Duration::ZERO, sync }
    }

    /// Bytes of gradients that went into all-reduces so far.
    pub(super) fn bytes(&self) -> u64 {
        self.all_reduce.bytes()
    }

    /// How long this process has waited for all-reduces so far.
    pub(super) fn waited(&self) -> Duration {
        self.waited
    }

    /// What is exchanged during the pass.
    pub(super) fn sync(&self) -> GradientSync {
        self.sync
    }

    /// The step of any module, by its `training_step`: gradients are all-reduced after it.
    pub(super) fn step<B: AutodiffBackend, M: AutodiffModule<B>>(
        &mut self,
        module: &M,
        training_step: impl FnOnce(Batch<B>) -> Result<TrainOutput<Output<B>>>,
        local: LocalMicroBatch<B>,
        gradients: &mut GradientsParams,
        confirm: ConfirmForward<B>,
    ) -> Result<()> {
        let trained = match local.batch.map(training_step).transpose() {
            Ok(trained) => trained,
            Err(error) => return confirm(Err(error)),
        };
        let (own, output) = trained.map(|trained| (trained.grads, trained.item)).unzip();
        confirm(Ok(output))?;
        if let Some(own) = own {
            gradients::merge(module, own, gradients);
        }
        if local.is_last && self.all_reduce.processes().world_size() > 1 {
            self.timed(|own| own.all_reduce.reduce(module, gradients))?;
        }
        Ok(())
    }

    /// The step of a network whose pass is cut into segments.
    pub(super) fn segmented_step<B: AutodiffBackend>(
        &mut self,
        network: &Network<B>,
        local: LocalMicroBatch<B>,
        gradients: &mut GradientsParams,
        confirm: ConfirmForward<B>,
    ) -> Result<()> {
        let LocalMicroBatch { batch, is_last } = local;
        let processes = self.all_reduce.processes().clone();
        let synchronizes = self.sync == GradientSync::SyncBatchNorm;
        let synchronized = synchronizes.then_some(&*processes);
        let samples = batch.as_ref().map(|batch| batch.samples.clone()).unwrap_or_default();
        let images = batch.as_ref().map(|batch| batch.images.clone().inner());
        let masks = dropout_masks(&samples);
        let pass = network.forward_segmented(images, &masks, synchronized);
        let pass = pass.map(|pass| {
            let (output, gradient) = batch.zip(pass.logits()).map(loss_and_gradient).unzip();
            (pass, output, gradient)
        });
        let (mut pass, output, gradient) = match pass {
            Ok(pass) => pass,
            Err(error) => return confirm(Err(error)),
        };
        confirm(Ok(output))?;
        pass.backward_classifier(gradient.flatten(), gradients);
        if is_last {
            self.reduce_during_backward(network, pass, gradients)
        } else {
            pass.backward_features(gradients)
        }
    }

    /// The backward pass through the features, and the all-reduces: that of the classifier always comes first.
    fn reduce_during_backward<B: AutodiffBackend>(
        &mut self,
        network: &Network<B>,
        pass: SegmentedPass<B>,
        gradients: &mut GradientsParams,
    ) -> Result<()> {
        let (features, classifier) = network.features_and_classifier();
        let mut taken = take_gradients(classifier, gradients)?;
        let all_reduce = &mut self.all_reduce;
        match self.sync {
            GradientSync::OverlapClassifier => std::thread::scope(|scope| {
                let reducing = scope.spawn(|| all_reduce.reduce_taken(&mut taken));
                let backward = pass.backward_features(gradients);
                let started = Instant::now();
                let reduced =
                    reducing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
                self.waited += started.elapsed();
                backward.and(reduced)
            })?,
            _ => {
                pass.backward_features(gradients)?;
                self.timed(|own| own.all_reduce.reduce_taken(&mut taken))?;
            }
        }
        put_gradients(classifier, taken, gradients);
        self.timed(|own| own.all_reduce.reduce(features, gradients))
    }

    fn timed(&mut self, work: impl FnOnce(&mut Self) -> Result<()>) -> Result<()> {
        let started = Instant::now();
        let done = work(self);
        self.waited += started.elapsed();
        done
    }
}

/// The output for a micro-batch, from its logits, and the gradient of the logits.
fn loss_and_gradient<B: AutodiffBackend>(
    (batch, logits): (Batch<B>, Tensor<B::InnerBackend, 2>),
) -> (Output<B>, Option<Tensor<B::InnerBackend, 2>>) {
    let (targets, device) = (batch.targets(), logits.device());
    let loss = Segment::<B, 2, 1>::forward(logits.clone(), true, |logits| targets.loss(logits));
    let output = ClassificationOutput::new(loss.output(), logits, batch.classes.inner());
    (output, loss.backward(Tensor::full([1], batch.share, &device)).1)
}

// They need a backend in f64.
#[cfg(all(test, feature = "ndarray"))]
mod tests;
