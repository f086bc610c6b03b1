//! State dicts: dicts of tensors by their names.

use super::super::format_error::FormatError;
use super::super::limits::check_name;
use super::pickle_values::{Arena, Node, NodeId};
use super::pickled_module::check_count;
use super::tensor_description::{TensorDescription, is_tensor, tensor};
use std::collections::HashSet;

/// The end of the name that a layer's weights have in every network.
const LAYER: &str = ".weight";
/// What PyTorch names the weights of a layer that it has quantized.
const QUANTIZED: &str = "_packed_params";

/// The tensors of a state dict.
pub(super) fn state_dict(
    arena: &Arena,
    items: &[(NodeId, NodeId)],
) -> Result<Vec<(String, TensorDescription)>, FormatError> {
    check_count(items.len())?;
    let mut names = HashSet::new();
    let mut tensors = Vec::new();
    for &(key, value) in items {
        let name = arena.string(key).ok_or_else(|| {
            FormatError::new("the name of a tensor as a key", arena.get(key).kind())
        })?;
        check_name(name)?;
        if !names.insert(name) {
            return Err(FormatError::new("every tensor once", format!("{name:?} twice")));
        }
        if name.split('.').any(|part| part == QUANTIZED) {
            let expected = "floating-point weights (save the state dict from before quantization)";
            return Err(FormatError::new(expected, format!("a quantized network's {name:?}")));
        }
        if !is_beside_tensors(name, arena.get(value)) {
            tensors.push((name.to_string(), tensor(arena, name, value)?));
        }
    }
    Ok(tensors)
}

/// Whether a dict has the weights of layers, as a network's state dict has and the state of an optimizer has
/// not.
pub(super) fn has_layers(arena: &Arena, items: &[(NodeId, NodeId)]) -> bool {
    let is_layer = |key| arena.string(key).is_some_and(|name| name.ends_with(LAYER));
    items.iter().any(|&(key, value)| is_layer(key) && is_tensor(arena, value))
}

/// Whether it is a plain value beside the tensors, such as `epoch` or `arch`. Names with a dot are those of
/// something in a module, and must be tensors.
fn is_beside_tensors(name: &str, value: &Node) -> bool {
    !name.contains('.') && is_plain(value)
}

/// Whether a value is nothing that weights could be in, such as the name of a network.
pub(super) fn is_plain(value: &Node) -> bool {
    match value {
        Node::None | Node::Bool(_) | Node::Int(_) | Node::Float | Node::String(_) => true,
        Node::Dict(items) => items.is_empty(),
        _ => false,
    }
}
