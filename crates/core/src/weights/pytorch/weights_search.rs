//! Finds the weights among the values of a pickle: a state dict, a whole module, or a checkpoint that
//! contains one of them.

use super::super::format_error::FormatError;
use super::super::limits::check_name;
use super::pickle_values::{Arena, Node, NodeId};
use super::pickled_module::{check_count, is_module, module_tensors};
use super::tensor_description::{TensorDescription, is_tensor, tensor};
use std::collections::{HashMap, HashSet};

/// The keys under which training scripts save the weights.
const WEIGHTS_KEYS: [&str; 13] = [
    "state_dict",
    "model_state_dict",
    "model_state",
    "model_dict",
    "model_weights",
    "model",
    "net",
    "network",
    "module",
    "weights",
    "params",
    "state",
    "checkpoint",
];
/// The keys of the average of the weights over the training, which is used if there are no others.
const AVERAGE_KEYS: [&str; 6] =
    ["model_ema", "ema_model", "state_dict_ema", "ema_state_dict", "params_ema", "ema"];
/// Checkpoints may contain checkpoints.
const MAX_DEPTH: usize = 3;

/// The weights of a file.
pub(super) struct FoundWeights {
    /// The tensors and their names.
    pub tensors: Vec<(String, TensorDescription)>,
    /// What contains them, for the user, if it is not a plain state dict.
    pub container: Option<String>,
}

/// Finds the weights in the value of a pickle.
pub(super) fn find_weights(arena: &Arena, root: NodeId) -> Result<FoundWeights, FormatError> {
    let mut search = Search { arena, known: HashMap::new() };
    let Some(Found { path, id }) = search.weights(root, 0)? else {
        return Err(no_weights(arena, root));
    };
    let is_module = is_module(arena, id)?;
    let tensors = if is_module {
        module_tensors(arena, id)?
    } else {
        state_dict(arena, items(arena, id).unwrap_or_default())?
    };
    let container = match path.as_str() {
        "" if is_module => Some(format!("a whole module{}", class_suffix(arena, id))),
        "" => None,
        path => Some(format!("a checkpoint, its weights under {path:?}")),
    };
    Ok(FoundWeights { tensors, container })
}

/// ` of class ...`, or nothing if the class is not known.
fn class_suffix(arena: &Arena, id: NodeId) -> String {
    let Node::Object { class, .. } = arena.get(id) else { return String::new() };
    match arena.get(*class) {
        Node::Global(module, name) => format!(" of class {module}.{name}"),
        _ => String::new(),
    }
}

fn no_weights(arena: &Arena, root: NodeId) -> FormatError {
    match (arena.get(root), items(arena, root)) {
        (Node::Dict(_), Some(items)) => {
            let keys = items.iter().take(8).filter_map(|&(key, _)| arena.string(key));
            let keys = keys.collect::<Vec<_>>().join(", ");
            let expected = format!("tensors, or a state dict under {}", WEIGHTS_KEYS.join(", "));
            FormatError::new(expected, format!("a dict of {} with the keys {keys}", items.len()))
        }
        (other, _) => FormatError::new("a state dict or a module", other.kind()),
    }
}

/// The items of a dict, or of an object whose class is derived from dict.
fn items(arena: &Arena, id: NodeId) -> Option<&[(NodeId, NodeId)]> {
    match arena.get(id) {
        Node::Dict(items) | Node::Object { items, .. } => Some(items),
        _ => None,
    }
}

/// A dict of tensors or a module, and the keys that lead to it, joined by dots.
#[derive(Clone, Debug)]
struct Found {
    path: String,
    id: NodeId,
}

struct Search<'a> {
    arena: &'a Arena,
    /// The results of values that were searched already: a dict may be used a million times.
    known: HashMap<NodeId, Option<Found>>,
}

