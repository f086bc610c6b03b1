//! Batch normalization (Ioffe and Szegedy, 2015), with PyTorch's results.
//!
//! burn's own broadcasts `[1, C, 1, 1]` over `[N, C, H, W]`, which its backend Flex does value by value: a
//! third of the time of training a small VGG. Here a map is N·C rows of H·W values, with a scale and a shift
//! for each row. The running variance is PyTorch's, too: burn's lacks the factor n / (n - 1).

#[cfg(feature = "flex")]
use super::kernels;
use burn::nn::BatchNorm;
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

/// Normalizes by the statistics of the batch and updates the running ones: `[N, C, H, W]` to the same shape.
pub(super) fn of_batch<B: Backend>(norm: &BatchNorm<B>, x: Tensor<B, 4>) -> Tensor<B, 4> {
    let [batch, channels, height, width] = x.dims();
    let values = (batch * height * width) as f64;
    #[cfg(feature = "flex")]
    if let Some(kernels::Normalized { output, mean, variance }) = kernels::normalize(norm, &x) {
        learn(norm, mean, variance, values);
        return output;
    }
    let rows: Tensor<B, 2> = x.reshape([batch * channels, height * width]);
    let of_channels = |of_rows: Tensor<B, 2>| {
        of_rows.mean_dim(1).reshape([batch, channels]).mean_dim(0).reshape([channels])
    };
    let mean = of_channels(rows.clone());
    let centered = rows - each_row(mean.clone(), batch);
    let variance = of_channels(centered.clone() * centered.clone());
    learn(norm, mean, variance.clone(), values);

    let scale = norm.gamma.val() / (variance + norm.epsilon).sqrt();
    let rows = centered * each_row(scale, batch) + each_row(norm.beta.val(), batch);
    rows.reshape([batch, channels, height, width])
}

/// Updates the running statistics from those of a batch with so many values for each channel. As in
/// PyTorch, the running variance is the unbiased one.
pub(crate) fn learn<B: Backend>(
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
        // burn keeps a thread's updates apart until that thread asks for the value, and this one may end
        // before the next pass.
        running.value_sync();
    }
}

/// Normalizes by the running statistics, on any backend: `[N, C, H, W]` to the same shape.
pub(super) fn by_running<B: Backend>(norm: &BatchNorm<B>, x: Tensor<B, 4>) -> Tensor<B, 4> {
    let [batch, channels, height, width] = x.dims();
    let scale = norm.gamma.val() / (norm.running_var.value_sync() + norm.epsilon).sqrt();
    let shift = norm.beta.val() - norm.running_mean.value_sync() * scale.clone();
    #[cfg(feature = "flex")]
    let x = match kernels::scale_and_shift(x, &scale, &shift) {
        Ok(normalized) => return normalized,
        Err(x) => x,
    };
    let rows: Tensor<B, 2> = x.reshape([batch * channels, height * width]);
    let rows = rows * each_row(scale, batch) + each_row(shift, batch);
    rows.reshape([batch, channels, height, width])
}

/// A value for each channel, `[C]`, to one for each row, `[N * C, 1]`.
pub(crate) fn each_row<B: Backend>(of_channels: Tensor<B, 1>, batch: usize) -> Tensor<B, 2> {
    let [channels] = of_channels.dims();
    of_channels.reshape([1, channels]).repeat_dim(0, batch).reshape([batch * channels, 1])
}
