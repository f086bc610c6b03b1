//! Tensors in the tree of a pickle: state dicts, what they are wrapped in, and whole modules.
//!
//! A module is an object whose state has `_parameters`, `_buffers` and `_modules`; its class may be
//! anything, and is never looked at.

use super::super::contents::{MOST_TENSORS, expect_name};
use super::super::layout::MOST_DIMENSIONS;
use super::super::source::Wrong;
use super::storage::{self, Storage};
use super::tree::{Arena, Function, Id, Node};
use safetensors::tensor::Dtype;
use std::collections::HashSet;
use std::ops::Range;

/// A tensor that a pickle describes: a view of a storage. Nothing of it is checked yet.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Described {
    pub storage: Storage,
    pub dtype: Dtype,
    /// The part of the storage that it may use, in elements: all but for views of storages, which
    /// PyTorch once had.
    pub part: Range<i64>,
    /// From the storage's start, in elements.
    pub offset: i64,
    pub shape: Vec<i64>,
    /// In elements.
    pub stride: Vec<i64>,
}

/// Deeper than any network's modules, and than any wrapping of parameters.
const DEEPEST: usize = 32;
/// A module of PyTorch has some twenty.
const MOST_ATTRIBUTES: usize = 1024;

/// The names under which training scripts keep the weights, and those of their average over the
/// training, which are taken where there are no others.
const WRAPPINGS: [&[&str]; 2] = [
    &[
        "state_dict",
        "model_state_dict",
        "model_state",
        "model",
        "net",
        "network",
        "module",
        "weights",
        "params",
        "checkpoint",
    ],
    &["model_ema", "state_dict_ema", "ema_state_dict", "ema"],
];
/// A checkpoint in a checkpoint happens.
const DEEPEST_WRAPPING: usize = 3;

/// The tensors by their names, and a note for the user if they were inside something.
pub(super) type Named = (Vec<(String, Described)>, Option<String>);

/// The weights in a pickle's value.
pub(super) fn named_tensors(arena: &Arena, root: Id) -> Result<Named, Wrong> {
    match arena.get(root) {
        Node::Object { class, .. } => {
            let name = match arena.get(*class) {
                Node::Global(module, name) => format!(" of class {module}.{name}"),
                _ => String::new(),
            };
            Ok((module(arena, root)?, Some(format!("a whole module{name}"))))
        }
        Node::Dict(items) => match wrapped(arena, items, 1)? {
            Some((path, id)) => {
                expect_most_inside(arena, items, &path, id)?;
                let note = format!("a checkpoint, its weights under {path:?}");
                Ok((weights(arena, id)?, Some(note)))
            }
            None => Ok((weights(arena, root)?, None)),
        },
        other => Err(Wrong::new("a state dict or a module", other.kind())),
    }
}

