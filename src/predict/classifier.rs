//! Photos in, ranked labels out.

use super::answer::{Answer, Opinion};
use super::dropout::McDropout;
use super::fusion::{Fusion, softmax};
use super::{HeatMap, Labels, Model};
use crate::engine::Values;
use crate::error::{Error, Result};
use crate::vision::{self, Crop, Pose, Preset, RgbImage, Shown, View, Views};
use std::path::Path;

/// A network with all that it takes from a photo to a label.
///
/// ```
/// use alexnet_vgg::engine::Precision;
/// use alexnet_vgg::models::VggConfig;
/// use alexnet_vgg::predict::Classifier;
/// use alexnet_vgg::vision::{RgbImage, Views};
/// # use alexnet_vgg::backend::Cpu;
///
/// # let config = VggConfig::vgg11().with_width(0.05).with_num_classes(10); // untrained
/// # let model = config.init::<Cpu>(&Default::default()).compile(Precision::F32)?;
/// // model: Compiled::load(VggConfig::vgg16(), "vgg16.pth", Precision::F32)?, or a Vgg<B>
/// let classifier = Classifier::builder(model).views(Views::ten_crop()).build()?;
/// let photo = RgbImage::new(500, 375); // or vision::decode_file("photo.jpg")?
/// let answer = classifier.classify(&photo)?;
/// let best = &answer.ranked[0];
/// println!("{:.1} %  {}", best.probability * 100.0, best.label);
/// println!("{:.0} % of {} views say so", answer.agreement * 100.0, answer.views.len());
/// # assert_eq!(answer.views.len(), 10);
/// # Ok::<(), alexnet_vgg::Error>(())
/// ```
pub struct Classifier {
    pub(super) model: Box<dyn Model>,
    pub(super) settings: Settings,
}

/// All of a classifier but its network: made once, checked, for one network after the other.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub preset: Preset,
    pub views: Views,
    pub weights: Vec<f64>,
    fusion: Fusion,
    labels: Labels,
    top_k: usize,
    dropout: Option<McDropout>,
}

/// Makes a [`Classifier`]; [`build`](Self::build) checks it.
#[must_use]
pub struct ClassifierBuilder {
    model: Box<dyn Model>,
    preset: Option<Preset>,
    views: Views,
    fusion: Fusion,
    labels: Option<Labels>,
    top_k: usize,
    dropout: Option<McDropout>,
}

impl std::fmt::Debug for Classifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Classifier")
            .field("network", &self.model.architecture().name)
            .field("settings", &self.settings)
            .finish()
    }
}

impl ClassifierBuilder {
    /// How photos become input. Default: as the weights' file says, or [`Preset::imagenet`].
    pub fn preset(self, preset: Preset) -> Self {
        Self { preset: Some(preset), ..self }
    }

    /// What is shown of each photo. Default: [`Views::center`].
    pub fn views(self, views: Views) -> Self {
        Self { views, ..self }
    }

    /// How the views' answers become one. Default: the mean of their probabilities.
    pub fn fusion(self, fusion: Fusion) -> Self {
        Self { fusion, ..self }
    }

    /// The names of the classes. Default: as the weights' file says, or [`Labels::for_classes`].
    pub fn labels(self, labels: Labels) -> Self {
        Self { labels: Some(labels), ..self }
    }

    /// How many classes are ranked. Default: 5.
    pub fn top_k(self, top_k: usize) -> Self {
        Self { top_k, ..self }
    }

    /// Dropout stays on, for several passes: probabilities become their means, with spreads. Not for
    /// dense evaluation.
    pub fn dropout(self, dropout: McDropout) -> Self {
        Self { dropout: Some(dropout), ..self }
    }

    /// The classifier.
    ///
    /// # Errors
    /// [`Error::Setting`] for a preset other than the one that the weights were trained with, views that
    /// do not fit it, another number of labels than classes, a `top_k` of 0, and dropout with whole
    /// pictures; [`Error::Table`].
    pub fn build(self) -> Result<Classifier> {
        let stated = self.model.preset();
        if let Some(asked) = &self.preset {
            asked.expect_is(stated, &self.model.architecture().name)?;
        }
        let preset = self.preset.or(stated.cloned()).unwrap_or_else(Preset::imagenet);
        preset.expect_views(&self.views)?;
        let classes = self.model.architecture().num_classes()?;
        let labels = self.labels.or(self.model.labels().cloned());
        let labels = labels.unwrap_or_else(|| Labels::for_classes(classes));
        labels.expect_classes(classes)?;
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
                    place: "passes with dropout".into(),
                    expected: "views that are squares".into(),
                    found: "dense evaluation".into(),
                });
            }
        }
        let (weights, views) = (self.views.weights(), self.views);
        let (fusion, top_k, dropout) = (self.fusion, self.top_k, self.dropout);
        let settings = Settings { preset, views, weights, fusion, labels, top_k, dropout };
        Ok(Classifier { model: self.model, settings })
    }
}

