//! Which node follows which: each layer takes the output of the one before it, and constants.

use super::super::layer_chain::{Chain, ChainLayer, NO_INIT, Operation};
use super::super::protobuf::ProtobufFile;
use super::constants::Constants;
use super::graph::Graph;
use super::node::{Attribute, Node};
use super::operators;
use super::tensor::OnnxTensor;
use crate::architecture::Layer;
use crate::error::Result;
use std::collections::HashSet;

/// Operators that compute the shape for a Reshape.
const OF_SHAPES: [&str; 8] =
    ["Cast", "Concat", "Gather", "Mul", "ReduceProd", "Slice", "Squeeze", "Unsqueeze"];

struct Follower<'a> {
    constants: Constants<'a>,
    /// The output of the last layer.
    current: String,
    /// Values that were computed from shapes.
    shapes: HashSet<String>,
    /// The channels of each group, between the two reshapes around the LRN of groups.
    group: Option<usize>,
    /// Whether the next layer must take vectors, which Gemm does: nothing else says what a Reshape made.
    needs_gemm: bool,
    /// The matrix of the last MatMul, until it is known whether it is a linear layer.
    matrix: Option<OnnxTensor<'a>>,
    chain: Chain,
}

pub(super) fn chain<'a>(graph: Graph<'a>, file: &ProtobufFile) -> Result<Chain> {
    let Graph { nodes, initializers, inputs, outputs } = graph;
    let inputs: Vec<_> =
        inputs.into_iter().filter(|it| !initializers.contains_key(&it.name)).collect();
    let [input] = &inputs[..] else {
        return Err(file.error("one input of the graph", inputs.len().to_string()));
    };
    let size = match input.sizes[..] {
        [_, _, Some(height), Some(width)] => Some([height, width]),
        _ => None,
    };
    let mut follower = Follower {
        constants: Constants(initializers),
        current: input.name.clone(),
        shapes: HashSet::new(),
        group: None,
        needs_gemm: false,
        matrix: None,
        chain: Chain { layers: Vec::new(), input: size, has_output: true },
    };
    for node in &nodes {
        follower.add(node)?;
    }
    if outputs.len() != 1 || outputs[0] != follower.current || follower.group.is_some() {
        let expected =
            format!("one output of the graph, that of its last layer, {:?}", follower.current);
        return Err(file.error(expected, format!("{outputs:?}")));
    }
    if follower.chain.layers.is_empty() {
        return Err(file.error("the layers of a network", "none"));
    }
    Ok(follower.chain)
}

impl<'a> Follower<'a> {
    fn add(&mut self, node: &Node<'a>) -> Result<()> {
        let Some(output) = node.outputs.first().filter(|output| !output.is_empty()) else {
            return Err(node.error("an output", "none"));
        };
        if node.outputs.iter().any(|it| self.is_known(it)) {
            return Err(node.error("a new name for its output", format!("{:?}", node.outputs)));
        }
        let constant = self.constant(node)?;
        if let Some(constant) = constant {
            self.constants.0.insert(output.clone(), constant);
        } else if self.is_of_shapes(node) {
            self.shapes.insert(output.clone());
        } else {
            self.add_layer(node)?;
            self.current = output.clone();
        }
        Ok(())
    }

    fn is_known(&self, name: &str) -> bool {
        name == self.current || self.constants.has(name) || self.shapes.contains(name)
    }

