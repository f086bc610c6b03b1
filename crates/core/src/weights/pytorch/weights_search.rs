//! Finds the weights in the value of a pickle: a state dict, a module, or a checkpoint that contains one.

use super::super::description::listed;
use super::super::format_error::FormatError;
use super::super::key_selection::under_prefix;
use super::key_path::{self, follow, items};
use super::opaque_calls::{Walk, expect_untouched};
use super::pickle_values::{Arena, Node, NodeId};
use super::pickled_module::{has_submodules, is_module, module_tensors};
use super::state_dict::{has_layers, is_plain, state_dict};
use super::tensor_description::{TensorDescription, is_tensor};
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
/// Words in the keys of such averages: the same, and others (`averaged_model`, `swa_state_dict`).
const AVERAGE_WORDS: [&str; 5] = ["ema", "swa", "avg", "average", "averaged"];
/// Checkpoints may contain checkpoints.
const MAX_DEPTH: usize = 3;

/// How many keys are named in an error.
const MAX_KEYS: usize = 20;
/// How often two sets of weights may be compared. A checkpoint has a few copies at most.
const MAX_COMPARISONS: usize = 64;

/// The weights of a file.
pub(super) struct FoundWeights {
    /// The tensors and their names.
    pub tensors: Vec<(String, TensorDescription)>,
    /// What contains them, for the user, if it is not a plain state dict.
    pub container: Option<String>,
    /// Averages of the weights that were left aside.
    pub notices: Vec<String>,
}

/// Finds the weights in the value of a pickle, or in what `key` chooses: a path of keys, then the beginning
/// of tensors' names.
pub(super) fn find_weights(
    arena: &Arena,
    root: NodeId,
    key: Option<&str>,
) -> Result<FoundWeights, FormatError> {
    let start = follow(arena, root, key.unwrap_or_default())?;
    let mut search =
        Search { arena, known: HashMap::new(), walk: Walk::new(arena), comparisons: 0 };
    let found = search.weights(start.id, 0).map_err(|error| {
        if error.expected == ONE_SET {
            several_sets(arena, start.id, start.rest, error)
        } else {
            error
        }
    })?;
    let Some(found) = found else {
        return Err(no_weights(arena, start.id));
    };
    let mut tensors = tensors_of(arena, found.id)?;
    if !start.rest.is_empty() {
        tensors = under_prefix(tensors, start.rest, container_keys(arena, start.id))?;
    }
    expect_untouched(arena, &tensors)?;
    let is_module = is_module(arena, found.id)?;
    let found = found.inside(start.taken);
    let notices = found.averages.iter().map(|key| average_notice(key)).collect();
    let container = match found.path.as_str() {
        "" if is_module => Some(format!("a whole module{}", class_suffix(arena, found.id))),
        "" => None,
        path => Some(format!("a checkpoint, its weights under {path:?}")),
    };
    Ok(FoundWeights { tensors, container, notices })
}

fn average_notice(key: &str) -> String {
    format!(
        "an average of the weights over the training is under {key:?}, and was left aside: `--key {key}`, in Rust \
         `Weights::open_at`, takes it"
    )
}

/// The error for several sets of weights, with the keys that there are.
fn several_sets(arena: &Arena, id: NodeId, rest: &str, error: FormatError) -> FormatError {
    let keys = listed(container_keys(arena, id));
    if rest.is_empty() {
        return FormatError::new(error.expected, format!("{}; the keys are {keys}", error.found));
    }
    FormatError::new(
        format!("the key {rest:?}"),
        format!("several sets of weights, and the keys {keys}"),
    )
}

/// The tensors of a module or a state dict.
fn tensors_of(arena: &Arena, id: NodeId) -> Result<Vec<(String, TensorDescription)>, FormatError> {
    if is_module(arena, id)? {
        module_tensors(arena, id)
    } else {
        state_dict(arena, items(arena, id).unwrap_or_default())
    }
}

/// ` of class ...`, or nothing if the class is not known.
fn class_suffix(arena: &Arena, id: NodeId) -> String {
    let Node::Object { class, .. } = arena.get(id) else { return String::new() };
    match arena.get(*class) {
        Node::Global(module, name) => format!(" of class {module}.{name}"),
        _ => String::new(),
    }
}

/// The keys of the values in a dict, tuple or list that may have weights in them.
fn container_keys(arena: &Arena, id: NodeId) -> Vec<String> {
    let indices = key_path::containers(arena, id).map(|(index, _)| index);
    indices.filter_map(|index| key_path::part_key(arena, id, index)).take(MAX_KEYS).collect()
}

