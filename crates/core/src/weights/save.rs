//! Writes weights to files, for PyTorch and for this crate. Files are written atomically.

use super::checksum::HashedRanges;
use super::file_format::Format;
use super::matched_tensors::{MatchedTensors, NetworkPart};
use super::save_plan::{RowSource, SaveOptions, SavePlan};
use super::weights_file::Weights;
use super::{pytorch, safetensors};
use crate::architecture::{Architecture, Parameter};
use crate::atomic_file;
use crate::error::{Error, Result};
use crate::metadata::Metadata;
use std::io::Write;
use std::ops::Range;
use std::path::Path;

/// Writes the weights of a network to a file: a state dict of PyTorch if the path ends in `.pth` or
/// `.pt`, safetensors if it ends in `.safetensors`. `values` is called with each parameter and a range of
/// rows of its first dimension, and returns these rows, flat, in PyTorch's order. safetensors files also
/// get the network's name and its metadata.
///
/// # Errors
/// - [`Error::UnknownName`] for another file extension;
/// - [`Error::Setting`] for a type other than f32, f16 and bf16, and for labels of more than 512 bytes;
/// - [`Error::LabelsMismatch`] if there is not one label for each class;
/// - [`Error::ValueOutOfRange`] for a value that is too large for f16 or bf16;
/// - [`Error::Io`], and the errors of `values`.
///
/// After an error, `path` is as it was before.
pub fn save(
    architecture: &Architecture,
    metadata: &Metadata,
    path: impl AsRef<Path>,
    options: &SaveOptions,
    mut values: impl FnMut(&Parameter, Range<usize>) -> Result<Vec<f32>>,
) -> Result<()> {
    let metadata = metadata.or(&options.metadata);
    let plan = SavePlan::new(architecture, options, metadata, &|_| Ok(0))?;
    let path = path.as_ref();
    let format = format_of_extension(path)?;
    atomic_file::replace(path, |out| write(&plan, format, path, out, &mut values))
}

impl Weights {
    /// Writes the tensors of this file to another one, in another format, naming or type, without building
    /// the network. They must be the tensors of `architecture`.
    ///
    /// # Errors
    /// As for [`reader`](Self::reader) and [`save`].
    pub fn convert(
        &self,
        architecture: &Architecture,
        path: impl AsRef<Path>,
        options: &SaveOptions,
    ) -> Result<()> {
        let part = NetworkPart::of(architecture);
        let matched = self.match_network(architecture, part)?;
        let counter = |key: &str| self.counter_value(&matched, key);
        let metadata = self.metadata_for(architecture, part)?.or(&options.metadata);
        let plan = SavePlan::new(architecture, options, metadata, &counter)?;
        let path = path.as_ref();
        let format = format_of_extension(path)?;
        atomic_file::replace(path, |out| {
            let mut hashed = HashedRanges::default();
            write(&plan, format, path, out, &mut |parameter, rows| {
                self.parameter_rows(&matched, parameter, rows, &mut hashed)
            })?;
            // Before the new file gets its name.
            self.verify_remaining(&hashed)
        })
    }

    /// The value of a batch counter: 0 if the file does not have it, or its type cannot hold it.
    fn counter_value(&self, matched: &MatchedTensors, key: &str) -> Result<i64> {
        match matched.counters.get(key) {
            Some(&index) => self.contents.tensors[index].counter_value(&self.source),
            None => Ok(0),
        }
    }
}

/// The format that the extension of a path asks for.
fn format_of_extension(path: &Path) -> Result<Format> {
    let extension = path.extension().and_then(|e| e.to_str()).map(str::to_lowercase);
    match extension.as_deref() {
        Some("pth" | "pt") => Ok(Format::PyTorch),
        Some("safetensors") => Ok(Format::Safetensors),
        _ => Err(Error::UnknownName {
            kind: "extension of a weights file".into(),
            name: path.display().to_string(),
            known: ".pth, .pt, .safetensors".into(),
        }),
    }
}

/// `path` is for errors.
fn write(
    plan: &SavePlan,
    format: Format,
    path: &Path,
    out: &mut dyn Write,
    values: RowSource,
) -> Result<()> {
    match format {
        Format::Safetensors => safetensors::writer::write(plan, path, out, values),
        // No extension asks for any other.
        _ => pytorch::state_dict_writer::write(plan, path, out, values),
    }
}
