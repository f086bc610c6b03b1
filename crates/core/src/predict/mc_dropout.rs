//! Monte Carlo dropout (Gal and Ghahramani, 2016), at the cost of the linear layers alone.
//!
//! The AlexNet paper describes dropout as a way to combine many networks (section 4.2). Usually it is off at
//! test time. If it stays on, each pass is another thinned network, and how much their probabilities differ
//! is a measure of uncertainty. The convolutions have no dropout, so they, and everything else before the
//! classifier's first dropout, are computed only once.

use super::model::Model;
use crate::architecture::{Architecture, Layer, Section};
use crate::dropout_mask::dropout_mask;
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};

/// Options of Monte Carlo dropout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct McDropout {
    /// Number of passes, each with another dropout mask, 1 to 10,000.
    pub passes: usize,
    /// Seed of the dropout masks. The masks of a pass depend only on this seed, not on the images.
    pub seed: u64,
}

/// Vectors that go through the classifier's layers at once: the engine's batch size.
const VECTORS_AT_ONCE: usize = 128;

/// The most passes of all images together: all of their logits are in memory at once.
const MAX_VECTORS: usize = 100_000;

impl McDropout {
    pub(super) fn validate(&self) -> Result<()> {
        const MAX_PASSES: usize = 10_000;
        if (1..=MAX_PASSES).contains(&self.passes) {
            return Ok(());
        }
        Err(Error::Setting {
            place: "passes with dropout (`--mc-dropout`)".into(),
            expected: format!("1 to {MAX_PASSES}"),
            found: self.passes.to_string(),
        })
    }

    /// The logits of every pass: `[N, C, H, W]` images, flat, to `[passes, N, num_classes]` logits, flat.
    ///
    /// # Errors
    /// [`Error::Setting`] if `passes` is out of range, for more than 100,000 passes of all images together,
    /// or for a network without dropout in its classifier; and the errors of the model.
    pub fn logits<M: Model + ?Sized>(
        &self,
        model: &M,
        images: &[f32],
        shape: [usize; 4],
    ) -> Result<Vec<f32>> {
        self.validate()?;
        let architecture = model.architecture();
        let images_times_passes = shape[0].saturating_mul(self.passes);
        let classifier = first_classifier_layer(architecture);
        let dropouts = dropout_layers(architecture);
        let (Some(classifier), Some(&(first_dropout, _))) = (classifier, dropouts.first()) else {
            return Err(Error::Setting {
                place: "passes with dropout (`--mc-dropout`)".into(),
                expected: "a network with dropout in its classifier".into(),
                found: architecture.name.clone(),
            });
        };
        if images_times_passes > MAX_VECTORS {
            return Err(Error::Setting {
                place: "passes with dropout (`--mc-dropout`)".into(),
                expected: format!("at most {MAX_VECTORS} for all images together"),
                found: images_times_passes.to_string(),
            });
        }
        let pooled = model.pooled_features(images, shape)?;
        let before_dropout = model.run_classifier_layers(classifier..first_dropout, &pooled)?;
        let at_once = (VECTORS_AT_ONCE / shape[0].max(1)).max(1);
        let mut logits = Vec::new();
        for pass in (0..self.passes).step_by(at_once) {
            let passes = pass..self.passes.min(pass + at_once);
            let mut vectors = before_dropout.repeat(passes.len());
            let last = architecture.steps().len();
            let ends = dropouts[1..].iter().map(|(index, _)| *index).chain([last]);
            for (&(index, p), end) in dropouts.iter().zip(ends) {
                let per_pass = vectors.len() / passes.len();
                let features = (per_pass / shape[0].max(1)).max(1);
                for (pass, vectors) in passes.clone().zip(vectors.chunks_mut(per_pass.max(1))) {
                    let key = [self.seed, pass as u64, index as u64, 0];
                    let mask: Vec<f32> = dropout_mask(key, p, features).collect();
                    for vector in vectors.chunks_mut(features) {
                        vector.iter_mut().zip(&mask).for_each(|(value, factor)| *value *= factor);
                    }
                }
                vectors = model.run_classifier_layers(index + 1..end, &vectors)?;
            }
            logits.append(&mut vectors);
        }
        Ok(logits)
    }
}

fn first_classifier_layer(architecture: &Architecture) -> Option<usize> {
    architecture.steps().iter().position(|step| step.section == Section::Classifier)
}

/// Index and probability of each dropout in the classifier.
fn dropout_layers(architecture: &Architecture) -> Vec<(usize, f64)> {
    (architecture.steps().iter().enumerate())
        .filter_map(|(index, step)| match step.layer {
            Layer::Dropout { p } if step.section == Section::Classifier => Some((index, p)),
            _ => None,
        })
        .collect()
}

/// Mean and standard deviation of each class's probability over the passes.
pub(super) fn mean_and_std_dev(passes: &[Vec<f64>]) -> (Vec<f64>, Vec<f64>) {
    let count = passes.len().max(1) as f64;
    let mean_of = |value: &dyn Fn(f64, usize) -> f64| -> Vec<f64> {
        let classes = passes.first().map_or(0, Vec::len);
        (0..classes)
            .map(|class| passes.iter().map(|pass| value(pass[class], class)).sum::<f64>() / count)
            .collect()
    };
    let mean = mean_of(&|value, _| value);
    let variance = mean_of(&|value, class| (value - mean[class]).powi(2));
    (mean, variance.into_iter().map(f64::sqrt).collect())
}
