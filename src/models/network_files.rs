//! Networks from files and into files.

use super::{IntoArchitecture, Network, Parameter};
use crate::Result;
#[cfg(feature = "hub")]
use crate::hub::{HubOptions, Published};
#[cfg(feature = "onnx")]
use crate::onnx::{self, ExportOptions};
use crate::weights::{self, LoadOptions, SaveOptions, Weights};
use burn::tensor::backend::Backend;
use std::path::Path;

impl<B: Backend> Network<B> {
    /// A network with the weights of a file: safetensors or PyTorch's (`.pth`, old or new), with
    /// tensors named as in torchvision, timm, the papers or tutorials. f16, bf16 and f64 become
    /// f32.
    ///
    /// The file is read piece by piece into place, so that loading takes little more memory than
    /// the weights themselves. The file's [metadata](Self::metadata) is kept.
    ///
    /// # Errors
    /// [`Error::WeightsMismatch`](crate::Error::WeightsMismatch) with every tensor that is missing,
    /// extra, misshaped or mistyped; [`Error::NotFinite`](crate::Error::NotFinite) for a tensor
    /// with NaN or infinity in it; [`Error::LabelsMismatch`](crate::Error::LabelsMismatch) if the
    /// number of labels is not that of the classes; and as for [`Weights::open`] and
    /// [`Network::new`].
    pub fn load(
        architecture: impl IntoArchitecture,
        path: impl AsRef<Path>,
        device: &B::Device,
    ) -> Result<Self> {
        Self::from_weights(architecture, &Weights::open(path)?, LoadOptions::default(), device)
    }

    /// The same as [`load`](Self::load) for a file that is already open, or a part of it.
    /// Parameters that are not loaded get random initial values; with [`LoadOptions::features`],
    /// this is how transfer learning starts.
    ///
    /// ```no_run
    /// use alexnet_vgg::weights::{LoadOptions, Weights};
    /// use alexnet_vgg::{backend::Cpu, models::{Vgg, VggConfig}};
    ///
    /// let ten = VggConfig::vgg16().with_num_classes(10);
    /// let weights = Weights::open("vgg16.pth")?; // of 1000 classes
    /// let vgg = Vgg::<Cpu>::from_weights(ten, &weights, LoadOptions::features(), &Default::default())?;
    /// # Ok::<(), alexnet_vgg::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`load`](Self::load).
    pub fn from_weights(
        architecture: impl IntoArchitecture,
        weights: &Weights,
        options: LoadOptions,
        device: &B::Device,
    ) -> Result<Self> {
        let architecture = architecture.into_architecture()?;
        let mut reader = weights.reader(&architecture, options)?;
        let network =
            Self::build(architecture, device, &mut |parameter, rows| reader.rows(parameter, rows))?;
        Ok(network.with_metadata(reader.finish()?))
    }

    /// The network with torchvision's published weights, which are [downloaded](crate::hub) on the
    /// first call and then taken from the cache. Their preset,
    /// [`Preset::imagenet`](crate::vision::Preset), is kept as metadata. If only the features are
    /// loaded, the network may have any classifier. Feature `hub`.
    ///
    /// # Errors
    /// As for [`Published::of`] (or [`Published::features_of`]), [`HubOptions::from_env`],
    /// [`HubOptions::open`] and [`from_weights`](Self::from_weights).
    #[cfg(feature = "hub")]
    pub fn pretrained(
        architecture: impl IntoArchitecture,
        options: LoadOptions,
        device: &B::Device,
    ) -> Result<Self> {
        let architecture = architecture.into_architecture()?;
        let published = if options.features_only {
            Published::features_of(&architecture)?
        } else {
            Published::of(&architecture)?
        };
        let weights = HubOptions::from_env()?.open(published)?;
        Self::from_weights(architecture, &weights, options, device)
    }

    /// Writes the weights as f32 with torchvision's names: as a state dict of PyTorch if the path
    /// ends in `.pth` or `.pt`, as safetensors if it ends in `.safetensors`. A safetensors file
    /// also gets the network's name and its [metadata](Self::metadata).
    ///
    /// # Errors
    /// As for [`weights::save`], and [`Error::Backend`](crate::Error::Backend) if the device fails.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        self.save_as(path, &SaveOptions::default())
    }

    /// [`save`](Self::save) with another type or naming.
    ///
    /// # Errors
    /// As for [`save`](Self::save).
    pub fn save_as(&self, path: impl AsRef<Path>, options: &SaveOptions) -> Result<()> {
        let values = |parameter: &Parameter, rows| self.values(parameter, rows);
        weights::save(self.architecture(), self.metadata(), path, options, values)
    }

    /// Writes this network as an ONNX file (see [`onnx`](crate::onnx)), and returns what was
    /// written.
    ///
    /// The weights go from the device to the file in [chunks](Parameter::row_chunks), never all of them
    /// through memory.
    ///
    /// # Errors
    /// As for [`onnx::export`], and [`Error::Backend`](crate::Error::Backend) if the device fails.
    #[cfg(feature = "onnx")]
    pub fn export_onnx(
        &self,
        path: impl AsRef<Path>,
        options: &ExportOptions,
    ) -> Result<onnx::OnnxFile> {
        let preset = options.preset.as_ref().or(self.metadata().preset.as_ref()).cloned();
        let options = ExportOptions { preset, ..options.clone() };
        onnx::export(self.architecture(), path, &options, |parameter, rows| {
            self.values(parameter, rows)
        })
    }
}
