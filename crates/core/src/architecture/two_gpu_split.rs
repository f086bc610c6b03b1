//! A network spread across two devices, as AlexNet was across two GPUs (AlexNet paper, section 3.5): half of
//! the channels or features of every layer is on each device, and the devices communicate only before certain
//! layers.
//!
//! Every parameter is split by the rows of its first dimension, which are output channels or features. This
//! works for every layer. A convolution in two groups becomes a convolution in one group on each device, with
//! the input channels that reside there. A layer that takes input from both devices has all inputs and half of
//! the outputs on each. Flattening feature maps keeps the order of the channels.

use super::checked_table::Architecture;
use super::layer::Layer;
use super::step::{Parameter, Shape, Step};
use crate::error::{Error, Result};
use serde::Serialize;
use std::ops::Range;

/// A network split across two devices.
#[derive(Clone, Debug, PartialEq)]
pub struct TwoGpuSplit {
    /// The layers in forward order.
    pub layers: Vec<SplitLayer>,
}

/// One layer of a network, split across two devices.
#[derive(Clone, Debug, PartialEq)]
pub struct SplitLayer {
    /// The whole layer.
    pub whole: Step,
    /// The half on each device, with its own inputs, outputs, rows of the parameters and multiplications.
    pub halves: [Step; 2],
    /// Whether each half takes input from both devices: a linear layer, or a convolution or LRN in one group.
    /// The other layers take input only from the same device.
    pub takes_both_halves: bool,
    /// Values per image that each device sends to the other before this layer.
    pub sent: [u64; 2],
}

/// Values that cross between the devices before a layer, or, as the crossing of the `logits`, after the last
/// layer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Crossing {
    /// The papers' name of the layer, such as `conv3` or `fc6`, or [`LOGITS`].
    pub layer: String,
    /// Values per image that each device sends to the other in the forward pass. In the backward pass, the
    /// gradients of these values are sent back.
    pub values: [u64; 2],
}

/// The name of the [`Crossing`] after the last layer, where the first device collects the second one's outputs.
pub const LOGITS: &str = "logits";

impl Architecture {
    /// Splits this network across two devices, for an input of `[height, width]` pixels.
    ///
    /// The first device has the first half of each layer's channels or features; of an odd number, it has one
    /// more.
    ///
    /// ```
    /// use alexnet_vgg_core::architecture::AlexNetConfig;
    ///
    /// let split = AlexNetConfig::two_gpu().architecture()?.two_gpu_split([224, 224])?;
    /// let crossings = split.crossings();
    /// let layers: Vec<&str> = crossings.iter().map(|crossing| crossing.layer.as_str()).collect();
    /// assert_eq!(layers, ["conv3", "fc6", "fc7", "fc8", "logits"]);
    /// // 128 of conv3's 256 input channels, of 13 x 13 values.
    /// assert_eq!(crossings[0].values, [128 * 13 * 13; 2]);
    /// # Ok::<(), alexnet_vgg_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`walk`](super::Table::walk); [`Error::Table`] for an odd number of groups above 1, and for a
    /// layer with a single channel or feature, which cannot be split.
    pub fn two_gpu_split(&self, size: [usize; 2]) -> Result<TwoGpuSplit> {
        let mut layers: Vec<SplitLayer> = Vec::new();
        // Outputs of the previous layer. The first layer has none: both devices are given the whole input.
        let mut previous = None;
        for step in self.walk(size)? {
            let place = format!("{} {}", self.name, step.key);
            let takes_both_halves = takes_both_halves(&place, &step.layer)?;
            let inputs = match previous {
                Some(outputs) => outputs,
                None if takes_both_halves => [step.input; 2],
                None => split_shape(&place, step.input)?,
            };
            let inputs = inputs.map(|half| match step.input {
                Shape::Vector(_) => Shape::Vector([half.elements() as usize]),
                Shape::Map(_) => half,
            });
            let layer = split_layer(&place, step, inputs, takes_both_halves, previous.is_some())?;
            previous = Some(layer.halves.each_ref().map(|half| half.output));
            layers.push(layer);
        }
        Ok(TwoGpuSplit { layers })
    }
}

impl TwoGpuSplit {
    /// Everything that crosses between the devices, in forward order. A batch of N images sends N times as
    /// many values.
    pub fn crossings(&self) -> Vec<Crossing> {
        let between_layers = (self.layers.iter())
            .filter(|layer| layer.has_crossing())
            .map(|layer| Crossing { layer: layer.whole.name.clone(), values: layer.sent });
        // The second device's logits are sent to the first.
        let logits = self.layers.last().map(|last| Crossing {
            layer: LOGITS.into(),
            values: [0, last.halves[1].output.elements()],
        });
        between_layers.chain(logits).collect()
    }

    /// The ranges of layers, by index, that the devices compute without communication.
    pub fn segments(&self) -> Vec<Range<usize>> {
        let crossing = |(index, layer): (usize, &SplitLayer)| layer.has_crossing().then_some(index);
        let crossings = self.layers.iter().enumerate().filter_map(crossing);
        let starts: Vec<usize> = std::iter::once(0).chain(crossings).collect();
        let ends = starts.iter().skip(1).copied().chain([self.layers.len()]);
        starts.iter().copied().zip(ends).map(|(start, end)| start..end).collect()
    }
}

