//! Prints the classification of each photo as soon as the last network of the ensemble has classified it.

use crate::cli;
use alexnet_vgg_core::predict::{Classification, Labels};
use alexnet_vgg_core::printable;
use indicatif::ProgressBar;
use std::error::Error;
use std::path::PathBuf;

/// Collects the classifications of all networks and prints their means.
pub struct Report<'a> {
    photos: &'a [PathBuf],
    labels: &'a Labels,
    json: bool,
    /// Networks that have not finished, including the one that is running.
    networks_left: usize,
    /// The classifications by all networks but the last, by photo.
    earlier: Vec<Vec<Classification>>,
    failed: Vec<(usize, alexnet_vgg_core::Error)>,
    progress: ProgressBar,
}

impl<'a> Report<'a> {
    pub fn new(photos: &'a [PathBuf], labels: &'a Labels, json: bool, networks: usize) -> Self {
        let earlier = if networks > 1 { vec![Vec::new(); photos.len()] } else { Vec::new() };
        let progress = cli::progress::bar(photos.len() * networks);
        Self { photos, labels, json, networks_left: networks, earlier, failed: vec![], progress }
    }

    /// Call this after a network has classified all photos.
    pub fn next_network(&mut self) {
        self.networks_left -= 1;
    }

    /// One network's result for the photo of this index.
    pub fn add(
        &mut self,
        photo: usize,
        result: alexnet_vgg_core::Result<Classification>,
    ) -> Result<(), Box<dyn Error>> {
        self.progress.inc(1);
        // An earlier network has reported this photo.
        if self.failed.iter().any(|(failed, _)| *failed == photo) {
            return Ok(());
        }
        let result = match (result, self.earlier.get_mut(photo)) {
            (Ok(classification), Some(earlier)) => {
                earlier.push(classification);
                if self.networks_left > 1 {
                    return Ok(());
                }
                Classification::mean(&std::mem::take(earlier), self.labels)
            }
            (result, _) => result,
        };
        let name = self.photos[photo].display().to_string();
        let text = match &result {
            Ok(classification) if self.json => json(&name, classification),
            Ok(classification) if self.photos.len() == 1 => in_full(&name, classification),
            Ok(classification) => in_one_line(&name, classification),
            Err(error) if self.json => {
                format!("{}\n", serde_json::json!({ "photo": name, "error": error.to_string() }))
            }
            Err(_) => String::new(),
        };
        self.failed.extend(result.err().map(|error| (photo, error)));
        self.progress.suspend(|| cli::print(text))
    }

    /// Prints which photos could not be classified, and why.
    pub fn finish(self) -> Result<(), Box<dyn Error>> {
        self.progress.finish_and_clear();
        for (photo, error) in &self.failed {
            cli::warn(cli::with_path(&self.photos[*photo], error) + "\n");
        }
        let (failed, all) = (self.failed.len(), self.photos.len());
        if failed > 0 {
            return Err(format!("{failed} of {all} photos could not be classified").into());
        }
        Ok(())
    }
}

fn percent(probability: f32, std_dev: Option<f32>) -> String {
    match std_dev {
        Some(std_dev) => format!("{:6.2}% ± {:.2}", probability * 100.0, std_dev * 100.0),
        None => format!("{:6.2}%", probability * 100.0),
    }
}

fn in_full(photo: &str, classification: &Classification) -> String {
    /// More views than this are left to --json.
    const MAX_VIEWS: usize = 20;
    let mut text = format!("{}\n", printable(photo));
    for prediction in &classification.predictions {
        let percent = percent(prediction.probability, prediction.std_dev);
        text += &format!("  {percent}  {}\n", printable(&prediction.label));
    }
    let (views, agreement) = (&classification.views, classification.agreement * 100.0);
    if views.len() > 1 {
        text += &format!("  {} views; by weight, {agreement:.0}% of them agree:\n", views.len());
        for view in views.iter().take(MAX_VIEWS) {
            let (percent, label) = (percent(view.probability, None), printable(&view.label));
            let (network, name, weight) = (&view.network, &view.view, view.weight);
            text += &format!("    {network} {name:28} {weight:.4} {percent}  {label}\n");
        }
    }
    if let Some(more @ 1..) = views.len().checked_sub(MAX_VIEWS) {
        text += &format!("    and {more} more, see --json\n");
    }
    text
}

fn in_one_line(photo: &str, classification: &Classification) -> String {
    let predictions = classification.predictions.iter().map(|prediction| {
        let percent = percent(prediction.probability, prediction.std_dev);
        format!("{} {}", percent.trim_start(), printable(&prediction.label))
    });
    let predictions = predictions.collect::<Vec<_>>().join(", ");
    let agreement = match classification.views.len() {
        1 => String::new(),
        count => format!("  [{:.0}% of {count} views]", classification.agreement * 100.0),
    };
    format!("{}  {predictions}{agreement}\n", printable(photo))
}

/// A classification as a line of JSON, without the probabilities of all thousand classes.
fn json(photo: &str, classification: &Classification) -> String {
    let line = serde_json::json!({
        "photo": photo,
        "predictions": classification.predictions,
        "agreement": classification.agreement,
        "views": classification.views,
    });
    format!("{line}\n")
}
