//! Storages, as PyTorch identifies them in a pickle.

use super::super::format_error::FormatError;
use super::super::limits::check_name;
use super::known_functions::META;
use super::pickle_values::{Arena, Node, NodeId};
use safetensors::tensor::Dtype;
use std::collections::{HashMap, HashSet};
use std::ops::Range;

/// The memory that has the values of one or more tensors.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Storage {
    pub key: String,
    pub class: Class,
    pub elements: i64,
}

/// A part of a storage under a key of its own, as PyTorch 0.1 to 0.3 had them.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct View {
    pub key: String,
    /// In elements.
    pub part: Range<i64>,
}

/// The storage of a persistent ID, `('storage', type, key, location, elements)`. In the legacy format a view
/// of it may follow, `(key, offset, elements)`.
pub(super) fn storage_of(
    arena: &Arena,
    id: NodeId,
) -> Result<(Storage, Option<View>), FormatError> {
    let error =
        |found: String| FormatError::new("('storage', type, key, location, elements)", found);
    let items = arena.tuple(id).unwrap_or_default();
    let &[kind, class, key, location, elements, ref view @ ..] = items else {
        return Err(error(format!("{} items", items.len())));
    };
    if arena.string(kind) != Some("storage") {
        return Err(error(arena.get(kind).kind()));
    }
    let class = match arena.string(location) {
        Some("meta") => ON_META_DEVICE,
        _ => storage_class(arena, class).map_err(error)?,
    };
    let elements = arena.int(elements).ok_or_else(|| error(arena.get(elements).kind()))?;
    let view = match view {
        [] => None,
        &[view] if matches!(arena.get(view), Node::None) => None,
        &[view] => Some(storage_view(arena, view, elements)?),
        more => return Err(error(format!("{} items", 5 + more.len()))),
    };
    Ok((Storage { key: storage_key(arena, key)?, class, elements }, view))
}

fn storage_class(arena: &Arena, id: NodeId) -> Result<Class, String> {
    let Node::Global(module, name) = arena.get(id) else { return Err(arena.get(id).kind()) };
    let is_of_torch = matches!(&**module, "torch" | "torch.cuda" | "torch.storage");
    let known = CLASSES.iter().find(|known| is_of_torch && *known.name == **name);
    known.copied().ok_or_else(|| format!("the type {:?}", format!("{module}.{name}")))
}

fn storage_key(arena: &Arena, id: NodeId) -> Result<String, FormatError> {
    match arena.get(id) {
        Node::String(key) => check_name(key).map(|()| key.to_string()),
        Node::Int(key) => Ok(key.to_string()),
        other => Err(FormatError::new("a storage's key", other.kind())),
    }
}

/// The view `(key, offset, elements)` of a storage of `elements` elements.
fn storage_view(arena: &Arena, view: NodeId, elements: i64) -> Result<View, FormatError> {
    let outside = || FormatError::new("a view inside its storage", "a view outside");
    let Some(&[key, offset, length]) = arena.tuple(view) else { return Err(outside()) };
    let start = arena.int(offset).ok_or_else(outside)?;
    let length = arena.int(length).ok_or_else(outside)?;
    let part = start..start.checked_add(length).ok_or_else(outside)?;
    if 0 <= start && start <= part.end && part.end <= elements {
        Ok(View { key: storage_key(arena, key)?, part })
    } else {
        Err(outside())
    }
}

/// All storages of a pickle (including those of an optimizer), and whether any of them has a view.
pub(super) struct Storages {
    pub by_key: HashMap<String, Storage>,
    pub has_views: bool,
}

/// PyTorch makes a storage or a view from its first description, and uses its key from then on. So all
/// descriptions of the same key must agree, and no view may have the key of a storage.
pub(super) fn all_storages(arena: &Arena) -> Result<Storages, FormatError> {
    let mut by_key: HashMap<String, Storage> = HashMap::new();
    let mut views: HashMap<String, (String, View)> = HashMap::new();
    let mut seen = HashSet::new();
    let differ =
        |key: &str| FormatError::new("one description of each storage", format!("two of {key:?}"));
    for id in arena.persistent_ids().filter(|id| seen.insert(*id)) {
        let (storage, view) = storage_of(arena, id)?;
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

const ON_META_DEVICE: Class = unsupported(META, 0);

/// One of PyTorch's storage classes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Class {
    pub name: &'static str,
    /// Bytes of an element.
    pub width: u64,
    /// `None` if tensors of this type are not supported.
    pub dtype: Option<Dtype>,
}

/// All of PyTorch's storage classes. A checkpoint may have any of them besides the weights.
const CLASSES: [Class; 18] = [
    supported("FloatStorage", 4, Dtype::F32),
    supported("HalfStorage", 2, Dtype::F16),
    supported("BFloat16Storage", 2, Dtype::BF16),
    supported("DoubleStorage", 8, Dtype::F64),
    supported("LongStorage", 8, Dtype::I64),
    supported("IntStorage", 4, Dtype::I32),
    supported("ShortStorage", 2, Dtype::I16),
    supported("CharStorage", 1, Dtype::I8),
    supported("ByteStorage", 1, Dtype::U8),
    supported("BoolStorage", 1, Dtype::BOOL),
    unsupported("ComplexFloatStorage", 8),
    unsupported("ComplexDoubleStorage", 16),
    unsupported("QInt8Storage", 1),
    unsupported("QInt32Storage", 4),
    unsupported("QUInt8Storage", 1),
    unsupported("QUInt4x2Storage", 1),
    unsupported("QUInt2x4Storage", 1),
    unsupported("UntypedStorage", 1),
];

const fn supported(name: &'static str, width: u64, dtype: Dtype) -> Class {
    Class { name, width, dtype: Some(dtype) }
}

const fn unsupported(name: &'static str, width: u64) -> Class {
    Class { name, width, dtype: None }
}
