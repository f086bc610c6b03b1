//! What a node does, as a layer of a table.

use super::super::layer_chain::{ChainLayer, NO_INIT, Operation};
use super::super::tensor_entry::TensorEntry;
use super::constants::Constants;
use super::node::{Attribute, Node};
use crate::architecture::Layer;
use crate::error::Result;

/// Attributes of everything that has a window.
const WINDOW: [&str; 5] = ["auto_pad", "dilations", "kernel_shape", "pads", "strides"];

/// The layer of a node whose first input is the output of the layer before it.
pub(super) fn layer(node: &Node, constants: &Constants) -> Result<ChainLayer> {
    match node.operator.as_str() {
        "Conv" => convolution(node, constants),
        "Gemm" => linear(node, constants),
        "BatchNormalization" => batch_norm(node, constants),
        operator => {
            let operation = match operator {
                "Relu" => Operation::Layer(Layer::Relu),
                "Tanh" => Operation::Layer(Layer::Tanh),
                "LRN" => Operation::Layer(lrn(node)?),
                "MaxPool" => Operation::Layer(max_pool(node)?),
                "AveragePool" => average_pool(node)?,
                "GlobalAveragePool" => Operation::GlobalAveragePool,
                "Flatten" => {
                    node.expect_int("axis", 1)?;
                    Operation::Flatten
                }
                "LogSoftmax" | "Softmax" => Operation::Softmax,
                _ => {
                    return Err(node
                        .error("an operator that AlexNet and VGG have", format!("{operator:?}")));
                }
            };
            Ok(ChainLayer::new(&node.name, operation))
        }
    }
}

/// The size of both sides, if it is the same.
fn square(node: &Node, what: &str, default: &[usize]) -> Result<usize> {
    match node.sizes(what, default)?[..] {
        [height, width] if height == width => Ok(height),
        ref other => Err(node.error(format!("{what} of two equal sizes"), format!("{other:?}"))),
    }
}

/// Padding before and after, if it is the same in height and width.
fn pads(node: &Node) -> Result<[usize; 2]> {
    if let Some(Attribute::Text(kind)) = node.attribute("auto_pad")
        && !matches!(kind.as_str(), "NOTSET" | "VALID")
    {
        return Err(node.error("auto_pad of NOTSET", format!("{kind:?}")));
    }
    match node.sizes("pads", &[0; 4])?[..] {
        [top, left, bottom, right] if top == left && bottom == right => Ok([top, bottom]),
        ref other => Err(node.error("the same padding in height and width", format!("{other:?}"))),
    }
}

fn expect_no_dilation(node: &Node) -> Result<()> {
    match square(node, "dilations", &[1, 1])? {
        1 => Ok(()),
        dilation => Err(node.error("dilations of 1", dilation.to_string())),
    }
}

fn convolution(node: &Node, constants: &Constants) -> Result<ChainLayer> {
    node.expect_attributes(&[&WINDOW[..], &["group"]].concat())?;
    expect_no_dilation(node)?;
    let weight = constants.tensor(node, 1)?;
    let &[out, _, height, width] = &weight.dims[..] else {
        return Err(node.error("weights of 4 dimensions", format!("{:?}", weight.dims)));
    };
    let kernel = square(node, "kernel_shape", &[height, width])?;
    let [padding, after] = pads(node)?;
    if [height, width] != [kernel; 2] || after != padding {
        let found = format!("{height}x{width} weights, padding {padding} and {after}");
        return Err(node.error(format!("{kernel}x{kernel} weights, and equal padding"), found));
    }
    let groups = usize::try_from(node.int("group", 1)?).unwrap_or(0);
    let stride = square(node, "strides", &[1, 1])?;
    let layer = Layer::Conv { out, kernel, stride, padding, groups, init: NO_INIT };
    let mut tensors = vec![("weight", weight.entry()?)];
    tensors.extend(bias(node, constants)?);
    Ok(ChainLayer::of(&node.name, layer, tensors))
}

/// The third input, if there is one.
fn bias(node: &Node, constants: &Constants) -> Result<Option<(&'static str, TensorEntry)>> {
    match node.inputs.get(2).filter(|name| !name.is_empty()) {
        Some(_) => Ok(Some(("bias", constants.tensor(node, 2)?.vector()?))),
        None => Ok(None),
    }
}