    /// The value of a node that gives a constant, or the same constant under another name.
    fn constant(&self, node: &Node<'a>) -> Result<Option<OnnxTensor<'a>>> {
        if node.operator == "Identity" {
            return Ok(node.inputs.first().and_then(|name| self.constants.0.get(name)).cloned());
        }
        if node.operator != "Constant" {
            return Ok(None);
        }
        let ints = |ints| OnnxTensor::of_ints(node.message(), ints);
        let values =
            ["value", "value_int", "value_ints"].into_iter().filter_map(|it| node.attribute(it));
        match values.collect::<Vec<_>>()[..] {
            [Attribute::Tensor(tensor)] => Ok(Some(tensor.clone())),
            [Attribute::Ints(list)] => Ok(Some(ints(list.clone()))),
            [Attribute::Int(int)] => Ok(Some(ints(vec![*int]))),
            _ => Err(node.error("a constant of numbers", "something else")),
        }
    }

    /// Whether a node gives the shape of the map, or computes something from shapes.
    fn is_of_shapes(&self, node: &Node) -> bool {
        if node.operator == "Shape" {
            return node.inputs == [self.current.clone()];
        }
        let is_shape = |name: &String| self.shapes.contains(name);
        OF_SHAPES.contains(&node.operator.as_str())
            && node.inputs.iter().any(is_shape)
            && node.inputs.iter().all(|name| is_shape(name) || self.constants.has(name))
    }

    fn add_layer(&mut self, node: &Node<'a>) -> Result<()> {
        if node.operator == "Mul" && node.inputs == [self.current.clone(), self.current.clone()] {
            let found = "squares, as torch.onnx.export writes torch's LocalResponseNorm: load the weights from a \
                PyTorch file, with the name of the network";
            return Err(node.error("ONNX's LRN", found));
        }
        let is_second = node.operator == "MatMul" && node.inputs.get(1) == Some(&self.current);
        let others = node.inputs.iter().filter(|it| **it == self.current).count();
        if others != 1 || !(is_second || node.inputs.first() == Some(&self.current)) {
            return Err(node.error(
                format!(
                    "a chain: the output of the layer before it, {:?}, as its input",
                    self.current
                ),
                format!("{:?}", node.inputs),
            ));
        }
        let does_nothing = matches!(node.operator.as_str(), "Dropout" | "Identity");
        if does_nothing {
            return Ok(());
        }
        if std::mem::take(&mut self.needs_gemm) && node.operator != "Gemm" {
            return Err(
                node.error("Gemm after a Reshape whose shape is computed", "another operator")
            );
        }
        if self.group.is_some() && !matches!(node.operator.as_str(), "LRN" | "Reshape") {
            return Err(node.error("LRN after a Reshape to groups", "another operator"));
        }
        let matrix = self.matrix.take();
        match node.operator.as_str() {
            "Reshape" => self.reshape(node),
            "MatMul" if is_second => self.window_weights(node, matrix),
            "MatMul" => self.matrix(node),
            "Add" => self.add_bias(node, matrix),
            _ => {
                self.chain.layers.push(operators::layer(node, &self.constants)?);
                Ok(())
            }
        }
    }

    /// To vectors; or to the groups of an LRN and back.
    fn reshape(&mut self, node: &Node<'a>) -> Result<()> {
        node.expect_attributes(&["allowzero", "consumed_inputs", "shape"])?;
        let shape = match (node.attribute("shape"), node.inputs.get(1)) {
            (Some(Attribute::Ints(shape)), None) => shape.clone(),
            (None, Some(name)) if self.shapes.contains(name) => {
                self.needs_gemm = true;
                vec![-1, -1]
            }
            _ => self.constants.tensor(node, 1)?.ints()?,
        };
        match (shape[..].len(), self.group) {
            (2, None) => {
                self.chain.layers.push(ChainLayer::new(&node.name, Operation::Flatten));
                Ok(())
            }
            (4, group) => self.reshape_groups(node, &shape, group),
            _ => Err(node.error("a shape of two sizes", format!("{shape:?}"))),
        }
    }

    fn reshape_groups(&mut self, node: &Node, shape: &[i64], group: Option<usize>) -> Result<()> {
        let wrong =
            || node.error("groups of channels, or all channels after LRN", format!("{shape:?}"));
        let &[-1, channels, 0, 0] = shape else { return Err(wrong()) };
        node.expect_int("allowzero", 0)?;
        let channels = usize::try_from(channels).ok().filter(|&it| it > 0).ok_or_else(wrong)?;
        let all = self.channels().ok_or_else(wrong)?;
        let last = self.chain.layers.last_mut().map(|layer| &mut layer.operation);
        match (group, last) {
            (None, _) if all.is_multiple_of(channels) => self.group = Some(channels),
            (Some(group), Some(Operation::Layer(Layer::Lrn { groups, .. }))) if channels == all => {
                *groups = all / group;
                self.group = None;
            }
            _ => return Err(wrong()),
        }
        Ok(())
    }

    /// The channels of the map: the outputs of the last convolution.
    fn channels(&self) -> Option<usize> {
        self.chain.layers.iter().rev().find_map(|layer| match layer.operation {
            Operation::Layer(Layer::Conv { out, .. }) => Some(out),
            _ => None,
        })
    }

    /// A linear layer without its biases, or half of the adaptive pool.
    fn matrix(&mut self, node: &Node<'a>) -> Result<()> {
        let matrix = self.constants.tensor(node, 1)?;
        let weight = matrix.transposed()?;
        let layer = Layer::Linear { out: weight.shape()[0], init: NO_INIT };
        self.chain.layers.push(ChainLayer::of(&node.name, layer, vec![("weight", weight)]));
        self.matrix = Some(matrix.clone());
        Ok(())
    }

    fn window_weights(&mut self, node: &Node<'a>, columns: Option<OnnxTensor<'a>>) -> Result<()> {
        let columns = columns.ok_or_else(|| node.error("two matrix products", "one"))?;
        let columns = columns.entry()?;
        let rows = self.constants.tensor(node, 0)?.entry()?;
        self.chain.layers.pop();
        let operation = Operation::WindowWeights { columns, rows };
        self.chain.layers.push(ChainLayer::new(&node.name, operation));
        Ok(())
    }

    fn add_bias(&mut self, node: &Node<'a>, matrix: Option<OnnxTensor<'a>>) -> Result<()> {
        let bias = self.constants.tensor(node, 1)?.vector()?;
        match self.chain.layers.last_mut() {
            Some(layer) if matrix.is_some() => layer.tensors.push(("bias", bias)),
            _ => return Err(node.error("the biases of a linear layer", "another sum")),
        }
        Ok(())
    }
}
