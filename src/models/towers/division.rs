//! A table cut in two: which half of a layer each device has, and what has to cross between them.
//!
//! Every parameter is split by the rows of its first dimension, which are output channels or features. That
//! fits every layer: a convolution in two groups becomes one of one group on each device, a layer that sees
//! both halves has all inputs and half of the outputs, and maps that are flattened keep their order.

use crate::error::{Error, Result};
use crate::models::table::{Architecture, Layer, Parameter, Shape, Step};
use serde::Serialize;
use std::ops::Range;

/// One layer of a table, and its half on each of two devices.
#[derive(Clone, Debug, PartialEq)]
pub struct Divided {
    /// The whole layer.
    pub whole: Step,
    /// The layer as each device has it, with its own outputs, rows of parameters and multiplications.
    pub halves: [Step; 2],
    /// Whether it takes what both devices have: a linear layer, or a convolution or LRN of one group.
    pub sees_both: bool,
    /// Values of an image that each device hands to the other before this layer.
    pub handed_over: [u64; 2],
}

/// What crosses between the devices before a layer, or for the `logits` after the last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Exchange {
    /// The papers' name of the layer: `conv3`, `fc6`, and `logits`.
    pub layer: String,
    /// Values of an image that each device hands to the other, forward. Backward the gradients of these
    /// values go the other way.
    pub values: [u64; 2],
}

/// A whole table cut in two.
#[derive(Clone, Debug, PartialEq)]
pub struct Division {
    /// Its layers in forward order.
    pub layers: Vec<Divided>,
}

/// What the joining of the last outputs is called among the [`Exchange`]s.
pub(crate) const LOGITS: &str = "logits";

impl Architecture {
    /// This network on two devices, for an input of `[height, width]`: how [`Towers`](super::Towers) runs it.
    ///
    /// The first device has the first half of each layer's channels or features; of an odd number, one more.
    ///
    /// # Errors
    /// As for [`walk`](Self::walk); [`Error::Table`] for groups that are an odd number above 1, and for a
    /// layer of a single channel or feature, which is nothing to halve.
    pub fn divide(&self, size: [usize; 2]) -> Result<Division> {
        let mut layers: Vec<Divided> = Vec::new();
        // The first layer may take the whole input, which both devices are given.
        let mut now = None;
        for step in self.walk(size)? {
            let place = format!("{} {}", self.name, step.key);
            let sees_both = sees_both(&place, &step.layer)?;
            let before = match now {
                Some(halves) => halves,
                None if sees_both => [step.input; 2],
                None => halves_of(&place, step.input)?,
            };
            let before = before.map(|half| match step.input {
                Shape::Vector(_) => Shape::Vector([half.elements() as usize]),
                Shape::Map(_) => half,
            });
            let divided = divide(&place, step, before, sees_both, now.is_some())?;
            now = Some(divided.halves.each_ref().map(|half| half.output));
            layers.push(divided);
        }
        Ok(Division { layers })
    }
}

impl Division {
    /// What crosses between the devices, in forward order: a batch of N moves N times as many values.
    pub fn exchanges(&self) -> Vec<Exchange> {
        let between = (self.layers.iter())
            .filter(|layer| layer.meets())
            .map(|layer| Exchange { layer: layer.whole.name.clone(), values: layer.handed_over });
        // The second device's logits go to the first.
        let logits = self.layers.last().map(|last| Exchange {
            layer: LOGITS.into(),
            values: [0, last.halves[1].output.elements()],
        });
        between.chain(logits).collect()
    }

    /// The layers, by index, through which the devices go without each other.
    pub(crate) fn stretches(&self) -> Vec<Range<usize>> {
        let meets = |(index, layer): (usize, &Divided)| layer.meets().then_some(index);
        let starts: Vec<usize> =
            std::iter::once(0).chain(self.layers.iter().enumerate().filter_map(meets)).collect();
        let ends = starts.iter().skip(1).copied().chain([self.layers.len()]);
        starts.iter().copied().zip(ends).map(|(start, end)| start..end).collect()
    }
}

