//! What the network said, counted.

use crate::pictures::Pictures;
use alexnet_vgg::predict::Answer;
use alexnet_vgg::printable;
use alexnet_vgg::train::report::{Confusion, Mistake};
use serde::Serialize;
use std::error::Error;
use std::fmt;
use std::path::Path;

/// Pairs of classes that are told.
const MIXUPS: usize = 10;

/// All answers, and the pictures that had none.
pub struct Tally<'a> {
    pictures: &'a Pictures,
    pub confusion: Confusion,
    pub predictions: Vec<Prediction<'a>>,
    pub broken: Vec<(&'a Path, alexnet_vgg::Error)>,
}

/// The answer to a picture: a line of predictions.csv.
#[derive(Clone, Serialize)]
pub struct Prediction<'a> {
    #[serde(serialize_with = "shown")]
    pub file: &'a Path,
    pub actual: &'a str,
    pub predicted: String,
    /// Of what was predicted, 0 to 1.
    pub probability: f32,
    pub probability_of_actual: f32,
    /// Of the actual class among all, from 1 on.
    pub rank_of_actual: usize,
}

/// Not all paths are text.
fn shown<S: serde::Serializer>(file: &Path, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(&file.display())
}

impl<'a> Tally<'a> {
    pub fn new(pictures: &'a Pictures) -> Self {
        let confusion = Confusion::new(pictures.labels.clone());
        Self { pictures, confusion, predictions: Vec::new(), broken: Vec::new() }
    }

    /// The answer to the picture at an index.
    pub fn add(
        &mut self,
        picture: usize,
        answer: alexnet_vgg::Result<Answer>,
    ) -> Result<(), Box<dyn Error>> {
        let file = self.pictures.files[picture].as_path();
        let actual = self.pictures.classes[picture];
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => {
                self.broken.push((file, error));
                return Ok(());
            }
        };
        let best = &answer.ranked[0];
        let rank = answer.ranked.iter().position(|guess| guess.class == actual);
        self.confusion.add(actual, best.class)?;
        self.predictions.push(Prediction {
            file,
            actual: self.pictures.labels.get(actual),
            predicted: best.label.clone(),
            probability: best.probability,
            probability_of_actual: answer.probabilities[actual],
            rank_of_actual: rank.map_or(usize::MAX, |rank| rank + 1),
        });
        Ok(())
    }

    /// How often the actual class was among the first so many.
    fn among(&self, first: usize) -> usize {
        self.predictions.iter().filter(|it| it.rank_of_actual <= first).count()
    }

    /// What the network was surest of and wrong, the surest first.
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
        let part = |first| self.among(first) as f64 / all as f64;
        let broken = self.broken.iter();
        let broken = broken
            .map(|(file, error)| serde_json::json!({ "file": file.display().to_string(), "error": error.to_string() }));
        serde_json::json!({
            "pictures": all,
            "top1": part(1),
            "top5": part(5),
            "classes": self.confusion.per_class(),
            "confusions": self.confusion.mixups(MIXUPS),
            "broken": broken.collect::<Vec<_>>(),
        })
    }
}

impl fmt::Display for Tally<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = self.predictions.len();
        // Among five classes nobody misses one.
        let ranks = [1, 5].into_iter().filter(|&rank| rank < self.confusion.classes().max(2));
        for rank in ranks {
            let right = self.among(rank);
            let percent = 100.0 * right as f64 / all as f64;
            writeln!(f, "top-{rank}  {percent:6.2} %  ({right} of {all})")?;
        }
        if !self.broken.is_empty() {
            writeln!(f, "left out, as they could not be classified: {}", self.broken.len())?;
        }
        write!(f, "\n{}", self.confusion)?;
        let mixups = self.confusion.mixups(MIXUPS);
        if !mixups.is_empty() {
            writeln!(f, "\nmost frequent confusions")?;
        }
        for mixup in mixups {
            let [actual, predicted] = [&mixup.actual, &mixup.predicted].map(|name| printable(name));
            writeln!(f, "{:>6}  {actual} taken for {predicted}", mixup.count)?;
        }
        Ok(())
    }
}
