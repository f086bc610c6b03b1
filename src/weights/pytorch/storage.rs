//! Storages, as PyTorch identifies them in a pickle.

use super::super::contents::expect_name;
use super::super::source::Wrong;
use super::tree::{Arena, Id, Node};
use safetensors::tensor::Dtype;
use std::collections::{HashMap, HashSet};
use std::ops::Range;

/// Where a tensor's values lie.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Storage {
    pub key: String,
    pub dtype: Dtype,
    pub elements: i64,
}

/// `('storage', type, key, location, elements)`, and in the legacy format perhaps a view of it,
/// `(key, offset, elements)`: a storage and the part of it that is meant.
pub(super) fn storage(arena: &Arena, id: Id) -> Result<(Storage, Range<i64>), Wrong> {
    let wrong = |found: String| Wrong::new("('storage', type, key, location, elements)", found);
    let items = arena.tuple(id).unwrap_or_default();
    let &[kind, class, key, _, elements, ref view @ ..] = items else {
        return Err(wrong(format!("{} items", items.len())));
    };
    if arena.text(kind) != Some("storage") {
        return Err(wrong(arena.get(kind).kind()));
    }
    let Node::Global(_, class) = arena.get(class) else {
        return Err(wrong(arena.get(class).kind()));
    };
    let known = STORAGES.iter().find(|(name, _)| **name == **class);
    let &(_, dtype) = known.ok_or_else(|| {
        let known = STORAGES.map(|(name, _)| name).join(", ");
        Wrong::new(format!("a storage of one of the types {known}"), format!("{class:?}"))
    })?;
    let key = match arena.get(key) {
        Node::Text(key) => {
            expect_name(key)?;
            key.to_string()
        }
        Node::Int(key) => key.to_string(),
        other => return Err(wrong(other.kind())),
    };
    let elements = arena.int(elements).ok_or_else(|| wrong(arena.get(elements).kind()))?;
    let part = match view {
        [] => Some(0..elements),
        &[view] => part(arena, view, elements),
        _ => None,
    };
    let part = part.ok_or_else(|| Wrong::new("a view inside its storage", "another"))?;
    Ok((Storage { key, dtype, elements }, part))
}

/// The part of a storage that a view means; `None` if it is not inside.
fn part(arena: &Arena, view: Id, elements: i64) -> Option<Range<i64>> {
    if matches!(arena.get(view), Node::None) {
        return Some(0..elements);
    }
    let &[_, offset, length] = arena.tuple(view)? else { return None };
    let start = arena.int(offset)?;
    let end = start.checked_add(arena.int(length)?)?;
    (0 <= start && start <= end && end <= elements).then_some(start..end)
}

/// Every storage that the pickle names, by its key, those of an optimizer included. Two descriptions
/// of one must agree.
pub(super) fn all_storages(arena: &Arena) -> Result<HashMap<String, Storage>, Wrong> {
    let mut known: HashMap<String, Storage> = HashMap::new();
    let mut seen = HashSet::new();
    for id in arena.persistent().filter(|id| seen.insert(*id)) {
        let (storage, _) = self::storage(arena, id)?;
        match known.get(&storage.key) {
            None => drop(known.insert(storage.key.clone(), storage)),
            Some(other) if *other == storage => {}
            Some(other) => {
                let found = format!("storage {:?} as {other:?} and {storage:?}", storage.key);
                return Err(Wrong::new("one description of each storage", found));
            }
        }
    }
    Ok(known)
}

/// PyTorch's classes of storages.
const STORAGES: [(&str, Dtype); 10] = [
    ("FloatStorage", Dtype::F32),
    ("HalfStorage", Dtype::F16),
    ("BFloat16Storage", Dtype::BF16),
    ("DoubleStorage", Dtype::F64),
    ("LongStorage", Dtype::I64),
    ("IntStorage", Dtype::I32),
    ("ShortStorage", Dtype::I16),
    ("CharStorage", Dtype::I8),
    ("ByteStorage", Dtype::U8),
    ("BoolStorage", Dtype::BOOL),
];
