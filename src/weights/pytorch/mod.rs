//! PyTorch's own files, zip and legacy: pickles that describe tensors, and raw storages.
//!
//! A pickle is a program, and torch.load runs it unless told otherwise. Here it is only ever read:
//! see `pickle`, and `tree` for what comes of it.

mod bytes;
pub(super) mod legacy;
mod modules;
mod objects;
mod pickle;
mod storage;
mod tensors;
mod tree;
pub(super) mod write;
pub(super) mod zip;

use super::layout::Layout;
use super::source::Wrong;
use super::stored::Stored;
use std::collections::{HashMap, HashSet};
use storage::Storage;
use tensors::Described;

/// Storages that were found in a file: where each starts.
type Starts = HashMap<String, u64>;

/// Bytes of a storage.
fn bytes(storage: &Storage) -> Result<u64, Wrong> {
    let elements = u64::try_from(storage.elements).ok();
    elements
        .and_then(|elements| elements.checked_mul(storage.class.width))
        .ok_or_else(|| Wrong::new("a storage's number of elements", storage.elements.to_string()))
}

/// Tensors whose storages are known to be in the file. `objects` has seen to it that they are not
/// too many.
fn stored(tensors: Vec<(String, Described)>, starts: &Starts) -> Result<Vec<Stored>, Wrong> {
    let mut names = HashSet::new();
    tensors
        .into_iter()
        .map(|(name, described)| {
            if !names.insert(name.clone()) {
                return Err(Wrong::new("every tensor once", format!("{name:?} twice")));
            }
            let Described { storage, dtype, end, offset, shape, stride } = described;
            let layout = Layout::new(&shape, &stride, offset, u64::try_from(end).unwrap_or(0))
                .map_err(|wrong| {
                    Wrong::new(format!("{name:?} with {}", wrong.expected), wrong.found)
                })?;
            let missing =
                || Wrong::new("every storage in the file", format!("no {:?}", storage.key));
            let start = *starts.get(&storage.key).ok_or_else(missing)?;
            Ok(Stored { name, dtype, layout, start })
        })
        .collect()
}
