//! Tensors as a pickle describes them: calls that would make a view of a storage.

use super::super::layout::MOST_DIMENSIONS;
use super::super::source::Wrong;
use super::storage::{self, Storage};
use super::tree::{Arena, Function, Id, Node, called};
use safetensors::tensor::Dtype;

/// A tensor that a pickle describes: a view of a storage. Nothing of it is checked yet.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Described {
    pub storage: Storage,
    pub dtype: Dtype,
    /// Where the part of the storage that it may use ends, in elements: the storage's end, but for
    /// views of storages.
    pub end: i64,
    /// From the storage's start, in elements.
    pub offset: i64,
    pub shape: Vec<i64>,
    /// In elements.
    pub stride: Vec<i64>,
}

/// Deeper than any wrapping of parameters.
const DEEPEST: usize = 32;
/// Of a tensor; each is looked at once for each tensor.
const MOST_ATTRIBUTES: usize = 64;

pub(super) fn is_tensor(arena: &Arena, id: Id) -> bool {
    use Function::{AnotherTensor, Parameter, Tensor, WithAttributes};
    matches!(
        arena.get(id),
        Node::Call { function: Tensor | Parameter | WithAttributes | AnotherTensor(_), .. }
    )
}

/// The tensor that a call would have made.
pub(super) fn tensor(arena: &Arena, name: &str, mut id: Id) -> Result<Described, Wrong> {
    for _ in 0..DEEPEST {
        let Node::Call { function, arguments } = arena.get(id) else {
            return Err(Wrong::new(format!("a tensor as {name:?}"), arena.get(id).kind()));
        };
        let arguments = arena.tuple(*arguments).unwrap_or_default();
        if let (Function::Parameter | Function::WithAttributes, Some(&state)) =
            (function, arguments.get(3))
        {
            expect_harmless(arena, name, state)?;
        }
        match (function, arguments) {
            (Function::Tensor, arguments) => return view(arena, name, arguments),
            (Function::Parameter, &[data, ..]) => id = data,
            (Function::AnotherTensor(what), _) => return Err(another_kind(name, what)),
            (Function::WithAttributes, &[function, _, inner, ..]) => {
                let arguments = arena.tuple(inner).unwrap_or_default();
                return match arena.get(function) {
                    Node::Global(module, function)
                        if called(module, function) == Some(Function::Tensor) =>
                    {
                        view(arena, name, arguments)
                    }
                    other => Err(another_kind(name, &other.kind())),
                };
            }
            _ => break,
        }
    }
    Err(another_kind(name, "wrappings without end"))
}

/// Attributes that a tensor would be given. `data` and its like are its values: another tensor's, then.
fn expect_harmless(arena: &Arena, name: &str, state: Id) -> Result<(), Wrong> {
    let parts = arena.tuple(state).unwrap_or(std::slice::from_ref(&state));
    let is_harmful = |key: Option<&str>| {
        key.is_none_or(|key| matches!(key, "data" | "real" | "imag") || key.starts_with("__"))
    };
    for &part in parts {
        match arena.get(part) {
            Node::None => {}
            Node::Dict(items) if items.len() <= MOST_ATTRIBUTES => {
                if let Some(&(key, _)) = items.iter().find(|(key, _)| is_harmful(arena.text(*key)))
                {
                    let found =
                        format!("one whose {:?} is set", arena.text(key).unwrap_or_default());
                    return Err(another_kind(name, &found));
                }
            }
            other => return Err(another_kind(name, &format!("one with {}", other.kind()))),
        }
    }
    Ok(())
}

fn another_kind(name: &str, found: &str) -> Wrong {
    Wrong::new(format!("a dense tensor as {name:?}"), found)
}

/// From the arguments storage, offset, shape, stride, whether it is trained, hooks, and metadata, in
/// which PyTorch keeps that a tensor is meant negative or conjugate.
fn view(arena: &Arena, name: &str, arguments: &[Id]) -> Result<Described, Wrong> {
    let &[storage, offset, shape, stride, ref rest @ ..] = arguments else {
        return Err(another_kind(name, &format!("{} arguments", arguments.len())));
    };
    let is_plain = |&id: &Id| match arena.get(id) {
        Node::None => true,
        Node::Dict(items) => items.is_empty(),
        _ => false,
    };
    if !rest.iter().skip(2).all(is_plain) {
        return Err(another_kind(name, "one with metadata, negated perhaps"));
    }
    let Node::Persistent(id) = arena.get(storage) else {
        return Err(another_kind(name, &arena.get(storage).kind()));
    };
    let ints = |id| {
        let items = arena.tuple(id).filter(|items| items.len() <= MOST_DIMENSIONS)?;
        items.iter().map(|&id| arena.int(id)).collect::<Option<Vec<_>>>()
    };
    match (arena.int(offset), ints(shape), ints(stride)) {
        (Some(offset), Some(shape), Some(stride)) => {
            let (storage, view) = storage::storage(arena, *id)?;
            let class = storage.class.name;
            let dtype = storage.class.dtype.ok_or_else(|| another_kind(name, class))?;
            let part = view.map_or(0..storage.elements, |view| view.part);
            // A negative one stays one, to be refused with the rest.
            let start = if offset < 0 { 0 } else { part.start };
            let offset = offset.saturating_add(start);
            Ok(Described { storage, dtype, end: part.end, offset, shape, stride })
        }
        _ => Err(another_kind(
            name,
            &format!("an offset, shape or stride that is not at most {MOST_DIMENSIONS} numbers"),
        )),
    }
}
