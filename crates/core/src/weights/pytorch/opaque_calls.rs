//! Calls of functions that weights do not need. They are not made, so what they would have returned is not
//! known: nothing may be taken from it, and no such call may have had the weights, which it could change.

use super::super::format_error::FormatError;
use super::pickle_values::{Arena, Node, NodeId};
use super::storage::storage_of;
use super::tensor_description::TensorDescription;
use std::collections::HashSet;

/// Refuses weights that a call in the pickle was given.
pub(super) fn expect_untouched(
    arena: &Arena,
    tensors: &[(String, TensorDescription)],
) -> Result<(), FormatError> {
    let keys: HashSet<&str> = tensors.iter().map(|(_, it)| it.storage.key.as_str()).collect();
    let is_used =
        |id| storage_of(arena, id).is_ok_and(|(storage, _)| keys.contains(storage.key.as_str()));
    let mut walk = Walk::new(arena);
    let mut calls = arena.opaque_calls();
    match calls.find(|call| walk.reaches_storage(&call.parts, is_used)) {
        Some(call) => Err(call.not_made()),
        None => Ok(()),
    }
}

/// Visits every value of a pickle at most once, however often it is used.
pub(super) struct Walk<'a> {
    arena: &'a Arena,
    is_visited: Vec<bool>,
}

impl<'a> Walk<'a> {
    pub fn new(arena: &'a Arena) -> Self {
        Self { arena, is_visited: Vec::new() }
    }

    /// Whether any of the values that were not visited before contains a storage with this property of its
    /// persistent ID.
    pub fn reaches_storage(
        &mut self,
        values: &[NodeId],
        has_property: impl Fn(NodeId) -> bool,
    ) -> bool {
        self.is_visited.resize(self.arena.len(), false);
        let mut pending = values.to_vec();
        while let Some(id) = pending.pop() {
            if std::mem::replace(&mut self.is_visited[id as usize], true) {
                continue;
            }
            match self.arena.get(id) {
                Node::Persistent(id) if has_property(*id) => return true,
                Node::Tuple(items) | Node::List(items) | Node::Set(items) => {
                    pending.extend(items);
                }
                Node::Dict(items) => pending.extend(items.iter().flat_map(|&(k, v)| [k, v])),
                Node::Call { arguments, .. } => pending.push(*arguments),
                Node::Opaque(call) => pending.extend(&call.parts),
                Node::Object { state, items, .. } => {
                    pending.extend(*state);
                    pending.extend(items.iter().flat_map(|&(k, v)| [k, v]));
                }
                _ => {}
            }
        }
        false
    }
}
