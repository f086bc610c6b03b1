//! Compiled networks from weights files.

use super::{CompileOptions, Compiled};
use crate::architecture::IntoArchitecture;
use crate::error::Result;
use crate::weights::{LoadOptions, Weights};
use std::path::Path;

impl Compiled {
    /// Compiles a network with the weights of a file: safetensors or PyTorch's (`.pth`, old or
    /// new), with tensors named as in torchvision, timm, the papers or tutorials. f16, bf16 and f64
    /// become f32. The [metadata](Compiled::metadata) of the file is kept.
    ///
    /// The weights of the linear layers, nine tenths of a VGG, are read and packed piece by piece. Those of
    /// the convolutions are also kept unpacked, for input shapes that come later.
    ///
    /// ```no_run
    /// use alexnet_vgg_core::architecture::VggConfig;
    /// use alexnet_vgg_core::engine::{CompileOptions, Compiled};
    ///
    /// let vgg = Compiled::load(VggConfig::vgg16(), "vgg16.safetensors", CompileOptions::default())?;
    /// let mut logits = vec![0.0; 1000];
    /// vgg.run(&vec![0.0; 3 * 224 * 224], [1, 3, 224, 224], &mut logits)?;
    /// # Ok::<(), alexnet_vgg_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`Weights::open`], [`Weights::reader`], [`ParameterReader`](crate::weights::ParameterReader) and
    /// [`Compiled::from_values`].
    pub fn load(
        architecture: impl IntoArchitecture,
        path: impl AsRef<Path>,
        options: impl Into<CompileOptions>,
    ) -> Result<Self> {
        Self::from_weights(architecture, &Weights::open(path)?, LoadOptions::default(), options)
    }

    /// The same as [`load`](Self::load) for a file that is already open, or a part of it. To load
    /// only the features, pass an architecture
    /// [without its classifier](crate::architecture::Architecture::without_classifier).
    ///
    /// # Errors
    /// As for [`load`](Self::load).
    pub fn from_weights(
        architecture: impl IntoArchitecture,
        weights: &Weights,
        load: LoadOptions,
        options: impl Into<CompileOptions>,
    ) -> Result<Self> {
        let architecture = architecture.into_architecture()?;
        let mut reader = weights.reader(&architecture, load)?;
        let compiled = Self::from_values(architecture, options, |parameter, rows| {
            reader.required_rows(parameter, rows)
        })?;
        Ok(compiled.with_metadata(reader.finish()?))
    }
}
