//! A step of training on two devices: forward and backward stretch by stretch, both halves at the same time.

use super::step::{cross_entropy, masks};
use super::stretch::Stretch;
use super::{Batch, collect};
use crate::error::Result;
use crate::models::towers::{Thinning, at_once, size};
use crate::models::{Division, Towers, join, not_a_number};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::train::{ClassificationOutput, InferenceStep, TrainOutput, TrainStep};
use std::ops::Range;

impl<B: AutodiffBackend> TrainStep for Towers<B> {
    type Input = Batch<B>;
    type Output = ClassificationOutput<B::InnerBackend>;

    /// Panics where the batch does not fit the network: [`Towers::check`] asks before.
    fn step(&self, batch: Batch<B>) -> TrainOutput<Self::Output> {
        learn(self, batch).unwrap_or_else(|error| panic!("{error}"))
    }
}

impl<B: Backend> InferenceStep for Towers<B> {
    type Input = Batch<B>;
    type Output = ClassificationOutput<B>;

    /// Panics where the batch does not fit the network: [`Towers::check`] asks before.
    fn step(&self, batch: Batch<B>) -> Self::Output {
        answer(self, batch).unwrap_or_else(|error| panic!("{error}"))
    }
}

/// Forward and backward. The batch is on the first device, and so is the loss.
pub(super) fn learn<B: AutodiffBackend>(
    towers: &Towers<B>,
    batch: Batch<B>,
) -> Result<TrainOutput<ClassificationOutput<B::InnerBackend>>> {
    let Batch { images, classes, samples, share, smoothing } = batch;
    let masks = masks(&samples);
    let way = Way::new(towers, size(&images))?;
    let (mut passes, mut logits, mut first) = (Vec::new(), Vec::new(), 0);
    for part in towers.parts(images)? {
        let images = first..first + part.dims()[0];
        first = images.end;
        let (pass, of_part) = way.forward(part, &Thinning { masks: &masks, images });
        passes.push(pass);
        logits.push(of_part);
    }

    let logits = Tensor::<B, 2>::from_inner(join(logits)).require_grad();
    let loss = cross_entropy(logits.clone(), classes.clone(), smoothing);
    let output =
        ClassificationOutput::new(loss.clone().inner(), logits.clone().inner(), classes.inner());
    let gradient = logits.grad(&(loss * share).backward());

    let mut gradients = GradientsParams::new();
    let mut first = 0;
    for pass in passes {
        let images = pass.images;
        if let Some(gradient) = &gradient {
            way.backward(pass, gradient.clone().narrow(0, first, images), &mut gradients);
        }
        first += images;
    }
    Ok(TrainOutput { grads: gradients, item: output })
}

/// Forward, without dropout.
pub(super) fn answer<B: Backend>(
    towers: &Towers<B>,
    batch: Batch<B>,
) -> Result<ClassificationOutput<B>> {
    let logits = towers.try_forward(batch.images)?;
    let loss = cross_entropy(logits.clone(), batch.classes.clone(), 0.0);
    Ok(ClassificationOutput::new(loss, logits, batch.classes))
}

/// The stretches between the meetings of the halves, and what of them is walked back.
struct Way<'a, B: AutodiffBackend> {
    towers: &'a Towers<B>,
    division: Division,
    stretches: Vec<Range<usize>>,
    /// Whether a parameter of this stretch or of one before it asks for a gradient.
    asks: Vec<bool>,
}

/// A part of the batch on its way, waiting for its gradients.
struct Pass<B: AutodiffBackend> {
    images: usize,
    stretches: Vec<[Stretch<B, 2, 2>; 2]>,
}

type Inner<B> = <B as AutodiffBackend>::InnerBackend;

impl<'a, B: AutodiffBackend> Way<'a, B> {
    fn new(towers: &'a Towers<B>, size: [usize; 2]) -> Result<Self> {
        let division = towers.architecture().divide(size)?;
        let stretches = division.stretches();
        let mut asked = false;
        let asks = (stretches.iter())
            .map(|stretch| {
                asked |= towers.halves.iter().any(|half| half.asks(stretch.clone()));
                asked
            })
            .collect();
        Ok(Self { towers, division, stretches, asks })
    }

