//! Networks from files.

use super::checksum::Seen;
use super::reading::{Reading, Wanted};
use super::source::Wrong;
use super::stored::is_read;
use super::{Naming, Weights};
use crate::engine::{CompileOptions, Compiled};
use crate::error::Result;
use crate::models::{Architecture, Network, Parameter, Role};
use burn::tensor::backend::Backend;
use std::ops::Range;
use std::path::Path;

impl<B: Backend> Network<B> {
    /// A network with the weights of a file: safetensors or PyTorch's (`.pth`, old or new), with the
    /// names of torchvision, timm, the papers or the tutorials. f16, bf16 and f64 become f32.
    ///
    /// The file is read piece by piece into place, so that loading takes little more memory than the
    /// weights themselves. The [preset](Self::preset) and the [labels](Self::labels) that the file states
    /// come along.
    ///
    /// # Errors
    /// [`Error::WeightsMismatch`](crate::Error::WeightsMismatch) with every tensor that is missing,
    /// extra, mis-shaped or mistyped; [`Error::NotFinite`](crate::Error::NotFinite) for a tensor with
    /// NaN or infinity in it; [`Error::Setting`](crate::Error::Setting) for labels that are not as many as
    /// the classes; as for [`Weights::open`] and [`Network::new`].
    pub fn load(
        architecture: impl Into<Architecture>,
        path: impl AsRef<Path>,
        device: &B::Device,
    ) -> Result<Self> {
        Self::from_weights(architecture, &Weights::open(path)?, device)
    }

    /// [`load`](Self::load) from a file that is open already.
    ///
    /// # Errors
    /// As for [`load`](Self::load).
    pub fn from_weights(
        architecture: impl Into<Architecture>,
        weights: &Weights,
        device: &B::Device,
    ) -> Result<Self> {
        weights.network(architecture.into(), Wanted::All, device)
    }

    /// A network whose features have the weights of a file, and whose classifier is fresh: the start
    /// of transfer learning. The file may hold a classifier, of any shape; it is not read, and neither
    /// are its labels.
    ///
    /// # Errors
    /// As for [`load`](Self::load).
    pub fn load_features(
        architecture: impl Into<Architecture>,
        path: impl AsRef<Path>,
        device: &B::Device,
    ) -> Result<Self> {
        Self::features_from_weights(architecture, &Weights::open(path)?, device)
    }

    /// [`load_features`](Self::load_features) from a file that is open already.
    ///
    /// # Errors
    /// As for [`load`](Self::load).
    pub fn features_from_weights(
        architecture: impl Into<Architecture>,
        weights: &Weights,
        device: &B::Device,
    ) -> Result<Self> {
        weights.network(architecture.into(), Wanted::Features, device)
    }
}

impl Compiled {
    /// A compiled network with the weights of a file, as [`Network::load`] takes them, without the
    /// network: those of the linear layers, nine tenths of a VGG, are packed piece by piece as they are
    /// read; those of the convolutions are kept as they are, too, for the plans of other shapes.
    ///
    /// ```no_run
    /// use alexnet_vgg::{engine::{Compiled, Precision}, models::VggConfig};
    ///
    /// let vgg = Compiled::load(VggConfig::vgg16(), "vgg16.safetensors", Precision::F32)?;
    /// let mut logits = vec![0.0; 1000];
    /// vgg.run(&vec![0.0; 3 * 224 * 224], [1, 3, 224, 224], &mut logits)?;
    /// # Ok::<(), alexnet_vgg::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`Network::load`] and [`Compiled::from_values`].
    pub fn load(
        architecture: impl Into<Architecture>,
        path: impl AsRef<Path>,
        options: impl Into<CompileOptions>,
    ) -> Result<Self> {
        Self::from_weights(architecture, &Weights::open(path)?, options)
    }

    /// [`load`](Self::load) from a file that is open already.
    ///
    /// # Errors
    /// As for [`load`](Self::load).
    pub fn from_weights(
        architecture: impl Into<Architecture>,
        weights: &Weights,
        options: impl Into<CompileOptions>,
    ) -> Result<Self> {
        weights.compiled(architecture.into(), Wanted::All, options.into())
    }

    /// The features of a network with the weights of a file, which may hold any classifier: the table's
    /// must be [left out](Architecture::without_classifier).
    ///
    /// # Errors
    /// As for [`load`](Self::load).
    pub fn features_from_weights(
        architecture: impl Into<Architecture>,
        weights: &Weights,
        options: impl Into<CompileOptions>,
    ) -> Result<Self> {
        weights.compiled(architecture.into(), Wanted::Features, options.into())
    }
}

