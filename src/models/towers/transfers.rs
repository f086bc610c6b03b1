//! Where tensors go from one device to the other, and the only place where they do: so it can say how much.

use burn::tensor::Tensor;
use burn::tensor::backend::Backend;
use serde::Serialize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Tensors and bytes that went to the other device, in both directions together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Traffic {
    /// Tensors.
    pub calls: u64,
    /// Bytes of their values.
    pub bytes: u64,
}

/// What crossed before a layer so far.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Transfer {
    /// The papers' name of the layer, or `logits`.
    pub layer: String,
    /// Activations.
    pub forward: Traffic,
    /// Their gradients.
    pub backward: Traffic,
}

/// Which way a tensor goes through the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Forward,
    #[cfg_attr(not(feature = "train"), allow(dead_code))]
    Backward,
}

/// Hands tensors over and counts them. Clones count together.
#[derive(Clone, Debug, Default)]
pub(crate) struct Transfers(Arc<Mutex<Vec<Transfer>>>);

impl Transfers {
    /// `[N, values]`, on the other device.
    pub fn hand_over<B: Backend>(
        &self,
        layer: &str,
        way: Way,
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
        let traffic = match way {
            Way::Forward => &mut counted[index].forward,
            Way::Backward => &mut counted[index].backward,
        };
        traffic.calls += 1;
        traffic.bytes += bytes;
        drop(counted);
        x.to_device(to)
    }

    /// All since the last time.
    pub fn take(&self) -> Vec<Transfer> {
        std::mem::take(&mut *self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Transfer>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
