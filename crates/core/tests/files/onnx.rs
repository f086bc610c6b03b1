//! ONNX files: what is in them, and how they are written. The files stay in `target/tmp/onnx`, each
//! next to a safetensors file of input and logits, where `tests/python/onnx_models.py` gives them to ONNX's own
//! checker and to onnxruntime.

#[path = "../../src/onnx/messages.rs"]
mod messages;

use crate::{formula, reference};
use alexnet_vgg_core::architecture::*;
use alexnet_vgg_core::onnx::{self, ExportOptions, OnnxFile};
use alexnet_vgg_core::vision::Preset;
use alexnet_vgg_core::{Error, Result};
use messages::{Dimension, ModelProto, NodeProto, ValueInfoProto};
use prost::Message;
use safetensors::tensor::{Dtype, TensorView};
use std::collections::{HashMap, HashSet};
use std::io::{self, Write};
use std::ops::Range;
use std::path::Path;

const WIDTH: f64 = 0.1;
const CLASSES: usize = 7;

fn small(config: NetworkConfig) -> NetworkConfig {
    config.with_num_classes(CLASSES).with_width(WIDTH)
}

fn architecture(name: &str, input: [usize; 2]) -> Architecture {
    let config = NetworkConfig::by_name(name).expect("a published network");
    small(config).for_input(input).architecture().expect("valid")
}

/// A network's table after a change.
fn changed(architecture: &Architecture, change: impl Fn(&mut Table)) -> Architecture {
    let mut table = architecture.table().clone();
    change(&mut table);
    Architecture::new(table).expect("valid")
}

/// Writes the model, its input and its logits under `name`, and returns the file decoded.
fn exported(name: &str, architecture: &Architecture, options: &ExportOptions) -> ModelProto {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("onnx");
    std::fs::create_dir_all(&folder).expect("a writable folder");
    let path = folder.join(format!("{name}.onnx"));
    let file = onnx::export(architecture, &path, options, formula::values).expect("a valid model");
    write_logits(&path.with_extension("safetensors"), architecture, options);

    let bytes = std::fs::read(&path).expect("the file");
    assert_eq!(bytes.len() as u64, file.bytes(), "{name}");
    let decoded = ModelProto::decode(&*bytes).expect("protobuf");
    assert_eq!(decoded.encoded_len(), bytes.len(), "{name}: fields that are not in `messages`");
    assert_eq!(decoded.graph.as_ref().expect("a graph").node.len(), file.nodes(), "{name}");
    expect_weights(name, architecture, &decoded);
    expect_nodes(name, architecture, options, &decoded);
    decoded
}

/// An input, and the logits of the forward pass by definition.
fn write_logits(path: &Path, architecture: &Architecture, options: &ExportOptions) {
    let [channels, height, width] = architecture.input;
    let [height, width] = options.input.unwrap_or([height, width]);
    let shape = [options.batch.unwrap_or(2), channels, height, width];
    let pixels = formula::images(shape);
    let logits = reference::logits(architecture, &pixels, shape);
    let largest = logits.iter().fold(0f32, |largest, value| largest.max(value.abs()));
    assert!(largest.is_finite() && largest > 1e-3, "{}: {largest}", path.display());
    let logits_shape = [shape[0], architecture.num_classes()];
    let bytes = |values: &[f32]| values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<_>>();
    let (input, logits) = (bytes(&pixels), bytes(&logits));
    let keys: Vec<&str> = architecture.parameters().map(|p| p.key.as_str()).collect();
    let metadata = HashMap::from([
        ("parameters".to_string(), keys.join(",")),
        ("batch".to_string(), options.batch.map_or("N".into(), |batch| batch.to_string())),
    ]);
    let view = |shape: &[usize], bytes| TensorView::new(Dtype::F32, shape.into(), bytes);
    let views = [
        ("input", view(&shape, &input).expect("a tensor")),
        ("logits", view(&logits_shape, &logits).expect("a tensor")),
    ];
    safetensors::serialize_to_file(views, Some(metadata), path).expect("a writable folder");
}

