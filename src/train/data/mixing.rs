//! Training pictures that are mixed with others: mixup and CutMix.
//!
//! Every picture of a batch draws for itself whether and how the next picture of the batch, of all processes, is mixed into
//! it. So the result depends neither on micro-batches nor on processes. (torchvision's `RandomMixup` and `RandomCutmix` draw
//! once for a batch, and mix with the previous picture; timm has both ways.)

use super::order::random;
use crate::Result;
use crate::train::setting::expect_setting;
use crate::vision::augment::Sample;
use rand::RngExt;
use rand_distr::{Beta, Distribution};
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// How often, and how much, training pictures are mixed with others.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mix {
    /// Both parameters of the beta distribution that the fraction of a picture's own pixels is drawn from, 0.001 to 1000:
    /// at 1 all fractions are equally likely, and the smaller it is, the more of them are near 0 or 1.
    pub alpha: f64,
    /// The fraction of the pictures that are mixed, 0 to 1.
    #[serde(default = "always")]
    pub probability: f64,
}

fn always() -> f64 {
    1.0
}

impl Mix {
    /// Every picture is mixed.
    pub fn new(alpha: f64) -> Self {
        Self { alpha, probability: always() }
    }

    pub(in crate::train) fn validate(&self, name: &str) -> Result<()> {
        let fits = (0.001..=1000.0).contains(&self.alpha);
        expect_setting(&format!("alpha of {name}"), fits, "0.001 to 1000", self.alpha)?;
        let fits = (0.0..=1.0).contains(&self.probability);
        expect_setting(&format!("probability of {name}"), fits, "0 to 1", self.probability)
    }
}

/// How the pictures of a batch are mixed. With both ways, each picture draws one of them first, each with a chance of a
/// half, as in torchvision's reference script.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Mixing {
    /// The weighted mean of two pictures (Zhang et al., 2017).
    pub mixup: Option<Mix>,
    /// A rectangle of another picture, pasted in (Yun et al., 2019).
    pub cutmix: Option<Mix>,
}

/// What is mixed into a picture.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Mixture {
    /// All pixels of the other picture; `own` is the weight of the picture itself.
    Whole { own: f64 },
    /// The pixels of the other picture in a rectangle.
    Rectangle { rows: Range<usize>, columns: Range<usize> },
}

impl Mixing {
    pub(super) fn is_none(&self) -> bool {
        *self == Self::default()
    }

    pub(in crate::train) fn validate(&self) -> Result<()> {
        self.mixup.map_or(Ok(()), |mix| mix.validate("mixup"))?;
        self.cutmix.map_or(Ok(()), |mix| mix.validate("CutMix"))
    }

    /// What is mixed into the picture of this sample, of `height` and `width`; `None` if it stays as it is.
    pub(super) fn draw(&self, sample: Sample, [height, width]: [usize; 2]) -> Option<Mixture> {
        let mut random = random([sample.seed, sample.epoch, sample.index], b"mixtures");
        let pastes = match (self.mixup, self.cutmix) {
            (Some(_), Some(_)) => random.random_bool(0.5),
            (_, cutmix) => cutmix.is_some(),
        };
        let mix = if pastes { self.cutmix } else { self.mixup }?;
        if random.random::<f64>() >= mix.probability {
            return None;
        }
        let own = Beta::new(mix.alpha, mix.alpha).ok()?.sample(&mut random);
        if !pastes {
            return Some(Mixture::Whole { own });
        }
        // The sides are those of a rectangle whose area is 1 - own, but it is cut off at the edges.
        let half = 0.5 * (1.0 - own).sqrt();
        let mut range = |side: usize| {
            let (center, half) =
                (random.random_range(0..side.max(1)), (half * side as f64) as usize);
            center.saturating_sub(half)..(center + half).min(side)
        };
        let (columns, rows) = (range(width), range(height));
        (!rows.is_empty() && !columns.is_empty()).then_some(Mixture::Rectangle { rows, columns })
    }
}

