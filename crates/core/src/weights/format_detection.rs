//! Parses the header of a weights file, after finding out its format from its first bytes.

use super::derived_tensors::combine;
use super::file_contents::FileContents;
use super::file_source::FileSource;
use super::format_error::FormatError;
use super::protobuf::first_fields;
use super::tensor_entry::TensorEntry;
use super::{caffe, onnx, pytorch, safetensors};
use crate::error::Result;

/// How often the bytes of a file may be used by its tensors.
const MAX_SHARING: u64 = 4;
/// The fields by which a message of protobuf is recognized. Before the graph of an ONNX file there may be some
/// entries of metadata.
const FIRST_FIELDS: usize = 64;
/// Where the JSON header of a safetensors file begins.
const JSON_START: usize = 8;
/// The first bytes of a file, with the magic number of a tar archive.
const START: usize = 264;

/// Parses the header of a file of any format, and checks it against the file's length. `key` chooses some of
/// the tensors.
pub(super) fn parse(source: &FileSource, key: Option<&str>) -> Result<FileContents> {
    let mut start = [0; START];
    let length = source.length().min(START as u64) as usize;
    source.read_into(0, &mut start[..length])?;
    let unknown = |found| {
        let expected = "a safetensors, PyTorch, Caffe or ONNX file";
        source.error("weights", FormatError::new(expected, found))
    };
    let mut contents = if start.starts_with(b"PK\x03\x04") {
        pytorch::zip_reader::parse(source, key)?
    } else if pytorch::legacy_reader::is_legacy(&start) {
        pytorch::legacy_reader::parse(source, key)?
    } else if start[JSON_START - 4..=JSON_START] == *b"\0\0\0\0{" {
        // Before the check for other file types: the header length of 640 is the bytes 80 02, with
        // which a pickle begins, too.
        safetensors::reader::parse(source, key)?
    } else if let Some(found) = other_file_type(&start[..length]) {
        return Err(unknown(found));
    } else if let Some(contents) = parse_protobuf(source)? {
        if let Some(key) = key {
            let expected = "no key, because such a file has a single network";
            let error = FormatError::new(expected, format!("the key {key:?}"));
            return Err(source.error(contents.format.name(), error));
        }
        contents
    } else if length > JSON_START && start[JSON_START] != b'{' {
        return Err(unknown("none of them, by its first bytes"));
    } else {
        safetensors::reader::parse(source, key)?
    };
    let notice = check_total_size(&contents.tensors, source.length())
        .and_then(|()| combine(&mut contents.tensors))
        .map_err(|error| source.error(contents.format.name(), error))?;
    contents.notices.extend(notice);
    Ok(contents)
}

/// Parses a file that begins as a message of protobuf, if it is one that is known: protobuf has no signature.
fn parse_protobuf(source: &FileSource) -> Result<Option<FileContents>> {
    let fields = first_fields(source, FIRST_FIELDS)?;
    if onnx::is_onnx(&fields) {
        onnx::parse(source).map(Some)
    } else if caffe::is_caffe(&fields) {
        caffe::parse(source).map(Some)
    } else {
        Ok(None)
    }
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
    const SIGNATURES: [(&[u8], &str); 16] = [
        (b"version https:/", "a Git LFS pointer instead of the file that it stands for"),
        (b"\x80\x02", "a pickle that torch.save did not write"),
        (b"\x80\x03", "a pickle that torch.save did not write"),
        (b"\x80\x04", "a pickle that torch.save did not write"),
        (b"\x80\x05", "a pickle that torch.save did not write"),
        (b"\x89HDF", "an HDF5 file, such as Keras writes"),
        (b"\x93NUMPY", "an array of NumPy"),
        (b"\x1f\x8b", "a gzip file, to be unpacked first"),
        (b"7z\xbc\xaf\x27\x1c", "a 7z archive, to be unpacked first"),
        (b"Rar!\x1a\x07", "a RAR archive, to be unpacked first"),
        (b"BZh", "a bzip2 file, to be unpacked first"),
        (b"\xfd7zXZ", "an xz file, to be unpacked first"),
        (b"\x28\xb5\x2f\xfd", "a Zstandard file, to be unpacked first"),
        (b"\xde\x00", "MessagePack, such as Flax writes"),
        (b"\xdf\x00", "MessagePack, such as Flax writes"),
        (b"PK\x05\x06", "an empty zip archive"),
    ];
    if start.is_empty() {
        return Some("an empty file");
    }
    if start.get(TAR.0..).is_some_and(|rest| rest.starts_with(TAR.1)) {
        return Some("a tar archive, to be unpacked first (or PyTorch 0.1.0's, to be saved again)");
    }
    let signature = SIGNATURES.iter().find(|(bytes, _)| start.starts_with(bytes));
    signature.map(|&(_, kind)| kind).or_else(|| text_type(start))
}

/// Where the magic number of a tar archive is, and what it is.
const TAR: (usize, &[u8]) = (257, b"ustar");

/// The type of a text.
fn text_type(start: &[u8]) -> Option<&'static str> {
    let text = start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(start).trim_ascii_start();
    let begins_with = |prefix: &str| {
        text.get(..prefix.len()).is_some_and(|it| it.eq_ignore_ascii_case(prefix.as_bytes()))
    };
    if begins_with("<!doctype") || begins_with("<html") || begins_with("<?xml") {
        return Some("a web page (an error message in the place of a download?)");
    }
    let after = text.strip_prefix(b"{")?.trim_ascii_start();
    after.starts_with(b"\"").then_some(
        "JSON (if it is the index of a model in several files: the weights are in the files that it names)",
    )
}
