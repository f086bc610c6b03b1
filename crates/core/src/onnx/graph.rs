//! The graph of a network: ONNX's operators for the layers of its table.

use super::messages::*;
use crate::architecture::{Architecture, Layer, PoolWindows, Section, Step};
use crate::error::{Error, Result};

/// The names of the graph's input and output.
const INPUT: &str = "input";
const OUTPUT: &str = "logits";
/// The name of a batch size that is known only when the model runs.
const DYNAMIC_BATCH: &str = "N";

/// The largest number of weights of all windows of the adaptive pool along a dimension: more than any network has, and
/// few enough to fit in memory.
const MAX_POOL_WEIGHTS: usize = 1 << 24;

/// The graph for images of `[height, width]`, without the weights of the network, which are written later.
pub(super) fn graph(
    architecture: &Architecture,
    [height, width]: [usize; 2],
    batch: Option<usize>,
) -> Result<GraphProto> {
    let mut chain = Chain::default();
    for step in architecture.walk([height, width])? {
        chain.layer(&step)?;
        if step.section == Section::AvgPool {
            chain.push("flatten", "Flatten", vec![int("axis", 1)?], &[]);
        }
    }
    // There always is one: every chain has a `flatten`.
    if let Some(last) = chain.nodes.last_mut() {
        last.output = vec![OUTPUT.into()];
    }
    let input = [architecture.input[0], height, width];
    Ok(GraphProto {
        node: chain.nodes,
        name: architecture.name.clone(),
        initializer: chain.constants,
        input: vec![value_info(INPUT, batch, &input)?],
        output: vec![value_info(OUTPUT, batch, &[architecture.num_classes()])?],
    })
}

/// Nodes of which each takes the output of the one before it.
#[derive(Default)]
struct Chain {
    nodes: Vec<NodeProto>,
    constants: Vec<TensorProto>,
}

impl Chain {
    /// The name of the next node's input. A node and its output have the same name.
    fn output(&self) -> &str {
        self.nodes.last().map_or(INPUT, |node| &node.name)
    }

    fn push(&mut self, name: &str, op: &str, attribute: Vec<AttributeProto>, constants: &[&str]) {
        let input = [self.output()].iter().chain(constants).map(|&name| name.into()).collect();
        self.nodes.push(NodeProto {
            input,
            output: vec![name.into()],
            name: name.into(),
            op_type: op.into(),
            attribute,
            doc_string: String::new(),
        });
    }

    /// Adds the operator of a layer. Dropout has none: it does nothing at inference.
    fn layer(&mut self, step: &Step) -> Result<()> {
        let (op, attributes) = match step.layer {
            Layer::Dropout { .. } => return Ok(()),
            Layer::Conv { kernel, stride, padding, groups, .. } => (
                "Conv",
                vec![
                    ints("kernel_shape", &[kernel; 2])?,
                    ints("strides", &[stride; 2])?,
                    ints("pads", &[padding; 4])?,
                    int("group", groups)?,
                ],
            ),
            Layer::BatchNorm => ("BatchNormalization", vec![float("epsilon", 1e-5)]),
            Layer::Relu => ("Relu", Vec::new()),
            Layer::Tanh => ("Tanh", Vec::new()),
            Layer::Lrn { .. } => return self.lrn(step),
            Layer::MaxPool { kernel, stride } => (
                "MaxPool",
                vec![ints("kernel_shape", &[kernel; 2])?, ints("strides", &[stride; 2])?],
            ),
            Layer::Linear { .. } => ("Gemm", vec![int("transB", 1)?]),
            Layer::AdaptiveAvgPool { size } => return self.adaptive_pool(step, size),
        };
        // ONNX takes the tensors of a layer in the same order as PyTorch.
        let keys: Vec<&str> = step.parameters.iter().map(|p| p.key.as_str()).collect();
        self.push(&step.key, op, attributes, &keys);
        self.describe(step);
        Ok(())
    }

    /// ONNX's LRN has no groups, so each group becomes an image of its own, by reshaping.
    fn lrn(&mut self, step: &Step) -> Result<()> {
        let Layer::Lrn { size, alpha, beta, k, groups } = step.layer else { return Ok(()) };
        let channels = step.input.channels();
        let [split, normalized, split_shape, merged_shape] =
            ["groups", "of_groups", "apart", "together"].map(|what| format!("{}.{what}", step.key));
        if groups > 1 {
            self.reshape(&split, &split_shape, channels / groups)?;
        }
        let attributes = vec![
            int("size", size)?,
            // ONNX divides the sum by the size of the window; the paper and this crate do not.
            float("alpha", alpha * size as f64),
            float("beta", beta),
            float("bias", k),
        ];
        self.push(if groups > 1 { &normalized } else { &step.key }, "LRN", attributes, &[]);
        if groups > 1 {
            self.reshape(&step.key, &merged_shape, channels)?;
        }
        self.describe(step);
        Ok(())
    }

    /// Reshapes maps to the given number of channels; the height and width stay.
    fn reshape(&mut self, name: &str, shape: &str, channels: usize) -> Result<()> {
        // -1 is inferred, 0 means unchanged.
        let dims = [-1, number(name, channels)?, 0, 0];
        let raw_data = dims.into_iter().flat_map(i64::to_le_bytes).collect();
        self.constants.push(TensorProto { raw_data, data_type: INT64, ..tensor(shape, &[4])? });
        self.push(name, "Reshape", Vec::new(), &[shape]);
        Ok(())
    }

