//! Photos in, ranked labels out.

use super::classification::{Classification, ViewPrediction};
use super::dense_evaluation;
use super::fusion::Fusion;
use super::heat_map::HeatMap;
use super::mc_dropout::{McDropout, mean_and_std_dev};
use super::model::{Model, unexpected_output};
use super::softmax::{Outputs, of_classes};
use crate::error::{Error, Result};
use crate::vision::{
    Crop, Labels, NormalizedViews, Preset, RgbImage, Views, WholeImage, decode_file,
};
use std::path::Path;

/// A network with everything that it needs to turn a photo into ranked labels.
///
/// A network with a single output, trained with a sigmoid, distinguishes two classes: the sigmoid is the probability of
/// class 1.
///
/// ```
/// use alexnet_vgg_core::architecture::{FreshWeights, VggConfig};
/// use alexnet_vgg_core::engine::{CompileOptions, Compiled};
/// use alexnet_vgg_core::predict::Classifier;
/// use alexnet_vgg_core::vision::{RgbImage, Views};
///
/// // A small untrained network; for a trained one:
/// // Compiled::load(VggConfig::vgg16(), "vgg16.pth", CompileOptions::default())?
/// let config = VggConfig::vgg11().with_width(0.05).with_num_classes(10);
/// let weights = FreshWeights::new(0);
/// let model = Compiled::from_values(config, CompileOptions::default(), |parameter, rows| {
///     Ok(weights.rows(parameter, rows))
/// })?;
/// let classifier = Classifier::builder(model).views(Views::ten_crop()).build()?;
/// let photo = RgbImage::new(500, 375); // or vision::decode_file("photo.jpg")?
/// let classification = classifier.classify(&photo)?;
/// let best = &classification.predictions[0];
/// println!("{:.1}%  {}", best.probability * 100.0, best.label);
/// let (agreement, views) = (classification.agreement, classification.views.len());
/// println!("{:.0}% of {views} views agree", agreement * 100.0);
/// # assert_eq!(views, 10);
/// # Ok::<(), alexnet_vgg_core::Error>(())
/// ```
pub struct Classifier {
    pub(super) model: Box<dyn Model>,
    pub(super) options: ClassifierOptions,
}

/// Everything about a classifier except its network, already checked.
#[derive(Clone, Debug)]
pub(super) struct ClassifierOptions {
    pub preset: Preset,
    pub views: Views,
    /// Weights of the views, with a sum of 1.
    pub weights: Vec<f64>,
    pub fusion: Fusion,
    pub outputs: Outputs,
    pub labels: Labels,
    pub top_k: usize,
    pub dropout: Option<McDropout>,
}

impl std::fmt::Debug for Classifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Classifier")
            .field("network", &self.model.architecture().name)
            .field("options", &self.options)
            .finish()
    }
}

impl Classifier {
    /// Which views of each photo are classified, and their weights.
    pub fn views(&self) -> &Views {
        &self.options.views
    }

    /// How photos are preprocessed.
    pub fn preset(&self) -> &Preset {
        &self.options.preset
    }

    /// The names of the classes.
    pub fn labels(&self) -> &Labels {
        &self.options.labels
    }

    /// Classifies a photo.
    ///
    /// # Errors
    /// [`Error::Picture`](crate::Error::Picture) for a photo so narrow that resizing it would take
    /// gigabytes, or for a whole image of more than four million pixels (dense evaluation);
    /// [`Error::NotFinite`](crate::Error::NotFinite) if a logit is NaN or infinite; and the errors of the
    /// network.
    pub fn classify(&self, photo: &RgbImage) -> Result<Classification> {
        self.classify_prepared(&self.prepare(photo)?)
    }

    /// A photo's views, normalized: what [`classify_prepared`](Self::classify_prepared) takes. Photos can be prepared on other
    /// threads than those that compute.
    ///
    /// # Errors
    /// As for [`Preset::views`].
    pub fn prepare(&self, photo: &RgbImage) -> Result<NormalizedViews> {
        self.options.preset.views(photo, &self.options.views)
    }

