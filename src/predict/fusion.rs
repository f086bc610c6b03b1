//! From the logits of several views to one answer.

use super::expect_finite;
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};

/// How the answers to several views become one; each view counts with its weight.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fusion {
    /// The mean of the views' probabilities: what both papers do.
    #[default]
    MeanProbability,
    /// Probabilities of the mean of the logits.
    MeanLogit,
    /// The geometric mean of the probabilities, so that together they are 1 again. Mathematically that
    /// is [`MeanLogit`](Self::MeanLogit): what a softmax divides by cancels.
    GeometricMean,
    /// The share of the views whose best class it is. Of equal shares the larger mean probability comes
    /// first.
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
        found.ok_or_else(|| Error::Setting {
            place: "fusion".into(),
            expected: Self::ALL.map(|fusion| fusion.to_string()).join(", "),
            found: name.into(),
        })
    }
}

/// Probabilities of a set of logits.
///
/// # Errors
/// [`Error::NotFinite`].
pub(super) fn softmax(logits: &[f32]) -> Result<Vec<f64>> {
    expect_finite("logits", logits)?;
    let wide: Vec<f64> = logits.iter().map(|&logit| f64::from(logit)).collect();
    Ok(softmax_of(&wide))
}

fn softmax_of(logits: &[f64]) -> Vec<f64> {
    let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let exponentials: Vec<f64> = logits.iter().map(|x| (x - largest).exp()).collect();
    let sum: f64 = exponentials.iter().sum();
    exponentials.iter().map(|e| e / sum).collect()
}

impl Fusion {
    /// One set of probabilities, together 1, from the finite logits and the probabilities of each view;
    /// `weights` are shares, together 1.
    pub(super) fn fuse(
        self,
        logits: &[&[f32]],
        probabilities: &[Vec<f64>],
        weights: &[f64],
    ) -> Vec<f64> {
        let classes = logits.first().map_or(0, |logits| logits.len());
        let mean = |of_view: &dyn Fn(usize, usize) -> f64| -> Vec<f64> {
            let sum = |class| {
                weights.iter().enumerate().map(|(v, weight)| weight * of_view(v, class)).sum()
            };
            (0..classes).map(sum).collect()
        };
        match self {
            Fusion::MeanProbability => mean(&|view, class| probabilities[view][class]),
            Fusion::MeanLogit => softmax_of(&mean(&|view, class| f64::from(logits[view][class]))),
            Fusion::GeometricMean => {
                // No probability is 0 for a logarithm: the smallest number there is.
                let logarithm = |p: f64| p.max(f64::MIN_POSITIVE).ln();
                softmax_of(&mean(&|view, class| logarithm(probabilities[view][class])))
            }
            Fusion::Vote => {
                let best: Vec<usize> = probabilities.iter().map(|of| best(of)).collect();
                mean(&|view, class| f64::from(u8::from(best[view] == class)))
            }
        }
    }
}

/// Index of the largest; the first of equal ones.
pub(super) fn best(values: &[f64]) -> usize {
    let larger = |best: usize, (i, value): (usize, &f64)| match *value > values[best] {
        true => i,
        false => best,
    };
    values.iter().enumerate().fold(0, larger)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of a probability.
    const TOLERANCE: f64 = 1e-12;

    fn close(a: &[f64], b: &[f64]) {
        assert_eq!(a.len(), b.len());
        let apart = a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(apart < TOLERANCE, "{a:?} for {b:?}");
    }

    fn fuse(fusion: Fusion, logits: &[&[f32]], weights: &[f64]) -> Result<Vec<f64>> {
        let probabilities =
            logits.iter().map(|logits| softmax(logits)).collect::<Result<Vec<_>>>()?;
        Ok(fusion.fuse(logits, &probabilities, weights))
    }

    /// Two views of two classes: probabilities 0.8 and 0.2, then 0.4 and 0.6.
    fn logits() -> [[f32; 2]; 2] {
        [[4f32.ln(), 0.0], [2f32.ln(), 3f32.ln()]]
    }

    #[test]
    fn each_fusion_is_its_definition() {
        let logits = logits();
        let logits: Vec<&[f32]> = logits.iter().map(|logits| &logits[..]).collect();
        let of =
            |fusion: Fusion, weights: [f64; 2]| fuse(fusion, &logits, &weights).expect("finite");
        // The logits are logarithms in f32.
        let rounded =
            |fused: Vec<f64>| fused.iter().map(|p| (p * 1e6).round() / 1e6).collect::<Vec<_>>();
        let half = [0.5, 0.5];
        assert_eq!(rounded(of(Fusion::MeanProbability, half)), [0.6, 0.4]);
        assert_eq!(rounded(of(Fusion::MeanProbability, [0.25, 0.75])), [0.5, 0.5]);
        // sqrt(0.8 * 0.4) to sqrt(0.2 * 0.6)
        let [a, b] = [0.32f64.sqrt(), 0.12f64.sqrt()];
        let geometric = [a / (a + b), b / (a + b)].map(|p| (p * 1e6).round() / 1e6);
        assert_eq!(rounded(of(Fusion::GeometricMean, half)), geometric);
        close(&of(Fusion::GeometricMean, half), &of(Fusion::MeanLogit, half));
        close(&of(Fusion::Vote, half), &[0.5, 0.5]);
        close(&of(Fusion::Vote, [0.3, 0.7]), &[0.3, 0.7]);
    }

    #[test]
    fn extreme_logits_stay_numbers_and_nan_is_an_error() {
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
