//! The compiled CPU engine: the forward pass, several times faster than a tensor framework's.
//!
//! The engine itself is in `alexnet-vgg-core`, and works on slices only. With [`ForwardTensors`], a [`Compiled`] takes
//! and returns burn's tensors. [`Network::compile`](crate::models::Network::compile) packs a network's weights.
//!
//! ```
//! use alexnet_vgg::engine::{CompileOptions, ForwardTensors};
//! use alexnet_vgg::{backend::Cpu, models::{InitNetwork, Vgg, VggConfig}};
//! use burn::tensor::Tensor;
//!
//! let device = Default::default();
//! let vgg: Vgg<Cpu> = VggConfig::vgg11().with_width(0.05).with_num_classes(10).init(&device);
//! let compiled = vgg.compile(CompileOptions::default())?;
//!
//! let images = vec![0.5; 2 * 3 * 64 * 64];
//! let mut logits = vec![0.0; 2 * 10];
//! compiled.run(&images, [2, 3, 64, 64], &mut logits)?;
//!
//! let images = Tensor::<Cpu, 4>::full([2, 3, 64, 64], 0.5, &device);
//! assert_eq!(compiled.forward(images).dims(), [2, 10]);
//! # Ok::<(), alexnet_vgg::Error>(())
//! ```

use crate::Result;
use crate::backend::with_values;
use burn::tensor::backend::Backend;
use burn::tensor::{Tensor, TensorData};

#[doc(inline)]
pub use alexnet_vgg_core::engine::*;

/// The forward pass on burn's tensors, for a network that computes on slices.
pub trait ForwardTensors {
    /// The logits of images, `[N, C, H, W]` to `[N, num_classes]`, on any backend. They are
    /// returned on the device of the images.
    ///
    /// # Errors
    /// As for [`Compiled::run`], and [`Error::Backend`](crate::Error::Backend) if the images' device
    /// failed.
    fn try_forward<B: Backend>(&self, images: Tensor<B, 4>) -> Result<Tensor<B, 2>>;

    /// [`try_forward`](Self::try_forward) with a panic instead of an error, as in burn's own
    /// layers.
    ///
    /// # Panics
    /// If [`try_forward`](Self::try_forward) returns an error, with its message.
    fn forward<B: Backend>(&self, images: Tensor<B, 4>) -> Tensor<B, 2> {
        self.try_forward(images).unwrap_or_else(|error| panic!("{error}"))
    }
}

impl ForwardTensors for Compiled {
    fn try_forward<B: Backend>(&self, images: Tensor<B, 4>) -> Result<Tensor<B, 2>> {
        let (device, shape) = (images.device(), images.dims());
        let classes = self.architecture().num_classes();
        let mut logits = vec![0.0; shape[0] * classes];
        with_values(images, |images| self.run(images, shape, &mut logits))?;
        Ok(Tensor::from_data(TensorData::new(logits, [shape[0], classes]), &device))
    }
}
