//! The training pass in segments: for a network that several processes train together, which have something to
//! exchange in the middle of the backward pass.
//!
//! It is cut before the classifier, whose gradients are most of the bytes and are ready first, and at every
//! synchronized batch norm.

use super::gradients::collect;
use super::processes::ProcessGroup;
use super::segment::Segment;
use super::sync_batch_norm::SyncBatchNorm;
use crate::Result;
use crate::models::{
    BatchPlan, DropoutMasks, MapLayer, Network, in_chunks, is_trained, nan_marker,
};
use burn::module::AutodiffModule;
use burn::nn::BatchNorm;
use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use burn::tensor::backend::AutodiffBackend;
use std::ops::Range;

/// A forward pass whose backward pass follows, the classifier's first. A process without images goes through
/// the same calls, to take part in the exchanges.
pub(crate) struct SegmentedPass<'a, B: AutodiffBackend> {
    network: &'a Network<B>,
    masks: DropoutMasks<'a>,
    /// `None` without images.
    plan: Option<BatchPlan<'a>>,
    /// The features in forward order.
    parts: Vec<FeaturePart<'a, B>>,
    /// The first of them with trainable parameters, where the backward pass ends.
    first_trained: Option<usize>,
    classifier: Option<Segment<B, 4, 2>>,
    logits: Option<Tensor<B::InnerBackend, 2>>,
    /// The gradient of the classifier's input.
    pooled_gradient: Option<Tensor<B::InnerBackend, 4>>,
}

enum FeaturePart<'a, B: AutodiffBackend> {
    Layers(Option<Segment<B, 4, 4>>),
    Norm(&'a BatchNorm<B>, SyncBatchNorm<B::InnerBackend>, &'a dyn ProcessGroup),
}

impl<B: AutodiffBackend> Network<B> {
    /// The forward pass of [`forward_with_masks`](Self::forward_with_masks), in segments. With `synchronized`,
    /// batch norm uses the statistics of all these processes' images.
    pub(crate) fn forward_segmented<'a>(
        &'a self,
        images: Option<Tensor<B::InnerBackend, 4>>,
        masks: DropoutMasks<'a>,
        synchronized: Option<&'a dyn ProcessGroup>,
    ) -> Result<SegmentedPass<'a, B>> {
        let plan = images.as_ref().map(|images| self.plan(images.dims(), &images.device()));
        let mut pass = SegmentedPass {
            network: self,
            masks,
            plan: plan.transpose()?,
            parts: Vec::new(),
            first_trained: None,
            classifier: None,
            logits: None,
            pooled_gradient: None,
        };
        let nan_marker = images.as_ref().map(nan_marker);
        let (mut maps, mut first) = (images, 0);
        for (index, layer) in self.features.iter().enumerate() {
            if let (MapLayer::BatchNorm(norm), Some(processes)) = (layer, synchronized) {
                maps = pass.forward_layers(first..index, maps);
                maps = pass.forward_batch_norm(norm, maps, processes)?;
                first = index + 1;
            }
        }
        let pooled = pass.forward_layers(first..self.features.len(), maps);
        pass.forward_classifier(pooled, nan_marker);
        Ok(pass)
    }

    /// The features and the classifier as modules of their own.
    pub(crate) fn features_and_classifier(
        &self,
    ) -> (&impl AutodiffModule<B>, &impl AutodiffModule<B>) {
        (&self.features, &self.classifier)
    }
}