    /// ONNX has no adaptive pool, but the size of the map is known. No node is needed if the sizes
    /// are equal, an ordinary pool if all windows are alike, and otherwise matrix products of the
    /// map with the weights of the windows, from the left and from the right.
    fn adaptive_pool(&mut self, step: &Step, size: [usize; 2]) -> Result<()> {
        let &[_, height, width] = step.input.dims() else { return Ok(()) };
        if [height, width] == size {
            return Ok(());
        }
        let rows = windows(&step.key, height, size[0])?;
        let columns = windows(&step.key, width, size[1])?;
        if let (Some([height, stride_down]), Some([width, stride_right])) =
            (rows.uniform(), columns.uniform())
        {
            let kernel = ints("kernel_shape", &[height, width])?;
            self.push(
                &step.key,
                "AveragePool",
                vec![kernel, ints("strides", &[stride_down, stride_right])?],
                &[],
            );
        } else {
            let [left, right] = ["rows", "columns"].map(|side| format!("{}.{side}", step.key));
            self.constant(&left, [rows.count, rows.length], |[i, j]| rows.weight(i, j))?;
            self.constant(&right, [columns.length, columns.count], |[i, j]| columns.weight(j, i))?;
            self.push(&format!("{}.narrowed", step.key), "MatMul", Vec::new(), &[&right]);
            self.push(&step.key, "MatMul", Vec::new(), &[&left]);
            if let Some(node) = self.nodes.last_mut() {
                node.input.reverse();
            }
        }
        self.describe(step);
        Ok(())
    }

    /// Adds the papers' name of the layer to the last node.
    fn describe(&mut self, step: &Step) {
        if let Some(node) = self.nodes.last_mut() {
            node.doc_string = step.name.clone();
        }
    }

    fn constant(
        &mut self,
        name: &str,
        shape: [usize; 2],
        value: impl Fn([usize; 2]) -> f32,
    ) -> Result<()> {
        let [rows, columns] = shape;
        let values = (0..rows).flat_map(|i| (0..columns).map(move |j| [i, j])).map(value);
        let raw_data = values.flat_map(f32::to_le_bytes).collect();
        self.constants.push(TensorProto { raw_data, ..tensor(name, &shape)? });
        Ok(())
    }
}

/// The windows of the adaptive pool along a dimension.
///
/// # Errors
/// [`Error::Setting`] if they have too many weights.
fn windows(place: &str, length: usize, count: usize) -> Result<PoolWindows> {
    match length.checked_mul(count) {
        Some(weights) if weights <= MAX_POOL_WEIGHTS => Ok(PoolWindows { length, count }),
        _ => Err(Error::Setting {
            place: format!("ONNX: {place}"),
            expected: format!(
                "a map and a pool whose sizes multiply to at most {MAX_POOL_WEIGHTS}"
            ),
            found: format!("{length} to {count}"),
        }),
    }
}

/// An f32 tensor without its values.
pub(super) fn tensor(name: &str, shape: &[usize]) -> Result<TensorProto> {
    let dims = shape.iter().map(|&dim| number(name, dim)).collect::<Result<_>>()?;
    Ok(TensorProto { dims, data_type: FLOAT, name: name.into(), raw_data: Vec::new() })
}

fn value_info(name: &str, batch: Option<usize>, dims: &[usize]) -> Result<ValueInfoProto> {
    let batch = match batch {
        Some(batch) => Dimension::Value(number(name, batch)?),
        None => Dimension::Param(DYNAMIC_BATCH.into()),
    };
    let dims = dims.iter().map(|&dim| Ok(Dimension::Value(number(name, dim)?)));
    let dim = ([Ok(batch)].into_iter().chain(dims))
        .map(|value| Ok(DimensionProto { value: Some(value?) }))
        .collect::<Result<_>>()?;
    let shape = Some(TensorShapeProto { dim });
    let tensor_type = Some(TensorTypeProto { elem_type: FLOAT, shape });
    Ok(ValueInfoProto { name: name.into(), r#type: Some(TypeProto { tensor_type }) })
}

fn float(name: &str, value: f64) -> AttributeProto {
    let r#type = AttributeType::Float.into();
    AttributeProto { name: name.into(), f: Some(value as f32), r#type, ..Default::default() }
}

fn int(name: &str, value: usize) -> Result<AttributeProto> {
    let (i, r#type) = (Some(number(name, value)?), AttributeType::Int.into());
    Ok(AttributeProto { name: name.into(), i, r#type, ..Default::default() })
}

fn ints(name: &str, values: &[usize]) -> Result<AttributeProto> {
    let ints = values.iter().map(|&value| number(name, value)).collect::<Result<_>>()?;
    let r#type = AttributeType::Ints.into();
    Ok(AttributeProto { name: name.into(), ints, r#type, ..Default::default() })
}

fn number(name: &str, value: usize) -> Result<i64> {
    i64::try_from(value).map_err(|_| Error::Setting {
        place: format!("ONNX: {name}"),
        expected: "a number below 2^63".into(),
        found: value.to_string(),
    })
}
