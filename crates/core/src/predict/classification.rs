//! The classification of a photo: ranked predictions and what they are based on.

use super::ranking::argmax;
use crate::error::{Error, Result};
use crate::vision::Labels;
use serde::Serialize;

/// The classification of a photo by a [`Classifier`](super::Classifier).
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Classification {
    /// The most probable classes, best first. Ties of a vote are broken by the mean probability, other ties
    /// by the index of the class.
    pub predictions: Vec<Prediction>,
    /// The probability of every class, with a sum of 1.
    pub probabilities: Vec<f32>,
    /// Standard deviation of each class's probability over the passes with dropout; empty without
    /// [`McDropout`](super::McDropout).
    pub std_dev: Vec<f32>,
    /// The best class of each view by itself, for each of the networks if there are several.
    pub views: Vec<ViewPrediction>,
    /// The weight of the views whose best class is also the best class overall, 0 to 1.
    pub agreement: f64,
}

/// A class with its label and probability.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Prediction {
    /// Name of the class.
    pub label: String,
    /// Index of the class.
    pub class: usize,
    /// Its probability, 0 to 1.
    pub probability: f32,
    /// Standard deviation of the probability over the passes with dropout; `None` without
    /// [`McDropout`](super::McDropout).
    pub std_dev: Option<f32>,
}

/// The best class of one view.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ViewPrediction {
    /// Name of the network.
    pub network: String,
    /// The [`View`](crate::vision::View), as it is displayed.
    pub view: String,
    /// The view's weight; all weights together are 1.
    pub weight: f64,
    /// Index of the best class.
    pub class: usize,
    /// Name of the best class.
    pub label: String,
    /// Probability of the best class, 0 to 1.
    pub probability: f32,
}

impl Classification {
    /// Ranks the classes by `probabilities`, and by `tie_breakers` where these are equal.
    pub(super) fn new(
        labels: &Labels,
        top_k: usize,
        [probabilities, tie_breakers]: [&[f64]; 2],
        std_dev: Vec<f32>,
        views: Vec<ViewPrediction>,
    ) -> Self {
        let mut order: Vec<usize> = (0..probabilities.len()).collect();
        let by = |values: &[f64], a: usize, b: usize| values[b].total_cmp(&values[a]);
        order.sort_by(|&a, &b| by(probabilities, a, b).then(by(tie_breakers, a, b)));
        let probabilities: Vec<f32> = probabilities.iter().map(|&p| p as f32).collect();
        let predictions: Vec<Prediction> = (order.iter().take(top_k))
            .map(|&class| Prediction {
                label: labels.get(class).into(),
                class,
                probability: probabilities[class],
                std_dev: std_dev.get(class).copied(),
            })
            .collect();
        let first = order.first();
        let agreeing = views.iter().filter(|view| Some(&view.class) == first);
        let agreement = agreeing.map(|view| view.weight).sum::<f64>().clamp(0.0, 1.0);
        Self { predictions, probabilities, std_dev, views, agreement }
    }

    /// The classification by an ensemble (AlexNet paper, section 6; VGG paper, section 4.5): the mean of the
    /// probabilities that several networks gave for the same photo. The networks can classify one after the
    /// other, so only one of them needs to be in memory. The result has no standard deviations.
    ///
    /// # Errors
    /// [`Error::Setting`] without classifications, or if they differ in the number of classes;
    /// [`Error::LabelsMismatch`] if `labels` has another number.
    pub fn mean(classifications: &[Self], labels: &Labels) -> Result<Self> {
        let counts: Vec<usize> = classifications.iter().map(|c| c.probabilities.len()).collect();
        let classes = counts.first().copied().unwrap_or(0);
        if classes == 0 || counts.iter().any(|&count| count != classes) {
            return Err(Error::Setting {
                place: "ensemble".into(),
                expected: "classifications by networks with the same classes".into(),
                found: format!("{counts:?} classes"),
            });
        }
        labels.expect_classes(classes)?;
        let count = classifications.len() as f64;
        let mean = |class: usize| {
            classifications.iter().map(|c| f64::from(c.probabilities[class])).sum::<f64>() / count
        };
        let views = classifications.iter().flat_map(|c| &c.views);
        let views =
            views.map(|view| ViewPrediction { weight: view.weight / count, ..view.clone() });
        let top_k = classifications.iter().map(|c| c.predictions.len()).max().unwrap_or(0);
        let probabilities: Vec<f64> = (0..classes).map(mean).collect();
        Ok(Self::new(labels, top_k, [&probabilities; 2], Vec::new(), views.collect()))
    }
}

impl ViewPrediction {
    /// The best class of a view, given the probabilities of all classes.
    pub(super) fn new(
        labels: &Labels,
        [network, view]: [String; 2],
        weight: f64,
        probabilities: &[f64],
    ) -> Self {
        let class = argmax(probabilities);
        let probability = probabilities.get(class).map_or(0.0, |&p| p as f32);
        Self { network, view, weight, class, label: labels.get(class).into(), probability }
    }
}
