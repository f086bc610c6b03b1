//! Batch norm by the statistics of the batch, on Flex.

use super::pooled_memory::{computed, try_computed};
use crate::backend::cast;
use alexnet_vgg_core::engine::training::{BatchNorm, Statistics};
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

/// The output, and the mean and variance of the batch by channel, `[C]`.
pub struct Normalized<B: Backend> {
    /// `[N, C, H, W]`
    pub output: Tensor<B, 4>,
    pub mean: Tensor<B, 1>,
    pub variance: Tensor<B, 1>,
}

/// Normalizes `[N, C, H, W]`. `None` where burn has to.
pub fn normalize<B: Backend>(
    norm: &burn::nn::BatchNorm<B>,
    x: &Tensor<B, 4>,
) -> Option<Normalized<B>> {
    let shape @ [batch, channels, height, width] = x.dims();
    let kernel = BatchNorm::new(batch, channels, height * width, norm.epsilon).ok()?;
    let (gamma, beta) = (norm.gamma.val(), norm.beta.val());
    let plain = || {
        let x = cast::to::<B, Flex, 4>(x)?;
        let (gamma, beta) = (cast::to::<B, Flex, 1>(&gamma)?, cast::to::<B, Flex, 1>(&beta)?);
        let (y, statistics) = forward(&kernel, shape, &x, &gamma, &beta)?;
        Some((cast::from::<B, Flex, 4>(y)?, statistics))
    };
    let (output, statistics) = plain()
        .or_else(|| tracked::<B, NoCheckpointing>(&kernel, x, &gamma, &beta))
        .or_else(|| tracked::<B, BalancedCheckpointing>(&kernel, x, &gamma, &beta))?;
    let [mean, variance] = [statistics.mean, statistics.variance]
        .map(|values| Tensor::from_floats(values.as_slice(), &x.device()));
    Some(Normalized { output, mean, variance })
}

/// `None` for tensors that are not f32.
fn forward(
    kernel: &BatchNorm,
    shape: [usize; 4],
    x: &FlexTensor,
    gamma: &FlexTensor,
    beta: &FlexTensor,
) -> Option<(FlexTensor, Statistics)> {
    let [x, gamma, beta] = [x, gamma, beta].map(FlexTensor::to_contiguous);
    let (input, gamma, beta) = (x.as_slice()?, gamma.as_slice()?, beta.as_slice()?);
    let mut statistics = None;
    let output = try_computed(shape, |output| -> alexnet_vgg_core::Result<()> {
        statistics = Some(kernel.forward(input, gamma, beta, output)?);
        Ok(())
    });
    output.ok().zip(statistics)
}

/// The output, with its backward pass recorded.
fn tracked<B: Backend, C: CheckpointStrategy>(
    kernel: &BatchNorm,
    x: &Tensor<B, 4>,
    gamma: &Tensor<B, 1>,
    beta: &Tensor<B, 1>,
) -> Option<(Tensor<B, 4>, Statistics)> {
    let shape = x.dims();
    let x: FloatTensor<Autodiff<Flex, C>> = cast::to::<B, Autodiff<Flex, C>, 4>(x)?;
    let gamma: FloatTensor<Autodiff<Flex, C>> = cast::to::<B, Autodiff<Flex, C>, 1>(gamma)?;
    let beta: FloatTensor<Autodiff<Flex, C>> = cast::to::<B, Autodiff<Flex, C>, 1>(beta)?;
    let (y, statistics) = forward(kernel, shape, &x.primitive, &gamma.primitive, &beta.primitive)?;
    let nodes = [x.node, gamma.node, beta.node];
    let y = match BatchNormGradients.prepare::<C>(nodes).compute_bound().stateful() {
        OpsKind::Tracked(prepared) => {
            let [x, gamma] = [x.primitive, gamma.primitive].map(|it| it.to_contiguous());
            let statistics = statistics.clone();
            prepared.finish(Saved { kernel: *kernel, shape, x, gamma, statistics }, y)
        }
        OpsKind::UnTracked(prepared) => prepared.finish(y),
    };
    Some((cast::from::<B, Autodiff<Flex, C>, 4>(y)?, statistics))
}

/// The backward pass of batch norm.
#[derive(Debug)]
struct BatchNormGradients;

#[derive(Clone, Debug)]
struct Saved {
    kernel: BatchNorm,
    shape: [usize; 4],
    x: FlexTensor,
    gamma: FlexTensor,
    statistics: Statistics,
}

impl Backward<Flex, 3> for BatchNormGradients {
    type State = Saved;

    fn backward(self, ops: Ops<Saved, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let [input, gamma, beta] = ops.parents;
        let gradient = grads.consume::<Flex>(&ops.node).to_contiguous();
        let saved = ops.state;
        let channels = [saved.shape[1]];
        // The forward pass has checked that they are f32.
        let [x, dy, scale] =
            [&saved.x, &gradient, &saved.gamma].map(|it| it.as_slice().unwrap_or_default());
        let mut of_beta = vec![0.0; channels[0]];
        let mut of_input = None;
        let of_gamma = computed(channels, |of_gamma| {
            of_input = Some(try_computed(saved.shape, |dx| {
                let of_parameters = [of_gamma, &mut of_beta[..]];
                saved.kernel.gradients([x, dy], scale, &saved.statistics, dx, of_parameters)
            })?);
            Ok(())
        });
        if let Some((node, of_input)) = input.zip(of_input) {
            grads.register::<Flex>(node.id, of_input);
        }
        if let Some(node) = gamma {
            grads.register::<Flex>(node.id, of_gamma);
        }
        if let Some(node) = beta {
            let of_beta = computed(channels, |values| {
                values.copy_from_slice(&of_beta);
                Ok(())
            });
            grads.register::<Flex>(node.id, of_beta);
        }
    }
}
