//! The handle of an open weights file.

use super::checksum::HashedRanges;
use super::file_contents::FileContents;
use super::file_format::Format;
use super::file_source::FileSource;
use super::format_detection;
use super::format_error::FormatError;
use super::tensor_entry::{TensorEntry, TensorInfo};
use crate::error::{Error, Result};
use std::path::Path;

/// An open weights file: its header is parsed and checked, its values are not read yet.
#[derive(Debug)]
pub struct Weights {
    pub(super) source: FileSource,
    pub(super) contents: FileContents,
}

impl Weights {
    /// Opens a file of safetensors, of `torch.save`, old or new, of Caffe, or of ONNX, whatever its name; the
    /// first bytes show the format. One of `torch.save` may hold a state dict, a checkpoint that contains one, or a whole pickled module.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::WeightsFormat`] if the file does not follow its format exactly: it is
    /// truncated or has extra bytes, has a tensor twice, is a pickle in which the weights are
    /// the result of a call that tensors do not need, or a graph that is none of the registered networks.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::new(FileSource::open(path.as_ref())?, None)
    }

    /// Opens a part of a file, if it has several sets of weights: a network and its average, a teacher and a
    /// student.
    ///
    /// `key` is a path of keys in a checkpoint, such as `model_ema` or `ema.state_dict` (for the items of tuples and lists,
    /// numbers from 0), then the beginning of tensors' names, up to a dot; either of them may be missing. So
    /// with `teacher`, the tensor `teacher.features.0.weight` becomes `features.0.weight`, and all that have
    /// other names are left out.
    ///
    /// # Errors
    /// As for [`open`](Self::open), and [`Error::WeightsFormat`] with the keys that there are if the file does not have
    /// this one.
    pub fn open_at(path: impl AsRef<Path>, key: &str) -> Result<Self> {
        Self::new(FileSource::open(path.as_ref())?, Some(key))
    }

    /// Opens a file whose bytes are in memory; `name` takes the place of its path in errors.
    ///
    /// # Errors
    /// As for [`open`](Self::open).
    pub fn from_bytes(name: &str, bytes: Vec<u8>) -> Result<Self> {
        Self::new(FileSource::from_bytes(name, bytes), None)
    }

    fn new(source: FileSource, key: Option<&str>) -> Result<Self> {
        let contents = format_detection::parse(&source, key)?;
        Ok(Self { source, contents })
    }

    /// The format of the file.
    pub fn format(&self) -> Format {
        self.contents.format
    }

    /// What contains the tensors, in words, if the file is not a plain state dict: `a whole module of
    /// class ...` or `a checkpoint, its weights under ...`.
    pub fn container(&self) -> Option<&str> {
        self.contents.container.as_deref()
    }

    /// The tensors, in the order of the file.
    pub fn tensors(&self) -> impl Iterator<Item = TensorInfo<'_>> {
        self.contents.tensors.iter().map(TensorEntry::info)
    }

    /// The metadata entries of the file, as keys and values: those of safetensors, and the network and preset that
    /// files of Caffe and ONNX state in their own ways.
    pub fn metadata(&self) -> impl Iterator<Item = (&str, &str)> {
        self.contents.metadata.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// Compares the values with the checksums of the file. PyTorch's zip archives have checksums; for the
    /// other formats there is nothing to compare. Loading and converting do this, too.
    ///
    /// # Errors
    /// [`Error::WeightsFormat`] if a checksum is wrong, and [`Error::Io`].
    pub fn verify(&self) -> Result<()> {
        self.verify_remaining(&HashedRanges::default())
    }

    /// [`verify`](Self::verify) without reading again what was hashed already.
    pub(super) fn verify_remaining(&self, hashed: &HashedRanges) -> Result<()> {
        let mut checksums = self.contents.checksums.iter();
        checksums.try_for_each(|checksum| {
            checksum.verify(&self.source, hashed, self.contents.format.name())
        })
    }

    /// Verifies the storage that contains this byte of the file, unless that was done before.
    pub(super) fn verify_storage_at(&self, byte: u64, hashed: &HashedRanges) -> Result<()> {
        let checksum = self.contents.checksums.iter().find(|checksum| checksum.contains(byte));
        match checksum.filter(|checksum| !checksum.is_verified()) {
            Some(checksum) => checksum.verify(&self.source, hashed, self.contents.format.name()),
            None => Ok(()),
        }
    }

    /// The error for a file that does not have what is expected of its format.
    pub(super) fn format_error(
        &self,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> Error {
        self.source.error(self.contents.format.name(), FormatError::new(expected, found))
    }
}
