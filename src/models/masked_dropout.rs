//! The forward pass of training, in which the caller gives the masks of dropout.
//!
//! burn's dropout draws from the backend's single stream of random numbers, so what it drops depends on
//! everything that any thread drew before. Here masks are chosen by image, so that a run that was interrupted
//! and resumed has the same result to the bit.

#[cfg(feature = "train")]
use super::batch_plan::{BatchPlan, join};
use super::layer_modules::{MapLayer, Pointwise, VectorLayer};
#[cfg(feature = "train")]
use super::network::{Network, nan_marker};
#[cfg(feature = "train")]
use crate::Result;
use burn::nn::Dropout;
use burn::tensor::backend::Backend;
use burn::tensor::{Tensor, TensorData};
use std::ops::Range;

/// The mask of a dropout layer: from its index in forward order, its probability, a range of images of the batch
/// and the number of values per image, `images.len() * values` factors.
pub(crate) type DropoutMasks<'a> = &'a (dyn Fn(usize, f64, Range<usize>, usize) -> Vec<f32> + Sync);

/// The same for all images of one chunk of the batch.
#[cfg(feature = "train")]
pub(crate) type ChunkMasks<'a> = &'a dyn Fn(usize, f64, usize) -> Vec<f32>;

#[cfg(feature = "train")]
impl<B: Backend> Network<B> {
    /// The logits, `[N, C, H, W]` to `[N, num_classes]`, as [`try_forward`](Self::try_forward) gives them,
    /// but every dropout layer multiplies by `masks`, on every backend.
    pub(crate) fn forward_with_masks(
        &self,
        images: Tensor<B, 4>,
        masks: DropoutMasks,
    ) -> Result<Tensor<B, 2>> {
        self.last_compiled.forget();
        let plan = self.plan(images.dims(), &images.device())?;
        Ok(in_chunks(&plan, images, masks, |chunk, masks| self.forward_chunk(chunk, masks)))
    }

    fn forward_chunk(&self, images: Tensor<B, 4>, masks: ChunkMasks) -> Tensor<B, 2> {
        let nan_marker = nan_marker(&images);
        let maps = self.forward_features_with_masks(0..self.features.len(), images, masks);
        self.forward_classifier_with_masks(self.pool(maps).flatten(1, 3), masks) + nan_marker
    }

    /// Forward through these feature layers.
    pub(crate) fn forward_features_with_masks(
        &self,
        layers: Range<usize>,
        mut maps: Tensor<B, 4>,
        masks: ChunkMasks,
    ) -> Tensor<B, 4> {
        for index in layers {
            maps =
                self.features[index].forward_with_mask(maps, |p, values| masks(index, p, values));
        }
        maps
    }

    /// Forward through the classifier.
    pub(crate) fn forward_classifier_with_masks(
        &self,
        mut vectors: Tensor<B, 2>,
        masks: ChunkMasks,
    ) -> Tensor<B, 2> {
        let first = self.features.len() + 1;
        for (index, layer) in (first..).zip(&self.classifier) {
            vectors = layer.forward_with_mask(vectors, |p, values| masks(index, p, values));
        }
        vectors
    }
}

/// Runs `pass` over the chunks of a batch that the device has memory for, each with the masks of its images.
#[cfg(feature = "train")]
pub(crate) fn in_chunks<B: Backend, const D: usize>(
    plan: &BatchPlan,
    batch: Tensor<B, 4>,
    masks: DropoutMasks,
    pass: impl Fn(Tensor<B, 4>, ChunkMasks) -> Tensor<B, D>,
) -> Tensor<B, D> {
    let mut first = 0;
    let chunks = plan.split(batch).map(|chunk| {
        let images = first..first + chunk.dims()[0];
        first = images.end;
        pass(chunk, &|layer, p, values| masks(layer, p, images.clone(), values))
    });
    join(chunks.collect())
}

impl<B: Backend> MapLayer<B> {
    /// [`forward`](Self::forward), but a dropout layer multiplies by the `mask` for its probability and the
    /// number of values per image.
    pub(super) fn forward_with_mask(
        &self,
        x: Tensor<B, 4>,
        mask: impl Fn(f64, usize) -> Vec<f32>,
    ) -> Tensor<B, 4> {
        match self {
            MapLayer::Pointwise(Pointwise::Dropout(dropout)) => apply_mask(dropout, x, mask),
            other => other.forward(x),
        }
    }
}

impl<B: Backend> VectorLayer<B> {
    /// As [`MapLayer::forward_with_mask`].
    pub(super) fn forward_with_mask(
        &self,
        x: Tensor<B, 2>,
        mask: impl Fn(f64, usize) -> Vec<f32>,
    ) -> Tensor<B, 2> {
        match self {
            VectorLayer::Pointwise(Pointwise::Dropout(dropout)) => apply_mask(dropout, x, mask),
            other => other.forward(x),
        }
    }
}

fn apply_mask<B: Backend, const D: usize>(
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