fn no_weights(arena: &Arena, root: NodeId) -> FormatError {
    let opaque = |id| match arena.get(id) {
        Node::Opaque(call) => Some(call.not_made()),
        _ => None,
    };
    let parts = (0..key_path::count(arena, root)).filter_map(|at| key_path::part(arena, root, at));
    if let Some(error) = std::iter::once(root).chain(parts).find_map(opaque) {
        return error;
    }
    match (arena.get(root), items(arena, root)) {
        (Node::Dict(_), Some(items)) => {
            let keys = items.iter().take(MAX_KEYS + 1).filter_map(|&(key, _)| arena.string(key));
            let keys = listed(keys.map(String::from).collect());
            let found = format!("a dict of {} with the keys {keys}", items.len());
            FormatError::new("tensors, or a state dict or a module under one of the keys", found)
        }
        (other, _) => FormatError::new("a state dict or a module", other.kind()),
    }
}

/// A dict of tensors or a module, and the keys that lead to it, joined by dots.
#[derive(Clone, Debug)]
struct Found {
    path: String,
    id: NodeId,
    /// The keys of averages next to it.
    averages: Vec<String>,
}

impl Found {
    fn new(id: NodeId) -> Self {
        Self { path: String::new(), id, averages: Vec::new() }
    }

    /// The same, seen from the value that has it under a key.
    fn inside(self, key: &str) -> Self {
        let inside = |path: String| match (key, path.as_str()) {
            (key, "") => key.to_string(),
            ("", _) => path,
            (key, path) => format!("{key}.{path}"),
        };
        let averages = self.averages.into_iter().map(inside).collect();
        Self { path: inside(self.path), id: self.id, averages }
    }
}

struct Search<'a> {
    arena: &'a Arena,
    /// The results of values that were searched already: a dict may be used a million times.
    known: HashMap<NodeId, Option<Box<Found>>>,
    walk: Walk<'a>,
    comparisons: usize,
}

