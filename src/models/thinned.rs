//! The forward pass of training: every image through a thinned network of its own.
//!
//! burn's dropout draws from the backend's one stream of random numbers, so what it drops depends on all
//! that was drawn before, by whatever thread. Here the caller says what is dropped: by the image, not by
//! the clock, so that a run can stop anywhere, go on, and come to the same bits.

use super::chain::{MapLayer, Pointwise, VectorLayer};
#[cfg(feature = "train")]
use super::network::{Network, Plan, join, not_a_number};
#[cfg(feature = "train")]
use crate::error::Result;
use burn::nn::Dropout;
use burn::tensor::backend::Backend;
use burn::tensor::{Tensor, TensorData};
use std::ops::Range;

/// What a dropout multiplies by: from its place in forward order, its probability, images of the batch and
/// the values of one, `images.len() * values` factors.
pub(crate) type Masks<'a> = &'a (dyn Fn(usize, f64, Range<usize>, usize) -> Vec<f32> + Sync);

/// The same for the images of a part of the batch.
#[cfg(feature = "train")]
pub(super) type MasksOfPart<'a> = &'a dyn Fn(usize, f64, usize) -> Vec<f32>;

#[cfg(feature = "train")]
impl<B: Backend> Network<B> {
    /// The logits, `[N, C, H, W]` to `[N, num_classes]`, as [`try_forward`](Self::try_forward) gives them,
    /// but every dropout multiplies by `masks`, on every backend.
    pub(crate) fn thinned(&self, images: Tensor<B, 4>, masks: Masks) -> Result<Tensor<B, 2>> {
        let plan = self.plan(images.dims(), &images.device())?;
        Ok(part_by_part(&plan, images, masks, |part, masks| self.thinned_part(part, masks)))
    }

    fn thinned_part(&self, images: Tensor<B, 4>, masks: MasksOfPart) -> Tensor<B, 2> {
        let not_a_number = not_a_number(&images);
        let maps = self.thinned_maps(0..self.features.len(), images, masks);
        self.thinned_vectors(self.pool(maps).flatten(1, 3), masks) + not_a_number
    }

    /// Through these layers of the features.
    pub(super) fn thinned_maps(
        &self,
        layers: Range<usize>,
        mut maps: Tensor<B, 4>,
        masks: MasksOfPart,
    ) -> Tensor<B, 4> {
        for place in layers {
            maps = self.features[place].thinned(maps, |p, values| masks(place, p, values));
        }
        maps
    }

    /// Through the classifier.
    pub(super) fn thinned_vectors(
        &self,
        mut vectors: Tensor<B, 2>,
        masks: MasksOfPart,
    ) -> Tensor<B, 2> {
        for (index, layer) in self.classifier.iter().enumerate() {
            let place = self.features.len() + 1 + index;
            vectors = layer.thinned(vectors, |p, values| masks(place, p, values));
        }
        vectors
    }
}

/// A batch in the parts that the device takes, each with the masks of its images.
#[cfg(feature = "train")]
pub(super) fn part_by_part<B: Backend, const D: usize>(
    plan: &Plan,
    batch: Tensor<B, 4>,
    masks: Masks,
    pass: impl Fn(Tensor<B, 4>, MasksOfPart) -> Tensor<B, D>,
) -> Tensor<B, D> {
    let mut first = 0;
    let parts = plan.split(batch).map(|part| {
        let images = first..first + part.dims()[0];
        first = images.end;
        pass(part, &|place, p, values| masks(place, p, images.clone(), values))
    });
    join(parts.collect())
}

impl<B: Backend> MapLayer<B> {
    /// [`forward`](Self::forward), but a dropout multiplies by `mask`, of its probability and the values of
    /// an image.
    pub(super) fn thinned(
        &self,
        x: Tensor<B, 4>,
        mask: impl Fn(f64, usize) -> Vec<f32>,
    ) -> Tensor<B, 4> {
        match self {
            MapLayer::Pointwise(Pointwise::Dropout(dropout)) => drop(dropout, x, mask),
            other => other.forward(x),
        }
    }
}

impl<B: Backend> VectorLayer<B> {
    /// As a layer of maps does.
    pub(super) fn thinned(
        &self,
        x: Tensor<B, 2>,
        mask: impl Fn(f64, usize) -> Vec<f32>,
    ) -> Tensor<B, 2> {
        match self {
            VectorLayer::Pointwise(Pointwise::Dropout(dropout)) => drop(dropout, x, mask),
            other => other.forward(x),
        }
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
