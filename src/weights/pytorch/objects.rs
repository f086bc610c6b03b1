//! The weights in the tree of a pickle: a state dict, a whole module, or a checkpoint that has one of
//! them inside.

use super::super::contents::expect_name;
use super::super::source::Wrong;
use super::modules::{expect_few, is_module, module};
use super::tensors::{Described, is_tensor, tensor};
use super::tree::{Arena, Id, Node};
use std::collections::{HashMap, HashSet};

/// The names under which training scripts keep the weights.
const WRAPPINGS: [&str; 13] = [
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
/// And those of their average over the training, which is taken where there is nothing else.
const AVERAGES: [&str; 6] =
    ["model_ema", "ema_model", "state_dict_ema", "ema_state_dict", "params_ema", "ema"];
/// A checkpoint in a checkpoint happens.
const DEEPEST: usize = 3;

/// The tensors by their names, and a note for the user if they were inside something.
pub(super) type Named = (Vec<(String, Described)>, Option<String>);

/// The weights in a pickle's value.
pub(super) fn named_tensors(arena: &Arena, root: Id) -> Result<Named, Wrong> {
    let mut search = Search { arena, known: HashMap::new() };
    let Some(Found { path, id }) = search.weights(root, 0)? else {
        return Err(no_weights(arena, root));
    };
    let is_module = is_module(arena, id)?;
    let tensors = match is_module {
        true => module(arena, id)?,
        false => state_dict(arena, items(arena, id).unwrap_or_default())?,
    };
    let note = match path.as_str() {
        "" if is_module => Some(format!("a whole module{}", of_class(arena, id))),
        "" => None,
        path => Some(format!("a checkpoint, its weights under {path:?}")),
    };
    Ok((tensors, note))
}

fn of_class(arena: &Arena, id: Id) -> String {
    let Node::Object { class, .. } = arena.get(id) else { return String::new() };
    match arena.get(*class) {
        Node::Global(module, name) => format!(" of class {module}.{name}"),
        _ => String::new(),
    }
}

fn no_weights(arena: &Arena, root: Id) -> Wrong {
    match (arena.get(root), items(arena, root)) {
        (Node::Dict(_), Some(items)) => {
            let keys = items.iter().take(8).filter_map(|&(key, _)| arena.text(key));
            let keys = keys.collect::<Vec<_>>().join(", ");
            let expected = format!("tensors, or a state dict under {}", WRAPPINGS.join(", "));
            Wrong::new(expected, format!("a dict of {} with the keys {keys}", items.len()))
        }
        (other, _) => Wrong::new("a state dict or a module", other.kind()),
    }
}

/// The items of a dict, or of an object of a class that is one.
fn items(arena: &Arena, id: Id) -> Option<&[(Id, Id)]> {
    match arena.get(id) {
        Node::Dict(items) | Node::Object { items, .. } => Some(items),
        _ => None,
    }
}

/// A dict of tensors or a module, and the keys that lead there, with points between.
#[derive(Clone, Debug)]
struct Found {
    path: String,
    id: Id,
}

struct Search<'a> {
    arena: &'a Arena,
    /// What was found in what was looked at: a dict may be inside others a million times.
    known: HashMap<Id, Option<Found>>,
}

impl Search<'_> {
    /// The one set of weights in a value.
    fn weights(&mut self, id: Id, depth: usize) -> Result<Option<Found>, Wrong> {
        if let Some(known) = self.known.get(&id) {
            return Ok(known.clone());
        }
        // While it is looked at: a dict may contain itself.
        self.known.insert(id, None);
        let found = match items(self.arena, id) {
            Some(_) if is_module(self.arena, id)? => Some(Found { path: String::new(), id }),
            Some(items) => self.inside(id, items, depth)?,
            None => None,
        };
        self.known.insert(id, found.clone());
        Ok(found)
    }

    /// The weights under one of a dict's keys, or, if there are none, the dict itself, if it has
    /// tensors.
    fn inside(&mut self, id: Id, items: &[(Id, Id)], depth: usize) -> Result<Option<Found>, Wrong> {
        let own = items.iter().filter(|&&(_, value)| is_tensor(self.arena, value)).count();
        let named = self.named(items)?;
        let mut found = None;
        if depth < DEEPEST {
            found = self.under(&WRAPPINGS, &named, depth)?;
            if found.is_none() {
                found = self.under(&AVERAGES, &named, depth)?;
                let other = named.iter().find(|&(name, &id)| {
                    WRAPPINGS.contains(name) && !is_nothing(self.arena.get(id))
                });
                if let (Some(_), Some((name, _))) = (&found, other) {
                    let found = "others, and an average beside them";
                    return Err(Wrong::new(format!("weights under {name:?}"), found));
                }
            }
        }
        let Some(found) = found else {
            return Ok((own > 0).then_some(Found { path: String::new(), id }));
        };
        // A checkpoint may have a tensor or two beside the weights, but not more than in them.
        match self.arena.get(found.id) {
            Node::Dict(inside) if own > 0 && own >= inside.len() => {
                let found = format!("weights under {:?} and others beside it", found.path);
                Err(Wrong::new("one set of weights", found))
            }
            _ => Ok(Some(found)),
        }
    }

    /// Those of the items that have a name which means weights.
    fn named(&self, items: &[(Id, Id)]) -> Result<HashMap<&'static str, Id>, Wrong> {
        let mut named = HashMap::new();
        for &(key, value) in items {
            let Some(key) = self.arena.text(key) else { continue };
            let mut names = WRAPPINGS.into_iter().chain(AVERAGES);
            if let Some(name) = names.find(|name| *name == key)
                && named.insert(name, value).is_some()
            {
                // Python takes the last.
                return Err(Wrong::new("every key once", format!("{name:?} twice")));
            }
        }
        Ok(named)
    }

    fn under(
        &mut self,
        names: &[&'static str],
        named: &HashMap<&'static str, Id>,
        depth: usize,
    ) -> Result<Option<Found>, Wrong> {
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
                    return Err(Wrong::new("one set of weights", found));
                }
                Some(_) => {}
                None => found = Some(Found { path, id }),
            }
        }
        Ok(found)
    }
}

/// Of what stands under a name that means weights, what is none: a network's name, say.
fn is_nothing(node: &Node) -> bool {
    match node {
        Node::None | Node::Bool(_) | Node::Int(_) | Node::Float | Node::Text(_) => true,
        Node::Dict(items) => items.is_empty(),
        _ => false,
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
