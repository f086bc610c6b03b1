//! A training step on two devices: forward and backward segment by segment, both halves at the same time.

use super::Batch;
use super::gradients::collect;
use super::segment::Segment;
use super::step::dropout_masks;
use super::targets::cross_entropy;
use crate::Result;
use crate::models::two_gpu::{ChunkDropout, height_and_width, run_both_halves};
use crate::models::{TwoGpuNetwork, TwoGpuSplit, join, nan_marker};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::train::{ClassificationOutput, InferenceStep, TrainOutput, TrainStep};
use std::ops::Range;

impl<B: AutodiffBackend> TrainStep for TwoGpuNetwork<B> {
    type Input = Batch<B>;
    type Output = ClassificationOutput<B::InnerBackend>;

    /// # Panics
    /// If the batch does not fit the network, which [`TwoGpuNetwork::check`] tells in advance.
    fn step(&self, batch: Batch<B>) -> TrainOutput<Self::Output> {
        training_step(self, batch).unwrap_or_else(|error| panic!("{error}"))
    }
}

impl<B: Backend> InferenceStep for TwoGpuNetwork<B> {
    type Input = Batch<B>;
    type Output = ClassificationOutput<B>;

    /// # Panics
    /// If the batch does not fit the network, which [`TwoGpuNetwork::check`] tells in advance.
    fn step(&self, batch: Batch<B>) -> Self::Output {
        evaluation_step(self, batch).unwrap_or_else(|error| panic!("{error}"))
    }
}

/// Forward and backward. The batch is on the first device, and so is the loss.
pub(super) fn training_step<B: AutodiffBackend>(
    network: &TwoGpuNetwork<B>,
    batch: Batch<B>,
) -> Result<TrainOutput<ClassificationOutput<B::InnerBackend>>> {
    let targets = batch.targets();
    let Batch { images, classes, samples, share, .. } = batch;
    let masks = dropout_masks(&samples);
    let segments = TwoGpuSegments::new(network, height_and_width(&images))?;
    let (mut passes, mut logits, mut first) = (Vec::new(), Vec::new(), 0);
    for chunk in network.chunks(images)? {
        let images = first..first + chunk.dims()[0];
        first = images.end;
        let (pass, chunk_logits) = segments.forward(chunk, &ChunkDropout { masks: &masks, images });
        passes.push(pass);
        logits.push(chunk_logits);
    }

    let logits = Tensor::<B, 2>::from_inner(join(logits)).require_grad();
    let loss = targets.loss(logits.clone());
    let output =
        ClassificationOutput::new(loss.clone().inner(), logits.clone().inner(), classes.inner());
    let gradient = logits.grad(&(loss * share).backward());

    let mut gradients = GradientsParams::new();
    let mut first = 0;
    for pass in passes {
        let images = pass.images;
        if let Some(gradient) = &gradient {
            segments.backward(pass, gradient.clone().narrow(0, first, images), &mut gradients);
        }
        first += images;
    }
    Ok(TrainOutput { grads: gradients, item: output })
}

/// The forward pass, without dropout.
pub(super) fn evaluation_step<B: Backend>(
    network: &TwoGpuNetwork<B>,
    batch: Batch<B>,
) -> Result<ClassificationOutput<B>> {
    let logits = network.try_forward(batch.images)?;
    let loss = cross_entropy(logits.clone(), batch.classes.clone(), 0.0);
    Ok(ClassificationOutput::new(loss, logits, batch.classes))
}

/// The segments of a network between the exchanges of its halves.
struct TwoGpuSegments<'a, B: AutodiffBackend> {
    network: &'a TwoGpuNetwork<B>,
    split: TwoGpuSplit,
    /// The layers of each segment.
    segments: Vec<Range<usize>>,
    /// For each segment, whether it or an earlier one has trainable parameters.
    needs_backward: Vec<bool>,
}

/// The forward pass of a chunk of the batch, whose backward pass follows.
struct ChunkPass<B: AutodiffBackend> {
    images: usize,
    segments: Vec<[Segment<B, 2, 2>; 2]>,
}

type Inner<B> = <B as AutodiffBackend>::InnerBackend;

impl<'a, B: AutodiffBackend> TwoGpuSegments<'a, B> {
    fn new(network: &'a TwoGpuNetwork<B>, size: [usize; 2]) -> Result<Self> {
        let split = network.architecture().two_gpu_split(size)?;
        let segments = split.segments();
        let mut any_before = false;
        let needs_backward = (segments.iter())
            .map(|segment| {
                let mut halves = network.halves.iter();
                any_before |= halves.any(|half| half.is_trainable(segment.clone()));
                any_before
            })
            .collect();
        Ok(Self { network, split, segments, needs_backward })
    }

    /// The forward pass of a chunk of the batch, to its logits.
    fn forward(
        &self,
        images: Tensor<B, 4>,
        dropout: &ChunkDropout,
    ) -> (ChunkPass<B>, Tensor<Inner<B>, 2>) {
        let (network, split) = (self.network, &self.split);
        let device = network.device();
        let images = images.inner();
        let count = images.dims()[0];
        let nan_marker = nan_marker(&images).to_device(&device);
        let mut halves = network.scatter_images(split, images);
        let mut segments = Vec::with_capacity(self.segments.len());
        let mut wants_gradient = false;
        for (segment, &needs_backward) in self.segments.iter().zip(&self.needs_backward) {
            let inputs = network.exchange(split, segment.start, halves);
            let both = run_both_halves::<B, _, _>(&device, inputs, |side, x| {
                Segment::forward(x, wants_gradient, |x| {
                    network.halves[side].run(split, segment.clone(), side, x, Some(dropout))
                })
            });
            halves = both.each_ref().map(Segment::output);
            segments.push(both);
            wants_gradient = needs_backward;
        }
        let pass = ChunkPass { images: count, segments };
        (pass, network.gather_logits(halves) + nan_marker)
    }

