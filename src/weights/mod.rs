//! Trained weights from files, strictly: exactly this network's tensors, or an error that lists
//! every difference.
//!
//! The names are torchvision's, and no table of names exists: a layer's place in its
//! [`Architecture`] *is* its key (`features.24.weight`).

mod safetensors;

use crate::error::{Error, Result};
use crate::models::{Architecture, Network, Parameter, Part};
use crate::vision::Preset;
use ::safetensors::tensor::{Dtype, TensorInfo};
use burn::tensor::backend::Backend;
use safetensors::File;
use std::collections::HashSet;
use std::path::Path;

/// A weights file: opened and its header checked, its tensors not yet read.
#[derive(Debug)]
pub struct Weights {
    file: File,
}

impl Weights {
    /// Opens a `.safetensors` file.
    ///
    /// # Errors
    /// [`Error::Io`], and [`Error::WeightsFormat`] if the file is not exactly what the format says:
    /// truncated, with bytes to spare, a header too large or not JSON, a tensor named twice.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        File::open(path.as_ref()).map(|file| Self { file })
    }

    /// The preprocessing that the file says its weights want: the name of a [`Preset`] under
    /// `preset` in the file's metadata. `None` if it does not say.
    ///
    /// # Errors
    /// [`Error::Setting`] if it names a preset that does not exist.
    pub fn preset(&self) -> Result<Option<Preset>> {
        let named = |name| {
            Preset::by_name(name).map_err(|error| match error {
                Error::Setting { place, expected, found } => {
                    let place = format!("{}: {place}", self.file.path().display());
                    Error::Setting { place, expected, found }
                }
                other => other,
            })
        };
        self.file.metadata("preset").map(named).transpose()
    }

    /// All differences between the tensors in the file and those that `wanted` asks for.
    fn check(
        &self,
        architecture: &Architecture,
        wanted: &[Parameter],
        ignore: Option<&str>,
    ) -> Result<()> {
        let mut differences: Vec<String> =
            wanted.iter().filter_map(|parameter| self.difference(parameter)).collect();
        let wanted_keys: HashSet<&str> = wanted.iter().map(|p| p.key.as_str()).collect();
        let names = self.file.names();
        let extra = (names.iter())
            .filter(|name| {
                !wanted_keys.contains(name.as_str())
                    && !ignore.is_some_and(|prefix| name.starts_with(prefix))
            })
            .filter(|name| !self.is_batch_counter(name, &wanted_keys));
        differences
            .extend(extra.map(|name| format!("{name}: extra, no such tensor in this network")));
        if differences.is_empty() {
            return Ok(());
        }
        Err(Error::WeightsMismatch {
            path: self.file.path().into(),
            network: architecture.name.clone(),
            differences,
        })
    }

    fn difference(&self, wanted: &Parameter) -> Option<String> {
        let Parameter { key, shape, .. } = wanted;
        let found = match self.file.tensor(key) {
            None => return Some(format!("{key}: missing, expected {shape:?}")),
            Some(found) => found,
        };
        if &found.shape != shape {
            return Some(format!("{key}: expected shape {shape:?}, found {:?}", found.shape));
        }
        match found.dtype {
            Dtype::F32 | Dtype::F16 | Dtype::BF16 => None,
            other => Some(format!("{key}: expected F32, F16 or BF16, found {other}")),
        }
    }

    /// PyTorch's batch norm also counts the batches it saw. Nothing here needs that count.
    fn is_batch_counter(&self, name: &str, wanted: &HashSet<&str>) -> bool {
        let is_counter = |info: &TensorInfo| info.dtype == Dtype::I64 && info.shape.is_empty();
        let is_of_a_norm = |layer: &str| wanted.contains(format!("{layer}.running_mean").as_str());
        name.strip_suffix(".num_batches_tracked").is_some_and(is_of_a_norm)
            && self.file.tensor(name).is_some_and(is_counter)
    }
}

impl<B: Backend> Network<B> {
    /// A network with the weights of a `.safetensors` file that has torchvision's names. f16 and
    /// bf16 become f32.
    ///
    /// The file is read tensor by tensor into place, so that loading takes little more memory than
    /// the weights themselves.
    ///
    /// # Errors
    /// [`Error::WeightsMismatch`] with every tensor that is missing, extra, mis-shaped or mistyped;
    /// [`Error::NotFinite`] for a tensor with NaN or infinity in it; as for [`Weights::open`] and [`Network::new`].
    pub fn load(
        architecture: impl Into<Architecture>,
        path: impl AsRef<Path>,
        device: &B::Device,
    ) -> Result<Self> {
        let architecture = architecture.into();
        let mut weights = Weights::open(path)?;
        weights.check(&architecture, &architecture.parameters()?, None)?;
        Self::build(architecture, device, &mut |parameter, rows| {
            weights.file.values(parameter, rows).map(Some)
        })
    }

    /// A network whose features have the weights of a `.safetensors` file, and whose classifier is
    /// fresh: the start of transfer learning. The file may hold a classifier, of any shape; it is
    /// not read.
    ///
    /// # Errors
    /// As for [`load`](Self::load).
    pub fn load_features(
        architecture: impl Into<Architecture>,
        path: impl AsRef<Path>,
        device: &B::Device,
    ) -> Result<Self> {
        let architecture = architecture.into();
        let mut weights = Weights::open(path)?;
        let prefix = format!("{}.", Part::Classifier);
        let mut features = architecture.parameters()?;
        features.retain(|parameter| !parameter.key.starts_with(&prefix));
        weights.check(&architecture, &features, Some(&prefix))?;
        Self::build(architecture, device, &mut |parameter, rows| match parameter
            .key
            .starts_with(&prefix)
        {
            true => Ok(None),
            false => weights.file.values(parameter, rows).map(Some),
        })
    }
}