/// A checkpoint: a dict with the weights, a dict of tensors or a module, under one of its keys, or
/// another checkpoint there. The keys that lead to them, with points between.
fn wrapped(arena: &Arena, items: &[(Id, Id)], depth: usize) -> Result<Option<(String, Id)>, Wrong> {
    for names in WRAPPINGS {
        let mut found: Option<(String, Id)> = None;
        for &name in names {
            let Some(id) = lookup(arena, items, name)? else { continue };
            let inside = match arena.get(id) {
                _ if is_weights(arena, id) => Some((name.to_string(), id)),
                Node::Dict(inner) if depth < DEEPEST_WRAPPING && inner.len() <= MOST_ATTRIBUTES => {
                    let inner = wrapped(arena, inner, depth + 1)?;
                    inner.map(|(path, id)| (format!("{name}.{path}"), id))
                }
                _ => None,
            };
            found = match (found, inside) {
                (Some((first, known)), Some((second, id))) if known != id => {
                    let found = format!("weights under {first:?} and others under {second:?}");
                    return Err(Wrong::new("one set of weights", found));
                }
                (found, inside) => found.or(inside),
            };
        }
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

/// A checkpoint may have a tensor or two beside the weights, but not more than in them.
fn expect_most_inside(arena: &Arena, beside: &[(Id, Id)], path: &str, id: Id) -> Result<(), Wrong> {
    let tensors =
        |items: &[(Id, Id)]| items.iter().filter(|&&(_, value)| is_tensor(arena, value)).count();
    match arena.get(id) {
        Node::Dict(inside) if tensors(beside) >= tensors(inside) => {
            let found = format!("weights under {path:?} and others beside it");
            Err(Wrong::new("one set of weights", found))
        }
        _ => Ok(()),
    }
}

fn is_weights(arena: &Arena, id: Id) -> bool {
    match arena.get(id) {
        Node::Dict(items) => items.iter().any(|&(_, value)| is_tensor(arena, value)),
        Node::Object { .. } => entries(arena, id, "_modules").is_ok_and(|items| !items.is_empty()),
        _ => false,
    }
}

fn weights(arena: &Arena, id: Id) -> Result<Vec<(String, Described)>, Wrong> {
    match arena.get(id) {
        Node::Dict(items) if items.iter().any(|&(_, value)| is_tensor(arena, value)) => {
            state_dict(arena, items)
        }
        Node::Dict(items) => {
            let keys = items.iter().take(8).filter_map(|&(key, _)| arena.text(key));
            let keys = keys.collect::<Vec<_>>().join(", ");
            let expected = format!("tensors, or a state dict under {}", WRAPPINGS[0].join(", "));
            Err(Wrong::new(expected, format!("a dict of {} with the keys {keys}", items.len())))
        }
        _ => module(arena, id),
    }
}

fn state_dict(arena: &Arena, items: &[(Id, Id)]) -> Result<Vec<(String, Described)>, Wrong> {
    expect_few(items.len())?;
    let mut names = HashSet::new();
    items
        .iter()
        .map(|&(key, value)| {
            let name = arena
                .text(key)
                .ok_or_else(|| Wrong::new("the name of a tensor as key", arena.get(key).kind()))?;
            expect_name(name)?;
            match names.insert(name) {
                true => Ok((name.to_string(), tensor(arena, name, value)?)),
                false => Err(Wrong::new("every tensor once", format!("{name:?} twice"))),
            }
        })
        .collect()
}

/// The parameters and buffers of a module and of those inside it, with PyTorch's names.
fn module(arena: &Arena, root: Id) -> Result<Vec<(String, Described)>, Wrong> {
    let mut tensors = Vec::new();
    let mut open = vec![(String::new(), root, 0)];
    // A module may be inside another many times, so what is looked at is counted.
    let mut seen = 0;
    while let Some((prefix, id, depth)) = open.pop() {
        if depth > DEEPEST {
            return Err(Wrong::new(format!("modules at most {DEEPEST} deep"), "deeper ones"));
        }
        let parameters = entries(arena, id, "_parameters")?;
        let buffers = entries(arena, id, "_buffers")?;
        let modules = entries(arena, id, "_modules")?;
        let left_out = left_out(arena, id)?;
        seen += 1 + parameters.len() + buffers.len() + modules.len() + left_out.len();
        expect_few(seen)?;
        let left_out: HashSet<&str> = left_out.iter().filter_map(|&id| arena.text(id)).collect();
        let is_kept = |key| arena.text(key).is_none_or(|name| !left_out.contains(name));
        let buffers = buffers.iter().filter(|(key, _)| is_kept(*key));
        for &(key, value) in parameters.iter().chain(buffers) {
            let name = child(arena, &prefix, key)?;
            if !matches!(arena.get(value), Node::None) {
                let described = tensor(arena, &name, value)?;
                tensors.push((name, described));
            }
        }
        // Onto a stack, so the last comes first.
        for &(key, value) in modules.iter().rev() {
            let name = child(arena, &prefix, key)?;
            if matches!(arena.get(value), Node::Object { .. }) {
                open.push((format!("{name}."), value, depth + 1));
            }
        }
    }
    match tensors.is_empty() {
        false => Ok(tensors),
        true => Err(Wrong::new("a module with parameters", "an object without")),
    }
}

fn child(arena: &Arena, prefix: &str, key: Id) -> Result<String, Wrong> {
    let name = arena.text(key);
    let name = name.ok_or_else(|| Wrong::new("a module's attribute", arena.get(key).kind()))?;
    // Before they are put together.
    expect_name(prefix).and_then(|()| expect_name(name))?;
    let whole = format!("{prefix}{name}");
    expect_name(&whole).map(|()| whole)
}

/// The items of a dict in a module's state.
fn entries<'a>(arena: &'a Arena, id: Id, section: &str) -> Result<&'a [(Id, Id)], Wrong> {
    match attribute(arena, id, section)? {
        Some(Node::Dict(items)) => Ok(items),
        _ => Ok(&[]),
    }
}