impl<'a, B: AutodiffBackend> SegmentedPass<'a, B> {
    /// Forward through some feature layers, and through the pooling layer after the last of them.
    fn forward_layers(
        &mut self,
        layers: Range<usize>,
        maps: Option<Tensor<B::InnerBackend, 4>>,
    ) -> Option<Tensor<B::InnerBackend, 4>> {
        let (network, masks) = (self.network, self.masks);
        let is_last = layers.end == network.features.len();
        let trains = network.features[layers.clone()].iter().any(is_trained);
        let wants_gradient = self.first_trained.is_some();
        let segment = maps.zip(self.plan.as_ref()).map(|(maps, plan)| {
            Segment::forward(maps, wants_gradient, |maps| {
                in_chunks(plan, maps, masks, |maps, masks| {
                    let maps = network.forward_features_with_masks(layers.clone(), maps, masks);
                    if is_last { network.pool(maps) } else { maps }
                })
            })
        });
        let output = segment.as_ref().map(Segment::output);
        self.push(FeaturePart::Layers(segment), trains);
        output
    }

    /// Forward through a batch norm, by the statistics of all processes.
    fn forward_batch_norm(
        &mut self,
        norm: &'a BatchNorm<B>,
        maps: Option<Tensor<B::InnerBackend, 4>>,
        processes: &'a dyn ProcessGroup,
    ) -> Result<Option<Tensor<B::InnerBackend, 4>>> {
        let normalized = SyncBatchNorm::forward(norm, maps, processes)?;
        let output = normalized.output(norm);
        self.push(FeaturePart::Norm(norm, normalized, processes), is_trained(norm));
        Ok(output)
    }

    fn push(&mut self, part: FeaturePart<'a, B>, is_trainable: bool) {
        if is_trainable {
            self.first_trained.get_or_insert(self.parts.len());
        }
        self.parts.push(part);
    }

    fn forward_classifier(
        &mut self,
        pooled: Option<Tensor<B::InnerBackend, 4>>,
        nan_marker: Option<Tensor<B::InnerBackend, 2>>,
    ) {
        let (network, masks) = (self.network, self.masks);
        let wants_gradient = self.first_trained.is_some();
        self.classifier = pooled.zip(self.plan.as_ref()).map(|(pooled, plan)| {
            Segment::forward(pooled, wants_gradient, |pooled| {
                in_chunks(plan, pooled, masks, |pooled, masks| {
                    network.forward_classifier_with_masks(pooled.flatten(1, 3), masks)
                })
            })
        });
        let logits = self.classifier.as_ref().map(Segment::output);
        self.logits = logits.zip(nan_marker).map(|(logits, zeros)| logits + zeros);
    }

    /// `[N, num_classes]`; `None` without images.
    pub fn logits(&self) -> Option<Tensor<B::InnerBackend, 2>> {
        self.logits.clone()
    }

    /// The backward pass from the gradient of the logits through the classifier, whose gradients are added to
    /// `gradients`.
    pub fn backward_classifier(
        &mut self,
        gradient: Option<Tensor<B::InnerBackend, 2>>,
        gradients: &mut GradientsParams,
    ) {
        let trains = self.first_trained.is_some() || is_trained(&self.network.classifier);
        let segment = self.classifier.take().filter(|_| trains);
        if let Some((segment, gradient)) = segment.zip(gradient) {
            let (found, pooled_gradient) = segment.backward(gradient);
            collect(&self.network.classifier, found, gradients);
            self.pooled_gradient = pooled_gradient;
        }
    }

    /// The rest of the backward pass, through the features, whose gradients are added to `gradients`.
    pub fn backward_features(self, gradients: &mut GradientsParams) -> Result<()> {
        let last = self.first_trained.unwrap_or(self.parts.len());
        let mut gradient = self.pooled_gradient;
        for part in self.parts.into_iter().skip(last).rev() {
            gradient = match part {
                FeaturePart::Layers(segment) => {
                    segment.zip(gradient).and_then(|(segment, gradient)| {
                        let (found, input_gradient) = segment.backward(gradient);
                        collect(&self.network.features, found, gradients);
                        input_gradient
                    })
                }
                FeaturePart::Norm(norm, normalized, processes) => {
                    normalized.backward(norm, gradient, processes, gradients)?
                }
            };
        }
        Ok(())
    }
}