impl Mixture {
    /// Mixes `other` into `own`, both `[C, H, W]` and flat, and returns the fraction of the target that remains the
    /// picture's own class: exactly that of its pixels.
    pub fn apply(&self, own: &mut [f32], other: &[f32], [height, width]: [usize; 2]) -> f64 {
        match self {
            &Self::Whole { own: share } => {
                let (a, b) = (share as f32, (1.0 - share) as f32);
                own.iter_mut().zip(other).for_each(|(own, other)| *own = a * *own + b * other);
                share
            }
            Self::Rectangle { rows, columns } => {
                let area = (height * width).max(1);
                for (own, other) in own.chunks_mut(area).zip(other.chunks(area)) {
                    for row in rows.clone() {
                        let pasted = row * width + columns.start..row * width + columns.end;
                        own[pasted.clone()].copy_from_slice(&other[pasted]);
                    }
                }
                1.0 - (rows.len() * columns.len()) as f64 / area as f64
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(mixing: Mixing, count: u64, size: [usize; 2]) -> Vec<Option<Mixture>> {
        (0..count).map(|index| mixing.draw(Sample { seed: 1, epoch: 2, index }, size)).collect()
    }

    #[test]
    fn fractions_are_of_the_beta_distribution() {
        for alpha in [0.2, 1.0, 4.0] {
            let mixing = Mixing { mixup: Some(Mix { alpha, probability: 0.5 }), cutmix: None };
            let own: Vec<f64> = (drawn(mixing, 4000, [8, 8]).into_iter().flatten())
                .map(|mixture| match mixture {
                    Mixture::Whole { own } => own,
                    other => panic!("{other:?}"),
                })
                .collect();
            let count = own.len() as f64;
            let mean = own.iter().sum::<f64>() / count;
            let variance = own.iter().map(|own| (own - mean).powi(2)).sum::<f64>() / count;
            // Four standard errors of 2,000 draws, of which none is larger than that of alpha = 0.2.
            assert!((count - 2000.0).abs() < 130.0, "{alpha}: {count}");
            assert!((mean - 0.5).abs() < 0.04, "{alpha}: {mean}");
            let expected = 1.0 / (4.0 * (2.0 * alpha + 1.0));
            assert!((variance - expected).abs() < 0.01, "{alpha}: {variance}, {expected}");
        }
    }

    #[test]
    fn the_label_of_cutmix_has_the_fraction_of_the_pixels() {
        let (cutmix, [height, width]) = (Some(Mix::new(1.0)), [45, 70]);
        let (mut pasted, mut sizes) = (0, Vec::new());
        let mixing = Mixing { mixup: None, cutmix };
        for mixture in drawn(mixing, 500, [height, width]).into_iter().flatten() {
            let (mut own, other) = (vec![0.0; 3 * height * width], vec![1.0; 3 * height * width]);
            let share = mixture.apply(&mut own, &other, [height, width]);
            let pixels = own.iter().filter(|value| **value == 0.0).count();
            assert_eq!(share, 1.0 - (own.len() - pixels) as f64 / own.len() as f64);
            assert!(
                (0.0..1.0).contains(&share) && own.iter().all(|value| [0.0, 1.0].contains(value))
            );
            pasted += 1;
            sizes.push(1.0 - share);
        }
        // Half of the area on average, less what the edges cut off: the integral over u of u (1 - sqrt(u) / 4)^2 is 0.32. Four
        // standard errors, and sides that are rounded down.
        let mean = sizes.iter().sum::<f64>() / f64::from(pasted);
        assert!(pasted > 480 && (0.25..0.37).contains(&mean), "{pasted} {mean}");
    }

    #[test]
    fn a_sample_always_draws_the_same_and_one_of_both_ways() {
        let both = Mixing { mixup: Some(Mix::new(1.0)), cutmix: Some(Mix::new(1.0)) };
        let all = drawn(both, 4000, [32, 32]);
        assert_eq!(all, drawn(both, 4000, [32, 32]));
        let whole = all.iter().filter(|it| matches!(it, Some(Mixture::Whole { .. }))).count();
        assert!((1850..2150).contains(&whole), "{whole}");
        assert_eq!(Mixing::default().draw(Sample { seed: 1, epoch: 2, index: 3 }, [32, 32]), None);
        let wrong = Mixing { mixup: Some(Mix::new(0.0)), cutmix: None };
        assert!(wrong.validate().expect_err("0").to_string().contains("alpha of mixup"));
    }
}
