//! Learning rate schedules.

use super::history::Scores;
use super::setting::expect_setting;
use crate::Result;
use serde::{Deserialize, Serialize};

/// How the learning rate changes during a run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Schedule {
    /// It stays the same.
    Constant,
    /// It is multiplied by `factor` at regular intervals, as by PyTorch's `StepLR`.
    Steps {
        /// The interval in epochs, at least 1.
        every: usize,
        /// Above 0, at most 1.
        factor: f64,
    },
    /// It is multiplied by `factor` when validation no longer improves, at most `times` times: what the authors of
    /// both papers did by hand.
    Plateau {
        /// Above 0, at most 1.
        factor: f64,
        /// Epochs without a new best validation top-1 accuracy before the rate is reduced, at least 1.
        patience: usize,
        /// The largest number of reductions.
        times: usize,
    },
    /// It follows half a cosine, from the full rate to 0 over the whole run, changing with every step.
    Cosine,
}

/// The state of [`Schedule::Plateau`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Plateau {
    /// How often the rate was reduced.
    pub reductions: usize,
    /// Epochs since the best one or the last reduction.
    pub waited: usize,
    /// The best top-1 accuracy so far.
    pub best: f64,
}

/// A point in time of a run, in epochs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Time {
    /// Finished epochs.
    pub epoch: usize,
    /// The fraction of the current epoch that is done, 0 to below 1.
    pub within: f64,
    /// The length of a step, as a fraction of an epoch.
    pub step: f64,
    /// Epochs of the run.
    pub epochs: usize,
    /// Epochs in which the rate rises to its full value; not necessarily a whole number.
    pub warm_up: f64,
}

impl Schedule {
    pub(super) fn validate(&self) -> Result<()> {
        let reduces = |factor: f64| {
            let fits = factor > 0.0 && factor <= 1.0;
            expect_setting("factor on the learning rate", fits, "above 0, at most 1", factor)
        };
        match *self {
            Self::Constant | Self::Cosine => Ok(()),
            Self::Steps { every, factor } => {
                expect_setting("epochs between steps", every > 0, "at least 1", every)?;
                reduces(factor)
            }
            Self::Plateau { factor, patience, .. } => {
                expect_setting("patience", patience > 0, "at least 1", patience)?;
                reduces(factor)
            }
        }
    }

    /// Whether it depends on the number of epochs of the run.
    pub(super) fn depends_on_epochs(&self) -> bool {
        matches!(self, Self::Cosine)
    }

    /// The factor on the learning rate.
    pub(super) fn factor(&self, time: Time, plateau: &Plateau) -> f64 {
        let done = time.epoch as f64 + time.within;
        let warm_up =
            if done < time.warm_up { ((done + time.step) / time.warm_up).min(1.0) } else { 1.0 };
        let factor = match *self {
            Self::Constant => 1.0,
            Self::Steps { every, factor } => factor.powi((time.epoch / every) as i32),
            Self::Plateau { factor, .. } => factor.powi(plateau.reductions as i32),
            Self::Cosine => {
                let fraction = (done / time.epochs.max(1) as f64).min(1.0);
                0.5 * (1.0 + (std::f64::consts::PI * fraction).cos())
            }
        };
        warm_up * factor
    }
}

impl Plateau {
    /// Takes the scores of the next epoch.
    pub fn update(&mut self, schedule: &Schedule, valid: &Scores) {
        let Schedule::Plateau { patience, times, .. } = *schedule else { return };
        if valid.top1 > self.best {
            (self.best, self.waited) = (valid.top1, 0);
            return;
        }
        self.waited += 1;
        if self.waited >= patience && self.reductions < times {
            self.reductions += 1;
            self.waited = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn factors(schedule: Schedule, warm_up: f64, epochs: usize) -> Vec<f64> {
        (0..epochs)
            .map(|epoch| {
                let time = Time { epoch, within: 0.0, step: 1.0, epochs, warm_up };
                (schedule.factor(time, &Plateau::default()) * 1e6).round() / 1e6
            })
            .collect()
    }

    #[test]
    fn schedules_have_their_factors() {
        let steps = Schedule::Steps { every: 2, factor: 0.1 };
        assert_eq!(factors(steps, 0.0, 5), [1.0, 1.0, 0.1, 0.1, 0.01]);
        assert_eq!(factors(steps, 4.0, 5), [0.25, 0.5, 0.075, 0.1, 0.01]);
        assert_eq!(factors(Schedule::Constant, 0.0, 2), [1.0, 1.0]);
        assert_eq!(factors(Schedule::Cosine, 0.0, 4), [1.0, 0.853553, 0.5, 0.146447]);
    }

    #[test]
    fn a_plateau_reduces_the_rate_after_its_patience() {
        let schedule = Schedule::Plateau { factor: 0.1, patience: 2, times: 2 };
        let top1 = [0.5, 0.4, 0.6, 0.6, 0.5, 0.7, 0.7, 0.7, 0.7, 0.7, 0.7];
        let reductions = [0, 0, 0, 0, 1, 1, 1, 2, 2, 2, 2];
        let mut plateau = Plateau::default();
        for (top1, expected) in top1.into_iter().zip(reductions) {
            plateau.update(&schedule, &Scores { top1, ..Scores::default() });
            assert_eq!(plateau.reductions, expected, "{plateau:?}");
        }
        let time = Time { epoch: 9, within: 0.5, step: 0.1, epochs: 20, warm_up: 0.0 };
        assert!((schedule.factor(time, &plateau) - 0.01).abs() < 1e-12);
    }
}
