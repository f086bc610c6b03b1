//! What a device can hold of a network, asked before its first kernel.

use super::table::{Parameter, Part, Step};
use crate::backend::Limits;
use crate::error::{Error, Result};
use burn::tensor::backend::Backend;

const F32: u64 = size_of::<f32>() as u64;

/// The limits of one device, and the network that must keep to them.
pub(super) struct Capacity<'a> {
    network: &'a str,
    limits: Limits,
}

impl<'a> Capacity<'a> {
    pub fn new<B: Backend>(network: &'a str, device: &B::Device) -> Result<Self> {
        Ok(Self { network, limits: Limits::of::<B>(device)? })
    }

    /// Whether the weights fit: together into the machine's memory, through which they come, and each
    /// tensor into the device's largest one. (Linear layers are in pieces, small enough for any
    /// device but for absurd rows.)
    pub fn expect_weights(&self, steps: &[Step]) -> Result<()> {
        let elements = steps.iter().flat_map(|step| &step.parameters).map(Parameter::elements);
        self.expect_memory("the weights", elements.sum())?;
        (steps.iter().filter(|step| step.part == Part::Features))
            .flat_map(|step| &step.parameters)
            .try_for_each(|parameter| self.expect_tensor(&parameter.key, parameter.elements()))
    }

    /// How many images of a batch go through at once.
    pub fn images_at_once(&self, batch: usize, steps: &[Step]) -> Result<usize> {
        let Some(first) = steps.first() else { return Ok(batch) };
        let batch_of = |elements: u64| elements.saturating_mul(batch as u64);
        // Of equals the last is taken, so that the first layer to blame is named.
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

    /// `what` is the layer or parameter to blame.
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

/// Values of the larger side of a layer.
fn widest(step: &Step) -> u64 {
    step.input.elements().max(step.output.elements())
}
