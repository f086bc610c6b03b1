//! Where a run is and how it went: all that a checkpoint holds beside tensors.
//!
//! Nothing random is in it: order, augmentation and dropout are drawn from (seed, epoch, example), so the
//! place in the epoch is all there is to know.

use super::Recipe;
use super::history::{Epoch, History, Scores};
use super::schedule::{Plateau, Time};
use crate::error::{Error, Result};
use crate::models::Architecture;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::Path;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct State {
    version: String,
    /// What the run is of.
    network: Architecture,
    data: Vec<(String, String)>,
    /// Batches of the current epoch that are done.
    pub batch: u64,
    /// Steps of the optimizer since the start.
    pub steps: u64,
    /// Of the current epoch.
    pub sums: Sums,
    pub recipe: Recipe,
    /// Of the epochs that are over.
    pub history: History,
}

/// Sums over the examples of an epoch so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Sums {
    loss: f64,
    first: u64,
    first_five: u64,
    pub examples: u64,
    /// Of the steps.
    pub seconds: f64,
    /// Of these, without data.
    pub waited: f64,
    /// The learning rate of the last step.
    pub rate: f64,
}

impl State {
    pub fn new(architecture: &Architecture, recipe: &Recipe, data: Vec<(String, String)>) -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION").into(),
            network: architecture.clone(),
            data,
            batch: 0,
            steps: 0,
            sums: Sums::default(),
            recipe: recipe.clone(),
            history: History::default(),
        }
    }

    pub fn parse(path: &Path, text: &str) -> Result<Self> {
        toml::from_str(text).map_err(|error| Error::WeightsFormat {
            path: path.into(),
            format: "checkpoint".into(),
            expected: "the state of a run".into(),
            found: error.to_string().trim_end().into(),
        })
    }

    pub fn to_toml(&self) -> Result<String> {
        toml::to_string(self).map_err(|error| Error::Setting {
            place: "state of the run".into(),
            expected: "values that TOML has".into(),
            found: error.to_string(),
        })
    }

    /// `Ok` if `saved` is a state of the same run.
    ///
    /// # Errors
    /// [`Error::OtherRun`] with every difference.
    pub fn expect_same(&self, saved: &Self, path: &Path) -> Result<()> {
        let mut differences = Vec::new();
        let mut compare = |what: &str, ours: &str, theirs: &str| {
            if ours != theirs {
                differences.push(format!("{what}: {ours}, was {theirs}"));
            }
        };
        compare("version", &self.version, &saved.version);
        let layers = |of: &Self| -> Vec<(String, String)> {
            let Architecture { features, classifier, .. } = &of.network;
            let all = [("features", features), ("classifier", classifier)];
            let listed = all.into_iter().flat_map(|(part, layers)| {
                layers
                    .iter()
                    .enumerate()
                    .map(move |(index, layer)| (format!("{part}.{index}"), layer.to_string()))
            });
            [("network".into(), of.network.name.clone())].into_iter().chain(listed).collect()
        };
        let (mut ours, mut theirs) = (layers(self), layers(saved));
        ours.extend(self.data.clone());
        theirs.extend(saved.data.clone());
        let value = |of: &[(String, String)], name: &str| {
            let found = of.iter().find(|(known, _)| known == name);
            found.map_or_else(|| "nothing".to_string(), |(_, value)| value.clone())
        };
        let names: BTreeSet<&String> = ours.iter().chain(&theirs).map(|(name, _)| name).collect();
        for name in names {
            compare(name, &value(&ours, name), &value(&theirs, name));
        }
        let recipe = self.recipe.differences(&saved.recipe)?;
        differences.extend(recipe.into_iter().map(|line| format!("recipe: {line}")));
        match differences.is_empty() {
            true => Ok(()),
            false => Err(Error::OtherRun { path: path.into(), differences }),
        }
    }

    /// Epochs that are over.
    pub fn epoch(&self) -> usize {
        self.history.epochs.len()
    }

    /// The learning rate of the next step, where an epoch has so many batches.
    pub fn rate(&self, batches: u64) -> f64 {
        let step = 1.0 / batches.max(1) as f64;
        let time = Time {
            epoch: self.epoch(),
            within: self.batch as f64 * step,
            step,
            epochs: self.recipe.epochs,
            warm_up: self.recipe.warm_up,
        };
        let mut plateau = Plateau::default();
        let schedule = &self.recipe.schedule;
        self.history.epochs.iter().for_each(|epoch| plateau.see(schedule, &epoch.valid));
        self.recipe.rate * schedule.factor(time, &plateau)
    }

    /// The current epoch is over.
    pub fn end_epoch(&mut self, valid: Scores) {
        let sums = std::mem::take(&mut self.sums);
        self.history.epochs.push(Epoch {
            epoch: self.epoch() + 1,
            steps: self.steps,
            rate: sums.rate,
            train: sums.scores(),
            valid,
            images_per_second: sums.images_per_second(),
            waited: sums.waited / sums.seconds.max(f64::MIN_POSITIVE),
        });
        self.batch = 0;
    }
}

impl Sums {
    /// Adds examples by their mean loss, their logits `[N, classes]`, flat, and their classes.
    pub fn add(&mut self, loss: f64, logits: &[f32], classes: &[usize]) {
        let count = classes.len();
        self.loss += loss * count as f64;
        self.examples += count as u64;
        let width = (logits.len() / count.max(1)).max(1);
        for (logits, &class) in logits.chunks(width).zip(classes) {
            // NaN is before and after everything: such an answer is wrong.
            let Some(own) = logits.get(class).filter(|own| own.is_finite()) else { continue };
            // Of equal logits the first class counts, as in `top_k`.
            let before = (logits.iter().enumerate())
                .filter(|(other, logit)| *logit > own || (*logit == own && *other < class))
                .count();
            self.first += u64::from(before < 1);
            self.first_five += u64::from(before < 5);
        }
    }

    pub fn scores(&self) -> Scores {
        let examples = self.examples.max(1) as f64;
        Scores {
            loss: self.loss / examples,
            top1: self.first as f64 / examples,
            top5: self.first_five as f64 / examples,
        }
    }

    pub fn images_per_second(&self) -> f64 {
        self.examples as f64 / self.seconds.max(f64::MIN_POSITIVE)
    }
}