/// The names of the buffers that a module leaves out of its state dict.
fn left_out(arena: &Arena, id: Id) -> Result<&[Id], Wrong> {
    match attribute(arena, id, "_non_persistent_buffers_set")? {
        Some(Node::Set(names)) => Ok(names),
        _ => Ok(&[]),
    }
}

fn attribute<'a>(arena: &'a Arena, id: Id, name: &str) -> Result<Option<&'a Node>, Wrong> {
    let Node::Object { state: Some(state), .. } = arena.get(id) else { return Ok(None) };
    let Node::Dict(attributes) = arena.get(*state) else { return Ok(None) };
    if attributes.len() > MOST_ATTRIBUTES {
        let expected = format!("objects of at most {MOST_ATTRIBUTES} attributes");
        return Err(Wrong::new(expected, attributes.len().to_string()));
    }
    Ok(lookup(arena, attributes, name)?.map(|id| arena.get(id)))
}

/// A dict's value for a key. Python takes the last of several; here there is one, or an error.
fn lookup(arena: &Arena, items: &[(Id, Id)], name: &str) -> Result<Option<Id>, Wrong> {
    let mut found = items.iter().filter(|(key, _)| arena.text(*key) == Some(name));
    match (found.next(), found.next()) {
        (_, Some(_)) => Err(Wrong::new("every key once", format!("{name:?} twice"))),
        (first, None) => Ok(first.map(|&(_, value)| value)),
    }
}

fn expect_few(count: usize) -> Result<(), Wrong> {
    match count <= MOST_TENSORS {
        true => Ok(()),
        false => Err(Wrong::new(format!("at most {MOST_TENSORS} tensors and modules"), "more")),
    }
}

fn is_tensor(arena: &Arena, id: Id) -> bool {
    use Function::{AnotherTensor, Parameter, Tensor, WithAttributes};
    matches!(
        arena.get(id),
        Node::Call { function: Tensor | Parameter | WithAttributes | AnotherTensor(_), .. }
    )
}

/// The tensor that a call would have made.
fn tensor(arena: &Arena, name: &str, mut id: Id) -> Result<Described, Wrong> {
    for _ in 0..DEEPEST {
        let Node::Call { function, arguments } = arena.get(id) else {
            return Err(Wrong::new(format!("a tensor as {name:?}"), arena.get(id).kind()));
        };
        let arguments = arena.tuple(*arguments).unwrap_or_default();
        match (function, arguments) {
            (Function::Tensor, arguments) => return view(arena, name, arguments),
            (Function::Parameter, &[data, ..]) => id = data,
            (Function::AnotherTensor(what), _) => return Err(another_kind(name, what)),
            (Function::WithAttributes, &[function, _, inner, ..]) => {
                let arguments = arena.tuple(inner).unwrap_or_default();
                return match arena.get(function) {
                    Node::Global(_, function) if **function == *"_rebuild_tensor_v2" => {
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
            let (storage, part) = storage::storage(arena, *id)?;
            let class = storage.class.name;
            let dtype = storage.class.dtype.ok_or_else(|| another_kind(name, class))?;
            let offset = offset.saturating_add(part.start);
            Ok(Described { storage, dtype, part, offset, shape, stride })
        }
        _ => Err(another_kind(
            name,
            &format!("an offset, shape or stride that is not at most {MOST_DIMENSIONS} numbers"),
        )),
    }
}
