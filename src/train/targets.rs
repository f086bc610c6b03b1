//! What the logits of a batch should be, and the loss.

use super::Batch;
use super::batch::MixedClasses;
use burn::nn::loss::CrossEntropyLossConfig;
use burn::tensor::activation::log_softmax;
use burn::tensor::backend::Backend;
use burn::tensor::{Int, Tensor};

/// The targets of a batch.
pub(super) struct Targets<B: Backend> {
    classes: Tensor<B, 1, Int>,
    mixed: Option<MixedClasses<B>>,
    label_smoothing: f64,
}

impl<B: Backend> Batch<B> {
    pub(super) fn targets(&self) -> Targets<B> {
        let Self { classes, mixed, label_smoothing, .. } = self;
        Targets {
            classes: classes.clone(),
            mixed: mixed.clone(),
            label_smoothing: *label_smoothing,
        }
    }
}

impl<B: Backend> Targets<B> {
    /// The cross-entropy, its mean over the batch, in nats.
    pub fn loss(self, logits: Tensor<B, 2>) -> Tensor<B, 1> {
        match self.mixed {
            None => cross_entropy(logits, self.classes, self.label_smoothing),
            Some(mixed) => mixed_cross_entropy(logits, self.classes, mixed, self.label_smoothing),
        }
    }
}

/// The mean over the batch, in nats. `label_smoothing` is the fraction of each target that is spread over all
/// classes.
pub(super) fn cross_entropy<B: Backend>(
    logits: Tensor<B, 2>,
    classes: Tensor<B, 1, Int>,
    label_smoothing: f64,
) -> Tensor<B, 1> {
    let smoothing = (label_smoothing > 0.0).then_some(label_smoothing as f32);
    let device = logits.device();
    CrossEntropyLossConfig::new().with_smoothing(smoothing).init(&device).forward(logits, classes)
}

/// The same where the target of each example is divided between two classes.
fn mixed_cross_entropy<B: Backend>(
    logits: Tensor<B, 2>,
    classes: Tensor<B, 1, Int>,
    mixed: MixedClasses<B>,
    label_smoothing: f64,
) -> Tensor<B, 1> {
    let log_probabilities = log_softmax(logits, 1);
    let of =
        |classes: Tensor<B, 1, Int>| log_probabilities.clone().gather(1, classes.unsqueeze_dim(1));
    let own = mixed.shares.unsqueeze_dim(1);
    let other = own.clone().neg() + 1.0;
    let likelihood = (of(classes) * own + of(mixed.classes) * other).mean();
    if label_smoothing == 0.0 {
        return likelihood.neg();
    }
    let of_all = log_probabilities.mean();
    (likelihood * (1.0 - label_smoothing) + of_all * label_smoothing).neg()
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn_flex::Flex;

    /// Of the same sums, of up to 7, in another order in f32.
    const ROUNDING: f32 = 3e-6;

    #[test]
    fn the_loss_of_a_mixture_is_that_of_both_classes_in_its_proportion() {
        let device = Default::default();
        let logits = Tensor::<Flex, 2>::from_floats(
            [[2.0, -1.0, 0.5, 0.0], [0.1, 0.2, -3.0, 1.0], [0.0, 4.0, 0.0, -2.0]],
            &device,
        );
        let (own, other) = ([0, 3, 1], [2, 1, 1]);
        let shares = [0.75f32, 0.5, 1.0];
        let ints = |classes: [i32; 3]| Tensor::<Flex, 1, Int>::from_ints(classes, &device);
        for smoothing in [0.0, 0.1] {
            let mixed =
                MixedClasses { classes: ints(other), shares: Tensor::from_floats(shares, &device) };
            let targets =
                Targets { classes: ints(own), mixed: Some(mixed), label_smoothing: smoothing };
            let ours: f32 = targets.loss(logits.clone()).into_scalar();
            let loss_of_row = |row: usize, class: i32| -> f32 {
                let logits = logits.clone().narrow(0, row, 1);
                let class = Tensor::from_ints([class], &device);
                cross_entropy(logits, class, smoothing).into_scalar()
            };
            let expected: f32 = (0..3)
                .map(|row| {
                    let [own, other] = [own[row], other[row]].map(|class| loss_of_row(row, class));
                    shares[row] * own + (1.0 - shares[row]) * other
                })
                .sum::<f32>()
                / 3.0;
            assert!((ours - expected).abs() < ROUNDING, "{smoothing}: {ours}, {expected}");
        }
    }
}
