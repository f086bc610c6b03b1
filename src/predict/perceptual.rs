//! How different two pictures look (LPIPS, Zhang et al. 2018): the distance of what a network's layers
//! make of them.

use super::{FeatureSettings, Pooling, expect_finite};
use crate::engine::{Compiled, Values};
use crate::error::{Error, Result};
use crate::models::{Architecture, Network, Shape, Tap};
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;
use serde::{Deserialize, Serialize};

/// A distance of pictures, by the layers of a network.
///
/// Zhang et al. 2018, equation 1: at every place of a layer's map, the channels of both pictures are
/// brought to unit length; their squared differences are summed, or weighted and summed; the mean over
/// all places is the layer's distance, and the sum over layers is the pictures'. 0 for equal pictures,
/// and the same in both directions.
///
/// LPIPS takes pixels from -1 to 1, shifts and scales them by (-0.030, -0.088, -0.188) and
/// (0.458, 0.448, 0.450): that is what [`Preset::imagenet`](crate::vision::Preset::imagenet) makes of
/// the same pixels, so pictures are preprocessed as for torchvision's weights. Without
/// [weights](Self::with_weights) this is the variant without learned ones (`lpips=False` in its authors' code).
///
/// ```
/// use alexnet_vgg::{backend::Cpu, models::{Vgg, VggConfig}, predict::PerceptualDistance};
/// use burn::tensor::{Distribution, Tensor};
///
/// let device = Default::default();
/// let vgg: Vgg<Cpu> = VggConfig::vgg16().with_width(0.05).init(&device);
/// let a = Tensor::random([2, 3, 64, 64], Distribution::Normal(0.0, 1.0), &device);
/// let b = a.clone().flip([3]);
///
/// let distances = PerceptualDistance::vgg16().between(&vgg, a, b)?;
/// assert_eq!(distances.dims(), [2]);
/// # Ok::<(), alexnet_vgg::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PerceptualDistance {
    layers: Vec<String>,
    /// For each layer, what each of its channels counts. None: all count 1.
    #[serde(default)]
    weights: Option<Vec<Vec<f32>>>,
}

/// Added to the length of a place's channels, as in LPIPS.
const EPSILON: f64 = 1e-10;
/// Added to the square of that length: the root has no slope at 0, where ReLUs leave nothing. Far below
/// what f32 tells apart from a length that is not 0.
const ROUND_THE_TIP: f64 = 1e-20;

impl PerceptualDistance {
    /// The layers that LPIPS takes of VGG16.
    pub fn vgg16() -> Self {
        Self::new(["relu1_2", "relu2_2", "relu3_3", "relu4_3", "relu5_3"])
    }

    /// The layers that LPIPS takes of AlexNet (torchvision's).
    pub fn alexnet() -> Self {
        Self::new(["relu1", "relu2", "relu3", "relu4", "relu5"])
    }

    /// Layers of the features, by torchvision's or the papers' names.
    pub fn new<S: Into<String>>(layers: impl IntoIterator<Item = S>) -> Self {
        Self { layers: layers.into_iter().map(Into::into).collect(), weights: None }
    }

    /// The same layers, whose channels count as given: for each layer as many weights as it has
    /// channels, 0 and above. LPIPS learned some from people's judgments (`lin0` .. `lin4` in its
    /// files). [`validate`](Self::validate) holds them against a network.
    pub fn with_weights(self, weights: impl Into<Option<Vec<Vec<f32>>>>) -> Self {
        Self { weights: weights.into(), ..self }
    }

    /// The layers.
    pub fn layers(&self) -> &[String] {
        &self.layers
    }

    /// `Ok` if the network has these layers, and they have as many channels as there are weights. All
    /// that measures asks this first.
    ///
    /// # Errors
    /// [`Error::UnknownLayer`]; [`Error::Setting`] for no layer, one of the classifier, another number
    /// of weights, or a negative one; [`Error::NotFinite`]; and as for [`Architecture::walk`].
    pub fn validate(&self, architecture: &Architecture) -> Result<()> {
        let wrong = |place: &str, expected: String, found: String| {
            Err(Error::Setting { place: format!("distance by {place}"), expected, found })
        };
        let settings = FeatureSettings {
            layers: self.layers.clone(),
            pooling: Pooling::None,
            normalize: false,
        };
        settings.validate(architecture)?;
        let steps = architecture.steps()?;
        if let Some(weights) = self.weights.as_ref().filter(|w| w.len() != self.layers.len()) {
            let layers = self.layers.len();
            return wrong("layers", format!("weights for {layers}"), weights.len().to_string());
        }
        for (i, layer) in self.layers.iter().enumerate() {
            let step = &steps[architecture.find_in(&steps, layer)?];
            let Shape::Map([channels, ..]) = step.output else {
                return wrong(layer, "a layer of maps".into(), format!("one of the {}", step.part));
            };
            let Some(weights) = self.weights.as_ref().map(|weights| &weights[i]) else { continue };
            expect_finite(&format!("weights of {layer}"), weights)?;
            if weights.len() != channels {
                return wrong(layer, format!("{channels} weights"), weights.len().to_string());
            }
            if let Some(negative) = weights.iter().find(|weight| **weight < 0.0) {
                return wrong(layer, "weights of 0 and above".into(), negative.to_string());
            }
        }
        Ok(())
    }

