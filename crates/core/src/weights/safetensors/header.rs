//! The header of a file that is going to be written, and the limits of headers.

use super::super::file_format::Format;
use crate::error::{Error, Result};
use safetensors::tensor::{Dtype, Metadata, TensorInfo};
use std::path::Path;

/// Bytes of the header's length, before the header.
pub(super) const LENGTH_BYTES: u64 = 8;
/// The parsed header takes a multiple of this in memory. Our largest network needs 6 KB.
pub(super) const MAX_JSON_BYTES: u64 = 1 << 20;

/// Everything before the values of a file, which follow in the given order: the metadata, and the name,
/// type and shape of each tensor. `path` is for errors.
///
/// # Errors
/// [`Error::Setting`] if the metadata (labels, a training history) makes the header larger than 1 MiB, and
/// [`Error::WeightsFormat`] for tensors that the format cannot describe.
pub fn header(
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
        expected: "a header that describes the tensors".into(),
        found,
    };
    let infos = infos.collect();
    let header = Metadata::new(Some(metadata.into_iter().collect()), infos)
        .map_err(|error| invalid(error.to_string()))?;
    // Through a `Value`, which sorts the keys, so that the same weights give the same bytes.
    let mut json = serde_json::to_value(&header)
        .and_then(|header| serde_json::to_vec(&header))
        .map_err(|error| invalid(error.to_string()))?;
    json.resize(json.len().next_multiple_of(LENGTH_BYTES as usize), b' ');
    if json.len() as u64 > MAX_JSON_BYTES {
        return Err(Error::Setting {
            place: format!("{}: labels or history", path.display()),
            expected: format!("a header of at most {MAX_JSON_BYTES} bytes with them"),
            found: format!("{} bytes", json.len()),
        });
    }
    let mut bytes = (json.len() as u64).to_le_bytes().to_vec();
    bytes.append(&mut json);
    Ok(bytes)
}
