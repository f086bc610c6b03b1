//! A `GraphProto`: the nodes in an order in which they can be computed, the initializers, the inputs and the outputs.

use super::super::limits::MAX_TENSORS;
use super::super::protobuf::Message;
use super::node::Node;
use super::tensor::OnnxTensor;
use crate::error::Result;
use std::collections::HashMap;

/// The most nodes of a graph. Our networks have fifty, and exporters add some for constants and shapes.
const MAX_NODES: usize = 1 << 12;

#[derive(Default)]
pub(super) struct Graph<'a> {
    pub nodes: Vec<Node<'a>>,
    pub initializers: HashMap<String, OnnxTensor<'a>>,
    /// In old files, the initializers are among them.
    pub inputs: Vec<ValueInfo>,
    pub outputs: Vec<String>,
}

/// An input: its name, and its sizes as far as they are known.
pub(super) struct ValueInfo {
    pub name: String,
    pub sizes: Vec<Option<usize>>,
}

impl<'a> Graph<'a> {
    pub fn parse(message: &Message<'a>) -> Result<Self> {
        let mut graph = Self::default();
        for field in message.fields()? {
            match field.number {
                1 => graph.nodes.push(Node::parse(&message.message(&field, "NodeProto")?)?),
                5 => {
                    let inner = message.message(&field, "TensorProto")?;
                    let tensor = OnnxTensor::parse(&inner)?;
                    let name = tensor.name.clone();
                    if graph.initializers.insert(name.clone(), tensor).is_some() {
                        return Err(message.error("every tensor once", format!("{name:?} twice")));
                    }
                }
                11 => graph.inputs.push(value_info(&message.message(&field, "ValueInfoProto")?)?),
                12 => {
                    let output = value_info(&message.message(&field, "ValueInfoProto")?)?;
                    graph.outputs.push(output.name);
                }
                15 => return Err(message.error("dense weights", "a sparse tensor")),
                _ => {}
            }
            if graph.nodes.len() > MAX_NODES {
                return Err(message.error(format!("at most {MAX_NODES} nodes"), "more"));
            }
            if graph.initializers.len().max(graph.inputs.len()) > MAX_TENSORS {
                return Err(message.error(format!("at most {MAX_TENSORS} tensors"), "more"));
            }
        }
        Ok(graph)
    }
}

fn value_info(message: &Message) -> Result<ValueInfo> {
    let (mut name, mut sizes) = (None, None);
    for field in message.fields()? {
        match field.number {
            1 => message.set(&mut name, &field, message.text(&field)?)?,
            2 => {
                let kind = message.message(&field, "TypeProto")?;
                message.set(&mut sizes, &field, sizes_of_type(&kind)?)?;
            }
            _ => {}
        }
    }
    Ok(ValueInfo { name: name.unwrap_or_default(), sizes: sizes.unwrap_or_default() })
}

/// The sizes of the tensors of a `TypeProto`, which is a message in a message in a message.
fn sizes_of_type(kind: &Message) -> Result<Vec<Option<usize>>> {
    let mut sizes = Vec::new();
    for field in kind.fields()?.iter().filter(|field| field.number == 1) {
        let tensor = kind.message(field, "TypeProto.Tensor")?;
        for field in tensor.fields()?.iter().filter(|field| field.number == 2) {
            let shape = tensor.message(field, "TensorShapeProto")?;
            for field in shape.fields()?.iter().filter(|field| field.number == 1) {
                let dimension = shape.message(field, "Dimension")?;
                let fields = dimension.fields()?;
                let size = fields.iter().find(|field| field.number == 1);
                sizes.push(size.and_then(|field| dimension.size(field).ok()));
            }
        }
    }
    Ok(sizes)
}
