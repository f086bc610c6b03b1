//! The ONNX file of a network.

use super::graph::graph;
use super::initializer::{Initializer, MODEL_GRAPH, field_header};
use super::messages::{ModelProto, OperatorSetIdProto, StringStringEntryProto};
use crate::architecture::{Architecture, Parameter};
use crate::atomic_file;
use crate::error::{Error, Result};
use crate::vision::Preset;
use prost::Message;
use std::fmt;
use std::io::Write;
use std::ops::Range;
use std::path::Path;

/// The version of ONNX's operators that the files use.
pub const OPSET: i64 = 17;
/// The version of the file format.
pub const IR_VERSION: i64 = 8;
/// protobuf's limit for a message, in bytes.
const MAX_BYTES: u64 = i32::MAX as u64;

/// Options of an ONNX file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ExportOptions {
    /// The height and width of the images. Default: the size that the network was designed for.
    pub input: Option<[usize; 2]>,
    /// The number of images in a batch, if it should be fixed. Default: any number, called `N` in the file.
    pub batch: Option<usize>,
    /// The preset that the weights were trained with, which is written to the file. Default: none, or, for a
    /// network with metadata, the preset there.
    pub preset: Option<Preset>,
}

/// An ONNX file without the values of the weights, which are added when it is [written](Self::write).
pub struct OnnxFile {
    network: String,
    nodes: usize,
    /// The file up to the first weight.
    head: Vec<u8>,
    /// The rest of the file.
    weights: Vec<Initializer>,
    bytes: u64,
}

impl fmt::Debug for OnnxFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { network, nodes, bytes, .. } = self;
        let mut file = f.debug_struct("OnnxFile");
        file.field("network", network).field("nodes", nodes).field("bytes", bytes);
        file.finish_non_exhaustive()
    }
}

impl OnnxFile {
    /// The file of a network.
    ///
    /// # Errors
    /// As for [`Table::walk`](crate::architecture::Table::walk), and [`Error::Setting`] for a file of more than 2 GiB, which protobuf
    /// does not allow, a batch of 0, or a preset that is not [valid](Preset::validate).
    pub fn new(architecture: &Architecture, options: &ExportOptions) -> Result<Self> {
        let error = |place: &str, expected: &str, found: String| Error::Setting {
            place: format!("{}: {place}", architecture.name),
            expected: expected.into(),
            found,
        };
        if options.batch == Some(0) {
            return Err(error("batch of the ONNX file", "at least 1", "0".into()));
        }
        let weights =
            architecture.parameters().cloned().map(Initializer::new).collect::<Result<Vec<_>>>()?;
        let [_, height, width] = architecture.input;
        let size = options.input.unwrap_or([height, width]);
        let graph = graph(architecture, size, options.batch)?;
        let (nodes, graph) = (graph.node.len(), graph.encode_to_vec());

        let weight_bytes: u64 = weights.iter().map(Initializer::bytes).sum();
        let graph_bytes = graph.len() as u64 + weight_bytes;
        let mut head = model_without_graph(architecture, options)?.encode_to_vec();
        head.extend(field_header(MODEL_GRAPH, graph_bytes));
        head.extend(graph);
        let bytes = head.len() as u64 + weight_bytes;
        if bytes > MAX_BYTES {
            let expected = format!("at most {MAX_BYTES} bytes, protobuf's limit");
            return Err(error("ONNX file", &expected, bytes.to_string()));
        }
        Ok(Self { network: architecture.name.clone(), nodes, head, weights, bytes })
    }

    /// The number of nodes in the graph.
    pub fn nodes(&self) -> usize {
        self.nodes
    }

    /// The size of the file in bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Writes the file. `values` is called as by [`export`]; only one chunk of values is in memory at a time.
    ///
    /// # Errors
    /// Those of `values`, [`Error::ValueCount`] if it returns a wrong number of values, and [`Error::Io`],
    /// with the name of the network as the path.
    pub fn write(
        &self,
        values: impl FnMut(&Parameter, Range<usize>) -> Result<Vec<f32>>,
        mut to: impl Write,
    ) -> Result<()> {
        self.write_to(Path::new(&self.network), values, &mut to)
    }

    /// `path` is for errors.
    fn write_to(
        &self,
        path: &Path,
        mut values: impl FnMut(&Parameter, Range<usize>) -> Result<Vec<f32>>,
        to: &mut dyn Write,
    ) -> Result<()> {
        let io_error = |error| Error::io(path)(error);
        to.write_all(&self.head).map_err(io_error)?;
        (self.weights.iter()).try_for_each(|weight| weight.write(&mut values, to, &io_error))?;
        to.flush().map_err(io_error)
    }
}

fn model_without_graph(architecture: &Architecture, options: &ExportOptions) -> Result<ModelProto> {
    let mut metadata = vec![
        ("network", architecture.name.clone()),
        ("num_classes", architecture.num_classes().to_string()),
    ];
    if let Some(preset) = &options.preset {
        preset.validate()?;
        let json = serde_json::to_string(preset).map_err(|error| Error::Setting {
            place: format!("preset {}", preset.name),
            expected: "a preset that can be written as JSON".into(),
            found: error.to_string(),
        })?;
        metadata.extend([("preset", preset.name.clone()), ("preprocessing", json)]);
    }
    let entry = |(key, value): (&str, String)| StringStringEntryProto { key: key.into(), value };
    Ok(ModelProto {
        ir_version: IR_VERSION,
        producer_name: env!("CARGO_PKG_NAME").into(),
        producer_version: env!("CARGO_PKG_VERSION").into(),
        graph: None,
        opset_import: vec![OperatorSetIdProto { domain: String::new(), version: OPSET }],
        metadata_props: metadata.into_iter().map(entry).collect(),
    })
}

/// Writes a network to an ONNX file, and returns what was written. `values` is called with each parameter and
/// a range of rows of its first dimension, and returns these rows, flat, in PyTorch's order.
///
/// The weights are written in [chunks](Parameter::row_chunks), so they are never all in memory. The file gets
/// its name when it is complete. Anything other than a regular file, such as `/dev/stdout`, is written to
/// directly.
///
/// # Errors
/// As for [`OnnxFile::new`] and [`OnnxFile::write`].
pub fn export(
    architecture: &Architecture,
    path: impl AsRef<Path>,
    options: &ExportOptions,
    mut values: impl FnMut(&Parameter, Range<usize>) -> Result<Vec<f32>>,
) -> Result<OnnxFile> {
    let path = path.as_ref();
    let file = OnnxFile::new(architecture, options)?;
    atomic_file::replace(path, |to| file.write_to(path, &mut values, to))?;
    Ok(file)
}