impl SplitLayer {
    /// Whether the devices communicate before this layer.
    pub fn has_crossing(&self) -> bool {
        self.sent != [0, 0]
    }

    /// The rows of a parameter of the whole layer that are on each device.
    pub fn rows(&self, parameter: &Parameter) -> [Range<usize>; 2] {
        let all = parameter.shape.first().copied().unwrap_or(0);
        let rows_of = |half: &Step| {
            let own = half.parameters.iter().find(|own| own.key == parameter.key);
            own.and_then(|own| own.shape.first().copied()).unwrap_or(0)
        };
        let first = rows_of(&self.halves[0]);
        [0..first, first..all]
    }
}

impl Step {
    /// For a half of a layer that has all input channels: the range of the output channels that the device of
    /// this half (`side` 0 or 1) keeps, if it computes more than it keeps. This is the case for an LRN in one
    /// group, which normalizes all channels.
    pub fn kept_channels(&self, side: usize) -> Option<Range<usize>> {
        let (all, own) = (self.input.channels(), self.output.channels());
        match self.layer {
            Layer::Lrn { .. } if own < all => Some(if side == 0 { 0..own } else { all - own..all }),
            _ => None,
        }
    }
}

fn takes_both_halves(place: &str, layer: &Layer) -> Result<bool> {
    match *layer {
        Layer::Linear { .. } => Ok(true),
        Layer::Conv { groups, .. } | Layer::Lrn { groups, .. } => match groups {
            1 => Ok(true),
            even if even.is_multiple_of(2) => Ok(false),
            odd => Err(Error::Table {
                place: place.into(),
                expected: "1 group or an even number of groups, to split across two devices".into(),
                found: odd.to_string(),
            }),
        },
        _ => Ok(false),
    }
}

/// Both halves of a number of channels or features; of an odd number, the first half has one more.
fn split_count(place: &str, count: usize) -> Result<[usize; 2]> {
    match count {
        0 | 1 => Err(Error::Table {
            place: place.into(),
            expected: "at least 2 channels or features, one for each device".into(),
            found: count.to_string(),
        }),
        _ => Ok([count.div_ceil(2), count / 2]),
    }
}

fn split_shape(place: &str, shape: Shape) -> Result<[Shape; 2]> {
    Ok(match shape {
        Shape::Map([channels, h, w]) => {
            split_count(place, channels)?.map(|own| Shape::Map([own, h, w]))
        }
        Shape::Vector([features]) => split_count(place, features)?.map(|own| Shape::Vector([own])),
    })
}

/// Splits a layer. `inputs` are on the devices before it: the outputs of the previous layer, if there is one.
fn split_layer(
    place: &str,
    whole: Step,
    inputs: [Shape; 2],
    takes_both_halves: bool,
    has_previous: bool,
) -> Result<SplitLayer> {
    let outputs = match whole.layer {
        Layer::Conv { .. } | Layer::Linear { .. } => split_shape(place, whole.output)?,
        // Both devices have the whole input of the first layer.
        _ if takes_both_halves && !has_previous => split_shape(place, whole.output)?,
        _ => inputs.map(|half| match whole.output {
            Shape::Map([_, h, w]) => Shape::Map([half.channels(), h, w]),
            Shape::Vector(_) => half,
        }),
    };
    let half = |side: usize| {
        let input = if takes_both_halves { whole.input } else { inputs[side] };
        half_step(&whole, input, outputs[side], takes_both_halves)
    };
    let sent =
        if takes_both_halves && has_previous { inputs.map(|half| half.elements()) } else { [0, 0] };
    Ok(SplitLayer { halves: [half(0), half(1)], whole, takes_both_halves, sent })
}

fn half_step(whole: &Step, input: Shape, output: Shape, takes_both_halves: bool) -> Step {
    let own = output.channels();
    let half_groups = |groups: usize| if takes_both_halves { groups } else { groups / 2 };
    let layer = match whole.layer {
        Layer::Conv { kernel, stride, padding, groups, init, .. } => {
            Layer::Conv { out: own, kernel, stride, padding, groups: half_groups(groups), init }
        }
        Layer::Lrn { size, alpha, beta, k, groups } => {
            Layer::Lrn { size, alpha, beta, k, groups: half_groups(groups) }
        }
        Layer::Linear { init, .. } => Layer::Linear { out: own, init },
        other => other,
    };
    let parameters = (whole.parameters.iter().cloned())
        .map(|mut parameter| {
            if let Some(rows) = parameter.shape.first_mut() {
                *rows = own;
            }
            parameter
        })
        .collect();
    // Every output channel costs the same.
    let multiply_adds = whole.multiply_adds / whole.output.channels() as u64 * own as u64;
    Step { layer, input, output, parameters, multiply_adds, ..whole.clone() }
}
