//! Operations of one tensor, and their backward passes.

use crate::backend::cast;
use burn::backend::Autodiff;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::{
    BalancedCheckpointing, CheckpointStrategy, NoCheckpointing,
};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;
use burn::tensor::ops::FloatTensor;
use burn_flex::{Flex, FlexTensor};
use std::fmt::Debug;

/// An operation with a gradient.
pub trait Unary: Clone + Debug + Send + 'static {
    /// What the backward pass needs.
    type Saved: Clone + Debug + Send + 'static;

    /// The output, or `None` if burn has to compute it.
    fn forward(&self, x: &FlexTensor) -> Option<(FlexTensor, Self::Saved)>;

    /// The gradient of the input, from that of the output.
    fn backward(&self, saved: Self::Saved, gradient: &FlexTensor) -> FlexTensor;
}

/// Applies an operation on Flex, or returns the input.
pub fn apply<B: Backend, const D: usize>(
    operation: &impl Unary,
    x: Tensor<B, D>,
) -> Result<Tensor<B, D>, Tensor<B, D>> {
    let plain = cast::to::<B, Flex, D>(&x)
        .and_then(|x| operation.forward(&x))
        .and_then(|(y, _)| cast::from::<B, Flex, D>(y));
    plain
        .or_else(|| apply_tracked::<B, NoCheckpointing, D>(operation, &x))
        .or_else(|| apply_tracked::<B, BalancedCheckpointing, D>(operation, &x))
        .ok_or(x)
}

fn apply_tracked<B: Backend, C: CheckpointStrategy, const D: usize>(
    operation: &impl Unary,
    x: &Tensor<B, D>,
) -> Option<Tensor<B, D>> {
    let x: FloatTensor<Autodiff<Flex, C>> = cast::to::<B, Autodiff<Flex, C>, D>(x)?;
    let (y, saved) = operation.forward(&x.primitive)?;
    let tracked = Tracked(operation.clone()).prepare::<C>([x.node]).compute_bound().stateful();
    let y = match tracked {
        OpsKind::Tracked(prepared) => prepared.finish(saved, y),
        OpsKind::UnTracked(prepared) => prepared.finish(y),
    };
    cast::from::<B, Autodiff<Flex, C>, D>(y)
}

/// The backward pass of an operation.
#[derive(Debug)]
struct Tracked<U>(U);

impl<U: Unary> Backward<Flex, 1> for Tracked<U> {
    type State = U::Saved;

    fn backward(self, ops: Ops<U::Saved, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let [input] = ops.parents;
        let gradient = grads.consume::<Flex>(&ops.node).to_contiguous();
        if let Some(node) = input {
            grads.register::<Flex>(node.id, self.0.backward(ops.state, &gradient));
        }
    }
}