    /// Classifies a photo whose views are [prepared](Self::prepare).
    ///
    /// # Errors
    /// [`Error::Setting`](crate::Error::Setting) for views that are not this classifier's; and as for
    /// [`classify`](Self::classify).
    pub fn classify_prepared(&self, photo: &NormalizedViews) -> Result<Classification> {
        let views = self.options.views.as_slice();
        let whole_images = views.iter().filter(|view| view.crop == Crop::Whole).count();
        let values = (views.len() - whole_images) * self.square_len();
        if (photo.squares.len(), photo.whole_images.len()) != (values, whole_images) {
            return Err(Error::Setting {
                place: "prepared photo".into(),
                expected: format!("{values} values of squares, and {whole_images} whole images"),
                found: format!("{} and {}", photo.squares.len(), photo.whole_images.len()),
            });
        }
        let mut classifications = self.classify_views(std::slice::from_ref(photo))?;
        classifications.pop().unwrap_or_else(|| Err(unexpected_output()))
    }

    /// The classification that follows from the logits of a photo's views, `[views, num_classes]`, flat: for logits that
    /// were computed elsewhere, such as by a [`Batcher`](super::Batcher).
    ///
    /// # Errors
    /// [`Error::Setting`](crate::Error::Setting) for another number of logits, and for a classifier whose logits are
    /// not those of one pass over square crops: with dropout, or dense evaluation.
    /// [`Error::NotFinite`](crate::Error::NotFinite) if a logit is NaN or infinite.
    pub fn classification_of_logits(&self, logits: &[f32]) -> Result<Classification> {
        let wrong = |expected: String, found: String| {
            Err(Error::Setting { place: "logits of a photo".into(), expected, found })
        };
        let views = self.options.views.as_slice();
        if self.options.dropout.is_some() || views.iter().any(|view| view.crop == Crop::Whole) {
            let expected = "a classifier of square crops, without dropout".into();
            return wrong(expected, "dropout or dense evaluation".into());
        }
        let architecture = self.model.architecture();
        let outputs = architecture.num_classes();
        if logits.len() != views.len() * outputs {
            let expected = format!("{outputs} for each of {} views", views.len());
            return wrong(expected, logits.len().to_string());
        }
        let logits = of_classes(logits.to_vec(), outputs);
        let of_views = logits.chunks(self.options.labels.count()).collect();
        self.options.combine(&architecture.name, &[of_views])
    }

    /// Classifies the photo in an image file.
    ///
    /// # Errors
    /// As for [`classify`](Self::classify) and [`decode_file`].
    pub fn classify_file(&self, path: impl AsRef<Path>) -> Result<Classification> {
        self.classify(&decode_file(path)?)
    }

    /// Where in a photo a class is seen: the scores of the class at every position of the whole image
    /// (dense evaluation), independent of the classifier's views. The photo's short side is resized to
    /// `scale` pixels; larger scales give finer maps. [`HeatMap::draw`] shows the map over the photo.
    ///
    /// # Errors
    /// [`Error::Setting`](crate::Error::Setting) for a class that does not exist or a scale outside 1 to
    /// 4096 (above 2048, every photo has too many pixels); and as for [`classify`](Self::classify).
    pub fn heat_map(&self, photo: &RgbImage, class: usize, scale: u32) -> Result<HeatMap> {
        let image = self.prepare_heat_map(photo, scale)?;
        self.heat_map_of_prepared(&image, class)
    }

    /// The photo as the heat map's method needs it, with a short side of `scale` pixels.
    ///
    /// # Errors
    /// As for [`heat_map`](Self::heat_map).
    pub fn prepare_heat_map(&self, photo: &RgbImage, scale: u32) -> Result<WholeImage> {
        dense_evaluation::prepare(&self.options.preset, photo, scale)
    }

    /// The [heat map](Self::heat_map) of a class, for a photo that is [prepared](Self::prepare_heat_map).
    ///
    /// # Errors
    /// As for [`heat_map`](Self::heat_map).
    pub fn heat_map_of_prepared(&self, image: &WholeImage, class: usize) -> Result<HeatMap> {
        dense_evaluation::heat_map(&*self.model, image, class)
    }

