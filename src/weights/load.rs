//! Networks from files.

use super::reading::{Reading, Wanted};
use super::source::Wrong;
use super::{Naming, Weights};
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
    /// weights themselves. The [preset](Self::preset) that the file states comes along.
    ///
    /// # Errors
    /// [`Error::WeightsMismatch`](crate::Error::WeightsMismatch) with every tensor that is missing,
    /// extra, mis-shaped or mistyped; [`Error::NotFinite`](crate::Error::NotFinite) for a tensor with
    /// NaN or infinity in it; as for [`Weights::open`] and [`Network::new`].
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
    /// of transfer learning. The file may hold a classifier, of any shape; it is not read.
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

impl Weights {
    /// The naming that this file's tensors have, read as this network's.
    ///
    /// # Errors
    /// [`Error::WeightsMismatch`](crate::Error::WeightsMismatch) if they are not this network's.
    pub fn naming(&self, architecture: &Architecture) -> Result<Naming> {
        self.read_as(architecture, Wanted::All).map(|reading| reading.naming)
    }

    fn network<B: Backend>(
        &self,
        architecture: Architecture,
        wanted: Wanted,
        device: &B::Device,
    ) -> Result<Network<B>> {
        let preset = self.preset()?;
        let reading = self.read_as(&architecture, wanted)?;
        // The checksums take as long as the values: at the same time, on another core.
        std::thread::scope(|scope| {
            let checksums = scope.spawn(|| self.verify());
            let network =
                Network::build(architecture, device, &mut |parameter, rows| match reading
                    .tensors
                    .contains_key(&parameter.key)
                {
                    true => self.values(&reading, parameter, rows).map(Some),
                    false => Ok(None),
                })?;
            match checksums.join() {
                Ok(verified) => verified.map(|()| network.with_preset(preset)),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }

    /// Whether the bytes are those that were written, where the format says what they were: a zip
    /// archive has a CRC-32 of each storage.
    ///
    /// # Errors
    /// [`Error::WeightsFormat`](crate::Error::WeightsFormat) if they are not, and those of reading.
    pub fn verify(&self) -> Result<()> {
        const BUFFER: u64 = 1 << 18;
        let mut buffer = vec![0; BUFFER as usize];
        for checksum in &self.contents.checksums {
            let mut hasher = crc32fast::Hasher::new();
            let mut done = 0;
            while done < checksum.length {
                let part = &mut buffer[..BUFFER.min(checksum.length - done) as usize];
                self.source.read_into(checksum.start + done, part)?;
                hasher.update(part);
                done += part.len() as u64;
            }
            let found = hasher.finalize();
            if found != checksum.crc32 {
                return Err(self.wrong(Wrong::new(
                    format!("CRC-32 {:08x} of {}", checksum.crc32, checksum.name),
                    format!("{found:08x}: the file is damaged"),
                )));
            }
        }
        Ok(())
    }

    /// Rows of a parameter that the reading has.
    pub(super) fn values(
        &self,
        reading: &Reading,
        parameter: &Parameter,
        rows: Range<usize>,
    ) -> Result<Vec<f32>> {
        let missing = || self.wrong(Wrong::new(parameter.key.as_str(), "no such tensor"));
        let &index = reading.tensors.get(&parameter.key).ok_or_else(missing)?;
        let tensor = &self.contents.tensors[index];
        let values = tensor.rows(&self.source, rows)?;
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
