//! What torch.save wrote before 1.6, and torchvision's oldest files still are: five pickles (a magic
//! number, the format's version, facts about the machine, the object, the storages' keys), then each
//! storage as its number of elements and its bytes.

use super::super::contents::{Contents, Format, MOST_HEADER};
use super::super::source::{Source, Wrong};
use super::objects::named_tensors;
use super::pickle::parse;
use super::storage::{Storage, all_storages};
use super::tree::{Arena, Id, Node};
use super::{Starts, bytes, stored};
use crate::error::Result;
use std::collections::{BTreeMap, HashMap};

/// The number that the first pickle is.
const MAGIC: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];
const VERSION: i64 = 1001;
const COUNT_BYTES: u64 = 8;

/// Whether a file that starts like this is one: a pickle, of that number.
pub(in crate::weights) fn is_legacy(start: &[u8]) -> bool {
    start.first() == Some(&0x80) && start.windows(MAGIC.len()).any(|window| window == MAGIC)
}

pub(in crate::weights) fn contents(source: &Source) -> Result<Contents> {
    let wrong = |wrong| source.wrong(Format::PyTorchLegacy.name(), wrong);
    let head = source.read(0, source.length().min(MOST_HEADER) as usize)?;
    let mut arena = Arena::default();
    let mut pickles = Pickles { head: &head, position: 0, arena: &mut arena };
    let parsed = pickles.header().and_then(|()| Ok((pickles.next()?, pickles.next()?)));
    let (object, keys_id) = parsed.map_err(wrong)?;
    let data_start = pickles.position as u64;
    let (tensors, note) = named_tensors(&arena, object).map_err(wrong)?;

    let starts = keys(&arena, keys_id)
        .and_then(|keys| Ok((keys, all_storages(&arena)?)))
        .map_err(wrong)
        .and_then(|(keys, storages)| walk(source, data_start, &keys, &storages.by_key))?;
    let tensors = stored(tensors, &starts).map_err(wrong)?;
    Ok(Contents {
        format: Format::PyTorchLegacy,
        tensors,
        metadata: BTreeMap::new(),
        note,
        checksums: Vec::new(),
    })
}

struct Pickles<'a> {
    head: &'a [u8],
    position: usize,
    arena: &'a mut Arena,
}

impl Pickles<'_> {
    fn next(&mut self) -> Result<Id, Wrong> {
        let (value, length) = parse(&self.head[self.position..], self.arena)?;
        self.position += length;
        Ok(value)
    }

    /// The magic number, the version, and whether the machine that wrote it was little-endian.
    fn header(&mut self) -> Result<(), Wrong> {
        let magic = self.next()?;
        match self.arena.get(magic) {
            Node::Long(number) if *number == MAGIC => {}
            other => return Err(Wrong::new("PyTorch's magic number", other.kind())),
        }
        let version = self.next()?;
        match self.arena.get(version) {
            Node::Int(VERSION) => {}
            other => return Err(Wrong::new(format!("version {VERSION}"), other.kind())),
        }
        let facts = self.next()?;
        let Node::Dict(facts) = self.arena.get(facts) else {
            return Err(Wrong::new("facts about the machine", self.arena.get(facts).kind()));
        };
        let endian = facts.iter().find(|(key, _)| self.arena.text(*key) == Some("little_endian"));
        match endian.map(|&(_, value)| self.arena.get(value)) {
            Some(Node::Bool(true)) => Ok(()),
            Some(other) => Err(Wrong::new("little-endian numbers", other.kind())),
            None => Err(Wrong::new("the machine's byte order", "none")),
        }
    }
}

fn keys(arena: &Arena, id: Id) -> Result<Vec<String>, Wrong> {
    let wrong = |node: &Node| Wrong::new("a list of the storages' keys", node.kind());
    let Node::List(keys) = arena.get(id) else { return Err(wrong(arena.get(id))) };
    keys.iter()
        .map(|&key| arena.text(key).map(String::from).ok_or_else(|| wrong(arena.get(key))))
        .collect()
}

/// Where each storage starts: they follow each other in the order of their keys, to the file's end.
fn walk(
    source: &Source,
    mut position: u64,
    keys: &[String],
    storages: &HashMap<String, Storage>,
) -> Result<Starts> {
    let wrong = |wrong| source.wrong(Format::PyTorchLegacy.name(), wrong);
    let mut starts = Starts::new();
    for key in keys {
        let Some(storage) = storages.get(key) else {
            let found = format!("storage {key:?} of no tensor");
            return Err(wrong(Wrong::new("storages of the tensors only", found)));
        };
        let bytes = bytes(storage).map_err(wrong)?;
        let start = position.checked_add(COUNT_BYTES);
        let end = start.and_then(|start| start.checked_add(bytes));
        let (Some(start), Some(end)) = (start, end.filter(|&end| end <= source.length())) else {
            let left = source.length().saturating_sub(position);
            let expected = format!("a storage of {bytes} bytes at byte {position}");
            return Err(wrong(Wrong::new(expected, format!("{left} bytes"))));
        };
        let mut count = [0; COUNT_BYTES as usize];
        source.read_into(position, &mut count)?;
        if i64::from_le_bytes(count) != storage.elements {
            let expected = format!("{} elements in storage {key:?}", storage.elements);
            return Err(wrong(Wrong::new(expected, i64::from_le_bytes(count).to_string())));
        }
        if starts.insert(key.clone(), start).is_some() {
            return Err(wrong(Wrong::new("every storage once", format!("{key:?} twice"))));
        }
        position = end;
    }
    match source.length() - position {
        0 => Ok(starts),
        more => Err(wrong(Wrong::new(
            "the file to end with its last storage",
            format!("{more} bytes more"),
        ))),
    }
}
