//! The forward pass of training: every image through a thinned network of its own.
//!
//! burn's dropout draws from the backend's one stream of random numbers, so what it drops depends on all
//! that was drawn before, by whatever thread. Here the caller says what is dropped: by the image, not by
//! the clock, so that a run can stop anywhere, go on, and come to the same bits.

use super::chain::{MapLayer, Pointwise, VectorLayer};
use super::network::{Network, join, not_a_number};
use crate::error::Result;
use burn::nn::Dropout;
use burn::tensor::backend::Backend;
use burn::tensor::{Tensor, TensorData};
use std::ops::Range;

/// What a dropout multiplies by: from its place in forward order, its probability, images of the batch and
/// the values of one, `images.len() * values` factors.
pub(crate) type Masks<'a> = &'a dyn Fn(usize, f64, Range<usize>, usize) -> Vec<f32>;

impl<B: Backend> Network<B> {
    /// The logits, `[N, C, H, W]` to `[N, num_classes]`, as [`try_forward`](Self::try_forward) gives them,
    /// but every dropout multiplies by `masks`, on every backend.
    pub(crate) fn thinned(&self, images: Tensor<B, 4>, masks: Masks) -> Result<Tensor<B, 2>> {
        let plan = self.plan(images.dims(), &images.device())?;
        let mut first = 0;
        let parts = plan.split(images).map(|part| {
            let images = first..first + part.dims()[0];
            first = images.end;
            self.thinned_part(part, &|place, p, values| masks(place, p, images.clone(), values))
        });
        Ok(join(parts.collect()))
    }

    fn thinned_part(
        &self,
        images: Tensor<B, 4>,
        masks: &dyn Fn(usize, f64, usize) -> Vec<f32>,
    ) -> Tensor<B, 2> {
        let not_a_number = not_a_number(&images);
        let mut maps = images;
        for (place, layer) in self.features.iter().enumerate() {
            maps = match layer {
                MapLayer::Pointwise(Pointwise::Dropout(dropout)) => {
                    drop(dropout, maps, |p, values| masks(place, p, values))
                }
                other => other.forward(maps),
            };
        }
        let mut vectors: Tensor<B, 2> = self.pool(maps).flatten(1, 3);
        for (index, layer) in self.classifier.iter().enumerate() {
            vectors = match layer {
                VectorLayer::Pointwise(Pointwise::Dropout(dropout)) => {
                    let place = self.features.len() + 1 + index;
                    drop(dropout, vectors, |p, values| masks(place, p, values))
                }
                other => other.forward(vectors),
            };
        }
        vectors + not_a_number
    }
}

fn drop<B: Backend, const D: usize>(
    dropout: &Dropout,
    x: Tensor<B, D>,
    mask: impl Fn(f64, usize) -> Vec<f32>,
) -> Tensor<B, D> {
    if dropout.prob == 0.0 {
        return x;
    }
    let shape = x.dims();
    let factors = mask(dropout.prob, shape[1..].iter().product());
    let factors = Tensor::from_data(TensorData::new(factors, shape), &x.device());
    x * factors
}
