//! Batch normalization (Ioffe and Szegedy, 2015), with the numbers of PyTorch.
//!
//! burn's own computes with `[1, C, 1, 1]` spread over `[N, C, H, W]`, which its backend Flex walks number by
//! number: a third of the time of training a small VGG went there. Here a map is N·C rows of H·W numbers, and
//! each row has its number. The running variance is PyTorch's, too: burn's lacks the factor n / (n - 1).

use burn::nn::BatchNorm;
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

/// By the statistics of the batch, which the running ones learn from: `[N, C, H, W]` to the same shape.
pub(super) fn of_batch<B: Backend>(norm: &BatchNorm<B>, x: Tensor<B, 4>) -> Tensor<B, 4> {
    let [batch, channels, height, width] = x.dims();
    let rows: Tensor<B, 2> = x.reshape([batch * channels, height * width]);
    let of_channels = |of_rows: Tensor<B, 2>| {
        of_rows.mean_dim(1).reshape([batch, channels]).mean_dim(0).reshape([channels])
    };
    let mean = of_channels(rows.clone());
    let centered = rows - each_row(mean.clone(), batch);
    let variance = of_channels(centered.clone() * centered.clone());

    let values = (batch * height * width) as f64;
    learn(norm, mean, variance.clone(), values);

    let scale = norm.gamma.val() / (variance + norm.epsilon).sqrt();
    let rows = centered * each_row(scale, batch) + each_row(norm.beta.val(), batch);
    rows.reshape([batch, channels, height, width])
}

/// The running statistics take a step toward those of so many values a channel: PyTorch's, whose variance is
/// the unbiased one.
pub(super) fn learn<B: Backend>(
    norm: &BatchNorm<B>,
    mean: Tensor<B, 1>,
    variance: Tensor<B, 1>,
    values: f64,
) {
    let unbiased = values / (values - 1.0).max(1.0);
    let step = |running: Tensor<B, 1>, new: Tensor<B, 1>| {
        (running * (1.0 - norm.momentum) + new.detach() * norm.momentum).detach()
    };
    for (running, new) in [(&norm.running_mean, mean), (&norm.running_var, variance * unbiased)] {
        running.update(step(running.value_sync(), new));
        // burn keeps what a thread has learned apart until that thread asks: this one may end before the next pass.
        running.value_sync();
    }
}

/// By the running statistics, whatever the backend: `[N, C, H, W]` to the same shape.
pub(super) fn by_running<B: Backend>(norm: &BatchNorm<B>, x: Tensor<B, 4>) -> Tensor<B, 4> {
    let [batch, channels, height, width] = x.dims();
    let rows: Tensor<B, 2> = x.reshape([batch * channels, height * width]);
    let scale = norm.gamma.val() / (norm.running_var.value_sync() + norm.epsilon).sqrt();
    let shift = norm.beta.val() - norm.running_mean.value_sync() * scale.clone();
    let rows = rows * each_row(scale, batch) + each_row(shift, batch);
    rows.reshape([batch, channels, height, width])
}

/// A number for each channel, `[C]`, to one for each row, `[N * C, 1]`.
pub(super) fn each_row<B: Backend>(of_channels: Tensor<B, 1>, batch: usize) -> Tensor<B, 2> {
    let [channels] = of_channels.dims();
    of_channels.reshape([1, channels]).repeat_dim(0, batch).reshape([batch * channels, 1])
}
