//! burn's networks as models that work on slices.

use super::{Architecture, Network};
use crate::backend;
use crate::{Array, Metadata};
use crate::{Error, Result};
use alexnet_vgg_core::predict::Model;
use burn::tensor::backend::Backend;
use burn::tensor::{Tensor, TensorData};
use std::ops::Range;

/// Images that burn gets at once: as many as the engine takes.
const IMAGES_AT_ONCE: usize = 8;
/// Vectors that burn gets at once.
const VECTORS_AT_ONCE: usize = 128;

impl<B: Backend> Network<B> {
    pub(super) fn expect_values(&self, images: &[f32], shape: [usize; 4]) -> Result<()> {
        let values = shape.iter().try_fold(1usize, |all, &dim| all.checked_mul(dim));
        if shape[0] > 0 && values == Some(images.len()) {
            return Ok(());
        }
        Err(Error::InputShape {
            network: self.architecture().name.clone(),
            expected: format!("as many values as {shape:?} has"),
            found: vec![images.len()],
        })
    }

    /// Images, flat, as burn's tensors of a few each.
    fn batches(&self, images: &[f32], shape: [usize; 4]) -> Result<Vec<Tensor<B, 4>>> {
        self.expect_values(images, shape)?;
        let [batch, channels, height, width] = shape;
        let (device, image) = (self.device(), images.len() / batch);
        let few = |few: &[f32]| {
            let shape = [few.len() / image.max(1), channels, height, width];
            Tensor::from_data(TensorData::new(few.to_vec(), shape), &device)
        };
        Ok(images.chunks((image * IMAGES_AT_ONCE).max(1)).map(few).collect())
    }
}

/// A tensor's values, read from its device.
pub(super) fn read<B: Backend, const D: usize>(tensor: Tensor<B, D>) -> Result<Vec<f32>> {
    Ok(backend::read(tensor)?.iter::<f32>().collect())
}

/// (An autodiff backend would drop values at random, as in training: pass the network's `valid()`.)
impl<B: Backend> Model for Network<B> {
    fn architecture(&self) -> &Architecture {
        self.architecture()
    }

    fn metadata(&self) -> &Metadata {
        self.metadata()
    }

    fn logits(&self, images: &[f32], shape: [usize; 4]) -> Result<Vec<f32>> {
        let mut logits = Vec::new();
        for batch in self.batches(images, shape)? {
            logits.extend(read(self.try_forward(batch)?)?);
        }
        Ok(logits)
    }

    fn score_maps(&self, images: &[f32], shape: [usize; 4]) -> Result<Array> {
        let mut all = Array { shape: Vec::new(), values: Vec::new() };
        for batch in self.batches(images, shape)? {
            let maps = self.score_maps(batch)?;
            let [_, classes, rows, columns] = maps.dims();
            all.shape = vec![shape[0], classes, rows, columns];
            all.values.extend(read(maps)?);
        }
        Ok(all)
    }

    fn taps(&self, images: &[f32], shape: [usize; 4], layers: &[&str]) -> Result<Vec<Array>> {
        let mut all: Vec<Array> = Vec::new();
        for batch in self.batches(images, shape)? {
            for (index, tap) in self.taps(batch, layers)?.into_iter().enumerate() {
                let mut of_all = tap.dims();
                of_all[0] = shape[0];
                if index == all.len() {
                    all.push(Array { shape: of_all, values: Vec::new() });
                }
                all[index].values.extend(tap.into_data()?.iter::<f32>());
            }
        }
        Ok(all)
    }

    fn run_classifier_layers(&self, layers: Range<usize>, vectors: &[f32]) -> Result<Vec<f32>> {
        if layers.is_empty() {
            return Ok(vectors.to_vec());
        }
        let [_, features] = self.architecture().expect_vectors(&layers, vectors.len())?;
        let device = self.device();
        let mut all = Vec::new();
        for few in vectors.chunks((features * VECTORS_AT_ONCE).max(1)) {
            let shape = [few.len() / features.max(1), features];
            let few = Tensor::from_data(TensorData::new(few.to_vec(), shape), &device);
            all.extend(read(self.classifier_layers(layers.clone(), few))?);
        }
        Ok(all)
    }
}
