//! Tensors as a pickle describes them: calls that would make a view of a storage.

use super::super::format_error::FormatError;
use super::super::limits::MAX_DIMENSIONS;
use super::known_functions::{Function, known_function};
use super::pickle_values::{Arena, Node, NodeId};
use super::storage::{Storage, storage_of};
use safetensors::tensor::Dtype;

/// A tensor as a view of a storage. Nothing is checked yet.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct TensorDescription {
    pub storage: Storage,
    pub dtype: Dtype,
    /// The end of the part of the storage that it may use, in elements: the end of the storage, except for
    /// views of storages.
    pub end: i64,
    /// The position of the first element in the storage, in elements.
    pub offset: i64,
    pub shape: Vec<i64>,
    /// In elements.
    pub stride: Vec<i64>,
}

/// How often a tensor may be wrapped as a parameter; real ones are wrapped once.
const MAX_DEPTH: usize = 32;
/// Attributes of a tensor. They are checked again for every tensor that shares them.
const MAX_ATTRIBUTES: usize = 64;

pub(super) fn is_tensor(arena: &Arena, id: NodeId) -> bool {
    use Function::{Parameter, Tensor, TensorWithAttributes, UnsupportedTensor};
    matches!(
        arena.get(id),
        Node::Call {
            function: Tensor | Parameter | TensorWithAttributes | UnsupportedTensor(_),
            ..
        }
    )
}

/// The tensor that a call would make.
pub(super) fn tensor(
    arena: &Arena,
    name: &str,
    mut id: NodeId,
) -> Result<TensorDescription, FormatError> {
    for _ in 0..MAX_DEPTH {
        if let Node::Opaque(call) = arena.get(id) {
            let error = call.not_made();
            return Err(FormatError::new(format!("{name:?} with {}", error.expected), error.found));
        }
        let Node::Call { function, arguments } = arena.get(id) else {
            return Err(FormatError::new(format!("a tensor as {name:?}"), arena.get(id).kind()));
        };
        let arguments = arena.tuple(*arguments).unwrap_or_default();
        if let (Function::Parameter | Function::TensorWithAttributes, Some(&state)) =
            (function, arguments.get(3))
        {
            check_attributes(arena, name, state)?;
        }
        match (function, arguments) {
            (Function::Tensor, arguments) => return strided(arena, name, arguments),
            (Function::Parameter, &[data, ..]) => id = data,
            (Function::UnsupportedTensor(what), _) => return Err(not_dense(name, what)),
            (Function::TensorWithAttributes, &[function, _, inner, ..]) => {
                let arguments = arena.tuple(inner).unwrap_or_default();
                return match arena.get(function) {
                    Node::Global(module, function)
                        if known_function(module, function) == Some(Function::Tensor) =>
                    {
                        strided(arena, name, arguments)
                    }
                    other => Err(not_dense(name, &other.kind())),
                };
            }
            _ => break,
        }
    }
    Err(not_dense(name, "wrappers without end"))
}

/// Refuses attributes that would replace the values of the tensor, such as `data`.
fn check_attributes(arena: &Arena, name: &str, state: NodeId) -> Result<(), FormatError> {
    let parts = arena.tuple(state).unwrap_or(std::slice::from_ref(&state));
    let replaces_values = |key: Option<&str>| {
        key.is_none_or(|key| matches!(key, "data" | "real" | "imag") || key.starts_with("__"))
    };
    for &part in parts {
        match arena.get(part) {
            Node::None => {}
            Node::Dict(items) if items.len() <= MAX_ATTRIBUTES => {
                if let Some(&(key, _)) =
                    items.iter().find(|(key, _)| replaces_values(arena.string(*key)))
                {
                    let found = format!(
                        "a tensor whose {:?} is set",
                        arena.string(key).unwrap_or_default()
                    );
                    return Err(not_dense(name, &found));
                }
            }
            other => {
                return Err(not_dense(
                    name,
                    &format!("a tensor with {} as its state", other.kind()),
                ));
            }
        }
    }
    Ok(())
}

fn not_dense(name: &str, found: &str) -> FormatError {
    FormatError::new(format!("a dense tensor as {name:?}"), found)
}

/// The view that the arguments of `_rebuild_tensor_v2` describe: storage, offset, shape, stride,
/// `requires_grad`, hooks, and metadata, which marks tensors that are negated or conjugated.
fn strided(
    arena: &Arena,
    name: &str,
    arguments: &[NodeId],
) -> Result<TensorDescription, FormatError> {
    let &[storage, offset, shape, stride, ref rest @ ..] = arguments else {
        return Err(not_dense(name, &format!("{} arguments", arguments.len())));
    };
    let is_plain = |&id: &NodeId| match arena.get(id) {
        Node::None => true,
        Node::Dict(items) => items.is_empty(),
        _ => false,
    };
    if !rest.iter().skip(2).all(is_plain) {
        return Err(not_dense(name, "a tensor with metadata (a negated one?)"));
    }
    let Node::Persistent(id) = arena.get(storage) else {
        return Err(not_dense(name, &arena.get(storage).kind()));
    };
    let ints = |id| {
        let items = arena.tuple(id).filter(|items| items.len() <= MAX_DIMENSIONS)?;
        items.iter().map(|&id| arena.int(id)).collect::<Option<Vec<_>>>()
    };
    match (arena.int(offset), ints(shape), ints(stride)) {
        (Some(offset), Some(shape), Some(stride)) => {
            let (storage, view) = storage_of(arena, *id)?;
            let class = storage.class.name;
            let dtype = storage.class.dtype.ok_or_else(|| not_dense(name, class))?;
            let part = view.map_or(0..storage.elements, |view| view.part);
            // A negative offset must stay negative, to be refused by `StridedView::new`.
            let start = if offset < 0 { 0 } else { part.start };
            let offset = offset.saturating_add(start);
            Ok(TensorDescription { storage, dtype, end: part.end, offset, shape, stride })
        }
        _ => Err(not_dense(
            name,
            &format!("an offset, shape or stride that is not at most {MAX_DIMENSIONS} numbers"),
        )),
    }
}
