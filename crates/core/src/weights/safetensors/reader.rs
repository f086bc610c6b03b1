//! Parses the header of a safetensors file.
//!
//! The `safetensors` crate checks that the tensors cover the data without gaps or overlaps, and that their
//! lengths are those of their shapes and types.

use super::super::file_contents::FileContents;
use super::super::file_format::Format;
use super::super::file_source::FileSource;
use super::super::format_error::FormatError;
use super::super::key_selection::under_prefix;
use super::super::limits::{MAX_DIMENSIONS, MAX_TENSORS, check_name};
use super::super::strided_view::StridedView;
use super::super::tensor_entry::TensorEntry;
use super::header::{LENGTH_BYTES, MAX_JSON_BYTES};
use crate::error::Result;
use safetensors::tensor::Metadata;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use std::collections::HashSet;

pub(in crate::weights) fn parse(source: &FileSource, key: Option<&str>) -> Result<FileContents> {
    let error = |error| source.error(Format::Safetensors.name(), error);
    let length = source.length();
    if length < LENGTH_BYTES {
        let found = format!("a file of {length} bytes");
        return Err(error(FormatError::new("8 bytes with the length of the header", found)));
    }
    let mut bytes = [0; LENGTH_BYTES as usize];
    source.read_into(0, &mut bytes)?;
    let header_length = u64::from_le_bytes(bytes);
    if header_length > MAX_JSON_BYTES.min(length - LENGTH_BYTES) {
        return Err(error(FormatError::new(
            format!("a header of at most {MAX_JSON_BYTES} bytes that fits in the file"),
            format!("a header length of {header_length} in a file of {length} bytes"),
        )));
    }
    let json = source.read(LENGTH_BYTES, header_length as usize)?;
    let data_start = LENGTH_BYTES + header_length;
    let mut contents = parse_header(&json, length - data_start, data_start).map_err(error)?;
    if let Some(key) = key {
        contents.tensors = select(contents.tensors, key).map_err(error)?;
    }
    Ok(contents)
}

/// The tensors whose names begin with `key`, without it.
fn select(tensors: Vec<TensorEntry>, key: &str) -> Result<Vec<TensorEntry>, FormatError> {
    let named = tensors.into_iter().map(|tensor| (tensor.name.clone(), tensor)).collect();
    let selected = under_prefix(named, key, Vec::new())?;
    Ok(selected.into_iter().map(|(name, tensor)| TensorEntry { name, ..tensor }).collect())
}

fn parse_header(json: &[u8], data: u64, data_start: u64) -> Result<FileContents, FormatError> {
    let header: Metadata = serde_json::from_slice(json)
        .map_err(|error| FormatError::new("a header that describes the data", error.to_string()))?;
    if let Some(name) = duplicate_key(json) {
        return Err(FormatError::new("every tensor once", format!("{name:?} twice")));
    }
    let described = header.data_len() as u64;
    if described != data {
        let expected = format!("{described} bytes of tensors after the header");
        return Err(FormatError::new(expected, format!("{data} bytes")));
    }
    let names = header.offset_keys();
    if names.len() > MAX_TENSORS {
        let expected = format!("at most {MAX_TENSORS} tensors");
        return Err(FormatError::new(expected, names.len().to_string()));
    }
    names.iter().try_for_each(|name| check_name(name))?;
    for name in &names {
        let shape = header.info(name).map_or(&[][..], |info| &info.shape);
        check_shape(name, shape)?;
    }
    let entry = |name: String| {
        let info = header.info(&name).filter(|info| !info.shape.contains(&0))?;
        let view = StridedView::contiguous(&info.shape);
        let start = data_start + info.data_offsets.0 as u64;
        Some(TensorEntry::new(name, info.dtype, view, start))
    };
    let has_names = !names.is_empty();
    let tensors: Vec<TensorEntry> = names.into_iter().filter_map(entry).collect();
    if has_names && tensors.is_empty() {
        return Err(FormatError::new("tensors with elements", "none"));
    }
    let metadata = header.metadata().clone().unwrap_or_default().into_iter().collect();
    Ok(FileContents {
        format: Format::Safetensors,
        tensors,
        metadata,
        container: None,
        notices: Vec::new(),
        checksums: Vec::new(),
    })
}

fn check_shape(name: &str, shape: &[usize]) -> Result<(), FormatError> {
    if shape.len() > MAX_DIMENSIONS {
        let expected = format!("at most {MAX_DIMENSIONS} dimensions of {name:?}");
        return Err(FormatError::new(expected, shape.len().to_string()));
    }
    Ok(())
}

/// The first key that a JSON object has twice. Parsers silently keep the last value.
fn duplicate_key(json: &[u8]) -> Option<String> {
    struct Keys;
    impl<'de> Visitor<'de> for Keys {
        type Value = Option<String>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut seen = HashSet::new();
            let mut duplicate = None;
            while let Some((key, IgnoredAny)) = map.next_entry::<String, IgnoredAny>()? {
                if let Some(key) = seen.replace(key) {
                    duplicate.get_or_insert(key);
                }
            }
            Ok(duplicate)
        }
    }
    serde_json::Deserializer::from_slice(json).deserialize_map(Keys).ok().flatten()
}
