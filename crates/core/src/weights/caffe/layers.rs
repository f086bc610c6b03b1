//! What a layer of Caffe does, as a layer of a table.

use super::super::layer_chain::{ChainLayer, NO_INIT, Operation};
use super::super::protobuf::{Field, Message};
use super::super::tensor_entry::TensorEntry;
use super::blob::Blob;
use super::layer_parameter::{CaffeLayer, Settings};
use crate::architecture::Layer;
use crate::error::Result;

/// The layer, or `None` if it does nothing at inference.
pub(super) fn chain_layer(layer: &CaffeLayer) -> Result<Option<ChainLayer>> {
    let plain = |operation| Ok(Some(ChainLayer::new(&layer.name, operation)));
    match layer.kind.as_str() {
        "Dropout" => Ok(None),
        "Convolution" => convolution(layer).map(Some),
        "InnerProduct" => inner_product(layer).map(Some),
        "LRN" => plain(Operation::Layer(lrn(layer)?)),
        "Pooling" => plain(pooling(layer)?),
        "ReLU" => {
            expect_no_slope(layer)?;
            plain(Operation::Layer(Layer::Relu))
        }
        "TanH" => plain(Operation::Layer(Layer::Tanh)),
        // They change the shape, and not the order of the values.
        "Flatten" | "Reshape" => plain(Operation::Flatten),
        "Softmax" => plain(Operation::Softmax),
        kind => Err(layer.error("a kind of layer that AlexNet and VGG have", format!("{kind:?}"))),
    }
}

/// Sizes that are given once for both dimensions, or for each; in ConvolutionParameter and PoolingParameter.
#[derive(Default)]
struct Sides {
    both: Vec<usize>,
    height: Option<usize>,
    width: Option<usize>,
}

impl Sides {
    /// The size of both sides, if it is the same.
    fn square(&self, layer: &CaffeLayer, what: &str, default: Option<usize>) -> Result<usize> {
        let sides: Vec<usize> =
            self.both.iter().copied().chain(self.height).chain(self.width).collect();
        let is_clear = if self.both.is_empty() {
            self.height.is_some() == self.width.is_some()
        } else {
            self.height.is_none() && self.width.is_none() && self.both.len() <= 2
        };
        match (sides.first().copied().or(default), is_clear) {
            (Some(side), true) if sides.iter().all(|&other| other == side) => Ok(side),
            _ => Err(layer.error(format!("one {what} for both sides"), format!("{sides:?}"))),
        }
    }
}

fn settings<'b, 'a>(layer: &'b CaffeLayer<'a>, which: Settings) -> Result<&'b Message<'a>> {
    layer.settings(which).ok_or_else(|| layer.error("its settings", "none"))
}

/// The settings that all layers with a window have, by the numbers of their fields.
#[derive(Default)]
struct Window {
    kernel: Sides,
    stride: Sides,
    padding: Sides,
}

impl Window {
    fn kernel(&self, layer: &CaffeLayer) -> Result<usize> {
        self.kernel.square(layer, "kernel size", None)
    }

    fn stride(&self, layer: &CaffeLayer) -> Result<usize> {
        self.stride.square(layer, "stride", Some(1))
    }

    fn padding(&self, layer: &CaffeLayer) -> Result<usize> {
        self.padding.square(layer, "padding", Some(0))
    }
}