impl Classifier {
    /// A classifier around a network: [`Compiled`](crate::engine::Compiled), or
    /// [`Network<B>`](crate::models::Network) on any backend.
    pub fn builder(model: impl Model + 'static) -> ClassifierBuilder {
        ClassifierBuilder {
            model: Box::new(model),
            preset: None,
            views: Views::center(),
            fusion: Fusion::default(),
            labels: None,
            top_k: 5,
            dropout: None,
        }
    }

    /// What is shown of each photo, and with which weights.
    pub fn views(&self) -> &Views {
        &self.settings.views
    }

    /// How photos become input.
    pub fn preset(&self) -> &Preset {
        &self.settings.preset
    }

    /// The names of the classes.
    pub fn labels(&self) -> &Labels {
        &self.settings.labels
    }

    /// What is in a photo.
    ///
    /// # Errors
    /// [`Error::Picture`] for a photo so narrow that resizing it would take gigabytes, or that is shown
    /// whole and then has more than four million pixels; [`Error::NotFinite`] if the network answers with what is no number, and those of the network.
    pub fn classify(&self, photo: &RgbImage) -> Result<Answer> {
        let shown = self.settings.preset.views(photo, &self.settings.views)?;
        let mut answers = self.answers(&[shown])?;
        answers.pop().unwrap_or_else(|| Err(no_answer()))
    }

    /// What is in a photo's file.
    ///
    /// # Errors
    /// As for [`classify`](Self::classify) and [`vision::decode_file`].
    pub fn classify_file(&self, path: impl AsRef<Path>) -> Result<Answer> {
        self.classify(&vision::decode_file(path)?)
    }

    /// Where in a photo a class is seen: its scores at every place of the whole picture, with a short
    /// side of `scale` pixels (the larger, the finer), whatever the views are. To be
    /// [drawn](HeatMap::draw) over the photo.
    ///
    /// # Errors
    /// [`Error::Setting`] for a class that there is not, or a scale of 0 or above 4096 pixels (from 2049 on
    /// every photo has too many); and as for [`classify`](Self::classify).
    pub fn heat_map(&self, photo: &RgbImage, class: usize, scale: u32) -> Result<HeatMap> {
        let architecture = self.model.architecture();
        let classes = architecture.num_classes()?;
        if class >= classes {
            return Err(Error::Setting {
                place: "class of a heat map".into(),
                expected: format!("0 to {}", classes.saturating_sub(1)),
                found: class.to_string(),
            });
        }
        let whole =
            View { scale: Some(scale), pose: Pose::Upright, crop: Crop::Whole, weight: 1.0 };
        let shown = self.settings.preset.views(photo, &Views::new([whole])?)?;
        let whole = shown.wholes.first().ok_or_else(no_answer)?;
        let [height, width] = whole.size;
        let maps = self.model.score_maps(&whole.values, [1, 3, height, width])?;
        let [_, rows, columns] = expect_maps(&maps, classes)?;
        let scores = maps.values.chunks(rows * columns).nth(class).ok_or_else(no_answer)?;
        HeatMap::of_scores(architecture, scores, [rows, columns], whole.size)
    }

    /// The answers to photos that were made ready; the outer error is the network's, for all of them.
    pub(super) fn answers(&self, photos: &[Shown]) -> Result<Vec<Result<Answer>>> {
        let squares = self.squares(photos)?;
        let classes = self.model.architecture().num_classes()?;
        let views = self.settings.views.as_slice();
        let of_photo = views.iter().filter(|view| view.crop != Crop::Whole).count();
        let passes = self.settings.dropout.map_or(1, |dropout| dropout.passes);
        let mut answers = Vec::new();
        for (index, photo) in photos.iter().enumerate() {
            let wholes = photo.wholes.iter().map(|whole| {
                let shape = [1, 3, whole.size[0], whole.size[1]];
                let maps = self.model.score_maps(&whole.values, shape)?;
                let [_, rows, columns] = expect_maps(&maps, classes)?;
                Ok(mean_score(&maps.values, rows * columns))
            });
            let wholes = wholes.collect::<Result<Vec<Vec<f32>>>>()?;
            let of_pass = |pass: usize| {
                let first = (pass * photos.len() + index) * of_photo;
                let mut squares = squares.chunks(classes).skip(first);
                let mut wholes = wholes.iter();
                let logits = views.iter().map(|view| match view.crop {
                    Crop::Whole => wholes.next().map(|logits| &logits[..]),
                    _ => squares.next(),
                });
                logits.collect::<Option<Vec<&[f32]>>>().ok_or_else(no_answer)
            };
            let passes = (0..passes).map(of_pass).collect::<Result<Vec<Vec<&[f32]>>>>()?;
            answers.push(self.settings.answer(&self.model.architecture().name, &passes));
        }
        Ok(answers)
    }

