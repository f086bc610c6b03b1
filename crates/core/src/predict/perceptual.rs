//! The perceptual distance of two images (LPIPS, Zhang et al. 2018): the distance of their features in a
//! network's layers.

use super::features::{FeatureOptions, Pooling};
use super::model::Model;
use crate::architecture::{Architecture, Shape};
use crate::array::Array;
use crate::error::{Error, Result, expect_finite};
use serde::{Deserialize, Serialize};

/// A perceptual distance of images, based on some layers of a network.
///
/// It is equation 1 of Zhang et al. 2018. At every position of a layer's feature map, the channels of both
/// images are normalized to unit length and their squared differences are summed, optionally with a weight
/// for each channel. The mean over all positions is the distance in this layer, and the sum over the layers
/// is the distance of the images. It is symmetric, and 0 for equal images.
///
/// LPIPS takes pixels from -1 to 1, and shifts and scales them by (-0.030, -0.088, -0.188) and
/// (0.458, 0.448, 0.450). [`Preset::imagenet`](crate::vision::Preset::imagenet) gives the same values, so
/// images are preprocessed as for torchvision's weights. [`lpips`](Self::lpips) reads the learned weights; without
/// them this is the variant that the authors' code calls `lpips=False`.
///
/// ```
/// use alexnet_vgg_core::architecture::{FreshWeights, VggConfig};
/// use alexnet_vgg_core::engine::{CompileOptions, Compiled};
/// use alexnet_vgg_core::predict::PerceptualDistance;
///
/// // A small untrained network; for a trained one:
/// // Compiled::load(VggConfig::vgg16(), "vgg16.pth", CompileOptions::default())?
/// let config = VggConfig::vgg16().with_width(0.05);
/// let weights = FreshWeights::new(0);
/// let vgg = Compiled::from_values(config, CompileOptions::default(), |parameter, rows| {
///     Ok(weights.rows(parameter, rows))
/// })?;
/// let a: Vec<f32> = (0..3 * 64 * 64).map(|i| (i % 7) as f32).collect();
/// let distances = PerceptualDistance::vgg16().between(&vgg, &a, &a, [1, 3, 64, 64])?;
/// assert_eq!(distances, [0.0]);
/// # Ok::<(), alexnet_vgg_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PerceptualDistance {
    layers: Vec<String>,
    /// For each layer, the weights of its channels; `None` if all weights are 1.
    #[serde(default)]
    weights: Option<Vec<Vec<f32>>>,
}

/// Added to the length of the channels before they are divided by it, as in LPIPS.
const EPSILON: f64 = 1e-10;

impl PerceptualDistance {
    /// The layers of VGG16 that LPIPS uses.
    pub fn vgg16() -> Self {
        Self::new(["relu1_2", "relu2_2", "relu3_3", "relu4_3", "relu5_3"])
    }

    /// The layers of torchvision's AlexNet that LPIPS uses.
    pub fn alexnet() -> Self {
        Self::new(["relu1", "relu2", "relu3", "relu4", "relu5"])
    }

    /// A distance based on these layers of the convolutional part, by torchvision's or the papers' names.
    pub fn new<S: Into<String>>(layers: impl IntoIterator<Item = S>) -> Self {
        Self { layers: layers.into_iter().map(Into::into).collect(), weights: None }
    }

    /// The same layers with weights for their channels: for each layer as many weights as it has channels,
    /// none of them negative. [`lpips`](Self::lpips) reads those that were learned from human judgments.
    /// [`validate`](Self::validate) checks them against a network.
    pub fn with_weights(self, weights: impl Into<Option<Vec<Vec<f32>>>>) -> Self {
        Self { weights: weights.into(), ..self }
    }

    /// Names of the layers.
    pub fn layers(&self) -> &[String] {
        &self.layers
    }

    /// For each layer, the weights of its channels; `None` if all weights are 1.
    pub fn weights(&self) -> Option<&[Vec<f32>]> {
        self.weights.as_deref()
    }

