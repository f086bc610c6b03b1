//! The constants of a graph.

use super::node::Node;
use super::tensor::OnnxTensor;
use crate::error::Result;
use std::collections::HashMap;

/// The constants of a graph by their names: initializers, and nodes that give a constant.
pub(super) struct Constants<'a>(pub HashMap<String, OnnxTensor<'a>>);

impl<'a> Constants<'a> {
    /// The constant that is an input of a node.
    pub fn tensor(&self, node: &Node, input: usize) -> Result<&OnnxTensor<'a>> {
        let name = node.inputs.get(input).map_or("", String::as_str);
        self.0.get(name).ok_or_else(|| {
            node.error(format!("a constant as input {input}"), format!("{name:?}, which is none"))
        })
    }

    pub fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }
}
