//! What the halves exchange: activations in the forward pass, their gradients in the backward pass.

use super::network::TwoGpuNetwork;
use super::transfers::Direction;
use crate::models::{LOGITS, TwoGpuSplit};
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

impl<B: Backend> TwoGpuNetwork<B> {
    /// The input of each half, flat: the images, or only its own channels if the first layer does not see both.
    pub(crate) fn scatter_images<C: Backend<Device = B::Device>>(
        &self,
        split: &TwoGpuSplit,
        images: Tensor<C, 4>,
    ) -> [Tensor<C, 2>; 2] {
        let devices = self.devices_of_halves();
        let sees_all = split.layers.first().is_some_and(|first| first.takes_both_halves);
        let [_, channels, ..] = images.dims();
        let half = channels.div_ceil(2);
        let own = [0..half, half..channels];
        std::array::from_fn(|side| {
            let images = if sees_all {
                images.clone()
            } else {
                images.clone().narrow(1, own[side].start, own[side].len())
            };
            images.to_device(&devices[side]).flatten(1, 3)
        })
    }

    /// The input of each half at a layer: its own half, or both halves if the layer sees both.
    pub(crate) fn exchange<C: Backend<Device = B::Device>>(
        &self,
        split: &TwoGpuSplit,
        index: usize,
        halves: [Tensor<C, 2>; 2],
    ) -> [Tensor<C, 2>; 2] {
        let Some(layer) = split.layers.get(index).filter(|layer| layer.has_crossing()) else {
            return halves;
        };
        let [first, second] = halves;
        let (here, there) = (first.device(), second.device());
        let send = |half, to| self.transfers.send(&layer.whole.name, Direction::Forward, half, to);
        let [to_second, to_first] = [send(first.clone(), &there), send(second.clone(), &here)];
        [Tensor::cat(vec![first, to_first], 1), Tensor::cat(vec![to_second, second], 1)]
    }

    /// The logits of both halves, on the first device.
    pub(crate) fn gather_logits<C: Backend<Device = B::Device>>(
        &self,
        [first, second]: [Tensor<C, 2>; 2],
    ) -> Tensor<C, 2> {
        let here = first.device();
        let second = self.transfers.send(LOGITS, Direction::Forward, second, &here);
        Tensor::cat(vec![first, second], 1)
    }
}

#[cfg(feature = "train")]
impl<B: Backend> TwoGpuNetwork<B> {
    /// The backward pass of [`exchange`](Self::exchange): from the gradients of its outputs to those of the
    /// halves before it.
    pub(crate) fn exchange_backward<C: Backend<Device = B::Device>>(
        &self,
        split: &TwoGpuSplit,
        index: usize,
        gradients: [Tensor<C, 2>; 2],
    ) -> [Tensor<C, 2>; 2] {
        let Some(layer) = split.layers.get(index).filter(|layer| layer.has_crossing()) else {
            return gradients;
        };
        let first = layer.sent[0] as usize;
        let devices = gradients.each_ref().map(Tensor::device);
        let [[own_first, to_second], [to_first, own_second]] =
            gradients.map(|both| split_columns(both, first));
        let send = |half, to| self.transfers.send(&layer.whole.name, Direction::Backward, half, to);
        [own_first + send(to_first, &devices[0]), own_second + send(to_second, &devices[1])]
    }

    /// The backward pass of [`gather_logits`](Self::gather_logits).
    pub(crate) fn scatter_logits_gradient<C: Backend<Device = B::Device>>(
        &self,
        split: &TwoGpuSplit,
        gradient: Tensor<C, 2>,
    ) -> [Tensor<C, 2>; 2] {
        let last = split.layers.last();
        let own = last.map_or(0, |last| last.halves[0].output.elements() as usize);
        let [first, second] = split_columns(gradient, own);
        let there = self.halves[1].device();
        [first, self.transfers.send(LOGITS, Direction::Backward, second, &there)]
    }
}

/// `[N, both]` to `[N, first]` and `[N, second]`.
#[cfg(feature = "train")]
fn split_columns<B: Backend>(both: Tensor<B, 2>, first: usize) -> [Tensor<B, 2>; 2] {
    let second = both.dims()[1] - first;
    [both.clone().narrow(1, 0, first), both.narrow(1, first, second)]
}
