//! Parses the header of a weights file, after finding out its format from its first bytes.

use super::file_contents::FileContents;
use super::file_source::FileSource;
use super::format_error::FormatError;
use super::tensor_entry::TensorEntry;
use super::{pytorch, safetensors};
use crate::error::Result;

/// How often the bytes of a file may be used by its tensors.
const MAX_SHARING: u64 = 4;
/// Where the JSON header of a safetensors file begins.
const JSON_START: usize = 8;

/// Parses the header of a file of any format, and checks it against the file's length.
pub(super) fn parse(source: &FileSource) -> Result<FileContents> {
    let mut start = [0; 32];
    let length = source.length().min(start.len() as u64) as usize;
    source.read_into(0, &mut start[..length])?;
    let unknown =
        |found| source.error("weights", FormatError::new("a safetensors or PyTorch file", found));
    let contents = if start.starts_with(b"PK\x03\x04") {
        pytorch::zip_reader::parse(source)?
    } else if pytorch::legacy_reader::is_legacy(&start) {
        pytorch::legacy_reader::parse(source)?
    } else if start[JSON_START - 4..=JSON_START] == *b"\0\0\0\0{" {
        // Before the check for other file types: the header length of 640 is the bytes 80 02, with
        // which a pickle begins, too.
        safetensors::reader::parse(source)?
    } else if let Some(found) = other_file_type(&start) {
        return Err(unknown(found));
    } else if length > JSON_START && start[JSON_START] != b'{' {
        return Err(unknown("neither, by its first bytes"));
    } else {
        safetensors::reader::parse(source)?
    };
    check_total_size(&contents.tensors, source.length())
        .map_err(|error| source.error(contents.format.name(), error))?;
    Ok(contents)
}

/// Tensors may share a storage, as tied layers do, but only so much that reading all of them stays in
/// proportion to the size of the file.
fn check_total_size(tensors: &[TensorEntry], file: u64) -> Result<(), FormatError> {
    let bytes: u64 = tensors.iter().map(|it| it.info().bytes()).fold(0, u64::saturating_add);
    if bytes / MAX_SHARING <= file {
        return Ok(());
    }
    Err(FormatError::new(
        format!("tensors of at most {MAX_SHARING} times the file's {file} bytes"),
        format!("{bytes} bytes of tensors"),
    ))
}

/// The type of a file that is often mistaken for weights, by its first bytes.
fn other_file_type(start: &[u8]) -> Option<&'static str> {
    const SIGNATURES: [(&[u8], &str); 10] = [
        (b"<!DOCTYPE", "a web page"),
        (b"<!doctype", "a web page"),
        (b"<html", "a web page"),
        (b"version https:/", "a Git LFS pointer instead of the file that it stands for"),
        (b"\x80\x02", "a pickle that torch.save did not write"),
        (b"\x80\x03", "a pickle that torch.save did not write"),
        (b"\x80\x04", "a pickle that torch.save did not write"),
        (b"\x80\x05", "a pickle that torch.save did not write"),
        (b"\x89HDF", "an HDF5 file"),
        (b"\x1f\x8b", "a gzip file"),
    ];
    SIGNATURES.iter().find(|(bytes, _)| start.starts_with(bytes)).map(|&(_, kind)| kind)
}