/// Names, shapes and every bit, in PyTorch's order.
fn expect_weights(name: &str, architecture: &Architecture, model: &ModelProto) {
    let graph = model.graph.as_ref().expect("a graph");
    let weights: Vec<_> =
        graph.initializer.iter().filter(|tensor| !is_constant(&tensor.name)).collect();
    let parameters: Vec<_> = architecture.parameters().collect();
    assert_eq!(weights.len(), parameters.len(), "{name}");
    for (tensor, p) in weights.into_iter().zip(parameters) {
        assert_eq!(tensor.name, p.key, "{name}");
        assert_eq!(tensor.data_type, messages::FLOAT);
        assert!(tensor.dims.iter().map(|&dim| dim as usize).eq(p.shape.iter().copied()), "{p:?}");
        let values = formula::all_values(p);
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        assert!(bytes == tensor.raw_data, "{name}: {}", p.key);
    }
}

/// Constants that ONNX's operators need and the table does not have.
fn is_constant(name: &str) -> bool {
    name.starts_with("avgpool.") || name.ends_with(".apart") || name.ends_with(".together")
}

/// Every value has an origin, and the nodes are the steps, but for those that do nothing.
fn expect_nodes(
    name: &str,
    architecture: &Architecture,
    options: &ExportOptions,
    model: &ModelProto,
) {
    let graph = model.graph.as_ref().expect("a graph");
    let [channels, height, width] = architecture.input;
    let size = options.input.unwrap_or([height, width]);
    let steps = architecture.walk(size).expect("valid");
    let does_something = |step: &&Step| match step.layer {
        Layer::Dropout { .. } => false,
        Layer::AdaptiveAvgPool { .. } => step.input != step.output,
        _ => true,
    };
    let wanted = steps.iter().filter(does_something).map(|step| (&*step.key, &*step.name));
    let found = graph.node.iter().map(|node| (&*node.name, &*node.doc_string));
    let extra = ["flatten", "avgpool.narrowed"];
    let is_extra = |name: &str| {
        extra.contains(&name) || [".groups", ".of_groups"].iter().any(|end| name.ends_with(end))
    };
    assert!(wanted.eq(found.filter(|(name, _)| !is_extra(name))), "{name}");

    let constants = graph.initializer.iter().map(|tensor| tensor.name.as_str());
    let mut known: HashSet<&str> = constants.chain(["input"]).collect();
    for node in &graph.node {
        assert!(node.input.iter().all(|value| known.contains(value.as_str())), "{name}: {node:?}");
        assert!(node.output.iter().all(|value| known.insert(value)), "{name}: {node:?}");
    }
    assert!(known.contains("logits"), "{name}");
    let batch = match options.batch {
        Some(batch) => Dimension::Value(batch as i64),
        None => Dimension::Param("N".into()),
    };
    let sizes = |sizes: &[usize]| {
        let fixed = sizes.iter().map(|&size| Dimension::Value(size as i64));
        [batch.clone()].into_iter().chain(fixed).collect::<Vec<_>>()
    };
    assert_eq!(shape(&graph.input[0], "input"), sizes(&[channels, size[0], size[1]]), "{name}");
    let classes = architecture.num_classes();
    assert_eq!(shape(&graph.output[0], "logits"), sizes(&[classes]), "{name}");
}

fn shape(value: &ValueInfoProto, name: &str) -> Vec<Dimension> {
    assert_eq!(value.name, name);
    let shape = value.r#type.clone().and_then(|kind| kind.tensor_type?.shape).expect("a shape");
    shape.dim.into_iter().map(|dim| dim.value.expect("a size")).collect()
}

fn node<'a>(model: &'a ModelProto, name: &str) -> &'a NodeProto {
    let nodes = &model.graph.as_ref().expect("a graph").node;
    nodes.iter().find(|node| node.name == name).unwrap_or_else(|| panic!("no node {name}"))
}

#[test]
fn every_network_is_exported() {
    for config in NetworkConfig::all() {
        let network = small(config).architecture().expect("valid");
        let model = exported(&network.name, &network, &ExportOptions::default());
        assert_eq!((model.ir_version, model.opset_import[0].version), (8, 17));
        assert_eq!(model.producer_name, env!("CARGO_PKG_NAME"));
        let metadata = model.metadata_props.iter().map(|p| (&*p.key, &*p.value));
        assert!(metadata.eq([("network", &*network.name), ("num_classes", "7")]));
    }
}

