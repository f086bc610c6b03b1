//! The pass of training in stretches: for a network that several processes train, where something has to be
//! done between two layers on the way back.
//!
//! It is cut before the classifier, whose gradients are most of all bytes and are there first; and at every
//! batch norm that is synchronized.

use super::chain::MapLayer;
use super::network::{Network, Plan, not_a_number};
use super::synchronized::Normalized;
use super::thinned::{Masks, part_by_part};
use super::trained::is_trained;
use crate::error::Result;
use crate::train::processes::Processes;
use crate::train::{Stretch, collect};
use burn::module::AutodiffModule;
use burn::nn::BatchNorm;
use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use burn::tensor::backend::AutodiffBackend;
use std::ops::Range;

/// A pass that has gone forward, and goes back: the classifier first. A process without images goes the same
/// way, to take part in what all do on it.
pub(crate) struct Pass<'a, B: AutodiffBackend> {
    network: &'a Network<B>,
    masks: Masks<'a>,
    /// None without images.
    plan: Option<Plan<'a>>,
    /// The features in forward order.
    pieces: Vec<Piece<'a, B>>,
    /// The first of them that anything is trained in: nothing goes back any further.
    first_trained: Option<usize>,
    classifier: Option<Stretch<B, 4, 2>>,
    logits: Option<Tensor<B::InnerBackend, 2>>,
    /// The gradient of what the classifier takes.
    of_pooled: Option<Tensor<B::InnerBackend, 4>>,
}

enum Piece<'a, B: AutodiffBackend> {
    Layers(Option<Stretch<B, 4, 4>>),
    Norm(&'a BatchNorm<B>, Normalized<B::InnerBackend>, &'a dyn Processes),
}

impl<B: AutodiffBackend> Network<B> {
    /// Goes forward as [`thinned`](Self::thinned) does, but in stretches. With `synchronized`, batch norm
    /// takes the statistics of all these processes' images.
    pub(crate) fn in_stretches<'a>(
        &'a self,
        images: Option<Tensor<B::InnerBackend, 4>>,
        masks: Masks<'a>,
        synchronized: Option<&'a dyn Processes>,
    ) -> Result<Pass<'a, B>> {
        let plan = images.as_ref().map(|images| self.plan(images.dims(), &images.device()));
        let mut pass = Pass {
            network: self,
            masks,
            plan: plan.transpose()?,
            pieces: Vec::new(),
            first_trained: None,
            classifier: None,
            logits: None,
            of_pooled: None,
        };
        let not_a_number = images.as_ref().map(not_a_number);
        let (mut maps, mut first) = (images, 0);
        for (index, layer) in self.features.iter().enumerate() {
            if let (MapLayer::BatchNorm(norm), Some(processes)) = (layer, synchronized) {
                maps = pass.through(first..index, maps);
                maps = pass.normalize(norm, maps, processes)?;
                first = index + 1;
            }
        }
        let pooled = pass.through(first..self.features.len(), maps);
        pass.classify(pooled, not_a_number);
        Ok(pass)
    }

    /// The features and the classifier, each by itself.
    pub(crate) fn halves(&self) -> (&impl AutodiffModule<B>, &impl AutodiffModule<B>) {
        (&self.features, &self.classifier)
    }
}

impl<'a, B: AutodiffBackend> Pass<'a, B> {
    /// Forward through layers of the features, and through the pool after the last of all.
    fn through(
        &mut self,
        layers: Range<usize>,
        maps: Option<Tensor<B::InnerBackend, 4>>,
    ) -> Option<Tensor<B::InnerBackend, 4>> {
        let (network, masks) = (self.network, self.masks);
        let is_last = layers.end == network.features.len();
        let trains = network.features[layers.clone()].iter().any(is_trained);
        let wants_gradient = self.first_trained.is_some();
        let stretch = maps.zip(self.plan.as_ref()).map(|(maps, plan)| {
            Stretch::forward(maps, wants_gradient, |maps| {
                part_by_part(plan, maps, masks, |maps, masks| {
                    let maps = network.thinned_maps(layers.clone(), maps, masks);
                    if is_last { network.pool(maps) } else { maps }
                })
            })
        });
        let output = stretch.as_ref().map(Stretch::output);
        self.push(Piece::Layers(stretch), trains);
        output
    }

    /// Forward through a batch norm, together with all processes.
    fn normalize(
        &mut self,
        norm: &'a BatchNorm<B>,
        maps: Option<Tensor<B::InnerBackend, 4>>,
        processes: &'a dyn Processes,
    ) -> Result<Option<Tensor<B::InnerBackend, 4>>> {
        let normalized = Normalized::new(norm, maps, processes)?;
        let output = normalized.output(norm);
        self.push(Piece::Norm(norm, normalized, processes), is_trained(norm));
        Ok(output)
    }

    fn push(&mut self, piece: Piece<'a, B>, trains: bool) {
        if trains {
            self.first_trained.get_or_insert(self.pieces.len());
        }
        self.pieces.push(piece);
    }

    fn classify(
        &mut self,
        pooled: Option<Tensor<B::InnerBackend, 4>>,
        not_a_number: Option<Tensor<B::InnerBackend, 2>>,
    ) {
        let (network, masks) = (self.network, self.masks);
        let wants_gradient = self.first_trained.is_some();
        self.classifier = pooled.zip(self.plan.as_ref()).map(|(pooled, plan)| {
            Stretch::forward(pooled, wants_gradient, |pooled| {
                part_by_part(plan, pooled, masks, |pooled, masks| {
                    network.thinned_vectors(pooled.flatten(1, 3), masks)
                })
            })
        });
        let logits = self.classifier.as_ref().map(Stretch::output);
        self.logits = logits.zip(not_a_number).map(|(logits, zeros)| logits + zeros);
    }

    /// `[N, num_classes]`; none without images.
    pub fn logits(&self) -> Option<Tensor<B::InnerBackend, 2>> {
        self.logits.clone()
    }

    /// Back from the gradient of the logits; adds the classifier's gradients.
    pub fn back_through_classifier(
        &mut self,
        gradient: Option<Tensor<B::InnerBackend, 2>>,
        gradients: &mut GradientsParams,
    ) {
        let trains = self.first_trained.is_some() || is_trained(&self.network.classifier);
        let stretch = self.classifier.take().filter(|_| trains);
        if let Some((stretch, gradient)) = stretch.zip(gradient) {
            let (found, of_pooled) = stretch.backward(gradient);
            collect(&self.network.classifier, found, gradients);
            self.of_pooled = of_pooled;
        }
    }

    /// The rest of the way; adds the features' gradients.
    pub fn back_through_features(self, gradients: &mut GradientsParams) -> Result<()> {
        let last = self.first_trained.unwrap_or(self.pieces.len());
        let mut gradient = self.of_pooled;
        for piece in self.pieces.into_iter().skip(last).rev() {
            gradient = match piece {
                Piece::Layers(stretch) => stretch.zip(gradient).and_then(|(stretch, gradient)| {
                    let (found, of_input) = stretch.backward(gradient);
                    collect(&self.network.features, found, gradients);
                    of_input
                }),
                Piece::Norm(norm, normalized, processes) => {
                    normalized.backward(norm, gradient, processes, gradients)?
                }
            };
        }
        Ok(())
    }
}
