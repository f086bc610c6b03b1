//! What a classifier says about a photo.

use super::Labels;
use super::fusion::best;
use crate::error::{Error, Result};
use serde::Serialize;

/// What a [`Classifier`](super::Classifier) says about a photo.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Answer {
    /// The most probable classes, best first; of equal shares of a vote that with the larger mean
    /// probability first, of equal ones that with the smaller index.
    pub ranked: Vec<Guess>,
    /// Of every class; together 1.
    pub probabilities: Vec<f32>,
    /// Standard deviation of each of them between passes with dropout; empty without.
    pub spread: Vec<f32>,
    /// What each view says by itself; with several networks, of each of them.
    pub views: Vec<Opinion>,
    /// Share of the views, by weight, whose best class is that of the whole answer.
    pub agreement: f64,
}

/// A class that the network considers.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Guess {
    /// Its name.
    pub label: String,
    /// Its index.
    pub class: usize,
    /// 0 to 1.
    pub probability: f32,
    /// Standard deviation of the probability between passes with dropout.
    pub spread: Option<f32>,
}

/// What one view says.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Opinion {
    /// Which network: its name.
    pub network: String,
    /// Which view: its `Display`.
    pub view: String,
    /// Its share in the answer; all together 1.
    pub weight: f64,
    /// Its best class.
    pub class: usize,
    /// That one's name.
    pub label: String,
    /// That one's probability.
    pub probability: f32,
}

impl Answer {
    /// Ranked by the probabilities, and where they are equal by the second values.
    pub(super) fn new(
        labels: &Labels,
        top_k: usize,
        [probabilities, second]: [&[f64]; 2],
        spread: Vec<f32>,
        views: Vec<Opinion>,
    ) -> Self {
        let mut order: Vec<usize> = (0..probabilities.len()).collect();
        let by = |values: &[f64], a: usize, b: usize| values[b].total_cmp(&values[a]);
        order.sort_by(|&a, &b| by(probabilities, a, b).then(by(second, a, b)));
        let probabilities: Vec<f32> = probabilities.iter().map(|&p| p as f32).collect();
        let ranked: Vec<Guess> = (order.iter().take(top_k))
            .map(|&class| Guess {
                label: labels.get(class).into(),
                class,
                probability: probabilities[class],
                spread: spread.get(class).copied(),
            })
            .collect();
        let first = order.first();
        let agreeing = views.iter().filter(|view| Some(&view.class) == first);
        let agreement = agreeing.map(|view| view.weight).sum::<f64>().min(1.0);
        Self { ranked, probabilities, spread, views, agreement }
    }

    /// The answer of an ensemble (AlexNet paper, section 6; VGG paper, section 4.5): the mean of the
    /// probabilities of several networks that saw the same photo. So an ensemble needs one of them in
    /// memory at a time. Spreads are of single networks, and not in it.
    ///
    /// # Errors
    /// [`Error::Setting`] for no answers, or answers with different numbers of classes.
    pub fn mean(answers: &[Self], labels: &Labels) -> Result<Self> {
        let classes = answers.first().map_or(0, |answer| answer.probabilities.len());
        let alike = |answer: &Self| answer.probabilities.len() == classes;
        if classes == 0 || !answers.iter().all(alike) {
            return Err(Error::Setting {
                place: "ensemble".into(),
                expected: "answers of networks with the same classes".into(),
                found: format!(
                    "{:?} classes",
                    answers.iter().map(|answer| answer.probabilities.len()).collect::<Vec<_>>()
                ),
            });
        }
        labels.expect_classes(classes)?;
        let count = answers.len() as f64;
        let mean = |class: usize| {
            answers.iter().map(|a| f64::from(a.probabilities[class])).sum::<f64>() / count
        };
        let views = answers.iter().flat_map(|answer| &answer.views);
        let views = views.map(|view| Opinion { weight: view.weight / count, ..view.clone() });
        let top_k = answers.iter().map(|answer| answer.ranked.len()).max().unwrap_or(0);
        let probabilities: Vec<f64> = (0..classes).map(mean).collect();
        Ok(Self::new(labels, top_k, [&probabilities; 2], Vec::new(), views.collect()))
    }
}

impl Opinion {
    pub(super) fn new(
        labels: &Labels,
        [network, view]: [String; 2],
        weight: f64,
        probabilities: &[f64],
    ) -> Self {
        let class = best(probabilities);
        let probability = probabilities.get(class).map_or(0.0, |&p| p as f32);
        Self { network, view, weight, class, label: labels.get(class).into(), probability }
    }
}
