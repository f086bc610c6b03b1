//! Feature vectors of pictures, for search, clustering and classifiers of others: named taps in one
//! pass, pooled and joined, as settings that a file can hold.

use super::expect_finite;
use crate::engine::{Compiled, Values};
use crate::error::{Error, Result};
use crate::models::{Architecture, Network, Shape, Step, Tap};
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;
use serde::{Deserialize, Serialize};

/// Which layers make up a picture's vector, and how.
///
/// ```
/// use alexnet_vgg::backend::{self, Cpu};
/// use alexnet_vgg::models::{Vgg, VggConfig};
/// use alexnet_vgg::predict::{FeatureSettings, cosine_similarity};
/// use burn::tensor::{Distribution, Tensor};
///
/// let device = Default::default();
/// let vgg: Vgg<Cpu> = VggConfig::vgg11().with_width(0.05).init(&device);
/// let images = Tensor::random([2, 3, 64, 64], Distribution::Default, &device);
///
/// let settings: FeatureSettings =
///     serde_json::from_str(r#"{ "layers": ["relu3_2", "pool5"], "pooling": "Average" }"#).unwrap();
/// let vectors = settings.vectors(&vgg, images)?; // [2, 14 + 26]
/// let length = settings.length(vgg.architecture(), [64, 64])?;
/// assert_eq!(vectors.dims(), [2, length]);
///
/// let values: Vec<f32> = backend::read(vectors)?.iter().collect();
/// let (a, b) = values.split_at(length);
/// assert!(cosine_similarity(a, b)? < 1.0);
/// # Ok::<(), alexnet_vgg::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeatureSettings {
    /// The layers by torchvision's or the papers' names, at least one. Their vectors are joined in
    /// this order.
    pub layers: Vec<String>,
    /// What becomes of a map's height and width.
    #[serde(default)]
    pub pooling: Pooling,
    /// Whether each layer's vector is brought to unit length before they are joined, and the whole
    /// after that: then no layer outweighs the others, and a dot product is the cosine.
    #[serde(default)]
    pub normalize: bool,
}

/// What becomes of a map `[C, H, W]` on its way to a vector. A layer of the classifier is one already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Pooling {
    /// All of it, `[C·H·W]`, in PyTorch's order.
    #[default]
    None,
    /// The mean of each channel, `[C]`.
    Average,
    /// The largest value of each channel, `[C]`.
    Max,
}

impl FeatureSettings {
    /// The 4096 activations of the last hidden layer, after their ReLU (`fc7` in Caffe, `relu7` here),
    /// at unit length: what section 6.1 of the AlexNet paper finds similar pictures by.
    pub fn fc7() -> Self {
        Self { layers: vec!["relu7".into()], pooling: Pooling::None, normalize: true }
    }

    /// The last convolutions, pooled (`pool5`) and averaged over the picture, at unit length: 256
    /// values of AlexNet, 512 of VGG, for pictures of any size, without the classifier's weights
    /// (Babenko and Lempitsky 2015).
    pub fn conv5() -> Self {
        Self { layers: vec!["pool5".into()], pooling: Pooling::Average, normalize: true }
    }

    /// `Ok` if the network has all of these layers. All that uses settings asks this first.
    ///
    /// # Errors
    /// [`Error::UnknownLayer`], [`Error::Setting`] for no layer at all, and as for
    /// [`Architecture::walk`].
    pub fn validate(&self, architecture: &Architecture) -> Result<()> {
        self.find(architecture, &architecture.steps()?).map(|_| ())
    }

    /// Values in the vector of an image of `[height, width]`.
    ///
    /// # Errors
    /// As for [`validate`](Self::validate) and [`Architecture::walk`].
    pub fn length(&self, architecture: &Architecture, input: [usize; 2]) -> Result<usize> {
        let steps = architecture.walk(input)?;
        let found = self.find(architecture, &steps)?;
        Ok(found.iter().map(|&index| self.pooling.length(steps[index].output)).sum())
    }

    /// The vectors of images `[N, C, H, W]`: `[N, length]`, on the same device. Gradients flow. An
    /// image with NaN in it gets NaN, as its logits are.
    ///
    /// # Errors
    /// As for [`validate`](Self::validate) and [`Network::taps`].
    pub fn vectors<B: Backend>(
        &self,
        network: &Network<B>,
        images: Tensor<B, 4>,
    ) -> Result<Tensor<B, 2>> {
        self.validate(network.architecture())?;
        let taps = network.taps(images, &self.layers)?;
        let vectors = taps.into_iter().map(|tap| {
            let vector = match tap {
                Tap::Map(maps) => self.pooling.vectors(maps),
                Tap::Vector(vectors) => vectors,
            };
            if self.normalize { to_unit_length(vector) } else { vector }
        });
        let joined = Tensor::cat(vectors.collect(), 1);
        Ok(if self.normalize { to_unit_length(joined) } else { joined })
    }