fn convolution(layer: &CaffeLayer) -> Result<ChainLayer> {
    let message = settings(layer, Settings::Convolution)?;
    let (mut out, mut groups, mut has_bias) = (None, None, None);
    let mut dilation = Vec::new();
    let mut window = Window::default();
    for field in message.fields()? {
        match field.number {
            1 => message.set(&mut out, &field, message.size(&field)?)?,
            2 => message.set(&mut has_bias, &field, message.number(&field)? != 0)?,
            3 => message.add_sizes(&field, &mut window.padding.both)?,
            4 => message.add_sizes(&field, &mut window.kernel.both)?,
            5 => message.set(&mut groups, &field, message.size(&field)?)?,
            6 => message.add_sizes(&field, &mut window.stride.both)?,
            9 => message.set(&mut window.padding.height, &field, message.size(&field)?)?,
            10 => message.set(&mut window.padding.width, &field, message.size(&field)?)?,
            11 => message.set(&mut window.kernel.height, &field, message.size(&field)?)?,
            12 => message.set(&mut window.kernel.width, &field, message.size(&field)?)?,
            13 => message.set(&mut window.stride.height, &field, message.size(&field)?)?,
            14 => message.set(&mut window.stride.width, &field, message.size(&field)?)?,
            16 => expect(layer, "axis 1", message.number(&field)?, 1)?,
            18 => message.add_sizes(&field, &mut dilation)?,
            _ => {}
        }
    }
    if dilation.iter().any(|&dilation| dilation != 1) {
        return Err(layer.error("a dilation of 1", format!("{dilation:?}")));
    }
    let out = out.ok_or_else(|| layer.error("the number of its outputs", "none"))?;
    let groups = groups.unwrap_or(1);
    let kernel = window.kernel(layer)?;
    let table_layer = Layer::Conv {
        out,
        kernel,
        stride: window.stride(layer)?,
        padding: window.padding(layer)?,
        groups,
        init: NO_INIT,
    };
    let weight_shape = |blob: &Blob| -> Result<Vec<usize>> {
        match blob.shape[..] {
            [first, inputs, height, width] if [first, height, width] == [out, kernel, kernel] => {
                Ok(vec![out, inputs, kernel, kernel])
            }
            _ => Err(layer.error(
                format!("weights of shape [{out}, ..., {kernel}, {kernel}]"),
                format!("{:?}", blob.shape),
            )),
        }
    };
    let tensors = tensors(layer, out, has_bias.unwrap_or(true), weight_shape)?;
    Ok(ChainLayer::of(&layer.name, table_layer, tensors))
}

fn inner_product(layer: &CaffeLayer) -> Result<ChainLayer> {
    let message = settings(layer, Settings::InnerProduct)?;
    let (mut out, mut has_bias) = (None, None);
    for field in message.fields()? {
        match field.number {
            1 => message.set(&mut out, &field, message.size(&field)?)?,
            2 => message.set(&mut has_bias, &field, message.number(&field)? != 0)?,
            5 => expect(layer, "axis 1", message.number(&field)?, 1)?,
            6 => expect(layer, "weights that are not transposed", message.number(&field)?, 0)?,
            _ => {}
        }
    }
    let out = out.ok_or_else(|| layer.error("the number of its outputs", "none"))?;
    let weight_shape =
        |blob: &Blob| -> Result<Vec<usize>> {
            match blob.shape[..] {
                [rows, inputs] | [1, 1, rows, inputs] if rows == out => Ok(vec![out, inputs]),
                _ => Err(layer
                    .error(format!("weights of shape [{out}, ...]"), format!("{:?}", blob.shape))),
            }
        };
    let tensors = tensors(layer, out, has_bias.unwrap_or(true), weight_shape)?;
    Ok(ChainLayer::of(&layer.name, Layer::Linear { out, init: NO_INIT }, tensors))
}

/// The weights and the biases.
fn tensors(
    layer: &CaffeLayer,
    out: usize,
    has_bias: bool,
    weight_shape: impl Fn(&Blob) -> Result<Vec<usize>>,
) -> Result<Vec<(&'static str, TensorEntry)>> {
    let expected = if has_bias { 2 } else { 1 };
    if layer.blobs.len() != expected {
        let expected = if has_bias { "weights and biases" } else { "weights alone" };
        return Err(layer.error(expected, format!("{} blobs", layer.blobs.len())));
    }
    let weight = Blob::parse(&layer.blobs[0])?;
    let shape = weight_shape(&weight)?;
    let mut tensors = vec![("weight", weight.entry(&layer.blobs[0], &shape)?)];
    if let Some(message) = layer.blobs.get(1) {
        tensors.push(("bias", Blob::parse(message)?.entry(message, &[out])?));
    }
    Ok(tensors)
}