    /// The backward pass of a chunk, from the gradient of its logits. Adds the gradients of the parameters.
    fn backward(
        &self,
        pass: ChunkPass<B>,
        gradient: Tensor<Inner<B>, 2>,
        gradients: &mut GradientsParams,
    ) {
        let (network, split) = (self.network, &self.split);
        let device = network.device();
        // If nothing is trainable, nothing is sent.
        if self.needs_backward.last() != Some(&true) {
            return;
        }
        let mut output_gradients = network.scatter_logits_gradient(split, gradient);
        let segments = pass.segments.into_iter().zip(&self.segments).enumerate().rev();
        for (index, (both, segment)) in segments {
            let [first, second] = both;
            let [first_gradient, second_gradient] = output_gradients;
            let inputs = [(first, first_gradient), (second, second_gradient)];
            let both = run_both_halves::<B, _, _>(&device, inputs, |_, (segment, gradient)| {
                segment.backward(gradient)
            });
            let mut input_gradients = Vec::with_capacity(2);
            for (half, (parameter_gradients, input_gradient)) in network.halves.iter().zip(both) {
                collect(half, parameter_gradients, gradients);
                input_gradients.extend(input_gradient);
            }
            let continues = index > 0 && self.needs_backward[index - 1];
            match <[_; 2]>::try_from(input_gradients) {
                Ok(input_gradients) if continues => {
                    output_gradients =
                        network.exchange_backward(split, segment.start, input_gradients);
                }
                _ => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::{AlexNetConfig, InitNetwork, Network};
    use crate::train::step;
    use crate::vision::augment::Sample;
    use burn::backend::Autodiff;
    use burn::module::{Module, ModuleVisitor, Param};
    use burn_flex::Flex;
    use std::collections::HashMap;

    type B = Autodiff<Flex>;

    /// Norm of each parameter's gradient, by the parameter's key.
    fn norms(
        trained: Vec<crate::models::TrainableParameter>,
        module: &impl Module<B>,
        gradients: &GradientsParams,
    ) -> HashMap<String, f64> {
        struct Squares<'a>(&'a GradientsParams, HashMap<u64, f64>);
        impl ModuleVisitor<B> for Squares<'_> {
            fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
                if let Some(gradient) = self.0.get::<Flex, D>(param.id) {
                    let square = (gradient.clone() * gradient).sum().into_scalar();
                    self.1.insert(param.id.val(), f64::from(square));
                }
            }
        }
        let mut squares = Squares(gradients, HashMap::new());
        module.visit(&mut squares);
        let norm = |trained: crate::models::TrainableParameter| {
            let squares: Option<Vec<f64>> =
                trained.ids.iter().map(|id| squares.1.get(&id.val()).copied()).collect();
            Some((trained.parameter.key, squares?.iter().sum::<f64>().sqrt()))
        };
        trained.into_iter().filter_map(norm).collect()
    }

    /// The first layers, those of a whole segment in the middle, the last layers, all layers: as on one device.
    #[test]
    fn frozen_layers_have_no_gradients_and_those_before_them_keep_theirs() -> Result<()> {
        let device = Default::default();
        let config = AlexNetConfig::two_gpu().with_width(0.05).with_num_classes(6);
        let network: Network<B> = config.init(&device);
        let batch = || Batch {
            images: Tensor::random([2, 3, 80, 80], burn::tensor::Distribution::Default, &device),
            classes: Tensor::from_ints([1, 4], &device),
            samples: [0, 1].map(|index| Sample { seed: 1, epoch: 0, index }).to_vec(),
            share: 1.0,
            label_smoothing: 0.0,
            mixed: None,
        };
        let batch = batch();
        for frozen in [
            &["features.0", "features.4"][..],
            &["features.8", "features.10", "features.12"],
            &["features.0", "classifier.3"],
            &["classifier.6"],
            &["features.", "classifier."],
            &[],
        ] {
            let is_frozen = |key: &str| frozen.iter().any(|layer| key.starts_with(layer));
            let whole = network.clone().freeze_where(is_frozen);
            let halves = TwoGpuNetwork::split(&network, &[device, device])?.freeze_where(is_frozen);
            let ours = training_step(&halves, batch.clone())?.grads;
            let ours = norms(halves.trainable_parameters(), &halves, &ours);
            // burn has no backward pass where nothing requires a gradient.
            let theirs = match frozen {
                ["features.", "classifier."] => HashMap::new(),
                _ => {
                    let theirs = step::training_step(&whole, batch.clone())?.grads;
                    norms(whole.trainable_parameters(), &whole, &theirs)
                }
            };
            assert_eq!(ours.len(), theirs.len(), "{frozen:?}");
            for (key, norm) in &ours {
                let theirs = theirs.get(key).copied().unwrap_or(f64::NAN);
                assert!(
                    (norm - theirs).abs() <= 1e-5 * theirs,
                    "{frozen:?} {key}: {norm} {theirs}"
                );
                assert!(!is_frozen(key), "{key}");
            }
        }
        Ok(())
    }
}
