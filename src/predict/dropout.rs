//! Dropout as an ensemble: "Monte Carlo dropout" (Gal and Ghahramani, 2016), at the price of the linear
//! layers alone.
//!
//! AlexNet's paper calls dropout a way of combining very many networks (section 4.2). At test time it is
//! switched off, and the network answers once; left on, each pass is another thinned network, and how
//! far their answers are apart says how sure they are. The convolutions have no dropout, so they are
//! computed once; so is what comes before the classifier's first dropout.

use super::model::Model;
use crate::error::{Error, Result};
use crate::models::{Layer, Part, mask};
use serde::{Deserialize, Serialize};

/// Passes with dropout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct McDropout {
    /// Thinned networks, 1 to 10,000.
    pub passes: usize,
    /// The same seed, the same thinned networks, whatever they are shown.
    pub seed: u64,
}

/// Vectors that go through the classifier at once: as many as the engine takes.
const VECTORS_AT_ONCE: usize = 128;

/// Passes of all images together: their logits are in memory together.
const MOST_VECTORS: usize = 100_000;

impl McDropout {
    pub(super) fn validate(&self) -> Result<()> {
        const MOST: usize = 10_000;
        match (1..=MOST).contains(&self.passes) {
            true => Ok(()),
            false => Err(Error::Setting {
                place: "passes with dropout".into(),
                expected: format!("1 to {MOST}"),
                found: self.passes.to_string(),
            }),
        }
    }

    /// The logits of every thinned network: `[N, C, H, W]`, flat, to `[passes, N, num_classes]`.
    ///
    /// # Errors
    /// [`Error::Setting`] for no passes, more than 100,000 for all images together, and a network without
    /// dropout in its classifier; and those of the model.
    pub fn logits<M: Model + ?Sized>(
        &self,
        model: &M,
        images: &[f32],
        shape: [usize; 4],
    ) -> Result<Vec<f32>> {
        self.validate()?;
        let architecture = model.architecture();
        let steps = architecture.steps()?;
        let first = steps.iter().position(|step| step.part == Part::Classifier);
        let dropouts: Vec<(usize, f64)> = (steps.iter().enumerate())
            .filter_map(|(index, step)| match step.layer {
                Layer::Dropout { p } if step.part == Part::Classifier => Some((index, p)),
                _ => None,
            })
            .collect();
        let (Some(first), Some(&(first_dropout, _))) = (first, dropouts.first()) else {
            return Err(Error::Setting {
                place: "passes with dropout".into(),
                expected: "a network with dropout in its classifier".into(),
                found: architecture.name.clone(),
            });
        };
        let images_and_passes = shape[0].saturating_mul(self.passes);
        if images_and_passes > MOST_VECTORS {
            return Err(Error::Setting {
                place: "passes with dropout".into(),
                expected: format!("at most {MOST_VECTORS} for all images together"),
                found: images_and_passes.to_string(),
            });
        }
        let pooled = model.pooled(images, shape)?;
        let once = model.classify(first..first_dropout, &pooled)?;
        let at_once = (VECTORS_AT_ONCE / shape[0].max(1)).max(1);
        let mut logits = Vec::new();
        for pass in (0..self.passes).step_by(at_once) {
            let passes = pass..self.passes.min(pass + at_once);
            let mut vectors = once.repeat(passes.len());
            let ends = dropouts[1..].iter().map(|(index, _)| *index).chain([steps.len()]);
            for (&(index, p), end) in dropouts.iter().zip(ends) {
                let of_pass = vectors.len() / passes.len();
                let length = (of_pass / shape[0].max(1)).max(1);
                for (pass, vectors) in passes.clone().zip(vectors.chunks_mut(of_pass.max(1))) {
                    let key = [self.seed, pass as u64, index as u64, 0];
                    let mask: Vec<f32> = mask(key, p, length).collect();
                    for vector in vectors.chunks_mut(length) {
                        vector.iter_mut().zip(&mask).for_each(|(value, factor)| *value *= factor);
                    }
                }
                vectors = model.classify(index + 1..end, &vectors)?;
            }
            logits.append(&mut vectors);
        }
        Ok(logits)
    }
}
