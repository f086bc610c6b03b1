//! What a classifier needs of a network, whichever way it is computed.

use crate::backend;
use crate::engine::{Compiled, Values, zeros};
use crate::error::{Error, Result};
use crate::models::{Architecture, Network, Part};
use crate::vision::{Labels, Preset};
use burn::tensor::backend::Backend;
use burn::tensor::{Tensor, TensorData};
use std::ops::Range;

/// A network that answers, on slices: the compiled engine, or a burn module on any backend. (An
/// autodiff backend would drop values at random as in training: give its `valid()`.)
pub trait Model: Send + Sync {
    /// Its table.
    fn architecture(&self) -> &Architecture;

    /// The preprocessing that its weights want, if that is known.
    fn preset(&self) -> Option<&Preset>;

    /// The names of its classes, if they are known.
    fn labels(&self) -> Option<&Labels> {
        None
    }

    /// `[N, C, H, W]`, flat, to `[N, num_classes]`.
    ///
    /// # Errors
    /// As for [`Network::try_forward`].
    fn logits(&self, images: &[f32], shape: [usize; 4]) -> Result<Vec<f32>>;

    /// Class scores at every place, as [`Network::score_maps`] has them.
    ///
    /// # Errors
    /// As for [`Network::score_maps`].
    fn score_maps(&self, images: &[f32], shape: [usize; 4]) -> Result<Values>;

    /// What the classifier is given: `[N, C, H, W]`, flat, to `[N, features]`, pooled.
    ///
    /// # Errors
    /// As for [`Network::taps`].
    fn pooled(&self, images: &[f32], shape: [usize; 4]) -> Result<Vec<f32>>;

    /// Some layers of the classifier, by their indices in forward order: vectors as the first of them
    /// takes them, flat, to vectors as the last of them gives. A dropout among them does nothing.
    ///
    /// # Errors
    /// [`Error::InputShape`](crate::Error::InputShape) for values that are not whole vectors, or layers
    /// that are not the classifier's.
    fn classify(&self, layers: Range<usize>, vectors: &[f32]) -> Result<Vec<f32>>;
}

impl Model for Compiled {
    fn architecture(&self) -> &Architecture {
        self.architecture()
    }

    fn preset(&self) -> Option<&Preset> {
        self.preset()
    }

    fn labels(&self) -> Option<&Labels> {
        self.labels()
    }

    fn logits(&self, images: &[f32], shape: [usize; 4]) -> Result<Vec<f32>> {
        let mut logits = zeros(&[shape[0], self.architecture().num_classes()?])?;
        self.run(images, shape, &mut logits)?;
        Ok(logits)
    }

    fn score_maps(&self, images: &[f32], shape: [usize; 4]) -> Result<Values> {
        self.score_maps(images, shape)
    }

    fn pooled(&self, images: &[f32], shape: [usize; 4]) -> Result<Vec<f32>> {
        let taps = self.taps(images, shape, &[Part::AvgPool.to_string()])?;
        Ok(taps.into_iter().flat_map(|tap| tap.values).collect())
    }

    fn classify(&self, layers: Range<usize>, vectors: &[f32]) -> Result<Vec<f32>> {
        self.classify(layers, vectors)
    }
}

/// Images that burn gets at once: as many as the engine takes.
const IMAGES_AT_ONCE: usize = 8;
/// Vectors that burn gets at once.
const VECTORS_AT_ONCE: usize = 128;

impl<B: Backend> Network<B> {
    /// Images, flat, as burn's tensors of a few each.
    fn parts(&self, images: &[f32], shape: [usize; 4]) -> Result<Vec<Tensor<B, 4>>> {
        let [batch, channels, height, width] = shape;
        let values = shape.iter().try_fold(1usize, |all, &dim| all.checked_mul(dim));
        if batch == 0 || values != Some(images.len()) {
            return Err(Error::InputShape {
                network: self.architecture().name.clone(),
                expected: format!("as many values as {shape:?} has"),
                found: vec![images.len()],
            });
        }
        let (device, image) = (self.device(), images.len() / batch);
        let part = |part: &[f32]| {
            let shape = [part.len() / image.max(1), channels, height, width];
            Tensor::from_data(TensorData::new(part.to_vec(), shape), &device)
        };
        Ok(images.chunks((image * IMAGES_AT_ONCE).max(1)).map(part).collect())
    }
}

/// A tensor's values, read from its device.
pub(super) fn read<B: Backend, const D: usize>(tensor: Tensor<B, D>) -> Result<Vec<f32>> {
    Ok(backend::read(tensor)?.iter::<f32>().collect())
}

impl<B: Backend> Model for Network<B> {
    fn architecture(&self) -> &Architecture {
        self.architecture()
    }

    fn preset(&self) -> Option<&Preset> {
        self.preset()
    }

    fn labels(&self) -> Option<&Labels> {
        self.labels()
    }

    fn logits(&self, images: &[f32], shape: [usize; 4]) -> Result<Vec<f32>> {
        let mut logits = Vec::new();
        for part in self.parts(images, shape)? {
            logits.extend(read(self.try_forward(part)?)?);
        }
        Ok(logits)
    }

    fn score_maps(&self, images: &[f32], shape: [usize; 4]) -> Result<Values> {
        let mut all = Values { shape: Vec::new(), values: Vec::new() };
        for part in self.parts(images, shape)? {
            let maps = self.score_maps(part)?;
            let [_, classes, rows, columns] = maps.dims();
            all.shape = vec![shape[0], classes, rows, columns];
            all.values.extend(read(maps)?);
        }
        Ok(all)
    }

    fn pooled(&self, images: &[f32], shape: [usize; 4]) -> Result<Vec<f32>> {
        let mut values = Vec::new();
        for part in self.parts(images, shape)? {
            for tap in self.taps(part, &[Part::AvgPool.to_string()])? {
                values.extend(tap.into_data()?.iter::<f32>());
            }
        }
        Ok(values)
    }

    fn classify(&self, layers: Range<usize>, vectors: &[f32]) -> Result<Vec<f32>> {
        if layers.is_empty() {
            return Ok(vectors.to_vec());
        }
        let [_, features] = self.architecture().expect_vectors(&layers, vectors.len())?;
        let device = self.device();
        let mut all = Vec::new();
        for part in vectors.chunks((features * VECTORS_AT_ONCE).max(1)) {
            let shape = [part.len() / features.max(1), features];
            let part = Tensor::from_data(TensorData::new(part.to_vec(), shape), &device);
            all.extend(read(self.classifier_layers(layers.clone(), part))?);
        }
        Ok(all)
    }
}