    /// [`vectors`](Self::vectors) by the compiled engine: `images` are `shape`, `[N, C, H, W]`, flat;
    /// so are the vectors, `[N, length]`.
    ///
    /// # Errors
    /// As for [`validate`](Self::validate) and [`Compiled::taps`]; [`Error::NotFinite`] for an image
    /// with NaN or infinity in it.
    pub fn compiled_vectors(
        &self,
        network: &Compiled,
        images: &[f32],
        shape: [usize; 4],
    ) -> Result<Values> {
        self.validate(network.architecture())?;
        let taps = network.taps(images, shape, &self.layers)?;
        let length = self.length(network.architecture(), [shape[2], shape[3]])?;
        let mut values = Vec::with_capacity(shape[0].saturating_mul(length));
        for image in 0..shape[0] {
            let start = values.len();
            for tap in &taps {
                let layer = values.len();
                values.extend(self.pooling.vector(tap, image));
                if self.normalize {
                    slice_to_unit_length(&mut values[layer..]);
                }
            }
            if self.normalize {
                slice_to_unit_length(&mut values[start..]);
            }
        }
        expect_finite("features", &values)?;
        Ok(Values { shape: vec![shape[0], length], values })
    }

    fn find(&self, architecture: &Architecture, steps: &[Step]) -> Result<Vec<usize>> {
        if self.layers.is_empty() {
            return Err(Error::Setting {
                place: format!("features of {}", architecture.name),
                expected: "at least one layer".into(),
                found: "none".into(),
            });
        }
        self.layers.iter().map(|layer| architecture.find_in(steps, layer)).collect()
    }
}

impl Pooling {
    fn length(self, shape: Shape) -> usize {
        match (self, shape) {
            (Pooling::Average | Pooling::Max, Shape::Map([channels, ..])) => channels,
            (_, shape) => shape.dims().iter().product(),
        }
    }

    /// `[N, C, H, W]` to `[N, length]`.
    fn vectors<B: Backend>(self, maps: Tensor<B, 4>) -> Tensor<B, 2> {
        let [n, c, h, w] = maps.dims();
        // By rows, as Mesa's software driver cuts a long sum short.
        let mean = |maps: Tensor<B, 4>| maps.mean_dim(3).mean_dim(2);
        match self {
            Pooling::None => maps.reshape([n, c * h * w]),
            Pooling::Average => mean(maps).reshape([n, c]),
            // A maximum may drop NaN, a mean does not.
            Pooling::Max => {
                let not_a_number = mean(maps.clone().detach()) * 0.0;
                (maps.max_dim(3).max_dim(2) + not_a_number).reshape([n, c])
            }
        }
    }

    /// One image of a tap, as a vector. NaN in it stays.
    fn vector(self, tap: &Values, image: usize) -> Vec<f32> {
        let values = tap.values.len() / tap.shape[0];
        let values = &tap.values[image * values..][..values];
        let channels = || values.chunks(tap.shape[2..].iter().product());
        match (self, tap.shape.len()) {
            (Pooling::Average, 4) => channels().map(mean).collect(),
            (Pooling::Max, 4) => channels()
                .map(|channel| channel.iter().copied().fold(f32::NEG_INFINITY, larger))
                .collect(),
            _ => values.to_vec(),
        }
    }
}

fn mean(values: &[f32]) -> f32 {
    (values.iter().copied().map(f64::from).sum::<f64>() / values.len() as f64) as f32
}

/// `f32::max` would drop NaN.
fn larger(a: f32, b: f32) -> f32 {
    if a.is_nan() || a > b { a } else { b }
}

/// What a length is never divided by less than: a vector of zeros stays one.
const SHORTEST: f64 = 1e-12;

fn to_unit_length<B: Backend>(vectors: Tensor<B, 2>) -> Tensor<B, 2> {
    let lengths =
        (vectors.clone() * vectors.clone()).sum_dim(1).clamp_min(SHORTEST * SHORTEST).sqrt();
    vectors / lengths
}

fn slice_to_unit_length(vector: &mut [f32]) {
    let length = dot(vector, vector).sqrt().max(SHORTEST);
    vector.iter_mut().for_each(|value| *value = (f64::from(*value) / length) as f32);
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}

/// The cosine of the angle between two vectors: 1 for the same direction, 0 for nothing in common,
/// and for a vector of zeros.
///
/// ```
/// use alexnet_vgg::predict::cosine_similarity;
///
/// assert_eq!(cosine_similarity(&[3.0, 4.0], &[6.0, 8.0])?, 1.0);
/// assert_eq!(cosine_similarity(&[3.0, 0.0], &[0.0, 2.0])?, 0.0);
/// # Ok::<(), alexnet_vgg::Error>(())
/// ```
///
/// # Errors
/// [`Error::Setting`] for vectors of different lengths, [`Error::NotFinite`] for NaN and infinity.
pub fn cosine_similarity(a: &[f32], b: &[f32]) -> Result<f32> {
    if a.len() != b.len() {
        return Err(Error::Setting {
            place: "cosine similarity".into(),
            expected: format!("two vectors of {} values", a.len()),
            found: b.len().to_string(),
        });
    }
    expect_finite("first vector", a)?;
    expect_finite("second vector", b)?;
    let lengths = (dot(a, a) * dot(b, b)).sqrt();
    Ok(if lengths > 0.0 { (dot(a, b) / lengths).clamp(-1.0, 1.0) as f32 } else { 0.0 })
}