/// Caffe rounds the size of the output up, and here it is rounded down. The map of the published networks at their own
/// size is the same.
fn pooling(layer: &CaffeLayer) -> Result<Operation> {
    let message = settings(layer, Settings::Pooling)?;
    let (mut method, mut is_global) = (None, None);
    let mut window = Window::default();
    for field in message.fields()? {
        match field.number {
            1 => message.set(&mut method, &field, message.number(&field)?)?,
            2 => message.add_sizes(&field, &mut window.kernel.both)?,
            3 => message.add_sizes(&field, &mut window.stride.both)?,
            4 => message.add_sizes(&field, &mut window.padding.both)?,
            5 => message.set(&mut window.kernel.height, &field, message.size(&field)?)?,
            6 => message.set(&mut window.kernel.width, &field, message.size(&field)?)?,
            7 => message.set(&mut window.stride.height, &field, message.size(&field)?)?,
            8 => message.set(&mut window.stride.width, &field, message.size(&field)?)?,
            9 => message.set(&mut window.padding.height, &field, message.size(&field)?)?,
            10 => message.set(&mut window.padding.width, &field, message.size(&field)?)?,
            12 => message.set(&mut is_global, &field, message.number(&field)? != 0)?,
            _ => {}
        }
    }
    let padding = window.padding(layer)?;
    if padding != 0 {
        return Err(layer.error("a pool without padding", format!("padding {padding}")));
    }
    match (method.unwrap_or(0), is_global.unwrap_or(false)) {
        (1, true) => Ok(Operation::GlobalAveragePool),
        (0, false) => Ok(Operation::Layer(Layer::MaxPool {
            kernel: window.kernel(layer)?,
            stride: window.stride(layer)?,
        })),
        (1, false) => Ok(Operation::AveragePool {
            kernel: [window.kernel(layer)?; 2],
            stride: [window.stride(layer)?; 2],
        }),
        (method, _) => Err(layer.error("a max pool", format!("method {method} of Caffe's"))),
    }
}

fn lrn(layer: &CaffeLayer) -> Result<Layer> {
    let (mut size, mut alpha, mut beta, mut k) = (None, None, None, None);
    // Without settings it has Caffe's defaults.
    if let Some(message) = layer.settings(Settings::Lrn) {
        for field in message.fields()? {
            match field.number {
                1 => message.set(&mut size, &field, message.size(&field)?)?,
                2 => message.set(&mut alpha, &field, message.float(&field)?)?,
                3 => message.set(&mut beta, &field, message.float(&field)?)?,
                4 => expect(layer, "LRN across channels", message.number(&field)?, 0)?,
                5 => message.set(&mut k, &field, message.float(&field)?)?,
                _ => {}
            }
        }
    }
    let size = size.unwrap_or(5);
    Ok(Layer::Lrn {
        size,
        // Caffe divides the sum by the size of the window; the paper and this crate do not.
        alpha: f64::from(alpha.unwrap_or(1.0)) / size as f64,
        beta: f64::from(beta.unwrap_or(0.75)),
        k: f64::from(k.unwrap_or(1.0)),
        groups: 1,
    })
}

fn expect_no_slope(layer: &CaffeLayer) -> Result<()> {
    let Some(message) = layer.settings(Settings::Relu) else { return Ok(()) };
    let is_slope = |field: &&Field| field.number == 1;
    for field in message.fields()?.iter().filter(is_slope) {
        let slope = message.float(field)?;
        if slope != 0.0 {
            return Err(layer.error("a ReLU without a negative slope", slope.to_string()));
        }
    }
    Ok(())
}

fn expect(layer: &CaffeLayer, expected: &str, found: u64, right: u64) -> Result<()> {
    if found == right { Ok(()) } else { Err(layer.error(expected, (found as i64).to_string())) }
}