    /// The logits of a part of the batch.
    fn forward(&self, images: Tensor<B, 4>, thinning: &Thinning) -> (Pass<B>, Tensor<Inner<B>, 2>) {
        let (towers, division) = (self.towers, &self.division);
        let device = towers.device();
        let images = images.inner();
        let count = images.dims()[0];
        let not_a_number = not_a_number(&images).to_device(&device);
        let mut halves = towers.given(division, images);
        let mut stretches = Vec::with_capacity(self.stretches.len());
        let mut wants_gradient = false;
        for (stretch, &asks) in self.stretches.iter().zip(&self.asks) {
            let inputs = towers.meet(division, stretch.start, halves);
            let both = at_once::<B, _, _>(&device, inputs, |side, x| {
                Stretch::forward(x, wants_gradient, |x| {
                    towers.halves[side].run(division, stretch.clone(), side, x, Some(thinning))
                })
            });
            halves = both.each_ref().map(Stretch::output);
            stretches.push(both);
            wants_gradient = asks;
        }
        (Pass { images: count, stretches }, towers.logits(halves) + not_a_number)
    }

    /// The gradients of the parameters, from that of the logits.
    fn backward(
        &self,
        pass: Pass<B>,
        gradient: Tensor<Inner<B>, 2>,
        gradients: &mut GradientsParams,
    ) {
        let (towers, division) = (self.towers, &self.division);
        let device = towers.device();
        // Where nobody asks, nothing is handed back.
        if self.asks.last() != Some(&true) {
            return;
        }
        let mut of_outputs = towers.part_logits(division, gradient);
        let back = pass.stretches.into_iter().zip(&self.stretches).enumerate().rev();
        for (index, (both, stretch)) in back {
            let [first, second] = both;
            let [of_first, of_second] = of_outputs;
            let inputs = [(first, of_first), (second, of_second)];
            let [first, second] = at_once::<B, _, _>(&device, inputs, |_, (stretch, gradient)| {
                stretch.backward(gradient)
            });
            let mut of_inputs = Vec::with_capacity(2);
            for (half, (of_parameters, of_input)) in towers.halves.iter().zip([first, second]) {
                collect(half, of_parameters, gradients);
                of_inputs.extend(of_input);
            }
            let asks_before = index > 0 && self.asks[index - 1];
            match <[_; 2]>::try_from(of_inputs) {
                Ok(of_inputs) if asks_before => {
                    of_outputs = towers.part(division, stretch.start, of_inputs);
                }
                _ => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::{AlexNetConfig, Network};
    use crate::train::step;
    use crate::vision::augment::Sample;
    use burn::backend::Autodiff;
    use burn::module::{Module, ModuleVisitor, Param};
    use burn_flex::Flex;
    use std::collections::HashMap;

    type B = Autodiff<Flex>;

    /// Norm of each parameter's gradient, by the parameter's key.
    fn norms(
        trained: Vec<crate::models::Trained>,
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
        let norm = |trained: crate::models::Trained| {
            let squares: Option<Vec<f64>> =
                trained.ids.iter().map(|id| squares.1.get(&id.val()).copied()).collect();
            Some((trained.parameter.key, squares?.iter().sum::<f64>().sqrt()))
        };
        trained.into_iter().filter_map(norm).collect()
    }

    /// The first layers, those of a whole stretch in the middle, the last, all: as on one device.
    #[test]
    fn frozen_layers_have_no_gradients_and_those_before_them_keep_theirs() -> Result<()> {
        let device = Default::default();
        let config = AlexNetConfig::towers().with_width(0.05).with_num_classes(6);
        let network: Network<B> = config.init(&device);
        let batch = || Batch {
            images: Tensor::random([2, 3, 80, 80], burn::tensor::Distribution::Default, &device),
            classes: Tensor::from_ints([1, 4], &device),
            samples: [0, 1].map(|index| Sample { seed: 1, epoch: 0, index }).to_vec(),
            share: 1.0,
            smoothing: 0.0,
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
            let whole = network.clone().frozen_where(is_frozen)?;
            let halves = Towers::split(&network, &[device, device])?.frozen_where(is_frozen)?;
            let ours = learn(&halves, batch.clone())?.grads;
            let ours = norms(halves.trained()?, &halves, &ours);
            // burn has no way back where nothing asks for it.
            let theirs = match frozen {
                ["features.", "classifier."] => HashMap::new(),
                _ => {
                    let theirs = step::learn(&whole, batch.clone())?.grads;
                    norms(whole.trained()?, &whole, &theirs)
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
