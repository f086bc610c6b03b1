//! Sets up a [`Classifier`] and checks its options.

use super::classifier::{Classifier, ClassifierOptions};
use super::fusion::Fusion;
use super::mc_dropout::McDropout;
use super::model::Model;
use super::softmax::Outputs;
use crate::error::{Error, Result};
use crate::vision::{Crop, Labels, Preset, Views};

/// Builds a [`Classifier`]; [`build`](Self::build) checks the options.
#[must_use]
pub struct ClassifierBuilder {
    model: Box<dyn Model>,
    preset: Option<Preset>,
    views: Views,
    fusion: Fusion,
    outputs: Outputs,
    labels: Option<Labels>,
    top_k: usize,
    dropout: Option<McDropout>,
}

impl Classifier {
    /// A classifier that uses this network: a [`Compiled`](crate::engine::Compiled), or any other
    /// [`Model`].
    pub fn builder(model: impl Model + 'static) -> ClassifierBuilder {
        ClassifierBuilder {
            model: Box::new(model),
            preset: None,
            views: Views::center(),
            fusion: Fusion::default(),
            outputs: Outputs::Classes,
            labels: None,
            top_k: 5,
            dropout: None,
        }
    }
}

impl ClassifierBuilder {
    /// How photos are preprocessed. Default: the preset in the weights' metadata, or else
    /// [`Preset::imagenet`]. A network of one input channel takes gray photos: see [`Preset::for_channels`].
    pub fn preset(self, preset: Preset) -> Self {
        Self { preset: Some(preset), ..self }
    }

    /// Which views of each photo are classified. Default: [`Views::center`].
    pub fn views(self, views: Views) -> Self {
        Self { views, ..self }
    }

    /// How the predictions for the views are combined. Default: the mean of their probabilities.
    pub fn fusion(self, fusion: Fusion) -> Self {
        Self { fusion, ..self }
    }

    /// For a network whose outputs are labels, of which a photo may have any number, trained with a sigmoid for each:
    /// the probability of a label is the sigmoid of its output, and the probabilities do not sum to 1. Default:
    /// classes, of which a photo has one.
    pub fn multi_label(self) -> Self {
        Self { outputs: Outputs::Labels, ..self }
    }

    /// The names of the classes. Default: the labels in the weights' metadata, or else
    /// [`Labels::for_classes`].
    pub fn labels(self, labels: Labels) -> Self {
        Self { labels: Some(labels), ..self }
    }

    /// How many of the most probable classes are reported, at least 1. Default: 5.
    pub fn top_k(self, top_k: usize) -> Self {
        Self { top_k, ..self }
    }

    /// Enables Monte Carlo dropout: probabilities are means over several passes with dropout, with
    /// their standard deviations. It cannot be combined with dense evaluation.
    pub fn dropout(self, dropout: McDropout) -> Self {
        Self { dropout: Some(dropout), ..self }
    }

    /// Builds the classifier.
    ///
    /// # Errors
    /// [`Error::PresetMismatch`] for a preset other than the one that the weights were trained
    /// with; [`Error::LabelsMismatch`] if there is not one label for each class; [`Error::Setting`]
    /// for views that do not fit the preset, a `top_k` of 0, dropout combined with dense evaluation, and
    /// [labels](Self::multi_label) combined with a fusion that is neither of the means, or with a single output
    /// (which distinguishes two classes).
    pub fn build(self) -> Result<Classifier> {
        let (metadata, architecture) = (self.model.metadata(), self.model.architecture());
        let preset = metadata.preset_for(self.preset, architecture)?;
        preset.expect_views(&self.views)?;
        let classes = self.model.architecture().num_classes();
        let labels = self.labels.or(metadata.labels.clone());
        let labels = labels.unwrap_or_else(|| Labels::for_classes(classes));
        labels.expect_classes(classes)?;
        if self.outputs == Outputs::Labels {
            expect_labels(classes, self.fusion)?;
        }
        if self.top_k == 0 {
            return Err(Error::Setting {
                place: "top_k".into(),
                expected: "at least 1".into(),
                found: "0".into(),
            });
        }
        if let Some(dropout) = self.dropout {
            dropout.validate()?;
            if self.views.as_slice().iter().any(|view| view.crop == Crop::Whole) {
                return Err(Error::Setting {
                    place: "passes with dropout (`--mc-dropout`)".into(),
                    expected: "views that are square crops".into(),
                    found: "dense evaluation".into(),
                });
            }
        }
        let (weights, views) = (self.views.normalized_weights(), self.views);
        let (fusion, top_k, dropout) = (self.fusion, self.top_k, self.dropout);
        let outputs = self.outputs;
        let options =
            ClassifierOptions { preset, views, weights, fusion, outputs, labels, top_k, dropout };
        Ok(Classifier { model: self.model, options })
    }
}

/// Checks that a network with so many outputs can have labels that are combined in this way.
fn expect_labels(outputs: usize, fusion: Fusion) -> Result<()> {
    let wrong = |expected: &str, found: String| {
        Err(Error::Setting { place: "multi-label".into(), expected: expected.into(), found })
    };
    if outputs == 1 {
        return wrong("a network with an output for each label", "a single output".into());
    }
    if !fusion.takes_labels() {
        return wrong("the fusion mean-probability or mean-logit", fusion.to_string());
    }
    Ok(())
}