/// Maps larger and smaller than the pool, in one direction and in both.
#[test]
fn any_size_of_image_is_exported() {
    for (network, size, operator) in [
        ("alexnet_paper", [227, 227], None),
        ("alexnet", [256, 320], Some("MatMul")),
        ("alexnet", [256, 256], Some("AveragePool")), // 7x7 to 6x6: all windows are 2x2
        ("alexnet", [63, 70], Some("MatMul")),        // 1x1
        ("vgg11_lrn", [70, 63], Some("MatMul")),
        ("vgg13_bn", [256, 320], Some("MatMul")),
        ("vgg11", [448, 224], Some("AveragePool")),
        ("vgg16_c", [32, 224], Some("MatMul")),
    ] {
        let name = format!("{network}_{}x{}", size[0], size[1]);
        let options = ExportOptions { input: Some(size), ..ExportOptions::default() };
        let model = exported(&name, &architecture(network, size), &options);
        match operator {
            Some(operator) => assert_eq!(node(&model, "avgpool").op_type, operator, "{name}"),
            None => assert_eq!(node(&model, "flatten").input, ["features.14"], "{name}"),
        }
    }
}

#[test]
fn a_batch_may_be_fixed_and_a_preset_kept() {
    let preset = Preset::caffe();
    let input = Some([64, 80]);
    let options = ExportOptions { input, batch: Some(3), preset: Some(preset.clone()) };
    let model = exported("vgg11_fixed", &architecture("vgg11", [64, 80]), &options);
    let metadata: HashMap<&str, &str> =
        model.metadata_props.iter().map(|p| (&*p.key, &*p.value)).collect();
    assert_eq!((metadata["network"], metadata["preset"]), ("vgg11", "caffe"));
    let read: Preset = serde_json::from_str(metadata["preprocessing"]).expect("JSON");
    assert_eq!(read, preset);
}

#[test]
fn custom_tables_are_exported() {
    let options = ExportOptions { input: Some([96, 96]), ..ExportOptions::default() };
    let own = Layer::Lrn { size: 3, alpha: 0.02, beta: 0.6, k: 1.5, groups: 1 };
    let is_lrn = |layer: &&mut Layer| matches!(layer, Layer::Lrn { .. });
    let lrn = changed(&architecture("alexnet_paper", [96, 96]), |table| {
        table.features.iter_mut().filter(is_lrn).for_each(|layer| *layer = own);
    });
    let model = exported("own_lrn", &lrn, &options);
    // ONNX divides the sum by the window: its alpha is 3 times the paper's.
    let found = node(&model, "features.2").attribute.iter().map(|a| (&*a.name, a.i, a.f));
    let constant = |name, value| (name, None, Some(value));
    let wanted = [constant("alpha", 0.06), constant("beta", 0.6), constant("bias", 1.5)];
    assert!(found.eq([("size", Some(3), None)].into_iter().chain(wanted)));

    let grouped = changed(&lrn, |table| {
        let Layer::Lrn { groups, .. } = &mut table.features[2] else { panic!("{table:?}") };
        *groups = 5;
    });
    let model = exported("own_lrn_of_groups", &grouped, &options);
    let constants = &model.graph.as_ref().expect("a graph").initializer;
    let shapes = constants.iter().filter(|tensor| tensor.data_type == messages::INT64);
    assert_eq!(shapes.count(), 2, "apart and together");

    let gray = AlexNetConfig::torchvision()
        .with_width(WIDTH)
        .with_in_channels(1)
        .with_activation(Activation::Tanh)
        .architecture();
    exported("own_tanh_gray", &gray.expect("valid"), &options);
    let headless = architecture("vgg13_bn", [96, 96]).without_classifier();
    let model = exported("own_features", &headless, &options);
    assert_eq!(node(&model, "flatten").output, ["logits"]);
    let dropped = changed(&architecture("vgg11", [96, 96]), |table| table.classifier.truncate(3));
    let model = exported("own_ends_in_dropout", &dropped, &options);
    assert_eq!(node(&model, "classifier.1").output, ["logits"]);
}

/// Counts the bytes that it is given.
#[derive(Default)]
struct Counter {
    bytes: u64,
    largest: usize,
    full_at: Option<u64>,
}

