//! The safetensors format: 8 bytes of header length, a JSON header, the tensors' bytes.
//!
//! The header is parsed by the `safetensors` crate, which checks that the tensors cover the data
//! without a gap or an overlap and have the lengths that their shapes and types ask for.

use super::contents::{Contents, Format, MOST_TENSORS, expect_name};
use super::layout::{Layout, MOST_DIMENSIONS};
use super::save::{Plan, Planned, Values};
use super::source::{Source, Wrong};
use super::stored::Stored;
use crate::error::{Error, Result};
use safetensors::tensor::{Dtype, Metadata, TensorInfo};
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use std::collections::HashSet;
use std::io::Write;
use std::path::Path;

const LENGTH_BYTES: u64 = 8;
/// Of the header, whose values take a multiple of its bytes. Our largest network's has 6 KB.
const MOST_JSON: u64 = 1 << 20;

pub(super) fn contents(source: &Source) -> Result<Contents> {
    let wrong = |wrong| source.wrong(Format::Safetensors.name(), wrong);
    let length = source.length();
    if length < LENGTH_BYTES {
        return Err(wrong(Wrong::new(
            "8 bytes of header length",
            format!("a file of {length} bytes"),
        )));
    }
    let mut bytes = [0; LENGTH_BYTES as usize];
    source.read_into(0, &mut bytes)?;
    let header_length = u64::from_le_bytes(bytes);
    if header_length > MOST_JSON.min(length - LENGTH_BYTES) {
        return Err(wrong(Wrong::new(
            format!("a header of at most {MOST_JSON} bytes that fits in the file"),
            format!("a header length of {header_length} in a file of {length} bytes"),
        )));
    }
    let json = source.read(LENGTH_BYTES, header_length as usize)?;
    let data_start = LENGTH_BYTES + header_length;
    parse(&json, length - data_start, data_start).map_err(wrong)
}

fn parse(json: &[u8], data: u64, data_start: u64) -> Result<Contents, Wrong> {
    let header: Metadata = serde_json::from_slice(json)
        .map_err(|error| Wrong::new("a header that describes the data", error.to_string()))?;
    if let Some(name) = named_twice(json) {
        return Err(Wrong::new("every tensor once", format!("{name:?} twice")));
    }
    let described = header.data_len() as u64;
    if described != data {
        let expected = format!("{described} bytes of tensors after the header");
        return Err(Wrong::new(expected, format!("{data} bytes")));
    }
    let names = header.offset_keys();
    if names.len() > MOST_TENSORS {
        return Err(Wrong::new(format!("at most {MOST_TENSORS} tensors"), names.len().to_string()));
    }
    names.iter().try_for_each(|name| expect_name(name))?;
    for name in &names {
        let shape = header.info(name).map_or(&[][..], |info| &info.shape);
        if shape.len() > MOST_DIMENSIONS {
            let expected = format!("at most {MOST_DIMENSIONS} dimensions of {name:?}");
            return Err(Wrong::new(expected, shape.len().to_string()));
        }
        if shape.contains(&0) {
            return Err(Wrong::new("tensors with elements", format!("{name:?} without")));
        }
    }
    let stored = |name: String| {
        let info = header.info(&name)?;
        Some(Stored {
            dtype: info.dtype,
            layout: Layout::contiguous(&info.shape),
            start: data_start + info.data_offsets.0 as u64,
            name,
        })
    };
    let tensors = names.into_iter().filter_map(stored).collect();
    let metadata = header.metadata().clone().unwrap_or_default().into_iter().collect();
    Ok(Contents {
        format: Format::Safetensors,
        tensors,
        metadata,
        note: None,
        checksums: Vec::new(),
    })
}

/// Writes a file: the counters first, so that every tensor is aligned to its type.
pub(super) fn write(plan: &Plan, path: &Path, out: &mut dyn Write, values: Values) -> Result<()> {
    let mut tensors: Vec<&Planned> = plan.tensors.iter().collect();
    tensors.sort_by_key(|tensor| tensor.dtype(plan) != Dtype::I64);
    let entries = tensors.iter();
    let entries =
        entries.map(|tensor| (tensor.name.clone(), tensor.dtype(plan), tensor.shape.clone()));
    let header = header(path, plan.metadata(), entries)?;
    out.write_all(&header).map_err(Error::io(path))?;
    tensors.into_iter().try_for_each(|tensor| tensor.write(plan, path, out, values))
}

/// What stands before the tensors' bytes, which follow in the given order: name, type and shape of each.
/// `path` is for messages.
pub(crate) fn header(
    path: &Path,
    metadata: impl IntoIterator<Item = (String, String)>,
    tensors: impl IntoIterator<Item = (String, Dtype, Vec<usize>)>,
) -> Result<Vec<u8>> {
    let mut end = 0;
    let infos = tensors.into_iter().map(|(name, dtype, shape)| {
        let start = end;
        end += shape.iter().product::<usize>() * dtype.bitsize() / 8;
        (name, TensorInfo { dtype, shape, data_offsets: (start, end) })
    });
    let invalid = |found: String| Error::WeightsFormat {
        path: path.into(),
        format: Format::Safetensors.name().into(),
        expected: "a header".into(),
        found,
    };
    let infos = infos.collect();
    let header = Metadata::new(Some(metadata.into_iter().collect()), infos)
        .map_err(|error| invalid(error.to_string()))?;
    // By way of a value, which sorts: the same weights give the same bytes.
    let mut json = serde_json::to_value(&header)
        .and_then(|header| serde_json::to_vec(&header))
        .map_err(|error| invalid(error.to_string()))?;
    json.resize(json.len().next_multiple_of(LENGTH_BYTES as usize), b' ');
    if json.len() as u64 > MOST_JSON {
        // Labels and the history of a run have no bound of their own.
        return Err(Error::Setting {
            place: format!("{}: labels or history", path.display()),
            expected: format!("a header of at most {MOST_JSON} bytes with them"),
            found: json.len().to_string(),
        });
    }
    let mut bytes = (json.len() as u64).to_le_bytes().to_vec();
    bytes.append(&mut json);
    Ok(bytes)
}

/// The first key that a JSON object has twice. Parsers keep the last of them in silence.
fn named_twice(json: &[u8]) -> Option<String> {
    struct Keys;
    impl<'de> Visitor<'de> for Keys {
        type Value = Option<String>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut seen = HashSet::new();
            let mut twice = None;
            while let Some((key, IgnoredAny)) = map.next_entry::<String, IgnoredAny>()? {
                if let Some(key) = seen.replace(key) {
                    twice.get_or_insert(key);
                }
            }
            Ok(twice)
        }
    }
    serde_json::Deserializer::from_slice(json).deserialize_map(Keys).ok().flatten()
}
