//! Feature vectors of images, for search, clustering and other classifiers: the outputs of named layers from
//! one forward pass, pooled and concatenated.

use super::model::Model;
use crate::architecture::{Architecture, Shape};
use crate::array::Array;
use crate::error::{Error, Result, expect_finite};
use serde::{Deserialize, Serialize};

/// Which layers an image's feature vector is made of, and how. Serializable, for settings files.
///
/// ```
/// use alexnet_vgg_core::architecture::{FreshWeights, VggConfig};
/// use alexnet_vgg_core::engine::{CompileOptions, Compiled};
/// use alexnet_vgg_core::predict::{FeatureOptions, cosine_similarity};
///
/// // A small untrained network; for a trained one:
/// // Compiled::load(VggConfig::vgg11(), "vgg11.pth", CompileOptions::default())?
/// let config = VggConfig::vgg11().with_width(0.05);
/// let weights = FreshWeights::new(0);
/// let vgg = Compiled::from_values(config, CompileOptions::default(), |parameter, rows| {
///     Ok(weights.rows(parameter, rows))
/// })?;
/// let options: FeatureOptions =
///     serde_json::from_str(r#"{ "layers": ["relu3_2", "pool5"], "pooling": "Average" }"#).unwrap();
/// let images = vec![0.5; 2 * 3 * 64 * 64];
/// let vectors = options.vectors(&vgg, &images, [2, 3, 64, 64])?; // [2, 14 + 26]
/// let length = options.length(vgg.architecture(), [64, 64])?;
/// assert_eq!(vectors.shape, [2, length]);
///
/// let (a, b) = vectors.values.split_at(length);
/// assert!(cosine_similarity(a, b)? > 0.99);
/// # Ok::<(), alexnet_vgg_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeatureOptions {
    /// The layers by torchvision's or the papers' names, at least one. Their vectors are concatenated in this
    /// order.
    pub layers: Vec<String>,
    /// How the height and width of a feature map are pooled.
    #[serde(default)]
    pub pooling: Pooling,
    /// Whether to normalize each layer's vector to unit length before concatenation, and the whole vector
    /// after it. Then no layer outweighs the others, and a dot product is the cosine similarity.
    #[serde(default)]
    pub normalize: bool,
}

/// How a feature map `[C, H, W]` becomes a vector. (The output of a classifier layer already is one.)
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Pooling {
    /// No pooling: all values, `[C·H·W]`, in PyTorch's order.
    #[default]
    None,
    /// The mean of each channel, `[C]`.
    Average,
    /// The largest value of each channel, `[C]`.
    Max,
}

impl FeatureOptions {
    /// The 4096 activations of the last hidden layer after its ReLU (`fc7` in Caffe, `relu7` here), at unit
    /// length: the features by which section 6.1 of the AlexNet paper finds similar images.
    pub fn fc7() -> Self {
        Self { layers: vec!["relu7".into()], pooling: Pooling::None, normalize: true }
    }

    /// The last pooled feature map (`pool5`), averaged over the image, at unit length: 256 values for AlexNet,
    /// 512 for VGG (Babenko and Lempitsky 2015). It does not need the classifier and takes images of any
    /// size.
    pub fn conv5() -> Self {
        Self { layers: vec!["pool5".into()], pooling: Pooling::Average, normalize: true }
    }

    /// Checks that the network has all of these layers. Every method that uses the options checks it first.
    ///
    /// # Errors
    /// [`Error::UnknownLayer`], and [`Error::Setting`] if there are no layers.
    pub fn validate(&self, architecture: &Architecture) -> Result<()> {
        self.find(architecture).map(|_| ())
    }

    /// Length of the feature vector of an image of `[height, width]` pixels.
    ///
    /// # Errors
    /// As for [`validate`](Self::validate) and [`Table::walk`](crate::architecture::Table::walk).
    pub fn length(&self, architecture: &Architecture, input: [usize; 2]) -> Result<usize> {
        let steps = architecture.walk(input)?;
        let found = self.find(architecture)?;
        Ok(found.iter().map(|&index| self.pooling.length(steps[index].output)).sum())
    }

    /// The feature vectors of images, `[N, length]`. `images` are preprocessed, flat, and of the given shape,
    /// `[N, C, H, W]`.
    ///
    /// # Errors
    /// As for [`validate`](Self::validate) and [`Model::taps`]; [`Error::NotFinite`] if the features are not
    /// finite, as for images with NaN or infinite values.
    pub fn vectors<M: Model + ?Sized>(
        &self,
        network: &M,
        images: &[f32],
        shape: [usize; 4],
    ) -> Result<Array> {
        self.validate(network.architecture())?;
        let taps = network.taps(images, shape, &self.layer_names())?;
        let length = self.length(network.architecture(), [shape[2], shape[3]])?;
        let mut values = Vec::with_capacity(shape[0].saturating_mul(length));
        for image in 0..shape[0] {
            let start = values.len();
            for tap in &taps {
                let layer = values.len();
                values.extend(self.pooling.vector(tap, image));
                if self.normalize {
                    to_unit_length(&mut values[layer..]);
                }
            }
            if self.normalize {
                to_unit_length(&mut values[start..]);
            }
        }
        expect_finite("features", &values)?;
        Ok(Array { shape: vec![shape[0], length], values })
    }

    /// The layers in the form that [`Model::taps`] takes.
    fn layer_names(&self) -> Vec<&str> {
        self.layers.iter().map(String::as_str).collect()
    }

    /// Indices of the layers in forward order.
    fn find(&self, architecture: &Architecture) -> Result<Vec<usize>> {
        if self.layers.is_empty() {
            return Err(Error::Setting {
                place: format!("features of {}", architecture.name),
                expected: "at least one layer".into(),
                found: "none".into(),
            });
        }
        self.layers.iter().map(|layer| architecture.find(layer)).collect()
    }
}

impl Pooling {
    /// Length of the vector that an output of this shape becomes.
    fn length(self, shape: Shape) -> usize {
        match (self, shape) {
            (Pooling::Average | Pooling::Max, Shape::Map([channels, ..])) => channels,
            (_, shape) => shape.dims().iter().product(),
        }
    }

    /// The output of a layer for one image, as a vector. NaN is kept.
    fn vector(self, tap: &Array, image: usize) -> Vec<f32> {
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

/// The larger value, or NaN if `a` is NaN: `f32::max` would ignore it.
fn larger(a: f32, b: f32) -> f32 {
    if a.is_nan() || a > b { a } else { b }
}

/// Smallest length that a vector is divided by, so that a zero vector stays zero.
const MIN_LENGTH: f64 = 1e-12;

fn to_unit_length(vector: &mut [f32]) {
    let length = dot(vector, vector).sqrt().max(MIN_LENGTH);
    vector.iter_mut().for_each(|value| *value = (f64::from(*value) / length) as f32);
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}

/// The cosine of the angle between two vectors, -1 to 1: 1 for the same direction, 0 for orthogonal vectors
/// and for a zero vector.
///
/// ```
/// use alexnet_vgg_core::predict::cosine_similarity;
///
/// assert_eq!(cosine_similarity(&[3.0, 4.0], &[6.0, 8.0])?, 1.0);
/// assert_eq!(cosine_similarity(&[3.0, 0.0], &[0.0, 2.0])?, 0.0);
/// # Ok::<(), alexnet_vgg_core::Error>(())
/// ```
///
/// # Errors
/// [`Error::Setting`] for vectors of different lengths, [`Error::NotFinite`] for NaN or infinite values.
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