    /// Classifies photos whose views are normalized. The outer error is one of the network, and
    /// concerns all photos.
    pub(super) fn classify_views(
        &self,
        photos: &[NormalizedViews],
    ) -> Result<Vec<Result<Classification>>> {
        let outputs = self.model.architecture().num_classes();
        let square_logits = of_classes(self.square_logits(photos)?, outputs);
        let classes = self.options.labels.count();
        let views = self.options.views.as_slice();
        let squares_per_photo = views.iter().filter(|view| view.crop != Crop::Whole).count();
        let passes = self.options.dropout.map_or(1, |dropout| dropout.passes);
        let mut classifications = Vec::new();
        for (index, photo) in photos.iter().enumerate() {
            let whole_logits = photo.whole_images.iter();
            let whole_logits: Vec<Vec<f32>> = whole_logits
                .map(|image| {
                    let scores = dense_evaluation::mean_scores(&*self.model, image)?;
                    Ok(of_classes(scores, outputs))
                })
                .collect::<Result<_>>()?;
            let logits_of_pass = |pass: usize| {
                let first = (pass * photos.len() + index) * squares_per_photo;
                let mut squares = square_logits.chunks(classes).skip(first);
                let mut whole_images = whole_logits.iter();
                let logits = views.iter().map(|view| match view.crop {
                    Crop::Whole => whole_images.next().map(|logits| &logits[..]),
                    _ => squares.next(),
                });
                logits.collect::<Option<Vec<&[f32]>>>().ok_or_else(unexpected_output)
            };
            let passes = (0..passes).map(logits_of_pass).collect::<Result<Vec<Vec<&[f32]>>>>()?;
            classifications.push(self.options.combine(&self.model.architecture().name, &passes));
        }
        Ok(classifications)
    }

    /// The values of a square crop.
    fn square_len(&self) -> usize {
        let side = self.options.preset.crop as usize;
        self.options.preset.channels.count() * side * side
    }

    /// The logits of all square crops, `[passes, photos, views, classes]` flat.
    fn square_logits(&self, photos: &[NormalizedViews]) -> Result<Vec<f32>> {
        let joined: Vec<f32>;
        let images = match photos {
            [photo] => &photo.squares[..],
            photos => {
                joined = photos.iter().flat_map(|photo| &photo.squares).copied().collect();
                &joined
            }
        };
        let (side, channels) =
            (self.options.preset.crop as usize, self.options.preset.channels.count());
        let shape = [images.len() / self.square_len(), channels, side, side];
        let (logits, passes) = match (shape[0], self.options.dropout) {
            (0, _) => return Ok(Vec::new()),
            (_, Some(dropout)) => (dropout.logits(&*self.model, images, shape)?, dropout.passes),
            (_, None) => (self.model.logits(images, shape)?, 1),
        };
        if logits.len() == passes * shape[0] * self.model.architecture().num_classes() {
            Ok(logits)
        } else {
            Err(unexpected_output())
        }
    }
}

impl ClassifierOptions {
    /// Combines the logits of each view in each pass into one classification.
    fn combine(&self, network: &str, passes: &[Vec<&[f32]>]) -> Result<Classification> {
        // The probabilities of each view in each pass; computed once, for the fusion, the tie
        // breakers and the views.
        let of_pass = |logits: &Vec<&[f32]>| {
            let of_view = |logits: &&[f32]| self.outputs.probabilities_of_logits(logits);
            logits.iter().map(of_view).collect::<Result<_>>()
        };
        let probabilities: Vec<Vec<Vec<f64>>> =
            passes.iter().map(of_pass).collect::<Result<_>>()?;
        let fuse = |fusion: Fusion| {
            let passes = passes.iter().zip(&probabilities);
            let fused =
                passes.map(|(logits, of)| fusion.fuse(self.outputs, logits, of, &self.weights));
            mean_and_std_dev(&fused.collect::<Vec<_>>())
        };
        let (mean, std_dev) = fuse(self.fusion);
        let views = self.views.as_slice().iter().zip(&self.weights).enumerate();
        let views = views.map(|(index, (view, &weight))| {
            let of_passes: Vec<_> = probabilities.iter().map(|pass| pass[index].clone()).collect();
            let (mean, _) = mean_and_std_dev(&of_passes);
            let names = [network.to_string(), view.to_string()];
            ViewPrediction::new(&self.labels, names, weight, &mean)
        });
        let views = views.collect();
        let std_dev = match self.dropout {
            Some(_) => std_dev.into_iter().map(|value| value as f32).collect(),
            None => Vec::new(),
        };
        // A vote often ends in a tie.
        let (tie_breakers, _) = fuse(Fusion::MeanProbability);
        Ok(Classification::new(&self.labels, self.top_k, [&mean, &tie_breakers], std_dev, views))
    }
}
