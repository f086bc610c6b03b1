//! Networks as ONNX files, for every runtime that is not burn: onnxruntime, OpenVINO, TensorRT, a
//! browser.
//!
//! ```
//! use alexnet_vgg::{backend::Cpu, models::{Vgg, VggConfig}, onnx::Export, vision::Preset};
//!
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("vgg16.onnx");
//! # let config = VggConfig::vgg16().with_width(0.05);
//! # /*
//! let config = VggConfig::vgg16();
//! let path = "vgg16.onnx";
//! # */
//! let vgg: Vgg<Cpu> = config.init(&Default::default());
//! let options = Export { preset: Some(Preset::imagenet()), ..Export::default() };
//! let model = vgg.export_onnx(&path, &options)?;
//! assert_eq!(std::fs::metadata(&path)?.len(), model.bytes());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The file is one graph of opset 17, IR version 8, all in f32: `input` `[N, C, H, W]` to `logits`
//! `[N, classes]`. Nodes and the values between them are named by torchvision's keys
//! (`features.0`), with the papers' names (`conv1_1`) as their `doc_string`; the weights have
//! torchvision's names. Dropout leaves no node. `metadata_props` has `network`, `num_classes`, and,
//! if a [`Preset`] was given, its name as `preset` and all of it as JSON in `preprocessing`.
//!
//! Height and width are fixed, because the windows of the adaptive pool depend on them. Where
//! [`Network::try_forward`] gives NaN for an image that has one in it, a runtime does as it likes.
//!
//! - `graph`: the operators of a table; `pool`: the one that ONNX does not have; `messages`: the
//!   format; `stream`: the weights, written without a copy.

mod graph;
mod messages;
mod pool;
mod stream;

use crate::error::{Error, Result};
use crate::models::{Architecture, Network, Parameter};
use crate::vision::Preset;
use crate::whole_file;
use burn::tensor::backend::Backend;
use messages::{ModelProto, OperatorSetIdProto, StringStringEntryProto};
use prost::Message;
use std::fmt;
use std::io::Write;
use std::ops::Range;
use std::path::Path;
use stream::Weight;

/// The version of ONNX's operators that the files ask for.
pub const OPSET: i64 = 17;
/// The version of the file format.
pub const IR_VERSION: i64 = 8;
/// protobuf's limit for a message.
const LARGEST_FILE: u64 = i32::MAX as u64;

/// What an ONNX file is made for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Export {
    /// Height and width of the images. Default: the size that the network was designed for.
    pub input: Option<[usize; 2]>,
    /// Images in a batch, if the model should take no other number of them. Default: any number,
    /// called `N` in the file.
    pub batch: Option<usize>,
    /// The preprocessing that the weights want, to keep with them. Default: what the
    /// [network says](Network::preset).
    pub preset: Option<Preset>,
}

/// An ONNX file, complete but for the values of the weights, which are not in memory.
pub struct Model {
    network: String,
    nodes: usize,
    /// The file up to the first weight.
    head: Vec<u8>,
    /// The rest of it.
    weights: Vec<Weight>,
    bytes: u64,
}

impl fmt::Debug for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { network, nodes, bytes, .. } = self;
        let mut model = f.debug_struct("Model");
        model.field("network", network).field("nodes", nodes).field("bytes", bytes);
        model.finish_non_exhaustive()
    }
}

impl Model {
    /// The file for a table.
    ///
    /// # Errors
    /// As for [`Architecture::walk`], and [`Error::Setting`] for a file beyond 2 GiB, which protobuf
    /// does not allow, a batch of 0, or a preset that is not [valid](Preset::validate).
    pub fn new(architecture: &Architecture, options: &Export) -> Result<Self> {
        let wrong = |what: &str, expected: &str, found: String| Error::Setting {
            place: format!("{}: {what}", architecture.name),
            expected: expected.into(),
            found,
        };
        if options.batch == Some(0) {
            return Err(wrong("batch of the ONNX file", "at least 1", "0".into()));
        }
        let weights =
            architecture.parameters()?.into_iter().map(Weight::new).collect::<Result<Vec<_>>>()?;
        let [_, height, width] = architecture.input;
        let size = options.input.unwrap_or([height, width]);
        let graph = graph::graph(architecture, size, options.batch)?;
        let (nodes, graph) = (graph.node.len(), graph.encode_to_vec());

        let weight_bytes: u64 = weights.iter().map(Weight::bytes).sum();
        let graph_bytes = graph.len() as u64 + weight_bytes;
        let mut head = model(architecture, options)?.encode_to_vec();
        head.extend(stream::opening(stream::MODEL_GRAPH, graph_bytes));
        head.extend(graph);
        let bytes = head.len() as u64 + weight_bytes;
        if bytes > LARGEST_FILE {
            let expected = format!("at most {LARGEST_FILE} bytes, protobuf's limit");
            return Err(wrong("ONNX file", &expected, bytes.to_string()));
        }
        Ok(Self { network: architecture.name.clone(), nodes, head, weights, bytes })
    }

    /// Number of nodes in the graph.
    pub fn nodes(&self) -> usize {
        self.nodes
    }

    /// Length of the file.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Writes the file. `values` is asked as in [`Network::from_values`]; one piece of its answers is
    /// in memory at a time.
    ///
    /// # Errors
    /// Those of `values`, [`Error::Setting`] if it returns a wrong number of values, and
    /// [`Error::Io`], with the network's name as the file's.
    pub fn write(
        &self,
        values: impl FnMut(&Parameter, Range<usize>) -> Result<Vec<f32>>,
        mut to: impl Write,
    ) -> Result<()> {
        self.write_as(Path::new(&self.network), values, &mut to)
    }

    fn write_as(
        &self,
        path: &Path,
        mut values: impl FnMut(&Parameter, Range<usize>) -> Result<Vec<f32>>,
        to: &mut dyn Write,
    ) -> Result<()> {
        let wrap = |error| Error::io(path)(error);
        to.write_all(&self.head).map_err(wrap)?;
        (self.weights.iter()).try_for_each(|weight| weight.write(&mut values, to, &wrap))?;
        to.flush().map_err(wrap)
    }
}

/// All of the file but its graph.
fn model(architecture: &Architecture, options: &Export) -> Result<ModelProto> {
    let mut metadata = vec![
        ("network", architecture.name.clone()),
        ("num_classes", architecture.num_classes()?.to_string()),
    ];
    if let Some(preset) = &options.preset {
        preset.validate()?;
        let json = serde_json::to_string(preset).map_err(|error| Error::Setting {
            place: format!("preset {}", preset.name),
            expected: "one that JSON can say".into(),
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

impl<B: Backend> Network<B> {
    /// Writes this network as an ONNX file (see [`onnx`](crate::onnx)), and tells what was written.
    ///
    /// The weights go from the device to the file in [pieces](Parameter::pieces), never all of them
    /// through memory. The file appears under its name when it is whole; something else than a file,
    /// such as `/dev/stdout`, is written to directly.
    ///
    /// # Errors
    /// As for [`Model::new`], [`Error::Io`] and [`Error::Backend`].
    pub fn export_onnx(&self, path: impl AsRef<Path>, options: &Export) -> Result<Model> {
        let path = path.as_ref();
        let preset = options.preset.as_ref().or(self.preset()).cloned();
        let model = Model::new(self.architecture(), &Export { preset, ..options.clone() })?;
        whole_file::replace(path, |to| {
            model.write_as(path, |parameter, rows| self.values(parameter, rows), to)
        })?;
        Ok(model)
    }
}
