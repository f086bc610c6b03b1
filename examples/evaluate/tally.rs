//! Counts right and wrong predictions.

use crate::pictures::Pictures;
use alexnet_vgg::predict::Classification;
use alexnet_vgg::printable;
use alexnet_vgg::train::report::{ConfusionMatrix, Mistake};
use serde::Serialize;
use std::error::Error;
use std::fmt;
use std::path::Path;

/// Confused pairs of classes that are listed.
const MAX_CONFUSIONS: usize = 10;

/// All predictions, and the pictures that could not be classified.
pub struct Tally<'a> {
    pictures: &'a Pictures,
    pub confusion: ConfusionMatrix,
    pub predictions: Vec<Prediction<'a>>,
    pub failed: Vec<(&'a Path, alexnet_vgg::Error)>,
}

/// The prediction for a picture: a line of predictions.csv.
#[derive(Clone, Serialize)]
pub struct Prediction<'a> {
    #[serde(serialize_with = "shown")]
    pub file: &'a Path,
    pub actual: &'a str,
    pub predicted: String,
    /// Of the predicted class, 0 to 1.
    pub probability: f32,
    pub probability_of_actual: f32,
    /// The rank of the actual class among all; 1 is the most probable.
    pub rank_of_actual: usize,
}

/// Some paths are not UTF-8.
fn shown<S: serde::Serializer>(file: &Path, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(&file.display())
}

impl<'a> Tally<'a> {
    pub fn new(pictures: &'a Pictures) -> Self {
        let confusion = ConfusionMatrix::new(pictures.labels.clone());
        Self { pictures, confusion, predictions: Vec::new(), failed: Vec::new() }
    }

    /// Adds the result for the picture with this index.
    pub fn add(
        &mut self,
        picture: usize,
        result: alexnet_vgg::Result<Classification>,
    ) -> Result<(), Box<dyn Error>> {
        let file = self.pictures.files[picture].as_path();
        let actual = self.pictures.classes[picture];
        let classification = match result {
            Ok(classification) => classification,
            Err(error) => {
                self.failed.push((file, error));
                return Ok(());
            }
        };
        let ranked = &classification.predictions;
        let best = &ranked[0];
        let rank = ranked.iter().position(|prediction| prediction.class == actual);
        self.confusion.add(actual, best.class)?;
        self.predictions.push(Prediction {
            file,
            actual: self.pictures.labels.get(actual),
            predicted: best.label.clone(),
            probability: best.probability,
            probability_of_actual: classification.probabilities[actual],
            rank_of_actual: rank.map_or(usize::MAX, |rank| rank + 1),
        });
        Ok(())
    }

    /// How often the actual class was among the `k` most probable ones.
    fn top(&self, k: usize) -> usize {
        self.predictions.iter().filter(|it| it.rank_of_actual <= k).count()
    }

    /// The wrong predictions with the highest probabilities, the highest first.
    pub fn worst(&self, most: usize) -> Vec<Mistake> {
        let mut wrong: Vec<_> =
            self.predictions.iter().filter(|it| it.rank_of_actual > 1).collect();
        wrong.sort_by(|a, b| b.probability.total_cmp(&a.probability));
        let mistake = |it: &Prediction| Mistake {
            file: it.file.into(),
            actual: it.actual.into(),
            predicted: it.predicted.clone(),
            probability: it.probability,
        };
        wrong.into_iter().take(most).map(mistake).collect()
    }

    pub fn json(&self) -> serde_json::Value {
        let all = self.predictions.len();
        let share = |k| self.top(k) as f64 / all as f64;
        let failed = self.failed.iter().map(|(file, error)| {
            serde_json::json!({ "file": file.display().to_string(), "error": error.to_string() })
        });
        serde_json::json!({
            "pictures": all,
            "top1": share(1),
            "top5": share(5),
            "classes": self.confusion.per_class(),
            "confusions": self.confusion.most_confused(MAX_CONFUSIONS),
            "broken": failed.collect::<Vec<_>>(),
        })
    }
}

impl fmt::Display for Tally<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = self.predictions.len();
        // With five classes or fewer, the top-5 accuracy is always 100%.
        for k in [1, 5].into_iter().filter(|&k| k < self.confusion.classes().max(2)) {
            let right = self.top(k);
            let percent = 100.0 * right as f64 / all as f64;
            writeln!(f, "top-{k}  {percent:6.2}%  ({right} of {all})")?;
        }
        if !self.failed.is_empty() {
            writeln!(f, "skipped, because they could not be classified: {}", self.failed.len())?;
        }
        write!(f, "\n{}", self.confusion)?;
        let confusions = self.confusion.most_confused(MAX_CONFUSIONS);
        if !confusions.is_empty() {
            writeln!(f, "\nmost frequent confusions")?;
        }
        for confused in confusions {
            let [actual, predicted] =
                [&confused.actual, &confused.predicted].map(|name| printable(name));
            writeln!(f, "{:>6}  {actual} classified as {predicted}", confused.count)?;
        }
        Ok(())
    }
}
