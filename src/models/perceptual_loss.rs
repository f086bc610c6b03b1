//! The perceptual distance that gradients flow through: [`PerceptualDistance::between`] on burn's
//! tensors.

use super::{Network, Tap};
use crate::{Error, Result};
use alexnet_vgg_core::predict::PerceptualDistance;
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

/// Added to the length of a position's channels, as in LPIPS.
const EPSILON: f64 = 1e-10;
/// Added to the square of that length, because the square root has no derivative at 0, where ReLUs
/// may leave all channels. It is too small to change any other length in f32.
const SQUARE_EPSILON: f64 = 1e-20;

impl<B: Backend> Network<B> {
    /// The perceptual distances of `a` and `b`, image by image: both are `[N, C, H, W]`,
    /// preprocessed as the network expects; the result is `[N]`, on the same device. Gradients flow
    /// to both, so their mean is a loss. A pair with NaN in it has the distance NaN.
    ///
    /// On an autodiff backend the network should be [frozen](Self::freeze), unless it is to be
    /// trained itself.
    ///
    /// ```
    /// use alexnet_vgg::predict::PerceptualDistance;
    /// use alexnet_vgg::{backend::Cpu, models::{InitNetwork, Vgg, VggConfig}};
    /// use burn::tensor::{Distribution, Tensor};
    ///
    /// let device = Default::default();
    /// let vgg: Vgg<Cpu> = VggConfig::vgg16().with_width(0.05).init(&device);
    /// let a = Tensor::random([2, 3, 64, 64], Distribution::Normal(0.0, 1.0), &device);
    /// let b = a.clone().flip([3]);
    ///
    /// let distances = vgg.perceptual_distance(&PerceptualDistance::vgg16(), a, b)?;
    /// assert_eq!(distances.dims(), [2]);
    /// # Ok::<(), alexnet_vgg::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`PerceptualDistance::validate`] and [`taps`](Self::taps); [`Error::InputShape`] if the
    /// shapes differ.
    pub fn perceptual_distance(
        &self,
        distance: &PerceptualDistance,
        a: Tensor<B, 4>,
        b: Tensor<B, 4>,
    ) -> Result<Tensor<B, 1>> {
        distance.validate(self.architecture())?;
        let [batch, ..] = a.dims();
        if a.dims() != b.dims() {
            return Err(Error::InputShape {
                network: self.architecture().name.clone(),
                expected: format!("two batches of one shape, {:?}", a.dims()),
                found: b.dims().into(),
            });
        }
        let (device, layers) = (a.device(), distance.layers());
        let taps = self.taps(a, layers)?.into_iter().zip(self.taps(b, layers)?);
        let mut sum = Tensor::zeros([batch], &device);
        for (i, pair) in taps.enumerate() {
            // Validated: layers of maps.
            let (Tap::Map(a), Tap::Map(b)) = pair else { continue };
            let mut squares = (to_unit_length(a) - to_unit_length(b)).square();
            if let Some(weights) = distance.weights().map(|weights| &weights[i]) {
                let weights = Tensor::<B, 1>::from_floats(&weights[..], &device);
                squares = squares * weights.reshape([1, -1, 1, 1]);
            }
            // By rows, as Mesa's software driver cuts a long sum short.
            sum = sum + squares.sum_dim(1).mean_dim(3).mean_dim(2).reshape([batch]);
        }
        Ok(sum)
    }
}

/// `[N, C, H, W]`, over the channels.
fn to_unit_length<B: Backend>(maps: Tensor<B, 4>) -> Tensor<B, 4> {
    let lengths = (maps.clone().square().sum_dim(1) + SQUARE_EPSILON).sqrt();
    maps / (lengths + EPSILON)
}