fn linear(node: &Node, constants: &Constants) -> Result<ChainLayer> {
    node.expect_attributes(&["alpha", "beta", "broadcast", "transA", "transB"])?;
    node.expect_int("transA", 0)?;
    for factor in ["alpha", "beta"] {
        let value = node.float(factor, 1.0)?;
        if value != 1.0 {
            return Err(node.error(format!("{factor} of 1"), value.to_string()));
        }
    }
    let weight = constants.tensor(node, 1)?;
    if weight.dims.len() != 2 {
        return Err(node.error("a matrix of weights", format!("shape {:?}", weight.dims)));
    }
    let weight = if node.int("transB", 0)? == 0 { weight.transposed()? } else { weight.entry()? };
    let layer = Layer::Linear { out: weight.shape()[0], init: NO_INIT };
    let mut tensors = vec![("weight", weight)];
    tensors.extend(bias(node, constants)?);
    Ok(ChainLayer::of(&node.name, layer, tensors))
}

fn batch_norm(node: &Node, constants: &Constants) -> Result<ChainLayer> {
    node.expect_attributes(&["epsilon", "is_test", "momentum", "spatial", "training_mode"])?;
    node.expect_int("training_mode", 0)?;
    node.expect_int("spatial", 1)?;
    let epsilon = node.float("epsilon", 1e-5)?;
    if epsilon != 1e-5 {
        return Err(node.error("an epsilon of 1e-5", epsilon.to_string()));
    }
    let attributes = ["weight", "bias", "running_mean", "running_var"];
    let tensors = attributes.into_iter().enumerate();
    let tensors = tensors
        .map(|(index, attribute)| Ok((attribute, constants.tensor(node, index + 1)?.vector()?)))
        .collect::<Result<_>>()?;
    Ok(ChainLayer::of(&node.name, Layer::BatchNorm, tensors))
}

fn lrn(node: &Node) -> Result<Layer> {
    node.expect_attributes(&["alpha", "beta", "bias", "size"])?;
    let size = usize::try_from(node.int("size", 0)?).ok().filter(|&size| size > 0);
    let size = size.ok_or_else(|| node.error("a size above 0", "none"))?;
    Ok(Layer::Lrn {
        size,
        // ONNX divides the sum by the size of the window; the paper and this crate do not.
        alpha: f64::from(node.float("alpha", 1e-4)?) / size as f64,
        beta: f64::from(node.float("beta", 0.75)?),
        k: f64::from(node.float("bias", 1.0)?),
        groups: 1,
    })
}

fn max_pool(node: &Node) -> Result<Layer> {
    node.expect_attributes(&[&WINDOW[..], &["ceil_mode", "storage_order"]].concat())?;
    expect_no_dilation(node)?;
    let kernel = square(node, "kernel_shape", &[])?;
    let stride = square(node, "strides", &[1, 1])?;
    let [before, after] = pads(node)?;
    // Padding of less than a stride at the end only rounds the size of the output up, as ceil_mode does: the models that
    // were converted from Caffe have it. At the size that a network was designed for, all windows fit.
    if before > 0 || after >= stride.max(1) {
        return Err(node.error("a pool without padding", format!("padding {before} and {after}")));
    }
    Ok(Layer::MaxPool { kernel, stride })
}

fn average_pool(node: &Node) -> Result<Operation> {
    node.expect_attributes(&[&WINDOW[..], &["ceil_mode", "count_include_pad"]].concat())?;
    expect_no_dilation(node)?;
    if pads(node)? != [0, 0] {
        return Err(node.error("an average pool without padding", "padding"));
    }
    let both = |sizes: Vec<usize>| <[usize; 2]>::try_from(sizes);
    match (both(node.sizes("kernel_shape", &[])?), both(node.sizes("strides", &[1, 1])?)) {
        (Ok(kernel), Ok(stride)) => Ok(Operation::AveragePool { kernel, stride }),
        _ => Err(node.error("a kernel and a stride of two sizes", "others")),
    }
}
