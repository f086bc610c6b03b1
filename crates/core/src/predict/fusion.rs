//! Fusion: combining the predictions for several views into one.

use super::ranking::argmax;
use super::softmax::{Outputs, softmax_f64};
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};

/// How the predictions for several views are combined. Each view counts with its weight.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fusion {
    /// The mean of the probabilities, as in both papers.
    #[default]
    MeanProbability,
    /// The softmax of the mean logits.
    MeanLogit,
    /// The geometric mean of the probabilities, scaled to a sum of 1. Mathematically this is the same as
    /// [`MeanLogit`](Self::MeanLogit), because the denominators of the softmax cancel.
    GeometricMean,
    /// A vote: the probability of a class is the fraction of the views whose best class it is. Ties are
    /// broken by the mean probability.
    Vote,
}

impl Fusion {
    const ALL: [Self; 4] =
        [Self::MeanProbability, Self::MeanLogit, Self::GeometricMean, Self::Vote];
}

impl std::fmt::Display for Fusion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::MeanProbability => "mean-probability",
            Self::MeanLogit => "mean-logit",
            Self::GeometricMean => "geometric-mean",
            Self::Vote => "vote",
        })
    }
}

impl std::str::FromStr for Fusion {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        let found = Self::ALL.into_iter().find(|fusion| fusion.to_string() == name);
        found.ok_or_else(|| Error::UnknownName {
            kind: "fusion".into(),
            name: name.into(),
            known: Self::ALL.map(|fusion| fusion.to_string()).join(", "),
        })
    }
}

impl Fusion {
    /// Whether it can combine the probabilities of labels, whose sum is not 1.
    pub(super) fn takes_labels(self) -> bool {
        matches!(self, Self::MeanProbability | Self::MeanLogit)
    }

    /// The combined probabilities of all outputs. `logits` (finite) and `probabilities` are those of each view,
    /// and `weights` must sum to 1.
    pub(super) fn fuse(
        self,
        outputs: Outputs,
        logits: &[&[f32]],
        probabilities: &[Vec<f64>],
        weights: &[f64],
    ) -> Vec<f64> {
        let classes = logits.first().map_or(0, |logits| logits.len());
        let mean = |value: &dyn Fn(usize, usize) -> f64| -> Vec<f64> {
            let sum = |class| {
                weights.iter().enumerate().map(|(v, weight)| weight * value(v, class)).sum()
            };
            (0..classes).map(sum).collect()
        };
        match self {
            Fusion::MeanProbability => mean(&|view, class| probabilities[view][class]),
            Fusion::MeanLogit => {
                outputs.probabilities(&mean(&|view, class| f64::from(logits[view][class])))
            }
            Fusion::GeometricMean => {
                // Clamped to the smallest positive number, because ln(0) is infinite.
                let logarithm = |p: f64| p.max(f64::MIN_POSITIVE).ln();
                softmax_f64(&mean(&|view, class| logarithm(probabilities[view][class])))
            }
            Fusion::Vote => {
                let best: Vec<usize> =
                    probabilities.iter().map(|of_view| argmax(of_view)).collect();
                mean(&|view, class| f64::from(u8::from(best[view] == class)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::softmax::softmax;
    use super::*;

    /// Allowed error of a probability.
    const TOLERANCE: f64 = 1e-12;

    fn expect_close(found: &[f64], expected: &[f64]) {
        assert_eq!(found.len(), expected.len());
        let error = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(error < TOLERANCE, "expected {expected:?}, found {found:?}");
    }

    fn fuse(fusion: Fusion, logits: &[&[f32]], weights: &[f64]) -> Result<Vec<f64>> {
        let probabilities =
            logits.iter().map(|logits| softmax(logits)).collect::<Result<Vec<_>>>()?;
        Ok(fusion.fuse(Outputs::Classes, logits, &probabilities, weights))
    }

    /// Two views of two classes: probabilities 0.8 and 0.2, then 0.4 and 0.6.
    fn logits() -> [[f32; 2]; 2] {
        [[4f32.ln(), 0.0], [2f32.ln(), 3f32.ln()]]
    }

    #[test]
    fn each_fusion_follows_its_definition() {
        let logits = logits();
        let logits: Vec<&[f32]> = logits.iter().map(|logits| &logits[..]).collect();
        let fused =
            |fusion: Fusion, weights: [f64; 2]| fuse(fusion, &logits, &weights).expect("finite");
        // The logits are logarithms rounded to f32.
        let rounded =
            |values: Vec<f64>| values.iter().map(|p| (p * 1e6).round() / 1e6).collect::<Vec<_>>();
        let half = [0.5, 0.5];
        assert_eq!(rounded(fused(Fusion::MeanProbability, half)), [0.6, 0.4]);
        assert_eq!(rounded(fused(Fusion::MeanProbability, [0.25, 0.75])), [0.5, 0.5]);
        // sqrt(0.8 * 0.4) to sqrt(0.2 * 0.6)
        let [a, b] = [0.32f64.sqrt(), 0.12f64.sqrt()];
        let geometric = [a / (a + b), b / (a + b)].map(|p| (p * 1e6).round() / 1e6);
        assert_eq!(rounded(fused(Fusion::GeometricMean, half)), geometric);
        expect_close(&fused(Fusion::GeometricMean, half), &fused(Fusion::MeanLogit, half));
        expect_close(&fused(Fusion::Vote, half), &[0.5, 0.5]);
        expect_close(&fused(Fusion::Vote, [0.3, 0.7]), &[0.3, 0.7]);
    }

    #[test]
    fn extreme_logits_stay_finite_and_nan_is_an_error() {
        for fusion in Fusion::ALL {
            let extreme: [&[f32]; 2] = [&[3e38, -3e38], &[-3e38, 3e38]];
            let fused = fuse(fusion, &extreme, &[0.5, 0.5]).expect("finite");
            assert!((fused.iter().sum::<f64>() - 1.0).abs() < TOLERANCE, "{fusion}: {fused:?}");
            let wrong = fuse(fusion, &[&[0.0, f32::NAN]], &[1.0]);
            assert!(matches!(wrong, Err(Error::NotFinite { first: 1, .. })));
            assert_eq!(fusion.to_string().parse::<Fusion>().expect("its name"), fusion);
        }
    }
}