impl Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes += bytes.len() as u64;
        self.largest = self.largest.max(bytes.len());
        match self.full_at {
            Some(limit) if self.bytes > limit => Err(io::Error::other("full")),
            _ => Ok(bytes.len()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn zeros(p: &Parameter, rows: Range<usize>) -> Result<Vec<f32>> {
    Ok(vec![0.0; rows.len() * p.shape[1..].iter().product::<usize>()])
}

/// All of VGG19's 575 MB, and never more than a chunk of them at once.
#[test]
fn weights_are_streamed() {
    let vgg19 = VggConfig::vgg19().architecture().expect("valid");
    let file = OnnxFile::new(&vgg19, &ExportOptions::default()).expect("below the limit");
    let weights: u64 = vgg19.parameters().map(|p| p.elements() * 4).sum();
    assert!((weights..weights + 16384).contains(&file.bytes()), "{}", file.bytes());

    let mut counter = Counter::default();
    let mut asked = Vec::new();
    let values = |p: &Parameter, rows: Range<usize>| {
        asked.push((p.key.clone(), rows.clone()));
        zeros(p, rows)
    };
    file.write(values, &mut counter).expect("a writer that takes all");
    assert_eq!(counter.bytes, file.bytes());
    assert!(counter.largest <= 64 << 10, "{}", counter.largest);
    let chunks = vgg19.parameters().flat_map(|p| p.row_chunks().map(|rows| (p.key.clone(), rows)));
    assert!(chunks.eq(asked));
}

#[test]
fn what_cannot_be_written_is_an_error() {
    let vgg11 = architecture("vgg11", [224, 224]);
    let fails = |architecture: &Architecture, options: &ExportOptions, says: &str| {
        let error = OnnxFile::new(architecture, options).expect_err(says).to_string();
        assert!(error.contains(says), "{error}");
    };
    let default = ExportOptions::default();
    let wide =
        |classes| VggConfig::vgg16().with_num_classes(classes).architecture().expect("valid");
    OnnxFile::new(&wide(98_000), &default).expect("2.14e9 bytes");
    fails(&wide(98_500), &default, "vgg16: ONNX file: expected at most 2147483647 bytes");
    fails(&vgg11, &ExportOptions { input: Some([31, 32]), ..default.clone() }, "too small");
    fails(&vgg11, &ExportOptions { batch: Some(0), ..default.clone() }, "batch");
    let preset = Some(Preset { std: [0.0; 3], ..Preset::imagenet() });
    fails(&vgg11, &ExportOptions { preset, ..default.clone() }, "std");
    let pool = changed(&vgg11.without_classifier(), |table| table.pool = [1 << 30, 1]);
    fails(&pool, &default, "avgpool");

    let file = OnnxFile::new(&vgg11, &default).expect("valid");
    let too_few = |p: &Parameter, rows| zeros(p, rows).map(|values| values[1..].to_vec());
    let error = file.write(too_few, io::sink()).expect_err("too few values");
    assert!(matches!(&error, Error::ValueCount { place, .. } if place == "features.0.weight"));
    for full_at in [0, 1, 5000, file.bytes() - 1] {
        let to = Counter { full_at: Some(full_at), ..Counter::default() };
        let error = file.write(zeros, to).expect_err("a full disk");
        assert_eq!(error.to_string(), "vgg11: full");
    }
}

/// The values of the last layer are wrong, so that the error comes after the first bytes of the file.
#[test]
fn a_failed_export_leaves_nothing_behind() {
    let vgg11 = VggConfig::vgg11().with_width(0.05).with_num_classes(7).architecture();
    let vgg11 = vgg11.expect("valid");
    let options = ExportOptions::default();
    let broken = |p: &Parameter, rows: Range<usize>| {
        let mut values = zeros(p, rows)?;
        if p.key == "classifier.6.weight" {
            values.push(0.0);
        }
        Ok(values)
    };
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("model.onnx");
    let error = onnx::export(&vgg11, &path, &options, broken).expect_err("a value too many");
    assert!(error.to_string().contains("classifier.6"), "{error}");
    assert_eq!(folder.path().read_dir().expect("a folder").count(), 0);
    onnx::export(&vgg11, &path, &options, zeros).expect("a writable folder");
    assert_eq!(folder.path().read_dir().expect("a folder").count(), 1);
    let nowhere = folder.path().join("no/such/model.onnx");
    let error = onnx::export(&vgg11, &nowhere, &options, zeros).expect_err("no folder");
    assert!(matches!(&error, Error::Io { path, .. } if *path == nowhere), "{error}");
}
