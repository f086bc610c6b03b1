//! Where the storages of a file begin, and therefore its tensors.

use super::super::format_error::FormatError;
use super::super::strided_view::StridedView;
use super::super::tensor_entry::TensorEntry;
use super::storage::Storage;
use super::tensor_description::TensorDescription;
use std::collections::{HashMap, HashSet};

/// The position of each storage's first byte in the file, by the storage's key.
pub(super) type StoragePositions = HashMap<String, u64>;

/// The size of a storage in bytes.
pub(super) fn storage_bytes(storage: &Storage) -> Result<u64, FormatError> {
    let elements = u64::try_from(storage.elements).ok();
    elements.and_then(|elements| elements.checked_mul(storage.class.width)).ok_or_else(|| {
        FormatError::new("a storage's number of elements", storage.elements.to_string())
    })
}

/// The tensors, each checked to be inside a storage that is in the file. `weights_search` has limited
/// their number.
pub(super) fn tensor_entries(
    tensors: Vec<(String, TensorDescription)>,
    positions: &StoragePositions,
) -> Result<Vec<TensorEntry>, FormatError> {
    let mut names = HashSet::new();
    let is_empty = |it: &TensorDescription| it.shape.contains(&0);
    // An empty tensor beside others is no weights, but a file of nothing else is refused below.
    let are_all_empty = tensors.iter().all(|(_, it)| is_empty(it));
    tensors
        .into_iter()
        .filter(|(_, it)| are_all_empty || !is_empty(it))
        .map(|(name, description)| {
            if !names.insert(name.clone()) {
                return Err(FormatError::new("every tensor once", format!("{name:?} twice")));
            }
            let TensorDescription { storage, dtype, end, offset, shape, stride } = description;
            let view = StridedView::new(&shape, &stride, offset, u64::try_from(end).unwrap_or(0))
                .map_err(|error| {
                FormatError::new(format!("{name:?} with {}", error.expected), error.found)
            })?;
            let missing =
                || FormatError::new("every storage in the file", format!("no {:?}", storage.key));
            let storage_start = *positions.get(&storage.key).ok_or_else(missing)?;
            Ok(TensorEntry::new(name, dtype, view, storage_start))
        })
        .collect()
}
