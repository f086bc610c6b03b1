//! Trained weights, from files and to files, strictly: exactly this network's tensors, or an error
//! that lists every difference.
//!
//! A file's way in: a `source` of bytes; its `contents`, by the reader of its format (`safetensors`,
//! `pytorch`); the `reading` of those tensors as this network's, under the `naming` that they have;
//! the values of each, as f32, in pieces, straight into place. `save` is the way out. Our own names
//! are torchvision's, and no table of names exists: a layer's place in its [`Architecture`] *is* its
//! key (`features.24.weight`), and the other namings follow from the table likewise.
//!
#![doc = include_str!("../../docs/your-weights.md")]

mod checksum;
mod contents;
mod identify;
mod labels;
mod layout;
mod load;
mod naming;
mod pytorch;
mod reading;
mod safetensors;
mod save;
mod source;
mod stored;

pub use ::safetensors::tensor::Dtype;
pub use contents::Format;
pub use identify::Identity;
pub use naming::Naming;
#[cfg(feature = "train")]
pub(crate) use safetensors::header as safetensors_header;
pub use save::SaveOptions;

use crate::error::{Error, Result};
#[cfg(doc)]
use crate::models::Architecture;
use crate::vision::Preset;
use contents::Contents;
use source::{Source, Wrong};
use std::path::Path;
use stored::Stored;

/// A weights file: opened and its header checked, its tensors not yet read.
#[derive(Debug)]
pub struct Weights {
    source: Source,
    contents: Contents,
}

/// What a file says of one of its tensors.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TensorInfo<'a> {
    /// As it is in the file, prefixes included.
    pub name: &'a str,
    /// Its type.
    pub dtype: Dtype,
    /// Its shape.
    pub shape: &'a [usize],
}

impl TensorInfo<'_> {
    /// Bytes of its values.
    pub fn bytes(&self) -> u64 {
        let elements: u64 = self.shape.iter().map(|&dim| dim as u64).product();
        elements * self.dtype.bitsize() as u64 / 8
    }
}

impl Weights {
    /// Opens a file of safetensors or of `torch.save`, old or new; what it is is seen from its first
    /// bytes. A state dict, a checkpoint that has one, and a whole pickled module will do.
    ///
    /// # Errors
    /// [`Error::Io`], and [`Error::WeightsFormat`] if the file is not exactly what the format says:
    /// truncated, with bytes to spare, a tensor twice, a pickle that calls what tensors have no need
    /// for.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::new(Source::open(path.as_ref())?)
    }

    /// The same for a file's bytes; `name` stands for the file in messages.
    ///
    /// # Errors
    /// As for [`open`](Self::open).
    pub fn from_bytes(name: &str, bytes: Vec<u8>) -> Result<Self> {
        Self::new(Source::memory(name, bytes))
    }

    fn new(source: Source) -> Result<Self> {
        Contents::of(&source).map(|contents| Self { source, contents })
    }

    /// The file's format.
    pub fn format(&self) -> Format {
        self.contents.format
    }

    /// What the tensors are inside of, if it is not a plain state dict.
    pub fn note(&self) -> Option<&str> {
        self.contents.note.as_deref()
    }

    /// The tensors in the file's order.
    pub fn tensors(&self) -> impl Iterator<Item = TensorInfo<'_>> {
        self.contents.tensors.iter().map(Stored::info)
    }

    /// What the file says of itself (safetensors only).
    pub fn metadata(&self) -> impl Iterator<Item = (&str, &str)> {
        self.contents.metadata.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// The preprocessing that the file says its weights want: the name of a [`Preset`], or a whole
    /// one as JSON, under `preset` in the file's metadata. `None` if it does not say.
    ///
    /// # Errors
    /// [`Error::Setting`] if it names a preset that does not exist or describes an impossible one.
    pub fn preset(&self) -> Result<Option<Preset>> {
        let Some(text) = self.contents.metadata.get(PRESET) else { return Ok(None) };
        let preset = match text.starts_with('{') {
            false => Preset::by_name(text),
            true => serde_json::from_str(text)
                .map_err(|error| Error::Setting {
                    place: "preset".into(),
                    expected: "a preset as JSON".into(),
                    found: error.to_string(),
                })
                .and_then(|preset: Preset| preset.validate().map(|()| preset)),
        };
        preset.map(Some).map_err(|error| self.in_this_file(error))
    }

    /// A setting that the file states, with the file as its place.
    fn in_this_file(&self, error: Error) -> Error {
        match error {
            Error::Setting { place, expected, found } => {
                let place = format!("{}: {place}", self.source.place().display());
                Error::Setting { place, expected, found }
            }
            other => other,
        }
    }

    fn wrong(&self, wrong: Wrong) -> Error {
        self.source.wrong(self.contents.format.name(), wrong)
    }
}

/// Under which a file's metadata has the preset, the names of the classes, and the network's name.
const PRESET: &str = "preset";
const LABELS: &str = "labels";
const NETWORK: &str = "network";
