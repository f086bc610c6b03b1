//! How a batch goes through a network on a device that may not take all of it at once.

use super::capacity::Capacity;
use super::{Architecture, Step};
use crate::{Error, Result};
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

/// How a batch goes through a network: whole, or in parts whose largest activation fits the device, and
/// in training their longest sum, too.
pub(crate) struct BatchPlan<'a> {
    pub(super) steps: Vec<Step>,
    at_once: usize,
    pub(super) capacity: Capacity<'a>,
}

impl<'a> BatchPlan<'a> {
    /// `trained` says of each layer of the features whether it asks for gradients, `normalizes` whether one of them
    /// takes statistics of the batch in training.
    pub fn new<B: Backend>(
        architecture: &'a Architecture,
        shape: [usize; 4],
        trained: impl Iterator<Item = bool>,
        normalizes: bool,
        device: &B::Device,
    ) -> Result<Self> {
        let [batch, channels, height, width] = shape;
        if batch == 0 || channels != architecture.input[0] {
            return Err(Error::InputShape {
                network: architecture.name.clone(),
                expected: format!("[N >= 1, {}, H, W]", architecture.input[0]),
                found: shape.to_vec(),
            });
        }
        let steps = architecture.walk([height, width])?;
        let capacity = Capacity::new::<B>(&architecture.name, device)?;
        let at_once = capacity.images_at_once::<B>(batch, &steps, trained, device)?;
        if at_once < batch && normalizes && B::ad_enabled(device) {
            return Err(capacity.refuse(format!(
                "batch norm trains on whole batches, and this device takes {at_once} of {batch} images at once"
            )));
        }
        Ok(Self { steps, at_once, capacity })
    }

    /// Of two devices that do the same, the one that takes fewer images at once.
    pub fn or_smaller(self, other: Self) -> Self {
        if other.at_once < self.at_once { other } else { self }
    }

    pub fn expect_logits(&self, batch: usize) -> Result<()> {
        self.expect_whole(self.steps.last(), batch)
    }

    pub fn split<B: Backend>(&self, images: Tensor<B, 4>) -> impl Iterator<Item = Tensor<B, 4>> {
        let is_cut = self.at_once < images.dims()[0];
        let parts = if is_cut { images.split(self.at_once, 0) } else { vec![images] };
        parts.into_iter()
    }

    /// Checks that outputs that are put together from parts fit the device as well.
    pub(super) fn expect_whole<'s>(
        &self,
        outputs: impl IntoIterator<Item = &'s Step>,
        batch: usize,
    ) -> Result<()> {
        outputs.into_iter().try_for_each(|step| {
            let elements = step.output.elements().saturating_mul(batch as u64);
            self.capacity.expect_tensor(&step.key, elements)
        })
    }
}

/// A batch, from its parts.
pub(crate) fn join<B: Backend, const D: usize>(mut parts: Vec<Tensor<B, D>>) -> Tensor<B, D> {
    match parts.len() {
        1 => parts.remove(0),
        _ => Tensor::cat(parts, 0),
    }
}
