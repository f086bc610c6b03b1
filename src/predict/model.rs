//! What a classifier needs of a network, whichever way it is computed.

use crate::backend;
use crate::engine::{Compiled, Values};
use crate::error::Result;
use crate::models::{Architecture, Network, Part};
use crate::vision::Preset;
use burn::module::Module;
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

    fn logits(&self, images: &[f32], shape: [usize; 4]) -> Result<Vec<f32>> {
        let mut logits = vec![0.0; shape[0] * self.architecture().num_classes()?];
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

impl<B: Backend> Network<B> {
    fn tensor(&self, images: &[f32], shape: [usize; 4]) -> Tensor<B, 4> {
        let device = self.devices().into_iter().next().unwrap_or_default();
        Tensor::from_data(TensorData::new(images.to_vec(), shape), &device)
    }
}

fn read<B: Backend, const D: usize>(tensor: Tensor<B, D>) -> Result<Vec<f32>> {
    Ok(backend::read(tensor)?.iter::<f32>().collect())
}

impl<B: Backend> Model for Network<B> {
    fn architecture(&self) -> &Architecture {
        self.architecture()
    }

    fn preset(&self) -> Option<&Preset> {
        self.preset()
    }

    fn logits(&self, images: &[f32], shape: [usize; 4]) -> Result<Vec<f32>> {
        read(self.try_forward(self.tensor(images, shape))?)
    }

    fn score_maps(&self, images: &[f32], shape: [usize; 4]) -> Result<Values> {
        let maps = self.score_maps(self.tensor(images, shape))?;
        Ok(Values { shape: maps.dims().to_vec(), values: read(maps)? })
    }

    fn pooled(&self, images: &[f32], shape: [usize; 4]) -> Result<Vec<f32>> {
        let taps = self.taps(self.tensor(images, shape), &[Part::AvgPool.to_string()])?;
        let mut values = Vec::new();
        for tap in taps {
            values.extend(tap.into_data()?.iter::<f32>());
        }
        Ok(values)
    }

    fn classify(&self, layers: Range<usize>, vectors: &[f32]) -> Result<Vec<f32>> {
        if layers.is_empty() {
            return Ok(vectors.to_vec());
        }
        let shape = self.architecture().expect_vectors(&layers, vectors.len())?;
        let device = self.devices().into_iter().next().unwrap_or_default();
        let vectors = Tensor::from_data(TensorData::new(vectors.to_vec(), shape), &device);
        read(self.classifier_layers(layers, vectors))
    }
}
