//! Batch norm by the statistics of all processes' images: PyTorch's SyncBatchNorm.
//!
//! Its backward pass is written by hand, because it waits for the sums of other processes: burn runs a backward
//! pass under a lock, which the other networks of the same program need, too.

use super::gradients::add;
use super::processes::ProcessGroup;
use crate::backend;
use crate::models::{each_row, learn as update_running_statistics};
use crate::{Error, Result};
use burn::nn::BatchNorm;
use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use burn::tensor::backend::{AutodiffBackend, Backend};

/// A batch norm between its forward and its backward pass. A process without images has no maps, and only takes
/// part in the exchanges.
pub(super) struct SyncBatchNorm<B: Backend> {
    /// The maps of this process's images, `[N, C, H, W]`, minus the mean over all processes.
    centered: Option<Tensor<B, 4>>,
    /// 1 / √(variance + epsilon), `[C]`.
    inverse: Tensor<B, 1>,
    /// Values per channel in all processes.
    count: f64,
}

impl<B: Backend> SyncBatchNorm<B> {
    /// The forward pass of this process's maps, `[N, C, H, W]`. The running statistics are updated by those of
    /// all processes' images, and so stay the same in all of them.
    pub fn forward<A: AutodiffBackend<InnerBackend = B>>(
        norm: &BatchNorm<A>,
        maps: Option<Tensor<B, 4>>,
        processes: &dyn ProcessGroup,
    ) -> Result<Self> {
        let [channels] = norm.gamma.dims();
        let own = Statistics::of(maps.clone(), channels)?;
        let Statistics { count, mean, squares } = own.all_reduce(processes)?;
        let variance: Vec<f64> = squares.iter().map(|sum| sum / count.max(1.0)).collect();
        let inverse = variance.iter().map(|variance| (variance + norm.epsilon).sqrt().recip());

        let device = norm.gamma.val().inner().device();
        let tensor = |values: Vec<f64>| Tensor::<B, 1>::from_data(values.as_slice(), &device);
        let (inverse, mean) = (tensor(inverse.collect()), tensor(mean));
        let new = [mean.clone(), tensor(variance)].map(Tensor::<A, 1>::from_inner);
        let [new_mean, new_variance] = new;
        // Where examples are skipped, a micro-batch may have no image in any process.
        if count > 0.0 {
            update_running_statistics(norm, new_mean, new_variance, count);
        }

        let centered = maps.map(|maps| {
            let shape = maps.dims();
            (rows(maps) - each_row(mean, shape[0])).reshape(shape)
        });
        Ok(Self { centered, inverse, count })
    }

    /// `[N, C, H, W]`
    pub fn output<A: AutodiffBackend<InnerBackend = B>>(
        &self,
        norm: &BatchNorm<A>,
    ) -> Option<Tensor<B, 4>> {
        let centered = self.centered.clone()?;
        let shape = centered.dims();
        let scale = norm.gamma.val().inner() * self.inverse.clone();
        let beta = norm.beta.val().inner();
        let normal = rows(centered) * each_row(scale, shape[0]) + each_row(beta, shape[0]);
        Some(normal.reshape(shape))
    }

    /// The backward pass from the gradient of the output to that of the input. Adds the gradients of gamma and
    /// beta, which like all gradients are those of this process's images. With the normalized values `x̂` and
    /// means over all processes:
    ///
    /// `dx = gamma / σ (dy - mean(dy) - x̂ mean(x̂ dy))`
    pub fn backward<A: AutodiffBackend<InnerBackend = B>>(
        self,
        norm: &BatchNorm<A>,
        gradient: Option<Tensor<B, 4>>,
        processes: &dyn ProcessGroup,
        gradients: &mut GradientsParams,
    ) -> Result<Option<Tensor<B, 4>>> {
        let [channels] = norm.gamma.dims();
        let Some((centered, gradient)) = self.centered.zip(gradient) else {
            processes.all_reduce(&mut vec![0.0; 2 * channels])?;
            return Ok(None);
        };
        let shape = gradient.dims();
        let (centered, gradient) = (rows(centered), rows(gradient));
        let beta = sum_of_channels(gradient.clone(), channels);
        let gamma = sum_of_channels(gradient.clone() * centered.clone(), channels);
        let gamma = gamma * self.inverse.clone();
        for (parameter, gradient) in [(&norm.gamma, &gamma), (&norm.beta, &beta)] {
            if parameter.is_require_grad() {
                add(gradients, parameter.id, gradient.clone());
            }
        }
        let mut sums: Vec<f32> = backend::read(Tensor::cat(vec![beta, gamma], 0))?.iter().collect();
        processes.all_reduce(&mut sums)?;
        let means = Tensor::<B, 1>::from_data(sums.as_slice(), &self.inverse.device()) / self.count;
        let of_gradient = means.clone().narrow(0, 0, channels);
        let of_product = means.narrow(0, channels, channels) * self.inverse.clone();
        let scale = norm.gamma.val().inner() * self.inverse;
        let spread = |of_channels| each_row(of_channels, shape[0]);
        let input = gradient - centered * spread(of_product) - spread(of_gradient);
        Ok(Some((input * spread(scale)).reshape(shape)))
    }
}

