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
    pub class: Class,
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
    let known = STORAGES.iter().find(|known| *known.name == **class);
    let &class = known.ok_or_else(|| {
        let known = STORAGES.map(|class| class.name).join(", ");
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
    Ok((Storage { key, class, elements }, part))
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

/// A class of storages of PyTorch's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Class {
    pub name: &'static str,
    /// Bytes of an element.
    pub width: u64,
    /// None if nothing here is made of such values.
    pub dtype: Option<Dtype>,
}

/// All of PyTorch's classes. A checkpoint may have any beside the weights.
const STORAGES: [Class; 18] = [
    plain("FloatStorage", 4, Dtype::F32),
    plain("HalfStorage", 2, Dtype::F16),
    plain("BFloat16Storage", 2, Dtype::BF16),
    plain("DoubleStorage", 8, Dtype::F64),
    plain("LongStorage", 8, Dtype::I64),
    plain("IntStorage", 4, Dtype::I32),
    plain("ShortStorage", 2, Dtype::I16),
    plain("CharStorage", 1, Dtype::I8),
    plain("ByteStorage", 1, Dtype::U8),
    plain("BoolStorage", 1, Dtype::BOOL),
    other("ComplexFloatStorage", 8),
    other("ComplexDoubleStorage", 16),
    other("QInt8Storage", 1),
    other("QInt32Storage", 4),
    other("QUInt8Storage", 1),
    other("QUInt4x2Storage", 1),
    other("QUInt2x4Storage", 1),
    other("UntypedStorage", 1),
];

const fn plain(name: &'static str, width: u64, dtype: Dtype) -> Class {
    Class { name, width, dtype: Some(dtype) }
}

const fn other(name: &'static str, width: u64) -> Class {
    Class { name, width, dtype: None }
}
