//! ONNX files: a graph of operators, with the weights as its initializers. The operators must form a chain.
//!
//! - `graph`: the nodes, inputs and outputs; `node`: a node and its attributes; `tensor`: an initializer;
//! - `operators`: what a node does; `chain`: which node follows which.

mod chain;
mod constants;
mod graph;
mod node;
mod operators;
mod tensor;

use super::file_contents::FileContents;
use super::file_format::Format;
use super::file_metadata::{PRESET, preset_from_text};
use super::file_source::FileSource;
use super::protobuf::{Field, Message, ProtobufFile, Value};
use crate::error::Result;
use graph::Graph;
use std::collections::BTreeMap;

/// Fields of a `ModelProto`.
const IR_VERSION: u32 = 1;
const GRAPH: u32 = 7;
const METADATA: u32 = 14;

/// The entry in which this crate writes the preset as JSON.
const PREPROCESSING: &str = "preprocessing";
/// The longest entry of metadata that is read.
const MAX_ENTRY_BYTES: usize = 4096;

/// Whether these are the first fields of an ONNX file.
pub(super) fn is_onnx(fields: &[Field]) -> bool {
    let is_known = |field: &Field| {
        matches!(
            (field.number, &field.value),
            (IR_VERSION | 5, Value::Varint(_))
                | (2..=4 | 6..=8 | METADATA | 20 | 25 | 26, Value::Bytes(_))
        )
    };
    fields.iter().all(is_known)
        && [IR_VERSION, GRAPH].iter().all(|&it| fields.iter().any(|field| field.number == it))
}

pub(super) fn parse(source: &FileSource) -> Result<FileContents> {
    let file = ProtobufFile::new(source, Format::Onnx.name());
    let model = file.message("ModelProto");
    let (mut graph, mut preset) = (None, None);
    for field in model.fields()? {
        match field.number {
            GRAPH => {
                let message = model.message(&field, "GraphProto")?;
                model.set(&mut graph, &field, Graph::parse(&message)?)?;
            }
            METADATA => preset = preset.or(preset_of(&model.message(&field, "metadata_props")?)?),
            _ => {}
        }
    }
    let graph = graph.ok_or_else(|| model.error("a graph", "none"))?;
    let chain = chain::chain(graph, &file)?;
    let metadata = BTreeMap::from_iter(preset.map(|preset| (PRESET.to_string(), preset)));
    chain.contents(source, Format::Onnx, metadata).map(|(contents, _)| contents)
}

/// The preset in an entry that this crate wrote. Other programs may use the same key for something else.
fn preset_of(entry: &Message) -> Result<Option<String>> {
    let (mut key, mut value) = (None, None);
    for field in entry.fields()? {
        match field.number {
            1 => entry.set(&mut key, &field, field.clone())?,
            2 => entry.set(&mut value, &field, field.clone())?,
            _ => {}
        }
    }
    let text = |field: &Option<Field>| {
        let field = field.as_ref()?;
        entry.long_text(field, MAX_ENTRY_BYTES).ok()
    };
    if text(&key).as_deref() != Some(PREPROCESSING) {
        return Ok(None);
    }
    Ok(text(&value).filter(|value| preset_from_text(value).is_ok()))
}