    /// Checks that the network has these layers and that the weights fit their channels.
    /// [`between`](Self::between) checks it first.
    ///
    /// # Errors
    /// [`Error::UnknownLayer`]; [`Error::Setting`] if there are no layers, for a layer of the classifier, and
    /// for weights that are not as many as the channels or are negative; [`Error::NotFinite`] for weights
    /// that are not finite.
    pub fn validate(&self, architecture: &Architecture) -> Result<()> {
        let wrong = |place: &str, expected: String, found: String| {
            Err(Error::Setting { place: format!("perceptual distance, {place}"), expected, found })
        };
        let features = FeatureOptions {
            layers: self.layers.clone(),
            pooling: Pooling::None,
            normalize: false,
        };
        features.validate(architecture)?;
        let steps = architecture.steps();
        if let Some(weights) = self.weights.as_ref().filter(|w| w.len() != self.layers.len()) {
            let layers = self.layers.len();
            let expected = format!("weights for {layers} layers");
            return wrong("weights", expected, weights.len().to_string());
        }
        for (i, layer) in self.layers.iter().enumerate() {
            let step = &steps[architecture.find(layer)?];
            let Shape::Map([channels, ..]) = step.output else {
                return wrong(
                    layer,
                    "a layer whose output is a feature map".into(),
                    format!("a layer of the {}", step.section),
                );
            };
            let Some(weights) = self.weights.as_ref().map(|weights| &weights[i]) else { continue };
            expect_finite(&format!("weights of {layer}"), weights)?;
            if weights.len() != channels {
                return wrong(layer, format!("{channels} weights"), weights.len().to_string());
            }
            if let Some(negative) = weights.iter().find(|weight| **weight < 0.0) {
                return wrong(layer, "weights of at least 0".into(), negative.to_string());
            }
        }
        Ok(())
    }

    /// The distances between the images of `a` and `b`, pair by pair: `[N]`. Both are preprocessed, flat, and
    /// of the given shape, `[N, C, H, W]`.
    ///
    /// # Errors
    /// As for [`validate`](Self::validate) and [`Model::taps`]; [`Error::NotFinite`] for images with NaN or
    /// infinite values.
    pub fn between<M: Model + ?Sized>(
        &self,
        network: &M,
        a: &[f32],
        b: &[f32],
        shape: [usize; 4],
    ) -> Result<Vec<f32>> {
        self.validate(network.architecture())?;
        let layers: Vec<&str> = self.layers.iter().map(String::as_str).collect();
        let [a, b] = [network.taps(a, shape, &layers)?, network.taps(b, shape, &layers)?];
        let distances: Vec<f32> = (0..shape[0])
            .map(|image| {
                let layers = a.iter().zip(&b).enumerate().map(|(i, (a, b))| {
                    let weights = self.weights.as_ref().map(|weights| &weights[i][..]);
                    layer_distance(a, b, image, weights)
                });
                layers.sum::<f64>() as f32
            })
            .collect();
        expect_finite("perceptual distance", &distances)?;
        Ok(distances)
    }
}

/// The distance of one pair of images in one layer, whose outputs are `[N, C, H, W]`.
fn layer_distance(a: &Array, b: &Array, image: usize, weights: Option<&[f32]>) -> f64 {
    let positions: usize = a.shape[2..].iter().product();
    let length = a.shape[1] * positions;
    let [a, b] = [a, b].map(|tap| &tap.values[image * length..][..length]);
    let [length_a, length_b] = [a, b].map(|maps| channel_lengths(maps, positions));
    let mut sum = 0.0;
    for (channel, (a, b)) in a.chunks(positions).zip(b.chunks(positions)).enumerate() {
        let squares = a.iter().zip(b).zip(length_a.iter().zip(&length_b));
        let squares = squares
            .map(|((a, b), (in_a, in_b))| (f64::from(*a) / in_a - f64::from(*b) / in_b).powi(2));
        let weight = weights.map_or(1.0, |weights| f64::from(weights[channel]));
        sum += weight * squares.sum::<f64>();
    }
    sum / positions as f64
}

/// The Euclidean length of the channels at each position of `[C, positions]`.
fn channel_lengths(maps: &[f32], positions: usize) -> Vec<f64> {
    let mut squares = vec![0.0; positions];
    for channel in maps.chunks(positions) {
        squares.iter_mut().zip(channel).for_each(|(sum, value)| *sum += f64::from(*value).powi(2));
    }
    squares.into_iter().map(|square: f64| square.sqrt() + EPSILON).collect()
}
