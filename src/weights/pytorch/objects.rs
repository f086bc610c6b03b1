//! Tensors in the tree of a pickle: state dicts, what they are wrapped in, and whole modules.
//!
//! A module is an object whose state has `_parameters`, `_buffers` and `_modules`; its class may be
//! anything, and is never looked at.

use super::super::source::Wrong;
use super::storage::{self, Storage};
use super::tree::{Arena, Function, Id, Node};
use std::ops::Range;

/// A tensor that a pickle describes: a view of a storage. Nothing of it is checked yet.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Described {
    pub storage: Storage,
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
const MOST_TENSORS: usize = 1 << 16;

/// The names under which training scripts keep the weights, the first that is there counts.
const WRAPPINGS: [&str; 9] = [
    "state_dict",
    "model_state_dict",
    "model_state",
    "model",
    "net",
    "network",
    "module",
    "weights",
    "params",
];

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
        Node::Dict(items) => match wrapped(arena, items)? {
            Some((name, id)) => {
                let note = format!("a checkpoint, its weights under {name:?}");
                Ok((weights(arena, id)?, Some(note)))
            }
            None => Ok((weights(arena, root)?, None)),
        },
        other => Err(Wrong::new("a state dict or a module", other.kind())),
    }
}

/// A checkpoint: a dict with the weights, a dict of tensors or a module, under one of its keys.
fn wrapped(arena: &Arena, items: &[(Id, Id)]) -> Result<Option<(&'static str, Id)>, Wrong> {
    let found: Vec<(&str, Id)> = (WRAPPINGS.iter())
        .filter_map(|&name| {
            let (_, id) = *items.iter().find(|(key, _)| arena.text(*key) == Some(name))?;
            let is_weights = match arena.get(id) {
                Node::Dict(items) => items.iter().any(|&(_, value)| is_tensor(arena, value)),
                Node::Object { .. } => !entries(arena, id, "_modules").ok()?.is_empty(),
                _ => false,
            };
            is_weights.then_some((name, id))
        })
        .collect();
    let Some(&first) = found.first() else { return Ok(None) };
    match found.iter().find(|other| other.1 != first.1) {
        None => Ok(Some(first)),
        Some(other) => Err(Wrong::new(
            "one set of weights",
            format!("weights under {:?} and others under {:?}", first.0, other.0),
        )),
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
            let expected = format!("tensors, or a state dict under {}", WRAPPINGS.join(", "));
            Err(Wrong::new(expected, format!("a dict of {} with the keys {keys}", items.len())))
        }
        _ => module(arena, id),
    }
}

fn state_dict(arena: &Arena, items: &[(Id, Id)]) -> Result<Vec<(String, Described)>, Wrong> {
    expect_few(items.len())?;
    items
        .iter()
        .map(|&(key, value)| {
            let name = arena
                .text(key)
                .ok_or_else(|| Wrong::new("the name of a tensor as key", arena.get(key).kind()))?;
            Ok((name.to_string(), tensor(arena, name, value)?))
        })
        .collect()
}

/// The parameters and buffers of a module and of those inside it, with PyTorch's names.
fn module(arena: &Arena, root: Id) -> Result<Vec<(String, Described)>, Wrong> {
    let mut tensors = Vec::new();
    let mut open = vec![(String::new(), root, 0)];
    let mut seen = 0;
    while let Some((prefix, id, depth)) = open.pop() {
        seen += 1;
        expect_few(seen.max(tensors.len()))?;
        if depth > DEEPEST {
            return Err(Wrong::new(format!("modules at most {DEEPEST} deep"), "deeper ones"));
        }
        for section in ["_parameters", "_buffers"] {
            for (name, value) in entries(arena, id, section)? {
                if !matches!(arena.get(value), Node::None) {
                    let name = format!("{prefix}{name}");
                    let described = tensor(arena, &name, value)?;
                    tensors.push((name, described));
                }
            }
        }
        // Onto a stack, so the last comes first.
        for (name, value) in entries(arena, id, "_modules")?.into_iter().rev() {
            if matches!(arena.get(value), Node::Object { .. }) {
                open.push((format!("{prefix}{name}."), value, depth + 1));
            }
        }
    }
    match tensors.is_empty() {
        false => Ok(tensors),
        true => Err(Wrong::new("a module with parameters", "an object without")),
    }
}

/// The items of a dict in a module's state.
fn entries<'a>(arena: &'a Arena, id: Id, section: &str) -> Result<Vec<(&'a str, Id)>, Wrong> {
    let attributes = match arena.get(id) {
        Node::Object { state: Some(state), .. } => arena.get(*state),
        _ => &Node::None,
    };
    let Node::Dict(attributes) = attributes else { return Ok(Vec::new()) };
    let dict = attributes.iter().find(|(key, _)| arena.text(*key) == Some(section));
    match dict.map(|&(_, value)| arena.get(value)) {
        Some(Node::Dict(items)) => items
            .iter()
            .map(|&(key, value)| {
                let name = arena.text(key);
                let wrong = || Wrong::new(format!("names in {section}"), arena.get(key).kind());
                name.map(|name| (name, value)).ok_or_else(wrong)
            })
            .collect(),
        _ => Ok(Vec::new()),
    }
}

fn expect_few(count: usize) -> Result<(), Wrong> {
    match count <= MOST_TENSORS {
        true => Ok(()),
        false => Err(Wrong::new(format!("at most {MOST_TENSORS} tensors and modules"), "more")),
    }
}

fn is_tensor(arena: &Arena, id: Id) -> bool {
    use Function::{Parameter, Tensor, WithAttributes};
    matches!(arena.get(id), Node::Call { function: Tensor | Parameter | WithAttributes, .. })
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
            (Function::WithAttributes, &[function, _, inner, ..]) => {
                let arguments = arena.tuple(inner).unwrap_or_default();
                return match arena.get(function) {
                    Node::Global(_, function) if function == "_rebuild_tensor_v2" => {
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

/// From the arguments storage, offset, shape and stride.
fn view(arena: &Arena, name: &str, arguments: &[Id]) -> Result<Described, Wrong> {
    let ints = |id| arena.tuple(id)?.iter().map(|&id| arena.int(id)).collect::<Option<Vec<_>>>();
    let &[storage, offset, shape, stride, ..] = arguments else {
        return Err(another_kind(name, &format!("{} arguments", arguments.len())));
    };
    let Node::Persistent(id) = arena.get(storage) else {
        return Err(another_kind(name, &arena.get(storage).kind()));
    };
    match (arena.int(offset), ints(shape), ints(stride)) {
        (Some(offset), Some(shape), Some(stride)) => {
            let (storage, part) = storage::storage(arena, *id)?;
            let offset = offset.saturating_add(part.start);
            Ok(Described { storage, part, offset, shape, stride })
        }
        _ => Err(another_kind(name, "an offset, shape or stride that is no list of numbers")),
    }
}