impl Search<'_> {
    /// The only set of weights in a value.
    fn weights(&mut self, id: NodeId, depth: usize) -> Result<Option<Found>, FormatError> {
        if let Some(known) = self.known.get(&id) {
            return Ok(known.as_deref().cloned());
        }
        // For the time of the search: a dict may contain itself.
        self.known.insert(id, None);
        let here = Found::new(id);
        let found = match (self.arena.get(id), items(self.arena, id)) {
            (Node::Opaque(call), _) if self.walk.reaches_storage(&call.parts, |_| true) => {
                return Err(call.not_made());
            }
            (_, Some(_)) if is_module(self.arena, id)? => Some(here),
            (_, Some(items)) => self.in_dict(here, items, depth)?,
            (Node::Tuple(_) | Node::List(_), _) => self.by_structure(id, depth)?,
            _ => None,
        };
        self.known.insert(id, found.clone().map(Box::new));
        Ok(found)
    }

    /// The weights under one of a dict's usual keys; if there are none, the dict itself, if it is a state
    /// dict; if it is not, the weights under any other key.
    fn in_dict(
        &mut self,
        here: Found,
        items: &[(NodeId, NodeId)],
        depth: usize,
    ) -> Result<Option<Found>, FormatError> {
        let own = items.iter().filter(|&&(_, value)| is_tensor(self.arena, value)).count();
        if let Some(mut found) = self.under_usual_keys(here.id, items, depth)? {
            found.averages.extend(self.averages(here.id, found.id, depth)?);
            self.expect_no_part(here.id, &found, depth)?;
            // A checkpoint may have a few tensors beside the weights, but fewer than the weights have.
            return match self.arena.get(found.id) {
                Node::Dict(inside) if own > 0 && own >= inside.len() => {
                    let found = format!("weights under {:?} and others beside it", found.path);
                    Err(FormatError::new(ONE_SET, found))
                }
                _ => Ok(Some(found)),
            };
        }
        if !has_layers(self.arena, items)
            && let Some(found) = self.by_structure(here.id, depth)?
        {
            return Ok(Some(found));
        }
        Ok((own > 0).then_some(here))
    }

    fn under_usual_keys(
        &mut self,
        here: NodeId,
        items: &[(NodeId, NodeId)],
        depth: usize,
    ) -> Result<Option<Found>, FormatError> {
        let named = self.weights_items(items)?;
        if depth >= MAX_DEPTH {
            return Ok(None);
        }
        if let Some(found) = self.under(&WEIGHTS_KEYS, &named, depth)? {
            return Ok(Some(found));
        }
        let average = self.under(&AVERAGE_KEYS, &named, depth)?;
        if average.is_some() {
            // With another network under a key of its own, the average may not be what is meant.
            self.by_structure(here, depth)?;
        }
        let other = named
            .iter()
            .find(|&(name, &id)| WEIGHTS_KEYS.contains(name) && !is_unrelated(self.arena.get(id)));
        match (&average, other) {
            (Some(_), Some((name, _))) => {
                let found = "other values, and an average beside them";
                Err(FormatError::new(format!("weights under {name:?}"), found))
            }
            _ => Ok(average),
        }
    }

    /// The keys of other networks in a checkpoint that are, by their keys, averages.
    fn averages(
        &mut self,
        here: NodeId,
        taken: NodeId,
        depth: usize,
    ) -> Result<Vec<String>, FormatError> {
        let mut averages = Vec::new();
        for (index, part) in key_path::containers(self.arena, here) {
            let Some(key) = key_path::part_key(self.arena, here, index) else { continue };
            if !is_average(&key) {
                continue;
            }
            let Some(inside) = self.weights(part, depth + 1)? else { continue };
            if inside.id != taken && self.is_network(inside.id)? {
                averages.push(key);
            }
        }
        Ok(averages)
    }

    /// The only network among the values of a dict, tuple or list.
    fn by_structure(&mut self, id: NodeId, depth: usize) -> Result<Option<Found>, FormatError> {
        if depth >= MAX_DEPTH {
            return Ok(None);
        }
        let mut found = None;
        for (index, part) in key_path::containers(self.arena, id) {
            let Some(inside) = self.weights(part, depth + 1)? else { continue };
            if self.is_network(inside.id)? {
                let key = key_path::part_key(self.arena, id, index).unwrap_or("?".into());
                found = Some(self.one_of(found, inside.inside(&key))?);
            }
        }
        if let Some(found) = &found {
            self.expect_no_part(id, found, depth)?;
        }
        Ok(found)
    }

    /// Refuses linear layers beside the weights, which may be the rest of the network: `{"backbone": ..., "head": ...}`.
    fn expect_no_part(
        &mut self,
        here: NodeId,
        weights: &Found,
        depth: usize,
    ) -> Result<(), FormatError> {
        let mut seen = HashSet::from([weights.id]);
        for (index, part) in key_path::containers(self.arena, here) {
            let Some(inside) = self.weights(part, depth + 1)? else { continue };
            if seen.insert(inside.id) && self.is_head(inside.id) {
                let key = key_path::part_key(self.arena, here, index).unwrap_or("?".into());
                let found =
                    format!("weights under {:?}, and linear layers under {key:?}", weights.path);
                return Err(FormatError::new(ONE_SET, found));
            }
        }
        Ok(())
    }

    /// Whether it has linear layers and no convolutions.
    fn is_head(&self, id: NodeId) -> bool {
        let tensors = tensors_of(self.arena, id).unwrap_or_default();
        let has_rank = |rank: usize| {
            tensors.iter().any(|(name, tensor)| {
                let is_weight = name == "weight" || name.ends_with(".weight");
                is_weight && tensor.shape.len() == rank
            })
        };
        has_rank(2) && !has_rank(4)
    }

    /// Whether it has layers. A loss may be a module, too, and an optimizer has tensors.
    fn is_network(&self, id: NodeId) -> Result<bool, FormatError> {
        if is_module(self.arena, id)? {
            return has_submodules(self.arena, id);
        }
        Ok(has_layers(self.arena, items(self.arena, id).unwrap_or_default()))
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
        let mut found = None;
        for name in names {
            let Some(&id) = named.get(name) else { continue };
            let Some(inside) = self.weights(id, depth + 1)? else { continue };
            found = Some(self.one_of(found, inside.inside(name))?);
        }
        Ok(found)
    }

    /// The first of two sets of weights, if they are the same.
    fn one_of(&mut self, first: Option<Found>, second: Found) -> Result<Found, FormatError> {
        let Some(first) = first else { return Ok(second) };
        if first.id == second.id || self.are_same(first.id, second.id)? {
            return Ok(first);
        }
        let found = format!("weights under {:?} and others under {:?}", first.path, second.path);
        Err(FormatError::new(ONE_SET, found))
    }

    /// Whether two sets of weights are views of the same values under the same names, as those of a module
    /// and its own state dict are.
    fn are_same(&mut self, first: NodeId, second: NodeId) -> Result<bool, FormatError> {
        self.comparisons += 1;
        if self.comparisons > MAX_COMPARISONS {
            let expected = format!("at most {MAX_COMPARISONS} copies of the weights");
            return Err(FormatError::new(expected, "more"));
        }
        let sorted = |id| {
            let mut tensors = tensors_of(self.arena, id).ok()?;
            tensors.sort_by(|(a, _), (b, _)| a.cmp(b));
            Some(tensors)
        };
        Ok(sorted(first).is_some_and(|tensors| Some(tensors) == sorted(second)))
    }
}

/// Whether a key says that its value is an average.
fn is_average(key: &str) -> bool {
    let is_word = |part: &str| AVERAGE_WORDS.iter().any(|word| part.eq_ignore_ascii_case(word));
    key.split(['_', '-', '.', ' ']).any(is_word)
}

const ONE_SET: &str =
    "one set of weights, or a key that chooses one (--key in the examples, `Weights::open_at`)";

/// Whether a value under a key of weights is something else, such as the name of the network.
fn is_unrelated(node: &Node) -> bool {
    is_plain(node) || matches!(node, Node::Opaque(_))
}
