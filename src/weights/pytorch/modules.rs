//! Whole pickled modules: objects whose state has `_parameters`, `_buffers` and `_modules`. Their class
//! may be anything, and is never looked at.

use super::super::contents::{MOST_TENSORS, expect_name};
use super::super::source::Wrong;
use super::tensors::{Described, tensor};
use super::tree::{Arena, Id, Node};
use std::collections::HashSet;

/// Deeper than any network's modules.
const DEEPEST: usize = 32;
/// A module of PyTorch has some twenty.
const MOST_ATTRIBUTES: usize = 1024;

const PARAMETERS: &str = "_parameters";
const BUFFERS: &str = "_buffers";
const MODULES: &str = "_modules";

/// Whether an object has what every module has.
pub(super) fn is_module(arena: &Arena, id: Id) -> Result<bool, Wrong> {
    for section in [PARAMETERS, BUFFERS, MODULES] {
        if attribute(arena, id, section)?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The parameters and buffers of a module and of those inside it, with PyTorch's names.
pub(super) fn module(arena: &Arena, root: Id) -> Result<Vec<(String, Described)>, Wrong> {
    let mut tensors = Vec::new();
    let mut open = vec![(String::new(), root, 0)];
    // A module may be inside another many times, so what is looked at is counted.
    let mut seen = 0;
    while let Some((prefix, id, depth)) = open.pop() {
        if depth > DEEPEST {
            return Err(Wrong::new(format!("modules at most {DEEPEST} deep"), "deeper ones"));
        }
        expect_untouched(arena, id)?;
        let parameters = entries(arena, id, PARAMETERS)?;
        let buffers = entries(arena, id, BUFFERS)?;
        let modules = entries(arena, id, MODULES)?;
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

/// What Python puts into a module one by one (`net[0] = ...`) replaces what is in its state.
fn expect_untouched(arena: &Arena, id: Id) -> Result<(), Wrong> {
    match arena.get(id) {
        Node::Object { items, is_list: false, .. } if items.is_empty() => Ok(()),
        other => {
            let found = format!("{} that something was put into", other.kind());
            Err(Wrong::new("a module as its state describes it", found))
        }
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
        None => Ok(&[]),
        Some(other) => Err(Wrong::new(format!("a dict as a module's {section:?}"), other.kind())),
    }
}

/// The names of the buffers that a module leaves out of its state dict.
fn left_out(arena: &Arena, id: Id) -> Result<&[Id], Wrong> {
    match attribute(arena, id, "_non_persistent_buffers_set")? {
        Some(Node::Set(names)) => Ok(names),
        None => Ok(&[]),
        Some(other) => Err(Wrong::new("a set of the buffers to leave out", other.kind())),
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

pub(super) fn expect_few(count: usize) -> Result<(), Wrong> {
    match count <= MOST_TENSORS {
        true => Ok(()),
        false => Err(Wrong::new(format!("at most {MOST_TENSORS} tensors and modules"), "more")),
    }
}