impl Search<'_> {
    /// The only set of weights in a value.
    fn weights(&mut self, id: NodeId, depth: usize) -> Result<Option<Found>, FormatError> {
        if let Some(known) = self.known.get(&id) {
            return Ok(known.clone());
        }
        // For the time of the search: a dict may contain itself.
        self.known.insert(id, None);
        let found = match items(self.arena, id) {
            Some(_) if is_module(self.arena, id)? => Some(Found { path: String::new(), id }),
            Some(items) => self.in_dict(id, items, depth)?,
            None => None,
        };
        self.known.insert(id, found.clone());
        Ok(found)
    }

    /// The weights under one of a dict's keys. If there are none, the dict itself, if it has tensors.
    fn in_dict(
        &mut self,
        id: NodeId,
        items: &[(NodeId, NodeId)],
        depth: usize,
    ) -> Result<Option<Found>, FormatError> {
        let own = items.iter().filter(|&&(_, value)| is_tensor(self.arena, value)).count();
        let named = self.weights_items(items)?;
        let mut found = None;
        if depth < MAX_DEPTH {
            found = self.under(&WEIGHTS_KEYS, &named, depth)?;
            if found.is_none() {
                found = self.under(&AVERAGE_KEYS, &named, depth)?;
                let other = named.iter().find(|&(name, &id)| {
                    WEIGHTS_KEYS.contains(name) && !is_unrelated(self.arena.get(id))
                });
                if let (Some(_), Some((name, _))) = (&found, other) {
                    let found = "other values, and an average beside them";
                    return Err(FormatError::new(format!("weights under {name:?}"), found));
                }
            }
        }
        let Some(found) = found else {
            return Ok((own > 0).then_some(Found { path: String::new(), id }));
        };
        // A checkpoint may have a few tensors beside the weights, but fewer than the weights have.
        match self.arena.get(found.id) {
            Node::Dict(inside) if own > 0 && own >= inside.len() => {
                let found = format!("weights under {:?} and others beside it", found.path);
                Err(FormatError::new("one set of weights", found))
            }
            _ => Ok(Some(found)),
        }
    }

    /// The items of a dict whose keys are those of weights or averages.
    fn weights_items(
        &self,
        items: &[(NodeId, NodeId)],
    ) -> Result<HashMap<&'static str, NodeId>, FormatError> {
        let mut named = HashMap::new();
        for &(key, value) in items {
            let Some(key) = self.arena.string(key) else { continue };
            let mut names = WEIGHTS_KEYS.into_iter().chain(AVERAGE_KEYS);
            if let Some(name) = names.find(|name| *name == key)
                && named.insert(name, value).is_some()
            {
                // Python would use the last one.
                return Err(FormatError::new("every key once", format!("{name:?} twice")));
            }
        }
        Ok(named)
    }

    fn under(
        &mut self,
        names: &[&'static str],
        named: &HashMap<&'static str, NodeId>,
        depth: usize,
    ) -> Result<Option<Found>, FormatError> {
        let mut found: Option<Found> = None;
        for name in names {
            let Some(&id) = named.get(name) else { continue };
            let Some(Found { path, id }) = self.weights(id, depth + 1)? else { continue };
            let path = match path.as_str() {
                "" => name.to_string(),
                path => format!("{name}.{path}"),
            };
            match &found {
                Some(first) if first.id != id => {
                    let found = format!("weights under {:?} and others under {path:?}", first.path);
                    return Err(FormatError::new("one set of weights", found));
                }
                Some(_) => {}
                None => found = Some(Found { path, id }),
            }
        }
        Ok(found)
    }
}

/// Whether a value under a key of weights is something else, such as the name of the network.
fn is_unrelated(node: &Node) -> bool {
    match node {
        Node::None | Node::Bool(_) | Node::Int(_) | Node::Float | Node::String(_) => true,
        Node::Dict(items) => items.is_empty(),
        _ => false,
    }
}

fn state_dict(
    arena: &Arena,
    items: &[(NodeId, NodeId)],
) -> Result<Vec<(String, TensorDescription)>, FormatError> {
    check_count(items.len())?;
    let mut names = HashSet::new();
    items
        .iter()
        .map(|&(key, value)| {
            let name = arena.string(key).ok_or_else(|| {
                FormatError::new("the name of a tensor as a key", arena.get(key).kind())
            })?;
            check_name(name)?;
            if !names.insert(name) {
                return Err(FormatError::new("every tensor once", format!("{name:?} twice")));
            }
            Ok((name.to_string(), tensor(arena, name, value)?))
        })
        .collect()
}
