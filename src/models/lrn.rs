//! Local response normalization as the 2012 paper defines it, unlike burn.

#[cfg(feature = "flex")]
use super::kernels;
use burn::module::Module;
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;
use burn::tensor::module::conv2d;
use burn::tensor::ops::ConvOptions;

/// Local response normalization over channels, as the 2012 paper defines it: see
/// [`Layer::Lrn`](super::Layer::Lrn).
///
/// burn's own `LocalResponseNorm` divides alpha by the window, moves channels last and back, and
/// takes a general power; on the `Flex` backend that is up to half of AlexNet's time. Here the sum
/// over neighboring channels is a convolution: seen as a picture of `C` rows and `H·W` columns, the
/// squares are filtered by one column of `size` alphas. The constant `k` is that convolution's bias.
#[derive(Module, Clone, Debug)]
pub struct Lrn {
    size: usize,
    alpha: f64,
    beta: f64,
    k: f64,
    groups: usize,
}

impl Lrn {
    /// `size` channels in the sum (odd), and the constants of the paper's section 3.3.
    ///
    /// # Panics
    /// If `size` is even: the window would have no middle.
    pub fn new(size: usize, alpha: f64, beta: f64, k: f64) -> Self {
        assert!(size % 2 == 1, "LRN: expected an odd number of channels, found {size}");
        Self { size, alpha, beta, k, groups: 1 }
    }

    /// The same within this many groups of channels, each normalized by itself. The number of
    /// channels must be a multiple of `groups`.
    ///
    /// # Panics
    /// If `groups` is 0.
    pub fn with_groups(self, groups: usize) -> Self {
        assert!(groups > 0, "LRN: expected at least 1 group");
        Self { groups, ..self }
    }

    /// `[N, C, H, W]` to the same shape.
    pub fn forward<B: Backend>(&self, x: Tensor<B, 4>) -> Tensor<B, 4> {
        #[cfg(feature = "flex")]
        let x = match self.forward_by_kernel(x) {
            Ok(normalized) => return normalized,
            Err(x) => x,
        };
        if self.groups == 1 {
            return self.forward_over_all(x);
        }
        // Each group becomes an image, so that no sum reaches from one into the next.
        let [n, c, h, w] = x.dims();
        let groups = x.reshape([n * self.groups, c / self.groups, h, w]);
        self.forward_over_all(groups).reshape([n, c, h, w])
    }

    /// On the engine's kernel, or the input where burn has to compute it.
    #[cfg(feature = "flex")]
    fn forward_by_kernel<B: Backend>(&self, x: Tensor<B, 4>) -> Result<Tensor<B, 4>, Tensor<B, 4>> {
        let [_, channels, height, width] = x.dims();
        if !channels.is_multiple_of(self.groups) {
            return Err(x);
        }
        let [alpha, beta, k] = [self.alpha, self.beta, self.k].map(|value| value as f32);
        let (channels, plane) = (channels / self.groups, height * width);
        kernels::lrn(kernels::Lrn { channels, plane, size: self.size, alpha, beta, k }, x)
    }

    fn forward_over_all<B: Backend>(&self, x: Tensor<B, 4>) -> Tensor<B, 4> {
        if B::ad_enabled(&x.device()) {
            return self.forward_in_training(x);
        }
        let scale = self.sum_of_neighbors(x.clone() * x.clone(), self.alpha, Some(self.k));
        x / self.power(scale)
    }

    /// The same values, written so that the backward pass is short. burn differentiates operation by
    /// operation: a square root costs a general power there, a quotient six passes over the map. The
    /// derivative is known, with `s = k + sum`:
    ///
    /// `dy = s^-β dx - β x s^(-β-1) ds`, `ds = 2 alpha · sum of neighbors of (x dx)`
    ///
    /// So the factors are computed apart from the graph, and what is left in it is linear in `x`: two
    /// products, one convolution, and a difference that is always 0 and has the derivative `ds`.
    fn forward_in_training<B: Backend>(&self, x: Tensor<B, 4>) -> Tensor<B, 4> {
        let constant = x.clone().detach();
        let sum = self.sum_of_neighbors(x.clone() * constant.clone(), 2.0 * self.alpha, None);
        let sum_now = sum.clone().detach();
        let scale = sum_now.clone() * 0.5 + self.k;
        let factor = self.power(scale.clone()).recip();
        let slope = constant * factor.clone() / scale * -self.beta;
        x * factor + (sum - sum_now) * slope
    }

    /// `alpha` times the sum over the window, and `k` to it.
    fn sum_of_neighbors<B: Backend>(
        &self,
        x: Tensor<B, 4>,
        alpha: f64,
        k: Option<f64>,
    ) -> Tensor<B, 4> {
        let [n, c, h, w] = x.dims();
        let device = x.device();
        let column = Tensor::full([1, 1, self.size, 1], alpha, &device);
        let k = k.map(|k| Tensor::full([1], k, &device));
        let options = ConvOptions::new([1, 1], [self.size / 2, 0], [1, 1], 1);
        conv2d(x.reshape([n, 1, c, h * w]), column, k, options).reshape([n, c, h, w])
    }

    /// `scale^beta`. Two square roots are several times faster than a general power, and are enough
    /// for the published beta of ¾: s^¾ = √s · √√s.
    fn power<B: Backend>(&self, scale: Tensor<B, 4>) -> Tensor<B, 4> {
        if self.beta == 0.75 {
            let root = scale.sqrt();
            root.clone() * root.sqrt()
        } else {
            scale.powf_scalar(self.beta)
        }
    }
}
