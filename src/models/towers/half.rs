//! The layers of one device.

use super::division::{Divided, Division};
use crate::error::Result;
use crate::models::capacity::Capacity;
use crate::models::chain::{Builder, MapLayer, Values, VectorLayer};
use crate::models::network::{Tap, pooled};
use crate::models::table::{Architecture, Parameter, Part, Shape, Step};
use crate::models::thinned::Masks;
#[cfg(feature = "train")]
use crate::models::trained::is_trained;
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

/// What a dropout of some images multiplies by.
#[cfg_attr(not(feature = "train"), allow(dead_code))]
pub(crate) struct Thinning<'a> {
    pub masks: Masks<'a>,
    /// Of the whole batch.
    pub images: Range<usize>,
}

impl<B: Backend> Half<B> {
    /// Asks `values` for the rows of the whole parameters.
    pub fn build(
        architecture: &Architecture,
        division: &Division,
        side: usize,
        device: &B::Device,
        values: Values,
    ) -> Result<Self> {
        let steps: Vec<Step> =
            division.layers.iter().map(|layer| layer.halves[side].clone()).collect();
        let capacity = Capacity::new::<B>(&architecture.name, device)?;
        capacity.expect_weights(&steps)?;
        let mut of_whole = |own: &Parameter, rows: Range<usize>| {
            let wholes = division.layers.iter().flat_map(|layer| {
                let pair = |parameter| (parameter, layer.rows(parameter)[side].start);
                layer.whole.parameters.iter().map(pair)
            });
            let found = wholes.into_iter().find(|(whole, _)| whole.key == own.key);
            match found {
                Some((whole, first)) => values(whole, first + rows.start..first + rows.end),
                None => Ok(None),
            }
        };
        let mut builder = Builder::<B> { device, values: &mut of_whole, capacity };
        let (mut features, mut classifier) = (Vec::new(), Vec::new());
        for step in &steps {
            match step.part {
                Part::Features => features.push(builder.map_layer(step)?),
                Part::AvgPool => {}
                Part::Classifier => classifier.push(builder.vector_layer(step)?),
            }
        }
        let avgpool = AdaptiveAvgPool2dConfig::new(architecture.pool).init();
        Ok(Self { features, avgpool, classifier })
    }

    #[cfg(feature = "train")]
    pub fn hollow(&self) -> Self {
        let avgpool = self.avgpool.clone();
        Self { features: Vec::new(), avgpool, classifier: Vec::new() }
    }

    /// Goes through a stretch of layers, `[N, input]` to `[N, output]`: maps go in and out flat, so that
    /// joined halves are whole maps.
    pub fn run(
        &self,
        division: &Division,
        stretch: Range<usize>,
        side: usize,
        x: Tensor<B, 2>,
        thinning: Option<&Thinning>,
    ) -> Tensor<B, 2> {
        let [images, _] = x.dims();
        let first = stretch.start;
        let layers = division.layers.iter().enumerate().take(stretch.end).skip(first);
        let input = division.layers.get(first).map(|layer| layer.halves[side].input);
        let mut now = match input {
            Some(Shape::Map([c, h, w])) => Tap::Map(x.reshape([images, c, h, w])),
            _ => Tap::Vector(x),
        };
        for (index, layer) in layers {
            now = match (now, layer.whole.part) {
                (Tap::Map(maps), Part::Features) => {
                    Tap::Map(self.map_layer(index, layer, side, maps, thinning))
                }
                (Tap::Map(maps), Part::AvgPool) => Tap::Map(pooled(&self.avgpool, maps)),
                (Tap::Map(maps), Part::Classifier) => {
                    Tap::Vector(self.vector_layer(index, layer, side, maps.flatten(1, 3), thinning))
                }
                (Tap::Vector(x), _) => {
                    Tap::Vector(self.vector_layer(index, layer, side, x, thinning))
                }
            };
        }
        match now {
            Tap::Map(maps) => maps.flatten(1, 3),
            Tap::Vector(vectors) => vectors,
        }
    }

    fn map_layer(
        &self,
        index: usize,
        layer: &Divided,
        side: usize,
        maps: Tensor<B, 4>,
        thinning: Option<&Thinning>,
    ) -> Tensor<B, 4> {
        let own = &self.features[index];
        let maps = match thinning {
            Some(thinning) => own.thinned(maps, |p, _| thinning.of_half(index, layer, side, p)),
            None => own.forward(maps),
        };
        match layer.halves[side].keeps(side) {
            Some(channels) => maps.narrow(1, channels.start, channels.len()),
            None => maps,
        }
    }

    fn vector_layer(
        &self,
        index: usize,
        layer: &Divided,
        side: usize,
        x: Tensor<B, 2>,
        thinning: Option<&Thinning>,
    ) -> Tensor<B, 2> {
        // The pool stands between them.
        let own = &self.classifier[index - self.features.len() - 1];
        match thinning {
            Some(thinning) => own.thinned(x, |p, _| thinning.of_half(index, layer, side, p)),
            None => own.forward(x),
        }
    }

    /// Whether a parameter of these layers asks for a gradient.
    #[cfg(feature = "train")]
    pub fn asks(&self, stretch: Range<usize>) -> bool {
        stretch.into_iter().any(|index| match self.features.get(index) {
            Some(layer) => is_trained(layer),
            // The pool stands between them, and has none.
            None if index == self.features.len() => false,
            None => is_trained(&self.classifier[index - self.features.len() - 1]),
        })
    }

    /// Where it is.
    pub fn device(&self) -> B::Device {
        self.devices().into_iter().next().unwrap_or_default()
    }
}

impl Thinning<'_> {
    /// Of the mask of the whole layer the part that is this half's.
    fn of_half(&self, index: usize, layer: &Divided, side: usize, p: f64) -> Vec<f32> {
        let [first, second] = layer.halves.each_ref().map(|half| half.input.elements() as usize);
        let own = if side == 0 { 0..first } else { first..first + second };
        let all = (self.masks)(index, p, self.images.clone(), first + second);
        all.chunks(first + second).flat_map(|image| &image[own.clone()]).copied().collect()
    }
}