impl Weights {
    /// The naming that this file's tensors have, read as this network's.
    ///
    /// # Errors
    /// [`Error::WeightsMismatch`](crate::Error::WeightsMismatch) if they are not this network's.
    pub fn naming(&self, architecture: &Architecture) -> Result<Naming> {
        self.read_as(architecture, Wanted::All).map(|reading| reading.naming)
    }

    /// All values of the tensor of that name, as f32, in PyTorch's order: of f32, f16, bf16 or f64.
    ///
    /// # Errors
    /// [`Error::WeightsFormat`](crate::Error::WeightsFormat) if there is no such tensor or it has
    /// another type, [`Error::NotFinite`](crate::Error::NotFinite), and those of reading.
    pub fn values(&self, name: &str) -> Result<Vec<f32>> {
        self.rows_of(name, None)
    }

    /// Rows of the first dimension of the tensor of that name, as [`values`](Self::values) gives all.
    #[cfg(feature = "train")]
    pub(crate) fn values_of_rows(&self, name: &str, rows: Range<usize>) -> Result<Vec<f32>> {
        self.rows_of(name, Some(rows))
    }

    fn rows_of(&self, name: &str, rows: Option<Range<usize>>) -> Result<Vec<f32>> {
        let tensor = self.contents.tensors.iter().find(|tensor| tensor.name == name);
        let Some(tensor) = tensor else {
            return Err(self.wrong(Wrong::new(format!("a tensor {name:?}"), "none of that name")));
        };
        if !is_read(tensor.dtype) {
            let expected = format!("F32, F16, BF16 or F64 as {name:?}");
            return Err(self.wrong(Wrong::new(expected, tensor.dtype.to_string())));
        }
        let count = tensor.shape().first().copied().unwrap_or(1);
        let rows = rows.unwrap_or(0..count);
        if rows.start > rows.end || rows.end > count {
            let expected = format!("rows {rows:?} of {name:?}");
            return Err(self.wrong(Wrong::new(expected, count.to_string())));
        }
        let mut seen = Seen::default();
        let values = tensor.rows(&self.source, rows, &mut seen)?;
        self.verify_at(tensor.first_byte(), &seen)?;
        Ok(values)
    }

    fn network<B: Backend>(
        &self,
        architecture: Architecture,
        wanted: Wanted,
        device: &B::Device,
    ) -> Result<Network<B>> {
        let preset = self.preset()?;
        let reading = self.read_as(&architecture, wanted)?;
        let labels = self.labels_of(&architecture, wanted)?;
        let mut seen = Seen::default();
        let network = Network::build(architecture, device, &mut |parameter, rows| match reading
            .tensors
            .contains_key(&parameter.key)
        {
            true => self.rows(&reading, parameter, rows, &mut seen).map(Some),
            false => Ok(None),
        })?;
        self.verify_rest(&seen)?;
        Ok(network.with_preset(preset).with_labels(labels))
    }

    fn compiled(
        &self,
        architecture: Architecture,
        wanted: Wanted,
        options: CompileOptions,
    ) -> Result<Compiled> {
        let preset = self.preset()?;
        let reading = self.read_as(&architecture, wanted)?;
        let labels = self.labels_of(&architecture, wanted)?;
        let mut seen = Seen::default();
        let compiled = Compiled::from_values(architecture, options, |parameter, rows| {
            self.rows(&reading, parameter, rows, &mut seen)
        })?;
        self.verify_rest(&seen)?;
        Ok(compiled.stating(preset, labels))
    }

    /// Rows of a parameter that the reading has.
    pub(super) fn rows(
        &self,
        reading: &Reading,
        parameter: &Parameter,
        rows: Range<usize>,
        seen: &mut Seen,
    ) -> Result<Vec<f32>> {
        let missing = || self.wrong(Wrong::new(parameter.key.as_str(), "no such tensor"));
        let &index = reading.tensors.get(&parameter.key).ok_or_else(missing)?;
        let tensor = &self.contents.tensors[index];
        let values = tensor.rows(&self.source, rows, seen)?;
        // Its root would be no number, and the ReLU behind it would make that 0.
        match values.iter().find(|&&value| parameter.role == Role::RunningVar && value < 0.0) {
            Some(negative) => {
                let expected = format!("variances of at least 0 in {}", tensor.name);
                Err(self.wrong(Wrong::new(expected, negative.to_string())))
            }
            None => Ok(values),
        }
    }
}
