//! A network is one of burn's trainable models: a step of training, and one of validation.

use super::Batch;
use crate::error::Result;
use crate::models::{Network, mask};
use crate::vision::augment::Sample;
use burn::nn::loss::CrossEntropyLossConfig;
use burn::optim::GradientsParams;
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::{Int, Tensor};
use burn::train::{ClassificationOutput, InferenceStep, TrainOutput, TrainStep};
use std::ops::Range;

impl<B: AutodiffBackend> TrainStep for Network<B> {
    type Input = Batch<B>;
    type Output = ClassificationOutput<B::InnerBackend>;

    /// Panics where the batch does not fit the network: [`Network::check`] asks before.
    fn step(&self, batch: Batch<B>) -> TrainOutput<Self::Output> {
        learn(self, batch).unwrap_or_else(|error| panic!("{error}"))
    }
}

impl<B: Backend> InferenceStep for Network<B> {
    type Input = Batch<B>;
    type Output = ClassificationOutput<B>;

    /// Panics where the batch does not fit the network: [`Network::check`] asks before.
    fn step(&self, batch: Batch<B>) -> Self::Output {
        answer(self, batch).unwrap_or_else(|error| panic!("{error}"))
    }
}

/// Forward and backward.
pub(super) fn learn<B: AutodiffBackend>(
    network: &Network<B>,
    batch: Batch<B>,
) -> Result<TrainOutput<ClassificationOutput<B::InnerBackend>>> {
    let Batch { images, classes, samples, share, smoothing } = batch;
    let logits = network.thinned(images, &masks(&samples))?;
    let loss = cross_entropy(logits.clone(), classes.clone(), smoothing);
    let output = ClassificationOutput::new(loss.clone().inner(), logits.inner(), classes.inner());
    let gradients = GradientsParams::from_grads((loss * share).backward(), network);
    Ok(TrainOutput { grads: gradients, item: output })
}

/// One mask for each image, by what it is and not by when it comes.
pub(super) fn masks(
    samples: &[Sample],
) -> impl Fn(usize, f64, Range<usize>, usize) -> Vec<f32> + Sync {
    move |layer, p, images, length| {
        let keys = samples[images].iter().map(|sample| {
            // 0 is that of dropout at test time.
            [sample.seed, sample.epoch, layer as u64, sample.index.wrapping_add(1)]
        });
        keys.flat_map(|key| mask(key, p, length)).collect()
    }
}

/// Forward, without dropout.
pub(super) fn answer<B: Backend>(
    network: &Network<B>,
    batch: Batch<B>,
) -> Result<ClassificationOutput<B>> {
    let logits = network.try_forward(batch.images)?;
    let loss = cross_entropy(logits.clone(), batch.classes.clone(), 0.0);
    Ok(ClassificationOutput::new(loss, logits, batch.classes))
}

/// The mean over the batch, in nats. A part `smoothing` of each target is spread over all classes.
pub(super) fn cross_entropy<B: Backend>(
    logits: Tensor<B, 2>,
    classes: Tensor<B, 1, Int>,
    smoothing: f64,
) -> Tensor<B, 1> {
    let smoothing = (smoothing > 0.0).then_some(smoothing as f32);
    let device = logits.device();
    CrossEntropyLossConfig::new().with_smoothing(smoothing).init(&device).forward(logits, classes)
}
