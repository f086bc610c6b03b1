//! Parses files of `torch.save` before PyTorch 1.6, such as torchvision's oldest ones: five pickles (a magic
//! number, the version of the format, properties of the machine, the object, the keys of the storages), then
//! each storage as its number of elements and its bytes.

use super::super::file_contents::FileContents;
use super::super::file_format::Format;
use super::super::file_source::FileSource;
use super::super::format_error::FormatError;
use super::super::limits::MAX_HEADER_BYTES;
use super::pickle_parser::parse_pickle;
use super::pickle_values::{Arena, Node, NodeId};
use super::storage::{Storage, all_storages};
use super::storage_positions::{StoragePositions, storage_bytes, tensor_entries};
use super::weights_search::{FoundWeights, find_weights};
use crate::error::Result;
use std::collections::{BTreeMap, HashMap};

/// The number in the first pickle, little-endian.
const MAGIC: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];
const VERSION: i64 = 1001;
/// Bytes of a storage's number of elements, before the storage.
const COUNT_BYTES: u64 = 8;

/// Whether a file with these first bytes has the legacy format: it begins with a pickle of the magic number.
pub(in crate::weights) fn is_legacy(start: &[u8]) -> bool {
    start.first() == Some(&0x80) && start.windows(MAGIC.len()).any(|window| window == MAGIC)
}

pub(in crate::weights) fn parse(source: &FileSource, key: Option<&str>) -> Result<FileContents> {
    let error = |error| source.error(Format::PyTorchLegacy.name(), error);
    let head = source.read(0, source.length().min(MAX_HEADER_BYTES) as usize)?;
    let mut arena = Arena::default();
    let mut pickles = Pickles { head: &head, position: 0, arena: &mut arena };
    let parsed = pickles.check_header().and_then(|()| Ok((pickles.next()?, pickles.next()?)));
    let (object, keys) = parsed.map_err(error)?;
    let data_start = pickles.position as u64;
    let FoundWeights { tensors, container, notices } =
        find_weights(&arena, object, key).map_err(error)?;

    let keys = storage_keys(&arena, keys).map_err(error)?;
    let storages = all_storages(&arena).map_err(error)?;
    let positions = storage_positions(source, data_start, &keys, &storages.by_key)?;
    let tensors = tensor_entries(tensors, &positions).map_err(error)?;
    Ok(FileContents {
        format: Format::PyTorchLegacy,
        tensors,
        metadata: BTreeMap::new(),
        container,
        notices,
        checksums: Vec::new(),
    })
}

/// The pickles at the start of the file, one after the other.
struct Pickles<'a> {
    head: &'a [u8],
    position: usize,
    arena: &'a mut Arena,
}

impl Pickles<'_> {
    fn next(&mut self) -> Result<NodeId, FormatError> {
        let (value, length) = parse_pickle(&self.head[self.position..], self.arena)?;
        self.position += length;
        Ok(value)
    }

    /// Checks the magic number, the version, and that the machine which wrote the file was little-endian.
    fn check_header(&mut self) -> Result<(), FormatError> {
        let magic = self.next()?;
        match self.arena.get(magic) {
            Node::Long(number) if *number == MAGIC => {}
            other => return Err(FormatError::new("PyTorch's magic number", other.kind())),
        }
        let version = self.next()?;
        match self.arena.get(version) {
            Node::Int(VERSION) => {}
            other => return Err(FormatError::new(format!("version {VERSION}"), other.kind())),
        }
        let machine = self.next()?;
        let Node::Dict(machine) = self.arena.get(machine) else {
            let found = self.arena.get(machine).kind();
            return Err(FormatError::new("a dict of the machine's properties", found));
        };
        let is_little_endian =
            machine.iter().find(|(key, _)| self.arena.string(*key) == Some("little_endian"));
        match is_little_endian.map(|&(_, value)| self.arena.get(value)) {
            Some(Node::Bool(true)) => Ok(()),
            Some(other) => Err(FormatError::new("little-endian numbers", other.kind())),
            None => Err(FormatError::new("the machine's byte order", "none")),
        }
    }
}

fn storage_keys(arena: &Arena, id: NodeId) -> Result<Vec<String>, FormatError> {
    let error = |node: &Node| FormatError::new("a list of the storages' keys", node.kind());
    let Node::List(keys) = arena.get(id) else { return Err(error(arena.get(id))) };
    keys.iter()
        .map(|&key| arena.string(key).map(String::from).ok_or_else(|| error(arena.get(key))))
        .collect()
}

/// Where each storage begins: they follow one another in the order of their keys, up to the end of the file.
fn storage_positions(
    source: &FileSource,
    mut position: u64,
    keys: &[String],
    storages: &HashMap<String, Storage>,
) -> Result<StoragePositions> {
    let error = |expected: String, found: String| {
        source.error(Format::PyTorchLegacy.name(), FormatError::new(expected, found))
    };
    let mut positions = StoragePositions::new();
    for key in keys {
        let Some(storage) = storages.get(key) else {
            let found = format!("storage {key:?} without a tensor");
            return Err(error("only storages that tensors use".into(), found));
        };
        let bytes = storage_bytes(storage)
            .map_err(|error| source.error(Format::PyTorchLegacy.name(), error))?;
        let start = position.checked_add(COUNT_BYTES);
        let end = start.and_then(|start| start.checked_add(bytes));
        let (Some(start), Some(end)) = (start, end.filter(|&end| end <= source.length())) else {
            let left = source.length().saturating_sub(position);
            let expected = format!("a storage of {bytes} bytes at byte {position}");
            return Err(error(expected, format!("{left} bytes")));
        };
        let mut count = [0; COUNT_BYTES as usize];
        source.read_into(position, &mut count)?;
        let count = i64::from_le_bytes(count);
        if count != storage.elements {
            let expected = format!("{} elements in storage {key:?}", storage.elements);
            return Err(error(expected, count.to_string()));
        }
        if positions.insert(key.clone(), start).is_some() {
            return Err(error("every storage once".into(), format!("{key:?} twice")));
        }
        position = end;
    }
    match source.length() - position {
        0 => Ok(positions),
        more => Err(error(
            "the last storage at the end of the file".into(),
            format!("{more} bytes more"),
        )),
    }
}
