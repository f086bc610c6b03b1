//! What a weights file holds, whichever format it is in.

use super::checksum::Checksum;
use super::source::{Source, Wrong};
use super::stored::Stored;
use super::{pytorch, safetensors};
use crate::error::Result;
use std::collections::BTreeMap;

/// Bytes of a header, of a pickle, of a zip archive's directory. For our largest network they have
/// 8 KB; this bounds what a hostile file can cost.
pub(super) const MOST_HEADER: u64 = 8 << 20;
/// A checkpoint of a VGG with its optimizer has 150.
pub(super) const MOST_TENSORS: usize = 1 << 14;
/// How often a file's bytes may be a tensor's.
const MOST_SHARED: u64 = 4;
/// Bytes of a tensor's name, prefixes included, or of a class's.
pub(super) const LONGEST_NAME: usize = 512;

/// Refuses names that would cost more than their tensors.
pub(super) fn expect_name(name: &str) -> Result<(), Wrong> {
    match name.len() <= LONGEST_NAME {
        true => Ok(()),
        false => {
            let start: String = name.chars().take(40).collect();
            let found = format!("{start:?}... of {}", name.len());
            Err(Wrong::new(format!("names of at most {LONGEST_NAME} bytes"), found))
        }
    }
}

/// The format of a weights file, known from its first bytes, whatever its name says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `safetensors.torch.save_file`.
    Safetensors,
    /// `torch.save`: a zip archive of a pickle and raw storages.
    PyTorch,
    /// `torch.save` before 1.6: pickles, then raw storages. torchvision's oldest files are these.
    PyTorchLegacy,
}

impl Format {
    pub(super) fn name(self) -> &'static str {
        match self {
            Format::Safetensors => "safetensors",
            Format::PyTorch => "PyTorch",
            Format::PyTorchLegacy => "legacy PyTorch",
        }
    }
}

impl std::fmt::Display for Format {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// The tensors of a file, all of them inside it, none of them read.
#[derive(Debug)]
pub(super) struct Contents {
    pub format: Format,
    /// In the order of the file.
    pub tensors: Vec<Stored>,
    pub metadata: BTreeMap<String, String>,
    /// What the tensors were inside of.
    pub note: Option<String>,
    pub checksums: Vec<Checksum>,
}

impl Contents {
    /// Parses the header of any format, and checks it against the file's length.
    pub fn of(source: &Source) -> Result<Self> {
        let mut start = [0; 32];
        let length = source.length().min(start.len() as u64) as usize;
        source.read_into(0, &mut start[..length])?;
        let contents = if start.starts_with(b"PK\x03\x04") {
            pytorch::zip::contents(source)?
        } else if pytorch::legacy::is_legacy(&start) {
            pytorch::legacy::contents(source)?
        } else if start[JSON_AT - 4..=JSON_AT] == *b"\0\0\0\0{" {
            // A header of 640 bytes begins as a pickle does.
            safetensors::contents(source)?
        } else if let Some(found) = not_weights(&start) {
            return Err(source.wrong("weights", Wrong::new("a safetensors or PyTorch file", found)));
        } else if length > JSON_AT && start[JSON_AT] != b'{' {
            let found = "neither, by its first bytes";
            return Err(source.wrong("weights", Wrong::new("a safetensors or PyTorch file", found)));
        } else {
            safetensors::contents(source)?
        };
        let wrong = |wrong| source.wrong(contents.format.name(), wrong);
        expect_proportion(&contents.tensors, source.length()).map_err(wrong)?;
        Ok(contents)
    }
}

/// Tensors may share storages, as tied layers do, but not so often that reading all of them is out of
/// proportion to the file.
fn expect_proportion(tensors: &[Stored], file: u64) -> Result<(), Wrong> {
    let bytes: u64 = tensors.iter().map(|it| it.info().bytes()).fold(0, u64::saturating_add);
    match bytes / MOST_SHARED <= file {
        true => Ok(()),
        false => Err(Wrong::new(
            format!("tensors of at most {MOST_SHARED} times the file's {file} bytes"),
            format!("{bytes} bytes of them"),
        )),
    }
}

/// Where the header of safetensors begins.
const JSON_AT: usize = 8;

/// Files that people take for weights, by how they begin.
fn not_weights(start: &[u8]) -> Option<&'static str> {
    const BEGINNINGS: [(&[u8], &str); 10] = [
        (b"<!DOCTYPE", "a web page"),
        (b"<!doctype", "a web page"),
        (b"<html", "a web page"),
        (b"version https:/", "a Git LFS pointer, not the file that it stands for"),
        (b"\x80\x02", "a pickle that torch.save did not write"),
        (b"\x80\x03", "a pickle that torch.save did not write"),
        (b"\x80\x04", "a pickle that torch.save did not write"),
        (b"\x80\x05", "a pickle that torch.save did not write"),
        (b"\x89HDF", "an HDF5 file"),
        (b"\x1f\x8b", "a gzip file"),
    ];
    BEGINNINGS.iter().find(|(bytes, _)| start.starts_with(bytes)).map(|&(_, what)| what)
}