    /// `[passes, photos, views, classes]` of the views that are squares.
    fn squares(&self, photos: &[Shown]) -> Result<Vec<f32>> {
        let side = self.settings.preset.crop as usize;
        let images: Vec<f32>;
        let images = match photos {
            [photo] => &photo.squares[..],
            photos => {
                images = photos.iter().flat_map(|photo| &photo.squares).copied().collect();
                &images
            }
        };
        let shape = [images.len() / (3 * side * side), 3, side, side];
        let (logits, passes) = match (shape[0], self.settings.dropout) {
            (0, _) => return Ok(Vec::new()),
            (_, Some(dropout)) => (dropout.logits(&*self.model, images, shape)?, dropout.passes),
            (_, None) => (self.model.logits(images, shape)?, 1),
        };
        match logits.len() == passes * shape[0] * self.model.architecture().num_classes()? {
            true => Ok(logits),
            false => Err(no_answer()),
        }
    }
}

impl Settings {
    /// From the logits of each view in each pass.
    fn answer(&self, network: &str, passes: &[Vec<&[f32]>]) -> Result<Answer> {
        // Of each view in each pass, once.
        let of_pass = |logits: &Vec<&[f32]>| {
            logits.iter().map(|logits| softmax(logits)).collect::<Result<_>>()
        };
        let probabilities: Vec<Vec<Vec<f64>>> =
            passes.iter().map(of_pass).collect::<Result<_>>()?;
        let fused = |fusion: Fusion| {
            let passes = passes.iter().zip(&probabilities);
            let fused = passes.map(|(logits, of)| fusion.fuse(logits, of, &self.weights));
            mean_and_deviation(&fused.collect::<Vec<_>>())
        };
        let (mean, deviation) = fused(self.fusion);
        let opinions = self.views.as_slice().iter().zip(&self.weights).enumerate();
        let opinions = opinions.map(|(index, (view, &weight))| {
            let of_passes: Vec<_> = probabilities.iter().map(|pass| pass[index].clone()).collect();
            let (mean, _) = mean_and_deviation(&of_passes);
            Opinion::new(&self.labels, [network.to_string(), view.to_string()], weight, &mean)
        });
        let opinions = opinions.collect();
        let spread = match self.dropout {
            Some(_) => deviation.into_iter().map(|value| value as f32).collect(),
            None => Vec::new(),
        };
        // Shares of a vote are often equal.
        let (second, _) = fused(Fusion::MeanProbability);
        Ok(Answer::new(&self.labels, self.top_k, [&mean, &second], spread, opinions))
    }
}

/// Classes, rows and columns of the score maps of one picture.
fn expect_maps(maps: &Values, classes: usize) -> Result<[usize; 3]> {
    match maps.shape[..] {
        [1, of, rows, columns]
            if of == classes && rows * columns > 0 && maps.values.len() == of * rows * columns =>
        {
            Ok([of, rows, columns])
        }
        _ => Err(no_answer()),
    }
}

/// The scores of `[classes, rows, columns]`, averaged over space (VGG paper, section 3.2).
fn mean_score(map: &[f32], places: usize) -> Vec<f32> {
    let mean = |scores: &[f32]| {
        (scores.iter().map(|&score| f64::from(score)).sum::<f64>() / places as f64) as f32
    };
    map.chunks(places).map(mean).collect()
}

/// Of each class over the passes.
fn mean_and_deviation(passes: &[Vec<f64>]) -> (Vec<f64>, Vec<f64>) {
    let count = passes.len().max(1) as f64;
    let over = |of: &dyn Fn(f64, usize) -> f64| -> Vec<f64> {
        let classes = passes.first().map_or(0, Vec::len);
        (0..classes)
            .map(|c| passes.iter().map(|pass| of(pass[c], c)).sum::<f64>() / count)
            .collect()
    };
    let mean = over(&|value, _| value);
    let deviation = over(&|value, class| (value - mean[class]).powi(2));
    (mean, deviation.into_iter().map(f64::sqrt).collect())
}

/// A model of somebody's own that does not give what it was asked for.
fn no_answer() -> Error {
    Error::Backend {
        backend: "model".into(),
        reason: "it gave another number of logits than it was asked for".into(),
    }
}
