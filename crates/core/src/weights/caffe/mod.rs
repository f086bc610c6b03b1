//! Caffe's files (`.caffemodel`): a `NetParameter`, with the weights of each layer beside its settings.
//!
//! - `layer_parameter`: a layer, of the first version of the format or the second; `blob`: its weights;
//! - `layers`: what a layer does; `chain`: which layer follows which; `preprocessing`: the preset.

mod blob;
mod chain;
mod layer_parameter;
mod layers;
mod preprocessing;

use super::file_contents::FileContents;
use super::file_format::Format;
use super::file_metadata::{PRESET, preset_to_text};
use super::file_source::FileSource;
use super::protobuf::{Field, Message, ProtobufFile, Value};
use crate::error::Result;
use layer_parameter::{CaffeLayer, V1, V2};
use std::collections::BTreeMap;

/// Fields of a `NetParameter`.
const NAME: u32 = 1;
const V1_LAYERS: u32 = 2;
const INPUT: u32 = 3;
const INPUT_DIM: u32 = 4;
const FORCE_BACKWARD: u32 = 5;
const STATE: u32 = 6;
const DEBUG_INFO: u32 = 7;
const INPUT_SHAPE: u32 = 8;
const LAYER: u32 = 100;

/// The most layers of a network. Ours have fifty, and a data layer, losses, and copies of blobs.
const MAX_LAYERS: usize = 1 << 10;

/// A network as Caffe describes it.
#[derive(Default)]
struct Net<'a> {
    /// The names of the inputs, if no layer stands for them.
    inputs: Vec<String>,
    /// `[N, C, H, W]` of the inputs, one after the other.
    input_sizes: Vec<usize>,
    layers: Vec<CaffeLayer<'a>>,
}

/// Whether these are the first fields of a file of Caffe.
pub(super) fn is_caffe(fields: &[Field]) -> bool {
    let is_known = |field: &Field| {
        matches!(
            (field.number, &field.value),
            (NAME | V1_LAYERS | INPUT | INPUT_DIM | STATE | INPUT_SHAPE | LAYER, Value::Bytes(_))
                | (INPUT_DIM | FORCE_BACKWARD | DEBUG_INFO, Value::Varint(_))
        )
    };
    fields.iter().all(is_known)
        && fields.iter().any(|field| matches!(field.number, V1_LAYERS | LAYER))
}

pub(super) fn parse(source: &FileSource) -> Result<FileContents> {
    let file = ProtobufFile::new(source, Format::Caffe.name());
    let net = net(&file.message("NetParameter"))?;
    let chain = chain::chain(&net, &file)?;
    let input = chain.input;
    let (mut contents, table) = chain.contents(source, Format::Caffe, BTreeMap::new())?;
    if !contents.tensors.iter().any(|tensor| tensor.name.starts_with("classifier.")) {
        // The format does not say how many layers there are, so this may be what is left of a file that was cut.
        return Err(file.error("a whole network", "its convolutional part alone"));
    }
    let channels = contents.tensors.first().and_then(|tensor| tensor.shape().get(1)).copied();
    let preset = preprocessing::preset(&net, input, &table, &file)?;
    let preset = match channels {
        Some(3) => Some(preset),
        Some(1) => Some(preprocessing::of_gray(preset)),
        // Of other pictures there is none.
        _ => None,
    };
    if let Some(preset) = preset {
        contents.metadata.insert(PRESET.into(), preset_to_text(&preset));
    }
    Ok(contents)
}

fn net<'a>(message: &Message<'a>) -> Result<Net<'a>> {
    let mut net = Net::default();
    for field in message.fields()? {
        match field.number {
            INPUT => net.inputs.push(message.text(&field)?),
            INPUT_DIM => message.add_sizes(&field, &mut net.input_sizes)?,
            INPUT_SHAPE => {
                let shape = message.message(&field, "BlobShape")?;
                net.input_sizes.extend(blob::shape(&shape)?);
            }
            V1_LAYERS => {
                net.layers
                    .push(CaffeLayer::parse(&message.message(&field, "V1LayerParameter")?, &V1)?);
            }
            LAYER => {
                net.layers
                    .push(CaffeLayer::parse(&message.message(&field, "LayerParameter")?, &V2)?);
            }
            _ => {}
        }
        if net.layers.len() > MAX_LAYERS {
            return Err(message.error(format!("at most {MAX_LAYERS} layers"), "more"));
        }
    }
    Ok(net)
}
