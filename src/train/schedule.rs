//! The learning rate over time.

use super::history::Scores;
use super::setting;
use crate::error::Result;
use serde::{Deserialize, Serialize};

/// What becomes of the learning rate. Where it depends on time alone, it is a table.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Schedule {
    /// It stays.
    Constant,
    /// It is multiplied by `factor` after every so many epochs.
    Steps {
        /// Epochs, at least 1.
        every: usize,
        /// Above 0, at most 1.
        factor: f64,
    },
    /// It is multiplied by `factor` when validation no longer improves, `times` times at most: what the
    /// authors of both papers did by hand.
    Plateau {
        /// Above 0, at most 1.
        factor: f64,
        /// Epochs without a better top-1 than ever before that are waited for, at least 1.
        patience: usize,
        /// How often.
        times: usize,
    },
    /// Half a cosine from the full rate to 0 over the whole run, step by step.
    Cosine,
}

/// Where a run is, for its learning rate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Plateau {
    /// Times that the rate was reduced.
    pub reductions: usize,
    /// Epochs since the best one, or since the last reduction.
    pub waited: usize,
    /// The best top-1 so far.
    pub best: f64,
}

/// Time, in epochs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Time {
    /// Whole epochs that are over.
    pub epoch: usize,
    /// The part of the current one that is over, 0 to below 1.
    pub within: f64,
    /// The part of an epoch that a step takes.
    pub step: f64,
    /// Epochs of the run.
    pub epochs: usize,
    /// Epochs, or a part of one, in which the rate rises to its full value.
    pub warm_up: f64,
}

impl Schedule {
    pub(super) fn validate(&self) -> Result<()> {
        let reduces = |factor: f64| {
            let fits = factor > 0.0 && factor <= 1.0;
            setting("factor on the learning rate", fits, "above 0, at most 1", factor)
        };
        match *self {
            Self::Constant | Self::Cosine => Ok(()),
            Self::Steps { every, factor } => {
                setting("epochs between steps", every > 0, "at least 1", every)?;
                reduces(factor)
            }
            Self::Plateau { factor, patience, .. } => {
                setting("patience", patience > 0, "at least 1", patience)?;
                reduces(factor)
            }
        }
    }

    /// Whether it depends on how long the run will be.
    pub(super) fn needs_the_end(&self) -> bool {
        matches!(self, Self::Cosine)
    }

    /// The factor on the learning rate.
    pub(super) fn factor(&self, time: Time, plateau: &Plateau) -> f64 {
        let over = time.epoch as f64 + time.within;
        let warm = match over < time.warm_up {
            true => ((over + time.step) / time.warm_up).min(1.0),
            false => 1.0,
        };
        let factor = match *self {
            Self::Constant => 1.0,
            Self::Steps { every, factor } => factor.powi((time.epoch / every) as i32),
            Self::Plateau { factor, .. } => factor.powi(plateau.reductions as i32),
            Self::Cosine => {
                let part = (over / time.epochs.max(1) as f64).min(1.0);
                0.5 * (1.0 + (std::f64::consts::PI * part).cos())
            }
        };
        warm * factor
    }
}

impl Plateau {
    /// After an epoch.
    pub fn see(&mut self, schedule: &Schedule, valid: &Scores) {
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
    fn schedules_of_time_are_tables() {
        let steps = Schedule::Steps { every: 2, factor: 0.1 };
        assert_eq!(factors(steps, 0.0, 5), [1.0, 1.0, 0.1, 0.1, 0.01]);
        assert_eq!(factors(steps, 4.0, 5), [0.25, 0.5, 0.075, 0.1, 0.01]);
        assert_eq!(factors(Schedule::Constant, 0.0, 2), [1.0, 1.0]);
        assert_eq!(factors(Schedule::Cosine, 0.0, 4), [1.0, 0.853553, 0.5, 0.146447]);
    }

    #[test]
    fn a_plateau_waits_and_counts() {
        let schedule = Schedule::Plateau { factor: 0.1, patience: 2, times: 2 };
        let top1 = [0.5, 0.4, 0.6, 0.6, 0.5, 0.7, 0.7, 0.7, 0.7, 0.7, 0.7];
        let reductions = [0, 0, 0, 0, 1, 1, 1, 2, 2, 2, 2];
        let mut plateau = Plateau::default();
        for (top1, expected) in top1.into_iter().zip(reductions) {
            plateau.see(&schedule, &Scores { top1, ..Scores::default() });
            assert_eq!(plateau.reductions, expected, "{plateau:?}");
        }
        let time = Time { epoch: 9, within: 0.5, step: 0.1, epochs: 20, warm_up: 0.0 };
        assert!((schedule.factor(time, &plateau) - 0.01).abs() < 1e-12);
    }
}