/// `[N, C, H, W]` to `[N * C, H * W]`.
fn rows<B: Backend>(maps: Tensor<B, 4>) -> Tensor<B, 2> {
    let [batch, channels, height, width] = maps.dims();
    maps.reshape([batch * channels, height * width])
}

/// `[N * C, H * W]` to `[C]`.
fn sum_of_channels<B: Backend>(rows: Tensor<B, 2>, channels: usize) -> Tensor<B, 1> {
    let batch = rows.dims()[0] / channels;
    rows.sum_dim(1).reshape([batch, channels]).sum_dim(0).reshape([channels])
}

/// The statistics of some images, by channel. Those of two sets of images combine to those of their union (Chan
/// et al., 1979) without a difference of large sums.
struct Statistics {
    /// Values per channel.
    count: f64,
    mean: Vec<f64>,
    /// Sums of squared differences from the mean.
    squares: Vec<f64>,
}

impl Statistics {
    fn none(channels: usize) -> Self {
        Self { count: 0.0, mean: vec![0.0; channels], squares: vec![0.0; channels] }
    }

    fn of<B: Backend>(maps: Option<Tensor<B, 4>>, channels: usize) -> Result<Self> {
        let Some(maps) = maps else { return Ok(Self::none(channels)) };
        let [batch, _, height, width] = maps.dims();
        let count = (batch * height * width) as f64;
        let rows = rows(maps);
        let mean = sum_of_channels(rows.clone(), channels) / count;
        let centered = rows - each_row(mean.clone(), batch);
        let squares = sum_of_channels(centered.clone() * centered, channels);
        let values: Vec<f64> = backend::read(Tensor::cat(vec![mean, squares], 0))?.iter().collect();
        let (mean, squares) = values.split_at(channels);
        Ok(Self { count, mean: mean.into(), squares: squares.into() })
    }

    /// The statistics of all processes' images, the same to the bit in all of them.
    fn all_reduce(&self, processes: &dyn ProcessGroup) -> Result<Self> {
        let channels = self.mean.len();
        let mut all = Self::none(channels);
        for (rank, bytes) in processes.all_gather(&self.to_bytes())?.iter().enumerate() {
            let one = Self::from_bytes(bytes, channels).ok_or_else(|| Error::Process {
                rank,
                place: processes.location(rank),
                reason: format!(
                    "expected statistics of {channels} channels, found {} bytes",
                    bytes.len()
                ),
            })?;
            all.combine(&one);
        }
        Ok(all)
    }

    fn combine(&mut self, other: &Self) {
        let count = self.count + other.count;
        let weight = other.count / count.max(1.0);
        let means = self.mean.iter_mut().zip(&other.mean);
        let squares = self.squares.iter_mut().zip(&other.squares);
        for ((mean, other_mean), (squares, other_squares)) in means.zip(squares) {
            let difference = other_mean - *mean;
            *mean += difference * weight;
            *squares += other_squares + difference * difference * self.count * weight;
        }
        self.count = count;
    }

    fn to_bytes(&self) -> Vec<u8> {
        let values = [self.count].into_iter().chain(self.mean.iter().copied());
        values.chain(self.squares.iter().copied()).flat_map(f64::to_le_bytes).collect()
    }

    /// `None` if there is another number of channels.
    fn from_bytes(bytes: &[u8], channels: usize) -> Option<Self> {
        let values: Vec<f64> =
            bytes.as_chunks().0.iter().map(|&bytes| f64::from_le_bytes(bytes)).collect();
        let (&count, values) = values.split_first()?;
        let (mean, squares) = values.split_at_checked(channels)?;
        (squares.len() == channels).then(|| Self {
            count,
            mean: mean.into(),
            squares: squares.into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values that spread by 1 around 10 000, a spread that sums of squares in f32 would lose.
    #[test]
    fn statistics_of_subsets_combine_to_those_of_all() {
        let values: Vec<f64> = (0..60).map(|i| 1e4 + f64::from(i * 37 % 61) / 61.0).collect();
        let of = |values: &[f64]| {
            let count = values.len() as f64;
            let mean = values.iter().sum::<f64>() / count.max(1.0);
            let squares = values.iter().map(|value| (value - mean).powi(2)).sum();
            Statistics { count, mean: vec![mean], squares: vec![squares] }
        };
        let mut sum = Statistics::none(1);
        for part in [0..0, 0..7, 7..50, 50..50, 50..60] {
            let bytes = of(&values[part]).to_bytes();
            sum.combine(&Statistics::from_bytes(&bytes, 1).expect("one channel"));
            assert!(Statistics::from_bytes(&bytes, 2).is_none());
        }
        let whole = of(&values);
        assert_eq!(sum.count, whole.count);
        assert!((sum.mean[0] - whole.mean[0]).abs() < 1e-9);
        assert!((sum.squares[0] - whole.squares[0]).abs() < 1e-9 * whole.squares[0]);
    }
}
