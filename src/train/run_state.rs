//! The state of a run: everything that a checkpoint contains besides tensors.
//!
//! There is no state of random generators in it: order, augmentation and dropout are functions of the seed, the
//! epoch and the example, so the position in the epoch is enough.

use super::Recipe;
use super::history::{Epoch, History, Scores};
use super::schedule::{Plateau, Time};
use super::totals::EpochTotals;
use crate::models::{Architecture, Table};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::Path;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct RunState {
    version: String,
    /// The network that is trained.
    network: Architecture,
    data: Vec<(String, String)>,
    /// Batches of the current epoch that are done.
    pub batch: u64,
    /// Optimizer steps since the start of the run.
    pub steps: u64,
    /// Of the current epoch so far.
    pub totals: EpochTotals,
    pub recipe: Recipe,
    /// The epochs that are finished.
    pub history: History,
}

impl RunState {
    pub fn new(architecture: &Architecture, recipe: &Recipe, data: Vec<(String, String)>) -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION").into(),
            network: architecture.clone(),
            data,
            batch: 0,
            steps: 0,
            totals: EpochTotals::default(),
            recipe: recipe.clone(),
            history: History::default(),
        }
    }

    #[cfg(test)]
    pub fn with_version(self, version: &str) -> Self {
        Self { version: version.into(), ..self }
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
            expected: "values that TOML can express".into(),
            found: error.to_string(),
        })
    }

    /// `Ok` if `saved`, read from `path`, is a state of the same run.
    ///
    /// # Errors
    /// [`Error::OtherRun`] with every difference.
    pub fn expect_same(&self, saved: &Self, path: &Path) -> Result<()> {
        let differences = self.differences(saved, "was")?;
        if differences.is_empty() {
            return Ok(());
        }
        Err(Error::OtherRun { path: path.into(), differences })
    }

    /// How this state's run differs from another one's, a line for each difference; `was` introduces the
    /// other's value.
    pub fn differences(&self, other: &Self, was: &str) -> Result<Vec<String>> {
        let mut differences = Vec::new();
        let mut compare = |what: &str, ours: &str, theirs: &str| {
            if ours != theirs {
                differences.push(format!("{what}: {ours}, {was} {theirs}"));
            }
        };
        compare("version", &self.version, &other.version);
        let layers = |of: &Self| -> Vec<(String, String)> {
            let Table { features, classifier, .. } = of.network.table();
            let all = [("features", features), ("classifier", classifier)];
            let listed = all.into_iter().flat_map(|(section, layers)| {
                layers
                    .iter()
                    .enumerate()
                    .map(move |(index, layer)| (format!("{section}.{index}"), layer.to_string()))
            });
            [("network".into(), of.network.name.clone())].into_iter().chain(listed).collect()
        };
        let (mut ours, mut theirs) = (layers(self), layers(other));
        ours.extend(self.data.clone());
        theirs.extend(other.data.clone());
        let value = |of: &[(String, String)], name: &str| {
            let found = of.iter().find(|(known, _)| known == name);
            found.map_or_else(|| "nothing".to_string(), |(_, value)| value.clone())
        };
        let names: BTreeSet<&String> = ours.iter().chain(&theirs).map(|(name, _)| name).collect();
        for name in names {
            compare(name, &value(&ours, name), &value(&theirs, name));
        }
        let recipe = self.recipe.differences(&other.recipe, was)?;
        differences.extend(recipe.into_iter().map(|line| format!("recipe: {line}")));
        Ok(differences)
    }

    /// The number of finished epochs.
    pub fn epoch(&self) -> usize {
        self.history.epochs.len()
    }

    /// The learning rate of the next step, with `batches` in an epoch.
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
        self.history.epochs.iter().for_each(|epoch| plateau.update(schedule, &epoch.valid));
        self.recipe.rate * schedule.factor(time, &plateau)
    }

    /// Ends the current epoch with its validation scores.
    pub fn end_epoch(&mut self, valid: Scores) {
        let totals = std::mem::take(&mut self.totals);
        self.history.epochs.push(Epoch {
            epoch: self.epoch() + 1,
            steps: self.steps,
            rate: totals.rate,
            train: totals.scores(),
            valid,
            images_per_second: totals.images_per_second(),
            waited: totals.fraction_of_time(totals.waited),
            waited_for_others: totals.fraction_of_time(totals.waited_for_others),
            exchanged: totals.fraction_of_time(totals.exchanged),
            exchanged_bytes: totals.bytes,
        });
        self.batch = 0;
    }
}
