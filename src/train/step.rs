//! A network as a model that burn can train: a training step and an evaluation step.

use super::Batch;
use super::targets::cross_entropy;
use crate::Result;
use crate::models::Network;
use crate::vision::augment::Sample;
use alexnet_vgg_core::internal::dropout_mask;
use burn::optim::GradientsParams;
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::train::{ClassificationOutput, InferenceStep, TrainOutput, TrainStep};
use std::ops::Range;

/// The output for a micro-batch: loss, logits and classes.
pub type Output<B> = ClassificationOutput<<B as AutodiffBackend>::InnerBackend>;

/// What one of several processes has of a micro-batch.
pub struct LocalMicroBatch<B: AutodiffBackend> {
    /// `None` if this process has no images of it.
    pub batch: Option<Batch<B>>,
    /// Whether the optimizer's step follows it.
    pub is_last: bool,
}

/// Takes the output of this process's forward pass (`None` without images), or the error that it ended in, and
/// returns `Ok` if all processes continue with the backward pass.
pub type ConfirmForward<'a, B> = &'a mut dyn FnMut(Result<Option<Output<B>>>) -> Result<()>;

impl<B: AutodiffBackend> TrainStep for Network<B> {
    type Input = Batch<B>;
    type Output = ClassificationOutput<B::InnerBackend>;

    /// # Panics
    /// If the batch does not fit the network, which [`Network::check`] tells in advance.
    fn step(&self, batch: Batch<B>) -> TrainOutput<Self::Output> {
        training_step(self, batch).unwrap_or_else(|error| panic!("{error}"))
    }
}

impl<B: Backend> InferenceStep for Network<B> {
    type Input = Batch<B>;
    type Output = ClassificationOutput<B>;

    /// # Panics
    /// If the batch does not fit the network, which [`Network::check`] tells in advance.
    fn step(&self, batch: Batch<B>) -> Self::Output {
        evaluation_step(self, batch).unwrap_or_else(|error| panic!("{error}"))
    }
}

/// Forward and backward.
pub(super) fn training_step<B: AutodiffBackend>(
    network: &Network<B>,
    batch: Batch<B>,
) -> Result<TrainOutput<Output<B>>> {
    let targets = batch.targets();
    let Batch { images, classes, samples, share, .. } = batch;
    let logits = network.forward_with_masks(images, &dropout_masks(&samples))?;
    let loss = targets.loss(logits.clone());
    let output = ClassificationOutput::new(loss.clone().inner(), logits.inner(), classes.inner());
    let gradients = GradientsParams::from_grads((loss * share).backward(), network);
    Ok(TrainOutput { grads: gradients, item: output })
}

/// A dropout mask for each image, drawn by the sample and not from a stream: it does not depend on when or
/// where the image is trained on.
pub(super) fn dropout_masks(
    samples: &[Sample],
) -> impl Fn(usize, f64, Range<usize>, usize) -> Vec<f32> + Sync {
    move |layer, p, images, length| {
        let keys = samples[images].iter().map(|sample| {
            // Index 0 is that of Monte Carlo dropout, at test time.
            [sample.seed, sample.epoch, layer as u64, sample.index.wrapping_add(1)]
        });
        keys.flat_map(|key| dropout_mask(key, p, length)).collect()
    }
}

/// The forward pass, without dropout.
pub(super) fn evaluation_step<B: Backend>(
    network: &Network<B>,
    batch: Batch<B>,
) -> Result<ClassificationOutput<B>> {
    let logits = network.try_forward(batch.images)?;
    let loss = cross_entropy(logits.clone(), batch.classes.clone(), 0.0);
    Ok(ClassificationOutput::new(loss, logits, batch.classes))
}
