//! The transfers of tensors between the two devices. All of them are made here, so that they can be counted.

use burn::tensor::Tensor;
use burn::tensor::backend::Backend;
use serde::Serialize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Tensors and bytes that were sent to the other device, in both directions together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Traffic {
    /// Tensors.
    pub calls: u64,
    /// Bytes of their values.
    pub bytes: u64,
}

/// The transfers before one layer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Transfer {
    /// The papers' name of the layer, or `logits`.
    pub layer: String,
    /// Activations.
    pub forward: Traffic,
    /// Their gradients.
    pub backward: Traffic,
}

/// The pass that a tensor belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Forward,
    #[cfg_attr(not(feature = "train"), allow(dead_code))]
    Backward,
}

/// Sends tensors to the other device and counts them. Clones share one count.
#[derive(Clone, Debug, Default)]
pub(crate) struct Transfers(Arc<Mutex<Vec<Transfer>>>);

impl Transfers {
    /// The tensor, `[N, values]`, on the other device.
    pub fn send<B: Backend>(
        &self,
        layer: &str,
        direction: Direction,
        x: Tensor<B, 2>,
        to: &B::Device,
    ) -> Tensor<B, 2> {
        let bytes = (x.shape().num_elements() * x.dtype().size()) as u64;
        let mut counted = self.lock();
        let index = counted.iter().position(|known| known.layer == layer);
        let index = index.unwrap_or_else(|| {
            let (forward, backward) = (Traffic::default(), Traffic::default());
            counted.push(Transfer { layer: layer.into(), forward, backward });
            counted.len() - 1
        });
        let traffic = match direction {
            Direction::Forward => &mut counted[index].forward,
            Direction::Backward => &mut counted[index].backward,
        };
        traffic.calls += 1;
        traffic.bytes += bytes;
        drop(counted);
        x.to_device(to)
    }

    /// The transfers since the last call.
    pub fn take(&self) -> Vec<Transfer> {
        std::mem::take(&mut *self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Transfer>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
