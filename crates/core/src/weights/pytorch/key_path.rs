//! Finds a value in dicts, tuples and lists by a path of keys, such as `ema.state_dict`.

use super::super::format_error::FormatError;
use super::pickle_values::{Arena, Node, NodeId};

/// The items of a dict, or of an object whose class is derived from dict.
pub(super) fn items(arena: &Arena, id: NodeId) -> Option<&[(NodeId, NodeId)]> {
    match arena.get(id) {
        Node::Dict(items) | Node::Object { items, .. } => Some(items),
        _ => None,
    }
}

/// The number of values in a dict, tuple or list.
pub(super) fn count(arena: &Arena, id: NodeId) -> usize {
    match arena.get(id) {
        Node::Tuple(parts) | Node::List(parts) => parts.len(),
        _ => items(arena, id).map_or(0, <[_]>::len),
    }
}

/// One of the values in a dict, tuple or list.
pub(super) fn part(arena: &Arena, id: NodeId, index: usize) -> Option<NodeId> {
    match arena.get(id) {
        Node::Tuple(parts) | Node::List(parts) => parts.get(index).copied(),
        _ => items(arena, id)?.get(index).map(|&(_, value)| value),
    }
}

/// The key of one of the values: that of a dict, if it is a string or a number, or the index.
pub(super) fn part_key(arena: &Arena, id: NodeId, index: usize) -> Option<String> {
    let Some(items) = items(arena, id) else { return Some(index.to_string()) };
    let &(key, _) = items.get(index)?;
    match arena.get(key) {
        Node::String(key) => Some(key.to_string()),
        Node::Int(key) => Some(key.to_string()),
        _ => None,
    }
}

/// The parts of a value that may have weights in them, and their indices.
pub(super) fn containers(arena: &Arena, id: NodeId) -> impl Iterator<Item = (usize, NodeId)> {
    let parts = (0..count(arena, id)).filter_map(move |at| Some((at, part(arena, id, at)?)));
    parts.filter(|&(_, part)| is_container(arena, part))
}

/// Whether a value may have weights in it.
fn is_container(arena: &Arena, id: NodeId) -> bool {
    matches!(arena.get(id), Node::Object { .. } | Node::Opaque(_)) || count(arena, id) > 0
}

/// Where a path of keys leads.
pub(super) struct Destination<'k> {
    pub id: NodeId,
    /// The part of the path that leads there.
    pub taken: &'k str,
    /// The part of the path that leads no further, which may be the beginning of tensors' names.
    pub rest: &'k str,
}

/// Follows a path of keys, which are joined by dots, and may have dots themselves.
pub(super) fn follow<'k>(
    arena: &Arena,
    root: NodeId,
    path: &'k str,
) -> Result<Destination<'k>, FormatError> {
    let mut at = Destination { id: root, taken: "", rest: path };
    while let Some((key, id)) = next(arena, at.id, at.rest)? {
        let after = path.len() - at.rest.len() + key;
        let taken = &path[..after];
        at = Destination { id, taken, rest: path[after..].trim_start_matches('.') };
    }
    Ok(at)
}

/// The length of the longest key with which `path` begins, and its value.
fn next(arena: &Arena, id: NodeId, path: &str) -> Result<Option<(usize, NodeId)>, FormatError> {
    let mut longest: Option<(usize, NodeId)> = None;
    for (index, value) in containers(arena, id) {
        let Some(key) = part_key(arena, id, index).filter(|key| !key.is_empty()) else { continue };
        let is_first =
            path.strip_prefix(&*key).is_some_and(|it| it.is_empty() || it.starts_with('.'));
        if !is_first {
            continue;
        }
        match longest {
            Some((length, _)) if length == key.len() => {
                return Err(FormatError::new("every key once", format!("{key:?} twice")));
            }
            Some((length, _)) if length > key.len() => {}
            _ => longest = Some((key.len(), value)),
        }
    }
    Ok(longest)
}
