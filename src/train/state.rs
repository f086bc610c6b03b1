//! Where a run is and how it went: all that a checkpoint holds beside tensors.
//!
//! Nothing random is in it: order, augmentation and dropout are drawn from (seed, epoch, example), so the
//! place in the epoch is all there is to know.

use super::Recipe;
use super::history::{Epoch, History, Scores};
use super::processes::Processes;
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
#[serde(default)]
pub(super) struct Sums {
    loss: f64,
    first: u64,
    first_five: u64,
    pub examples: u64,
    /// Of the steps.
    pub seconds: f64,
    /// Of these, without data.
    pub waited: f64,
    /// Of these, for processes that were not as far.
    pub waited_for_others: f64,
    /// Of these, while gradients were added up over processes.
    pub exchanged: f64,
    /// Of gradients that were added up over processes.
    pub bytes: u64,
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
        let differences = self.differences(saved, "was")?;
        match differences.is_empty() {
            true => Ok(()),
            false => Err(Error::OtherRun { path: path.into(), differences }),
        }
    }

    /// `Ok` if all processes begin the same run.
    ///
    /// # Errors
    /// [`Error::Process`] with every difference of the first one that has another.
    pub fn expect_everywhere(&self, processes: &dyn Processes) -> Result<()> {
        let texts = processes.gather(processes.agree(self.to_toml())?.as_bytes())?;
        let all = texts.iter().enumerate().map(|(rank, text)| {
            let place = format!("process {rank} ({})", processes.place(rank));
            Self::parse(Path::new(&place), &String::from_utf8_lossy(text))
        });
        let all = all.collect::<Result<Vec<Self>>>()?;
        for (rank, own) in all.iter().enumerate() {
            let mut differences = own.differences(&all[0], "in process 0")?;
            let (epochs, first) = (own.recipe.epochs, all[0].recipe.epochs);
            if epochs != first {
                differences.push(format!("recipe: epochs: {epochs}, in process 0 {first}"));
            }
            if !differences.is_empty() {
                let place = processes.place(rank);
                let reason = format!("it is another run: {}", differences.join("; "));
                return Err(Error::Process { rank, place, reason });
            }
        }
        Ok(())
    }

    fn differences(&self, saved: &Self, was: &str) -> Result<Vec<String>> {
        let mut differences = Vec::new();
        let mut compare = |what: &str, ours: &str, theirs: &str| {
            if ours != theirs {
                differences.push(format!("{what}: {ours}, {was} {theirs}"));
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
        let recipe = self.recipe.differences(&saved.recipe, was)?;
        differences.extend(recipe.into_iter().map(|line| format!("recipe: {line}")));
        Ok(differences)
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
            waited: sums.part_of_time(sums.waited),
            waited_for_others: sums.part_of_time(sums.waited_for_others),
            exchanged: sums.part_of_time(sums.exchanged),
            exchanged_bytes: sums.bytes,
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

    /// What is not of time, as numbers: those of counts are exact.
    pub fn of_examples(&self) -> [f64; 4] {
        let counts = [self.first, self.first_five, self.examples].map(|count| count as f64);
        [self.loss, counts[0], counts[1], counts[2]]
    }

    pub fn from_examples([loss, first, first_five, examples]: [f64; 4]) -> Self {
        let [first, first_five, examples] = [first, first_five, examples].map(|count| count as u64);
        Self { loss, first, first_five, examples, ..Self::default() }
    }

    /// Adds other examples.
    pub fn add_examples(&mut self, other: &Self) {
        self.loss += other.loss;
        self.first += other.first;
        self.first_five += other.first_five;
        self.examples += other.examples;
    }

    fn part_of_time(&self, seconds: f64) -> f64 {
        seconds / self.seconds.max(f64::MIN_POSITIVE)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::NetworkConfig;
    use crate::train::processes::Threads;

    #[test]
    fn processes_with_other_versions_data_or_recipes_are_named() {
        let recipe = Recipe::by_name("alexnet-2012").expect("known");
        let table = NetworkConfig::by_name("alexnet").expect("known").architecture();
        let files = |hash: &str| vec![("training set: files".to_string(), hash.to_string())];
        let here = State::new(&table, &recipe, files("abc"));
        let refused = |there: State| {
            let processes = Threads::new(vec!["here".into(), "there".into()]);
            let errors = std::thread::scope(|scope| {
                let states = [&here, &there];
                let running: Vec<_> = (processes.into_iter().zip(states))
                    .map(|(process, state)| scope.spawn(move || state.expect_everywhere(&process)))
                    .collect();
                let errors = running.into_iter().map(|thread| thread.join().expect("no panic"));
                errors.map(|error| error.map_err(|error| error.to_string())).collect::<Vec<_>>()
            });
            // All of them know why.
            assert_eq!(errors[0], errors[1]);
            errors[0].clone()
        };
        assert_eq!(refused(here.clone()), Ok(()));
        let other = "process 1 (there): it is another run: ";
        let version = State { version: "9.9.9".into(), ..here.clone() };
        let ours = env!("CARGO_PKG_VERSION");
        assert_eq!(refused(version), Err(format!("{other}version: 9.9.9, in process 0 {ours}")));
        let data = State::new(&table, &recipe, files("def"));
        let says = "training set: files: def, in process 0 abc";
        assert_eq!(refused(data), Err(format!("{other}{says}")));
        let recipe = Recipe { rate: 0.5, epochs: 7, ..recipe };
        let error = refused(State::new(&table, &recipe, files("abc"))).expect_err("another recipe");
        assert!(error.contains("rate: 0.5, in process 0 0.01"), "{error}");
        assert!(error.contains("epochs: 7, in process 0 90"), "{error}");
    }
}
