//! The answer of `/v1/classify`, as JSON.

use crate::problem::ProblemDetails;
use alexnet_vgg_core::predict::Classification;
use serde::Serialize;
use std::time::Duration;

#[derive(Serialize)]
pub struct Answer {
    /// The name of the network.
    pub model: String,
    /// In the order of the request.
    pub results: Vec<PictureResult>,
}

#[derive(Serialize)]
#[serde(untagged)]
pub enum PictureResult {
    Classified(Box<Classified>),
    Failed { name: Option<String>, error: ProblemDetails },
}

#[derive(Serialize)]
pub struct Classified {
    /// The file's name, if it came in a form.
    pub name: Option<String>,
    pub width: u32,
    pub height: u32,
    pub predictions: Vec<Prediction>,
    /// The weight of the views whose best class is the best one overall; only of several views.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agreement: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub heatmap: Option<HeatMapAnswer>,
    pub timing_ms: Timing,
    /// The pictures and views that were computed together.
    pub batch_size: usize,
}

#[derive(Serialize)]
pub struct Prediction {
    pub index: usize,
    pub label: String,
    pub probability: f32,
}

#[derive(Serialize)]
pub struct HeatMapAnswer {
    /// A `data:` address.
    pub png: String,
    /// The class that it shows.
    pub label: String,
}

/// In milliseconds.
#[derive(Serialize)]
pub struct Timing {
    /// Decoding, resizing, normalizing.
    pub decode: f64,
    /// Waiting for the network.
    pub queue: f64,
    pub compute: f64,
    /// Since the request was read.
    pub total: f64,
}

/// In milliseconds, to a microsecond.
pub fn milliseconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

/// The classes of a classification.
pub fn predictions(classification: &Classification) -> Vec<Prediction> {
    let predictions = classification.predictions.iter();
    predictions
        .map(|it| Prediction {
            index: it.class,
            label: it.label.clone(),
            probability: it.probability,
        })
        .collect()
}
