//! Storages, as PyTorch identifies them in a pickle.

use super::super::contents::expect_name;
use super::super::source::Wrong;
use super::tree::{Arena, Id, META, Node};
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

/// A part of a storage under a key of its own, which PyTorch 0.1 to 0.3 had.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct View {
    pub key: String,
    /// In elements.
    pub part: Range<i64>,
}

/// `('storage', type, key, location, elements)`, and in the legacy format perhaps a view of it,
/// `(key, offset, elements)`.
pub(super) fn storage(arena: &Arena, id: Id) -> Result<(Storage, Option<View>), Wrong> {
    let wrong = |found: String| Wrong::new("('storage', type, key, location, elements)", found);
    let items = arena.tuple(id).unwrap_or_default();
    let &[kind, class, key, location, elements, ref view @ ..] = items else {
        return Err(wrong(format!("{} items", items.len())));
    };
    if arena.text(kind) != Some("storage") {
        return Err(wrong(arena.get(kind).kind()));
    }
    let class = match arena.text(location) {
        Some("meta") => NOWHERE,
        _ => self::class(arena, class).map_err(wrong)?,
    };
    let elements = arena.int(elements).ok_or_else(|| wrong(arena.get(elements).kind()))?;
    let view = match view {
        [] => None,
        &[view] if matches!(arena.get(view), Node::None) => None,
        &[view] => Some(part(arena, view, elements)?),
        more => return Err(wrong(format!("{} items", 5 + more.len()))),
    };
    Ok((Storage { key: self::key(arena, key)?, class, elements }, view))
}

fn class(arena: &Arena, id: Id) -> Result<Class, String> {
    let Node::Global(module, name) = arena.get(id) else { return Err(arena.get(id).kind()) };
    let is_torchs = matches!(&**module, "torch" | "torch.cuda" | "torch.storage");
    let known = STORAGES.iter().find(|known| is_torchs && *known.name == **name);
    known.copied().ok_or_else(|| format!("the type {:?}", format!("{module}.{name}")))
}

fn key(arena: &Arena, id: Id) -> Result<String, Wrong> {
    match arena.get(id) {
        Node::Text(key) => expect_name(key).map(|()| key.to_string()),
        Node::Int(key) => Ok(key.to_string()),
        other => Err(Wrong::new("a storage's key", other.kind())),
    }
}

/// The part of a storage that a view means.
fn part(arena: &Arena, view: Id, elements: i64) -> Result<View, Wrong> {
    let wrong = || Wrong::new("a view inside its storage", "another");
    let Some(&[key, offset, length]) = arena.tuple(view) else { return Err(wrong()) };
    let start = arena.int(offset).ok_or_else(wrong)?;
    let length = arena.int(length).ok_or_else(wrong)?;
    let part = start..start.checked_add(length).ok_or_else(wrong)?;
    match 0 <= start && start <= part.end && part.end <= elements {
        true => Ok(View { key: self::key(arena, key)?, part }),
        false => Err(wrong()),
    }
}

/// Every storage that a pickle names, those of an optimizer included, and whether any is a view.
pub(super) struct Storages {
    pub by_key: HashMap<String, Storage>,
    pub has_views: bool,
}

/// PyTorch makes a storage, or a view, of its first description and knows it by its key from then on.
/// So all descriptions of one must agree, and a view's key be no storage's.
pub(super) fn all_storages(arena: &Arena) -> Result<Storages, Wrong> {
    let mut by_key: HashMap<String, Storage> = HashMap::new();
    let mut views: HashMap<String, (String, View)> = HashMap::new();
    let mut seen = HashSet::new();
    let differ =
        |key: &str| Wrong::new("one description of each storage", format!("two of {key:?}"));
    for id in arena.persistent().filter(|id| seen.insert(*id)) {
        let (storage, view) = self::storage(arena, id)?;
        if let Some(view) = view {
            let view = (storage.key.clone(), view);
            let known = views.entry(view.1.key.clone()).or_insert_with(|| view.clone());
            if *known != view {
                return Err(differ(&view.1.key));
            }
        }
        let known = by_key.entry(storage.key.clone()).or_insert_with(|| storage.clone());
        if *known != storage {
            return Err(differ(&storage.key));
        }
    }
    match views.keys().find(|key| by_key.contains_key(*key)) {
        Some(key) => Err(differ(key)),
        None => Ok(Storages { by_key, has_views: !views.is_empty() }),
    }
}

/// On the device "meta", which has no memory.
const NOWHERE: Class = other(META, 0);

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