    /// The distances of `a` and `b`, image by image: both `[N, C, H, W]`, preprocessed as the network
    /// wants it; `[N]`, on the same device. Gradients flow to both. A pair with NaN in it has the
    /// distance NaN.
    ///
    /// On an autodiff backend the network should be [frozen](Network::frozen), as long as it is not to
    /// be trained itself.
    ///
    /// # Errors
    /// As for [`validate`](Self::validate) and [`Network::taps`]; [`Error::InputShape`] if the shapes
    /// differ.
    pub fn between<B: Backend>(
        &self,
        network: &Network<B>,
        a: Tensor<B, 4>,
        b: Tensor<B, 4>,
    ) -> Result<Tensor<B, 1>> {
        self.validate(network.architecture())?;
        let [batch, ..] = a.dims();
        if a.dims() != b.dims() {
            return Err(Error::InputShape {
                network: network.architecture().name.clone(),
                expected: format!("two batches of one shape, {:?}", a.dims()),
                found: b.dims().into(),
            });
        }
        let device = a.device();
        let taps = network.taps(a, &self.layers)?.into_iter().zip(network.taps(b, &self.layers)?);
        let mut sum = Tensor::zeros([batch], &device);
        for (i, pair) in taps.enumerate() {
            // Validated: layers of maps.
            let (Tap::Map(a), Tap::Map(b)) = pair else { continue };
            let mut squares = (to_unit_length(a) - to_unit_length(b)).square();
            if let Some(weights) = self.weights.as_ref().map(|weights| &weights[i]) {
                let weights = Tensor::<B, 1>::from_floats(&weights[..], &device);
                squares = squares * weights.reshape([1, -1, 1, 1]);
            }
            // By rows, as Mesa's software driver cuts a long sum short.
            sum = sum + squares.sum_dim(1).mean_dim(3).mean_dim(2).reshape([batch]);
        }
        Ok(sum)
    }

    /// [`between`](Self::between) by the compiled engine: `a` and `b` are `shape`, `[N, C, H, W]`,
    /// flat.
    ///
    /// # Errors
    /// As for [`validate`](Self::validate) and [`Compiled::taps`]; [`Error::NotFinite`] for pictures
    /// with NaN or infinity in them.
    pub fn compiled_between(
        &self,
        network: &Compiled,
        a: &[f32],
        b: &[f32],
        shape: [usize; 4],
    ) -> Result<Vec<f32>> {
        self.validate(network.architecture())?;
        let [a, b] = [network.taps(a, shape, &self.layers)?, network.taps(b, shape, &self.layers)?];
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

/// `[N, C, H, W]`, over the channels.
fn to_unit_length<B: Backend>(maps: Tensor<B, 4>) -> Tensor<B, 4> {
    let lengths = (maps.clone().square().sum_dim(1) + ROUND_THE_TIP).sqrt();
    maps / (lengths + EPSILON)
}

/// The distance of one image in one layer's maps, `[N, C, H, W]`.
fn layer_distance(a: &Values, b: &Values, image: usize, weights: Option<&[f32]>) -> f64 {
    let places: usize = a.shape[2..].iter().product();
    let length = a.shape[1] * places;
    let [a, b] = [a, b].map(|tap| &tap.values[image * length..][..length]);
    let [of_a, of_b] = [a, b].map(|maps| lengths(maps, places));
    let mut sum = 0.0;
    for (channel, (a, b)) in a.chunks(places).zip(b.chunks(places)).enumerate() {
        let squares = a.iter().zip(b).zip(of_a.iter().zip(&of_b));
        let squares = squares
            .map(|((a, b), (of_a, of_b))| (f64::from(*a) / of_a - f64::from(*b) / of_b).powi(2));
        let weight = weights.map_or(1.0, |weights| f64::from(weights[channel]));
        sum += weight * squares.sum::<f64>();
    }
    sum / places as f64
}

/// The length of the channels at each place of `[C, places]`.
fn lengths(maps: &[f32], places: usize) -> Vec<f64> {
    let mut squares = vec![0.0; places];
    for channel in maps.chunks(places) {
        squares.iter_mut().zip(channel).for_each(|(sum, value)| *sum += f64::from(*value).powi(2));
    }
    squares.into_iter().map(|square: f64| square.sqrt() + EPSILON).collect()
}
