//! What is said about each photo, as soon as all networks have seen it.

use crate::cli;
use alexnet_vgg::predict::{Answer, Labels};
use alexnet_vgg::printable;
use indicatif::{ProgressBar, ProgressStyle};
use std::error::Error;
use std::path::{Path, PathBuf};

/// Collects the networks' answers, and speaks when the last of them has answered.
pub struct Speaker<'a> {
    photos: &'a [PathBuf],
    labels: &'a Labels,
    json: bool,
    /// Networks that are still to come, the one at work included.
    networks_left: usize,
    /// Of all networks but the last, by photo.
    earlier: Vec<Vec<Answer>>,
    failed: Vec<(usize, alexnet_vgg::Error)>,
    progress: ProgressBar,
}

impl<'a> Speaker<'a> {
    pub fn new(photos: &'a [PathBuf], labels: &'a Labels, json: bool, networks: usize) -> Self {
        let progress = match photos.len() * networks {
            1 => ProgressBar::hidden(),
            steps => ProgressBar::new(steps as u64),
        };
        // Constant, so it is right.
        if let Ok(style) =
            ProgressStyle::with_template("{bar:40} {pos} of {len}, {per_sec}, {eta} left")
        {
            progress.set_style(style);
        }
        let earlier = match networks {
            1 => Vec::new(),
            _ => vec![Vec::new(); photos.len()],
        };
        Self {
            photos,
            labels,
            json,
            networks_left: networks,
            earlier,
            failed: Vec::new(),
            progress,
        }
    }

    /// A network has seen all photos.
    pub fn next_network(&mut self) {
        self.networks_left -= 1;
    }

    /// A network's answer to a photo.
    pub fn hears(
        &mut self,
        photo: usize,
        answer: alexnet_vgg::Result<Answer>,
    ) -> Result<(), Box<dyn Error>> {
        self.progress.inc(1);
        // One of the networks before has said why not.
        if self.failed.iter().any(|(known, _)| *known == photo) {
            return Ok(());
        }
        let answer = match (answer, self.earlier.get_mut(photo)) {
            (Ok(answer), Some(answers)) => {
                answers.push(answer);
                match self.networks_left {
                    1 => Answer::mean(&std::mem::take(answers), self.labels),
                    _ => return Ok(()),
                }
            }
            (answer, _) => answer,
        };
        match answer {
            Ok(answer) => self.says(&self.photos[photo], &answer),
            Err(error) => {
                if self.json {
                    let line = serde_json::json!({
                        "photo": self.photos[photo].display().to_string(),
                        "error": error.to_string(),
                    });
                    self.progress.suspend(|| cli::print(format!("{line}\n")))?;
                }
                self.failed.push((photo, error));
                Ok(())
            }
        }
    }

    fn says(&self, photo: &Path, answer: &Answer) -> Result<(), Box<dyn Error>> {
        let photo = photo.display().to_string();
        let text = match (self.json, self.photos.len()) {
            (true, _) => json(&photo, answer)?,
            (false, 1) => in_full(&photo, answer),
            (false, _) => in_a_line(&photo, answer),
        };
        self.progress.suspend(|| cli::print(text))
    }

    /// What could not be answered, all at the end.
    pub fn finish(self) -> Result<(), Box<dyn Error>> {
        self.progress.finish_and_clear();
        for (photo, error) in &self.failed {
            let photo = self.photos[*photo].display().to_string();
            cli::complain(format!("{}: {error}\n", printable(&photo)));
        }
        match self.failed.len() {
            0 => Ok(()),
            count => {
                let all = self.photos.len();
                Err(format!("{count} of {all} photos could not be classified").into())
            }
        }
    }
}

fn percent(probability: f32, spread: Option<f32>) -> String {
    match spread {
        Some(spread) => format!("{:6.2} % ± {:.2}", probability * 100.0, spread * 100.0),
        None => format!("{:6.2} %", probability * 100.0),
    }
}

fn in_full(photo: &str, answer: &Answer) -> String {
    let mut text = format!("{}\n", printable(photo));
    for guess in &answer.ranked {
        let percent = percent(guess.probability, guess.spread);
        text += &format!("  {percent}  {}\n", printable(&guess.label));
    }
    if answer.views.len() > 1 {
        let agreement = answer.agreement * 100.0;
        text +=
            &format!("  {} views, {agreement:.0} % of their weight agree:\n", answer.views.len());
        // Of 150 nobody reads all.
        const SHOWN: usize = 20;
        for view in answer.views.iter().take(SHOWN) {
            let percent = percent(view.probability, None);
            let (name, label) = (&view.view, printable(&view.label));
            text +=
                &format!("    {} {name:28} {:.4} {percent}  {label}\n", view.network, view.weight);
        }
        if let Some(more @ 1..) = answer.views.len().checked_sub(SHOWN) {
            text += &format!("    and {more} more, see --json\n");
        }
    }
    text
}

fn in_a_line(photo: &str, answer: &Answer) -> String {
    let guesses = answer.ranked.iter().map(|guess| {
        let percent = percent(guess.probability, guess.spread);
        format!("{} {}", percent.trim_start(), printable(&guess.label))
    });
    let agreement = match answer.views.len() {
        1 => String::new(),
        count => format!("  [{:.0} % of {count} views]", answer.agreement * 100.0),
    };
    let photo = printable(photo);
    format!("{photo}  {}{agreement}\n", guesses.collect::<Vec<_>>().join(", "))
}

/// Without the probabilities of all classes, which nobody reads a thousand of.
fn json(photo: &str, answer: &Answer) -> Result<String, Box<dyn Error>> {
    let line = serde_json::json!({
        "photo": photo,
        "ranked": answer.ranked,
        "agreement": answer.agreement,
        "views": answer.views,
    });
    Ok(format!("{line}\n"))
}
