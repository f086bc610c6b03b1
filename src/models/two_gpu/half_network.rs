//! The half of a network that is on one device.

use crate::Result;
use crate::models::capacity::Capacity;
#[cfg(feature = "train")]
use crate::models::layer_modules::is_trained;
use crate::models::layer_modules::{LayerBuilder, MapLayer, ParameterValues, VectorLayer};
use crate::models::masked_dropout::DropoutMasks;
use crate::models::network::pooled;
use crate::models::tap::Tap;
use crate::models::{Architecture, Parameter, Section, Shape, SplitLayer, Step, TwoGpuSplit};
use burn::module::Module;
use burn::nn::pool::{AdaptiveAvgPool2d, AdaptiveAvgPool2dConfig};
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;
use std::ops::Range;

/// One device's half of every layer.
#[derive(Module, Debug)]
pub(crate) struct Half<B: Backend> {
    pub(super) features: Vec<MapLayer<B>>,
    avgpool: AdaptiveAvgPool2d,
    pub(super) classifier: Vec<VectorLayer<B>>,
}

/// The dropout masks of some images of a batch.
#[cfg_attr(not(feature = "train"), allow(dead_code))]
pub(crate) struct ChunkDropout<'a> {
    pub masks: DropoutMasks<'a>,
    /// The images, as indices into the whole batch.
    pub images: Range<usize>,
}

impl<B: Backend> Half<B> {
    /// Builds one half; `values` gives rows of the whole network's parameters.
    pub fn build(
        architecture: &Architecture,
        split: &TwoGpuSplit,
        side: usize,
        device: &B::Device,
        values: ParameterValues,
    ) -> Result<Self> {
        let steps: Vec<Step> =
            split.layers.iter().map(|layer| layer.halves[side].clone()).collect();
        let capacity = Capacity::new::<B>(&architecture.name, device)?;
        capacity.expect_weights(&steps)?;
        let mut whole_values = |own: &Parameter, rows: Range<usize>| {
            let wholes = split.layers.iter().flat_map(|layer| {
                let pair = |parameter| (parameter, layer.rows(parameter)[side].start);
                layer.whole.parameters.iter().map(pair)
            });
            let found = wholes.into_iter().find(|(whole, _)| whole.key == own.key);
            match found {
                Some((whole, first)) => values(whole, first + rows.start..first + rows.end),
                None => Ok(None),
            }
        };
        let mut builder = LayerBuilder::<B> { device, values: &mut whole_values, capacity };
        let (mut features, mut classifier) = (Vec::new(), Vec::new());
        for step in &steps {
            match step.section {
                Section::Features => features.push(builder.map_layer(step)?),
                Section::AvgPool => {}
                Section::Classifier => classifier.push(builder.vector_layer(step)?),
            }
        }
        let avgpool = AdaptiveAvgPool2dConfig::new(architecture.pool).init();
        Ok(Self { features, avgpool, classifier })
    }

    /// The same half without layers.
    #[cfg(feature = "train")]
    pub fn without_layers(&self) -> Self {
        let avgpool = self.avgpool.clone();
        Self { features: Vec::new(), avgpool, classifier: Vec::new() }
    }

    /// The forward pass through a segment of layers, `[N, input]` to `[N, output]`. Maps are flat in input and
    /// output, so that the concatenation of both halves is the whole map.
    pub fn run(
        &self,
        split: &TwoGpuSplit,
        segment: Range<usize>,
        side: usize,
        x: Tensor<B, 2>,
        dropout: Option<&ChunkDropout>,
    ) -> Tensor<B, 2> {
        let [images, _] = x.dims();
        let first = segment.start;
        let layers = split.layers.iter().enumerate().take(segment.end).skip(first);
        let input = split.layers.get(first).map(|layer| layer.halves[side].input);
        let mut x = match input {
            Some(Shape::Map([c, h, w])) => Tap::Map(x.reshape([images, c, h, w])),
            _ => Tap::Vector(x),
        };
        for (index, layer) in layers {
            x = match (x, layer.whole.section) {
                (Tap::Map(maps), Section::Features) => {
                    Tap::Map(self.map_layer(index, layer, side, maps, dropout))
                }
                (Tap::Map(maps), Section::AvgPool) => Tap::Map(pooled(&self.avgpool, maps)),
                (Tap::Map(maps), Section::Classifier) => {
                    Tap::Vector(self.vector_layer(index, layer, side, maps.flatten(1, 3), dropout))
                }
                (Tap::Vector(vectors), _) => {
                    Tap::Vector(self.vector_layer(index, layer, side, vectors, dropout))
                }
            };
        }
        match x {
            Tap::Map(maps) => maps.flatten(1, 3),
            Tap::Vector(vectors) => vectors,
        }
    }

    fn map_layer(
        &self,
        index: usize,
        layer: &SplitLayer,
        side: usize,
        maps: Tensor<B, 4>,
        dropout: Option<&ChunkDropout>,
    ) -> Tensor<B, 4> {
        let own = &self.features[index];
        let maps = match dropout {
            Some(dropout) => {
                own.forward_with_mask(maps, |p, _| dropout.half_mask(index, layer, side, p))
            }
            None => own.forward(maps),
        };
        match layer.halves[side].kept_channels(side) {
            Some(channels) => maps.narrow(1, channels.start, channels.len()),
            None => maps,
        }
    }

    fn vector_layer(
        &self,
        index: usize,
        layer: &SplitLayer,
        side: usize,
        x: Tensor<B, 2>,
        dropout: Option<&ChunkDropout>,
    ) -> Tensor<B, 2> {
        // The pooling layer is between features and classifier.
        let own = &self.classifier[index - self.features.len() - 1];
        match dropout {
            Some(dropout) => {
                own.forward_with_mask(x, |p, _| dropout.half_mask(index, layer, side, p))
            }
            None => own.forward(x),
        }
    }

    /// Whether any of these layers is trainable.
    #[cfg(feature = "train")]
    pub fn is_trainable(&self, segment: Range<usize>) -> bool {
        segment.into_iter().any(|index| match self.features.get(index) {
            Some(layer) => is_trained(layer),
            // The pooling layer has no parameters.
            None if index == self.features.len() => false,
            None => is_trained(&self.classifier[index - self.features.len() - 1]),
        })
    }

    /// The device that it is on.
    pub fn device(&self) -> B::Device {
        self.devices().into_iter().next().unwrap_or_default()
    }
}

impl ChunkDropout<'_> {
    /// This half's part of the mask of the whole layer.
    fn half_mask(&self, index: usize, layer: &SplitLayer, side: usize, p: f64) -> Vec<f32> {
        let [first, second] = layer.halves.each_ref().map(|half| half.input.elements() as usize);
        let own = if side == 0 { 0..first } else { first..first + second };
        let all = (self.masks)(index, p, self.images.clone(), first + second);
        all.chunks(first + second).flat_map(|image| &image[own.clone()]).copied().collect()
    }
}
