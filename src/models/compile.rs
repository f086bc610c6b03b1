//! From a burn network to the compiled engine: when a user asks for it, and for every forward pass on burn's CPU
//! backends.
//!
//! Packing the weights takes as long as several passes. So what a network was compiled to for its passes stays with it,
//! as long as its parameters are the same.

use super::Parameter;
use super::network::Network;
use crate::backend::{CpuTensor, with_values};
use crate::engine::{CompileOptions, Compiled, Threads};
use crate::{Array, Result};
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

impl<B: Backend> Network<B> {
    /// Compiles the network for the CPU, with its weights packed. This consumes the network; for a
    /// moment, both are in memory. [`Compiled::load`] packs a weights file without building a
    /// network.
    ///
    /// # Errors
    /// As for [`Compiled::from_values`].
    pub fn compile(self, options: impl Into<CompileOptions>) -> Result<Compiled> {
        Ok(self.packed(options.into())?.with_metadata(self.metadata().clone()))
    }

    fn packed(&self, options: CompileOptions) -> Result<Compiled> {
        let values = |parameter: &Parameter, rows| self.values(parameter, rows);
        Compiled::from_values(self.architecture(), options, values)
    }

    /// The network as the engine has it. `None` where the layers have to do the pass: for images on a backend that is
    /// not one of the CPU's, or has autodiff; for weights other than f32; and without memory for the packed weights.
    pub(super) fn compiled_for(&self, images: &Tensor<B, 4>) -> Option<Compiled> {
        if CpuTensor::new(images).is_none() {
            self.last_compiled.forget();
            return None;
        }
        self.last_compiled.get_or_compile(self, || {
            // The steps of training before it are over.
            #[cfg(feature = "flex")]
            super::kernels::free_idle_memory();
            let threads = Threads::of_rayon();
            self.packed(CompileOptions { threads, ..CompileOptions::default() }).ok()
        })
    }

    /// The outputs of some layers, by the engine; `None` where the layers have to do the pass.
    pub(super) fn compiled_taps<S: AsRef<str>>(
        &self,
        images: &Tensor<B, 4>,
        names: &[S],
    ) -> Option<Result<Vec<Array>>> {
        self.compiled_for(images).map(|compiled| {
            with_values(images.clone(), |values| compiled.taps(values, images.dims(), names))
        })
    }
}