impl Divided {
    /// Whether the devices talk before it.
    pub(crate) fn meets(&self) -> bool {
        self.handed_over != [0, 0]
    }

    /// The rows of a parameter of the whole layer that each device has.
    pub fn rows(&self, parameter: &Parameter) -> [Range<usize>; 2] {
        let all = parameter.shape.first().copied().unwrap_or(0);
        let own = |half: &Step| {
            let own = half.parameters.iter().find(|own| own.key == parameter.key);
            own.and_then(|own| own.shape.first().copied()).unwrap_or(0)
        };
        let first = own(&self.halves[0]);
        [0..first, first..all]
    }
}

/// Of an odd number the first has one more.
fn halves(place: &str, count: usize) -> Result<[usize; 2]> {
    match count {
        0 | 1 => Err(Error::Table {
            place: place.into(),
            expected: "at least 2 channels or features, one for each device".into(),
            found: count.to_string(),
        }),
        _ => Ok([count.div_ceil(2), count / 2]),
    }
}

fn halves_of(place: &str, shape: Shape) -> Result<[Shape; 2]> {
    Ok(match shape {
        Shape::Map([channels, h, w]) => halves(place, channels)?.map(|own| Shape::Map([own, h, w])),
        Shape::Vector([features]) => halves(place, features)?.map(|own| Shape::Vector([own])),
    })
}

fn sees_both(place: &str, layer: &Layer) -> Result<bool> {
    match *layer {
        Layer::Linear { .. } => Ok(true),
        Layer::Conv { groups, .. } | Layer::Lrn { groups, .. } => match groups {
            1 => Ok(true),
            even if even.is_multiple_of(2) => Ok(false),
            odd => Err(Error::Table {
                place: place.into(),
                expected: "1 group or an even number of them, for two devices".into(),
                found: odd.to_string(),
            }),
        },
        _ => Ok(false),
    }
}

fn divide(
    place: &str,
    whole: Step,
    before: [Shape; 2],
    sees_both: bool,
    has_before: bool,
) -> Result<Divided> {
    let outputs = match whole.layer {
        Layer::Conv { .. } | Layer::Linear { .. } => halves_of(place, whole.output)?,
        // The input of the first layer is whole on both.
        _ if sees_both && !has_before => halves_of(place, whole.output)?,
        _ => before.map(|half| match whole.output {
            Shape::Map([_, h, w]) => Shape::Map([half.channels(), h, w]),
            Shape::Vector(_) => half,
        }),
    };
    let half = |side: usize| {
        let input = if sees_both { whole.input } else { before[side] };
        half_step(&whole, input, outputs[side], sees_both)
    };
    let handed_over = match sees_both && has_before {
        true => before.map(|half| half.elements()),
        false => [0, 0],
    };
    Ok(Divided { halves: [half(0), half(1)], whole, sees_both, handed_over })
}

fn half_step(whole: &Step, input: Shape, output: Shape, sees_both: bool) -> Step {
    let own = output.channels();
    let within = |groups: usize| if sees_both { groups } else { groups / 2 };
    let layer = match whole.layer {
        Layer::Conv { kernel, stride, padding, groups, init, .. } => {
            Layer::Conv { out: own, kernel, stride, padding, groups: within(groups), init }
        }
        Layer::Lrn { size, alpha, beta, k, groups } => {
            Layer::Lrn { size, alpha, beta, k, groups: within(groups) }
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
    // Every output costs the same.
    let multiply_adds = whole.multiply_adds / whole.output.channels() as u64 * own as u64;
    Step { layer, input, output, parameters, multiply_adds, ..whole.clone() }
}

impl Step {
    /// The channels that this half goes on with, where it has computed more: an LRN that sees both halves
    /// normalizes all of them.
    pub(super) fn keeps(&self, side: usize) -> Option<Range<usize>> {
        let (all, own) = (self.input.channels(), self.output.channels());
        match self.layer {
            Layer::Lrn { .. } if own < all => Some(if side == 0 { 0..own } else { all - own..all }),
            _ => None,
        }
    }
}
