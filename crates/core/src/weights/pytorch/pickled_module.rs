//! Whole pickled modules: objects whose state has `_parameters`, `_buffers` and `_modules`, whatever their
//! class.

use super::super::format_error::FormatError;
use super::super::limits::{MAX_TENSORS, check_name};
use super::pickle_values::{Arena, Node, NodeId};
use super::tensor_description::{TensorDescription, tensor};
use std::collections::HashSet;

/// How deep modules may be nested; no network comes near.
const MAX_DEPTH: usize = 32;
/// PyTorch's modules have about twenty.
const MAX_ATTRIBUTES: usize = 1024;

const PARAMETERS: &str = "_parameters";
const BUFFERS: &str = "_buffers";
const MODULES: &str = "_modules";

/// Whether an object has one of the attributes that every module has.
pub(super) fn is_module(arena: &Arena, id: NodeId) -> Result<bool, FormatError> {
    for section in [PARAMETERS, BUFFERS, MODULES] {
        if attribute(arena, id, section)?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether a module consists of others, as networks do and losses do not.
pub(super) fn has_submodules(arena: &Arena, id: NodeId) -> Result<bool, FormatError> {
    entries(arena, id, MODULES).map(|modules| !modules.is_empty())
}

/// The parameters and buffers of a module and its submodules, with the names of its state dict.
pub(super) fn module_tensors(
    arena: &Arena,
    root: NodeId,
) -> Result<Vec<(String, TensorDescription)>, FormatError> {
    let mut tensors = Vec::new();
    let mut pending = vec![(String::new(), root, 0)];
    // A module may be used many times, so the work is counted.
    let mut visited = 0;
    while let Some((prefix, id, depth)) = pending.pop() {
        if depth > MAX_DEPTH {
            return Err(FormatError::new(
                format!("modules at most {MAX_DEPTH} deep"),
                "deeper ones",
            ));
        }
        check_unmodified(arena, id)?;
        let parameters = entries(arena, id, PARAMETERS)?;
        let buffers = entries(arena, id, BUFFERS)?;
        let modules = entries(arena, id, MODULES)?;
        let excluded = non_persistent_buffers(arena, id)?;
        visited += 1 + parameters.len() + buffers.len() + modules.len() + excluded.len();
        check_count(visited)?;
        let excluded: HashSet<&str> = excluded.iter().filter_map(|&id| arena.string(id)).collect();
        let is_included = |key| arena.string(key).is_none_or(|name| !excluded.contains(name));
        let buffers = buffers.iter().filter(|(key, _)| is_included(*key));
        for &(key, value) in parameters.iter().chain(buffers) {
            let name = child_name(arena, &prefix, key)?;
            if !matches!(arena.get(value), Node::None) {
                let described = tensor(arena, &name, value)?;
                tensors.push((name, described));
            }
        }
        // In reverse order, because the last one pushed is the first one popped.
        for &(key, value) in modules.iter().rev() {
            let name = child_name(arena, &prefix, key)?;
            match arena.get(value) {
                Node::Object { .. } => pending.push((format!("{name}."), value, depth + 1)),
                Node::Opaque(call) => return Err(call.not_made()),
                _ => {}
            }
        }
    }
    if tensors.is_empty() {
        return Err(FormatError::new("a module with parameters", "an object without any"));
    }
    Ok(tensors)
}

/// Refuses items that are set on a module after its state (`net[0] = ...`): they would replace submodules.
fn check_unmodified(arena: &Arena, id: NodeId) -> Result<(), FormatError> {
    match arena.get(id) {
        Node::Object { items, is_list: false, .. } if items.is_empty() => Ok(()),
        other => {
            let found = format!("{} that something was put into", other.kind());
            Err(FormatError::new("a module as its state describes it", found))
        }
    }
}

fn child_name(arena: &Arena, prefix: &str, key: NodeId) -> Result<String, FormatError> {
    let name = arena.string(key);
    let name = name.ok_or_else(|| {
        FormatError::new("the name of a module's attribute", arena.get(key).kind())
    })?;
    // Before they are joined.
    check_name(prefix).and_then(|()| check_name(name))?;
    let joined = format!("{prefix}{name}");
    check_name(&joined).map(|()| joined)
}

/// The items of a dict in a module's state.
fn entries<'a>(
    arena: &'a Arena,
    id: NodeId,
    section: &str,
) -> Result<&'a [(NodeId, NodeId)], FormatError> {
    match attribute(arena, id, section)? {
        Some(Node::Dict(items)) => Ok(items),
        None => Ok(&[]),
        Some(other) => {
            Err(FormatError::new(format!("a dict as a module's {section:?}"), other.kind()))
        }
    }
}

/// The names of the buffers that are not in the module's state dict (`persistent=False`).
fn non_persistent_buffers(arena: &Arena, id: NodeId) -> Result<&[NodeId], FormatError> {
    match attribute(arena, id, "_non_persistent_buffers_set")? {
        Some(Node::Set(names)) => Ok(names),
        None => Ok(&[]),
        Some(other) => Err(FormatError::new("a set of non-persistent buffers", other.kind())),
    }
}

fn attribute<'a>(
    arena: &'a Arena,
    id: NodeId,
    name: &str,
) -> Result<Option<&'a Node>, FormatError> {
    let Node::Object { state: Some(state), .. } = arena.get(id) else { return Ok(None) };
    let Node::Dict(attributes) = arena.get(*state) else { return Ok(None) };
    if attributes.len() > MAX_ATTRIBUTES {
        let expected = format!("objects of at most {MAX_ATTRIBUTES} attributes");
        return Err(FormatError::new(expected, attributes.len().to_string()));
    }
    Ok(lookup(arena, attributes, name)?.map(|id| arena.get(id)))
}

/// A dict's value for a key. Python would use the last of several; here several are an error.
fn lookup(
    arena: &Arena,
    items: &[(NodeId, NodeId)],
    name: &str,
) -> Result<Option<NodeId>, FormatError> {
    let mut found = items.iter().filter(|(key, _)| arena.string(*key) == Some(name));
    match (found.next(), found.next()) {
        (_, Some(_)) => Err(FormatError::new("every key once", format!("{name:?} twice"))),
        (first, None) => Ok(first.map(|&(_, value)| value)),
    }
}

pub(super) fn check_count(count: usize) -> Result<(), FormatError> {
    if count <= MAX_TENSORS {
        return Ok(());
    }
    Err(FormatError::new(format!("at most {MAX_TENSORS} tensors and modules"), "more"))
}
