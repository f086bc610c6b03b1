//! How much of a network a device can hold, asked before the first kernel runs.

use super::{Parameter, Section, Shape, Step};
use crate::backend::{Limits, longest_loop};
use crate::{Error, Result};
use burn::tensor::backend::Backend;

const F32: u64 = size_of::<f32>() as u64;

/// The limits of one device, and the network that must stay within them.
pub(super) struct Capacity<'a> {
    network: &'a str,
    limits: Limits,
}

impl<'a> Capacity<'a> {
    pub fn new<B: Backend>(network: &'a str, device: &B::Device) -> Result<Self> {
        Ok(Self { network, limits: Limits::of::<B>(device)? })
    }

    /// Whether the weights fit: together into the machine's memory, through which they come, and each
    /// tensor into the largest that the device takes. (Linear layers are kept in chunks, small enough for
    /// any device.)
    pub fn expect_weights(&self, steps: &[Step]) -> Result<()> {
        let elements = steps.iter().flat_map(|step| &step.parameters).map(Parameter::elements);
        self.expect_memory("the weights", elements.sum())?;
        (steps.iter().filter(|step| step.section == Section::Features))
            .flat_map(|step| &step.parameters)
            .try_for_each(|parameter| self.expect_tensor(&parameter.key, parameter.elements()))
    }

    /// How many images of a batch go through at once. `trained` says for each of the first steps whether its
    /// parameters require gradients.
    pub fn images_at_once<B: Backend>(
        &self,
        batch: usize,
        steps: &[Step],
        trained: impl Iterator<Item = bool>,
        device: &B::Device,
    ) -> Result<usize> {
        let images = self.images_forward(batch, steps)?;
        if !B::ad_enabled(device) {
            return Ok(images);
        }
        let Some(longest) = longest_loop(device)? else { return Ok(images) };
        let trained = steps.iter().zip(trained).filter(|(_, is_trained)| *is_trained);
        let trained = trained.map(|(step, _)| (images_back(step, longest), step));
        match trained.min_by_key(|(at_once, _)| *at_once) {
            Some((0, step)) => Err(self.refuse(format!(
                "{}: the gradient of one image cannot be summed on this device, whose driver ends loops after \
                 {longest} iterations",
                step.key
            ))),
            Some((at_once, _)) => Ok(usize::try_from(at_once).unwrap_or(images).min(images)),
            None => Ok(images),
        }
    }

    /// As limited by the largest tensor of the forward pass.
    fn images_forward(&self, batch: usize, steps: &[Step]) -> Result<usize> {
        let Some(first) = steps.first() else { return Ok(batch) };
        let batch_of = |elements: u64| elements.saturating_mul(batch as u64);
        // `max_by_key` takes the last of equals: reversed, the first such layer is named.
        let widest = steps.iter().rev().max_by_key(|step| widest(step)).unwrap_or(first);
        let Some(largest) = self.limits.largest else {
            let working = steps.iter().map(|step| step.input.elements() + step.output.elements());
            let working = working.max().unwrap_or(0);
            self.expect_memory(&widest.key, batch_of(working))?;
            return Ok(batch);
        };
        self.expect_tensor("the input", batch_of(first.input.elements()))?;
        self.expect_tensor(&widest.key, self::widest(widest))?;
        let images = largest / (F32 * self::widest(widest)).max(1);
        Ok(usize::try_from(images).unwrap_or(batch).min(batch))
    }

    /// `what` is the layer or parameter that the error names.
    pub fn expect_tensor(&self, what: &str, elements: u64) -> Result<()> {
        self.limits.expect_tensor(format_args!("{}: {what}", self.network), elements)
    }

    fn expect_memory(&self, what: &str, elements: u64) -> Result<()> {
        self.limits.expect_memory(format_args!("{}: {what}", self.network), elements)
    }

    pub fn refuse(&self, reason: String) -> Error {
        self.limits.refuse(format!("{}: {reason}", self.network))
    }
}

/// The number of images over whose maps the gradients of a layer's parameters can be summed at
/// once, on a device whose driver silently ends the loops of a kernel after `longest` iterations.
///
/// burn 0.21 sums over all positions of all images in one kernel invocation: for *n* maps at most
/// `(n + 2) h w + 3 h` iterations for a weight, and `2 n h w` plus a few for a bias.
fn images_back(step: &Step, longest: u64) -> u64 {
    const FEW: u64 = 32;
    let Shape::Map([_, height, width]) = step.output else { return u64::MAX };
    let (height, places) = (height as u64, height as u64 * width as u64);
    let of_weight = (longest.saturating_sub(3 * height) / places.max(1)).saturating_sub(2);
    let of_bias = longest.saturating_sub(FEW) / (2 * places).max(1);
    of_weight.min(of_bias)
}

/// Values of the larger side of a layer.
fn widest(step: &Step) -> u64 {
    step.input.elements().max(step.output.elements())
}
