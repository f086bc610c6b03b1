//! Feature vectors that gradients flow through: [`FeatureOptions::vectors`] on burn's tensors.

use super::{Network, Tap};
use crate::Result;
use alexnet_vgg_core::predict::{FeatureOptions, Pooling};
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

impl<B: Backend> Network<B> {
    /// The feature vectors of images `[N, C, H, W]`: `[N, length]`, on the same device. Gradients
    /// flow through them. An image that contains NaN gets a vector of NaN, as its logits are NaN.
    ///
    /// ```
    /// use alexnet_vgg::backend::Cpu;
    /// use alexnet_vgg::models::{InitNetwork, Vgg, VggConfig};
    /// use alexnet_vgg::predict::FeatureOptions;
    /// use burn::tensor::{Distribution, Tensor};
    ///
    /// let device = Default::default();
    /// let vgg: Vgg<Cpu> = VggConfig::vgg11().with_width(0.05).init(&device);
    /// let images = Tensor::random([2, 3, 64, 64], Distribution::Default, &device);
    ///
    /// let vectors = vgg.feature_vectors(images, &FeatureOptions::conv5())?;
    /// assert_eq!(vectors.dims(), [2, 26]);
    /// # Ok::<(), alexnet_vgg::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`FeatureOptions::validate`] and [`taps`](Self::taps).
    pub fn feature_vectors(
        &self,
        images: Tensor<B, 4>,
        options: &FeatureOptions,
    ) -> Result<Tensor<B, 2>> {
        options.validate(self.architecture())?;
        let taps = self.taps(images, &options.layers)?;
        let vectors = taps.into_iter().map(|tap| {
            let vector = match tap {
                Tap::Map(maps) => pooled(options.pooling, maps),
                Tap::Vector(vectors) => vectors,
            };
            if options.normalize { to_unit_length(vector) } else { vector }
        });
        let joined = Tensor::cat(vectors.collect(), 1);
        Ok(if options.normalize { to_unit_length(joined) } else { joined })
    }
}

/// `[N, C, H, W]` to `[N, length]`.
fn pooled<B: Backend>(pooling: Pooling, maps: Tensor<B, 4>) -> Tensor<B, 2> {
    let [n, c, h, w] = maps.dims();
    // By rows, as Mesa's software driver cuts a long sum short.
    let mean = |maps: Tensor<B, 4>| maps.mean_dim(3).mean_dim(2);
    match pooling {
        Pooling::None => maps.reshape([n, c * h * w]),
        Pooling::Average => mean(maps).reshape([n, c]),
        // A maximum may drop NaN, a mean does not.
        Pooling::Max => {
            let nan_marker = mean(maps.clone().detach()) * 0.0;
            (maps.max_dim(3).max_dim(2) + nan_marker).reshape([n, c])
        }
    }
}

/// The smallest length that a vector is divided by, so that a vector of zeros stays one.
const SHORTEST: f64 = 1e-12;

fn to_unit_length<B: Backend>(vectors: Tensor<B, 2>) -> Tensor<B, 2> {
    let lengths =
        (vectors.clone() * vectors.clone()).sum_dim(1).clamp_min(SHORTEST * SHORTEST).sqrt();
    vectors / lengths
}
