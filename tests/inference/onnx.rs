//! ONNX files: what is in them, and how they are written. The files stay in `target/tmp/onnx`, each
//! beside a safetensors file of input and logits, where `tests/python/onnx_models.py` has ONNX's own
//! checker and onnxruntime look at them.

#[path = "../../src/onnx/messages.rs"]
mod messages;

use crate::formula;
use alexnet_vgg::Error;
use alexnet_vgg::backend::Cpu as B;
use alexnet_vgg::models::*;
use alexnet_vgg::onnx::{Export, Model};
use alexnet_vgg::vision::Preset;
use burn::tensor::{Tensor, TensorData};
use messages::{Dimension, ModelProto, NodeProto, ValueInfoProto};
use prost::Message;
use safetensors::tensor::{Dtype, TensorView};
use std::collections::{HashMap, HashSet};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

const WIDTH: f64 = 0.1;
const CLASSES: usize = 7;

fn small(config: NetworkConfig) -> NetworkConfig {
    let config = config.with_num_classes(CLASSES);
    match config {
        NetworkConfig::AlexNet(config) => config.with_width(WIDTH).into(),
        NetworkConfig::Vgg(config) => config.with_width(WIDTH).into(),
    }
}

fn table(name: &str, input: [usize; 2]) -> Architecture {
    let config = NetworkConfig::by_name(name).expect("a published network");
    small(config).for_input(input).architecture()
}

/// Writes the model, its input and its logits under `name`, and gives the file decoded.
fn exported(name: &str, table: &Architecture, options: &Export) -> ModelProto {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("onnx");
    std::fs::create_dir_all(&folder).expect("a writable folder");
    let path = folder.join(format!("{name}.onnx"));
    let network: Network<B> = formula::network(table.clone(), &Default::default());
    let model = network.export_onnx(&path, options).expect("a valid model");
    write_logits(&path.with_extension("safetensors"), &network, options);

    let bytes = std::fs::read(&path).expect("the file");
    assert_eq!(bytes.len() as u64, model.bytes(), "{name}");
    let decoded = ModelProto::decode(&*bytes).expect("protobuf");
    assert_eq!(decoded.encoded_len(), bytes.len(), "{name}: fields that are not in `messages`");
    assert_eq!(decoded.graph.as_ref().expect("a graph").node.len(), model.nodes(), "{name}");
    expect_weights(name, table, &decoded);
    expect_nodes(name, table, options, &decoded);
    decoded
}

fn write_logits(path: &Path, network: &Network<B>, options: &Export) {
    let table = network.architecture();
    let [channels, height, width] = table.input;
    let [height, width] = options.input.unwrap_or([height, width]);
    let shape = [options.batch.unwrap_or(2), channels, height, width];
    let pixels = formula::fill("input", &shape, 0..shape[0]);
    let images = TensorData::new(pixels.clone(), shape);
    let logits = network.forward(Tensor::from_data(images, &Default::default()));
    let logits_shape = logits.dims();
    let logits: Vec<f32> = logits.into_data().iter::<f32>().collect();
    let largest = logits.iter().fold(0f32, |largest, value| largest.max(value.abs()));
    assert!(largest.is_finite() && largest > 1e-3, "{}: {largest}", path.display());
    let bytes = |values: &[f32]| values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<_>>();
    let (input, logits) = (bytes(&pixels), bytes(&logits));
    let keys = table.parameters().expect("valid").into_iter().map(|p| p.key);
    let metadata = HashMap::from([
        ("parameters".to_string(), keys.collect::<Vec<_>>().join(",")),
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
fn expect_weights(name: &str, table: &Architecture, model: &ModelProto) {
    let graph = model.graph.as_ref().expect("a graph");
    let weights = graph.initializer.iter().filter(|tensor| !is_constant(&tensor.name)).zip(
        table.parameters().expect("valid").into_iter().map(Some).chain(std::iter::repeat(None)),
    );
    let mut count = 0;
    for (tensor, p) in weights {
        let p = p.unwrap_or_else(|| panic!("{name}: {} too many", tensor.name));
        assert_eq!(tensor.name, p.key, "{name}");
        assert_eq!(tensor.data_type, messages::FLOAT);
        assert!(tensor.dims.iter().map(|&dim| dim as usize).eq(p.shape.iter().copied()), "{p:?}");
        let values = formula::fill(&p.key, &p.shape, 0..p.shape[0]);
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        assert!(bytes == tensor.raw_data, "{name}: {}", p.key);
        count += 1;
    }
    assert_eq!(count, table.parameters().expect("valid").len(), "{name}");
}

/// What an operator of ONNX's needs and the table does not have.
fn is_constant(name: &str) -> bool {
    name.starts_with("avgpool.") || name.ends_with(".apart") || name.ends_with(".together")
}

/// The chain is closed, and its nodes are the steps, but for those that do nothing.
fn expect_nodes(name: &str, table: &Architecture, options: &Export, model: &ModelProto) {
    let graph = model.graph.as_ref().expect("a graph");
    let [channels, height, width] = table.input;
    let size = options.input.unwrap_or([height, width]);
    let steps = table.walk(size).expect("valid");
    let does_nothing = |step: &&Step| match step.layer {
        Layer::Dropout { .. } => false,
        Layer::AdaptiveAvgPool { .. } => step.input != step.output,
        _ => true,
    };
    let wanted = steps.iter().filter(does_nothing).map(|step| (&*step.key, &*step.name));
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
    let classes = table.num_classes().expect("valid");
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
        let table = small(config).architecture();
        let model = exported(&table.name, &table, &Export::default());
        assert_eq!((model.ir_version, model.opset_import[0].version), (8, 17));
        assert_eq!(model.producer_name, env!("CARGO_PKG_NAME"));
        let metadata = model.metadata_props.iter().map(|p| (&*p.key, &*p.value));
        assert!(metadata.eq([("network", &*table.name), ("num_classes", "7")]));
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
        let options = Export { input: Some(size), ..Export::default() };
        let model = exported(&name, &table(network, size), &options);
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
    let options = Export { input, batch: Some(3), preset: Some(preset.clone()) };
    let model = exported("vgg11_fixed", &table("vgg11", [64, 80]), &options);
    let metadata: HashMap<&str, &str> =
        model.metadata_props.iter().map(|p| (&*p.key, &*p.value)).collect();
    assert_eq!((metadata["network"], metadata["preset"]), ("vgg11", "caffe"));
    let read: Preset = serde_json::from_str(metadata["preprocessing"]).expect("JSON");
    assert_eq!(read, preset);
}

#[test]
fn tables_of_ones_own_are_exported() {
    let options = Export { input: Some([96, 96]), ..Export::default() };
    let mut lrn = table("alexnet_paper", [96, 96]);
    let own = Layer::Lrn { size: 3, alpha: 0.02, beta: 0.6, k: 1.5, groups: 1 };
    let is_lrn = |layer: &&mut Layer| matches!(layer, Layer::Lrn { .. });
    lrn.features.iter_mut().filter(is_lrn).for_each(|layer| *layer = own);
    let model = exported("own_lrn", &lrn, &options);
    // ONNX divides the sum by the window: its alpha is 3 times the paper's.
    let found = node(&model, "features.2").attribute.iter().map(|a| (&*a.name, a.i, a.f));
    let constant = |name, value| (name, None, Some(value));
    let wanted = [constant("alpha", 0.06), constant("beta", 0.6), constant("bias", 1.5)];
    assert!(found.eq([("size", Some(3), None)].into_iter().chain(wanted)));

    let Layer::Lrn { groups, .. } = &mut lrn.features[2] else { panic!("{lrn:?}") };
    *groups = 5;
    let model = exported("own_lrn_of_groups", &lrn, &options);
    let constants = &model.graph.as_ref().expect("a graph").initializer;
    let shapes = constants.iter().filter(|tensor| tensor.data_type == messages::INT64);
    assert_eq!(shapes.count(), 2, "apart and together");

    let gray = AlexNetConfig::torchvision()
        .with_width(WIDTH)
        .with_in_channels(1)
        .with_activation(Activation::Tanh)
        .architecture();
    exported("own_tanh_gray", &gray, &options);
    let headless = table("vgg13_bn", [96, 96]).without_classifier();
    let model = exported("own_features", &headless, &options);
    assert_eq!(node(&model, "flatten").output, ["logits"]);
    let mut dropped = table("vgg11", [96, 96]);
    dropped.classifier.truncate(3);
    let model = exported("own_ends_in_dropout", &dropped, &options);
    assert_eq!(node(&model, "classifier.1").output, ["logits"]);
}

/// Counts what it is given and forgets it.
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

fn zeros(p: &Parameter, rows: std::ops::Range<usize>) -> alexnet_vgg::Result<Vec<f32>> {
    Ok(vec![0.0; rows.len() * p.shape[1..].iter().product::<usize>()])
}

/// All of VGG19's 575 MB, and never more than a piece of them at once.
#[test]
fn weights_are_streamed() {
    let table = VggConfig::vgg19().architecture();
    let model = Model::new(&table, &Export::default()).expect("below the limit");
    let parameters = table.parameters().expect("valid");
    let weights: u64 = parameters.iter().map(|p| p.elements() * 4).sum();
    assert!((weights..weights + 16384).contains(&model.bytes()), "{}", model.bytes());

    let mut counter = Counter::default();
    let mut asked = Vec::new();
    let values = |p: &Parameter, rows: std::ops::Range<usize>| {
        asked.push((p.key.clone(), rows.clone()));
        zeros(p, rows)
    };
    model.write(values, &mut counter).expect("a writer that takes all");
    assert_eq!(counter.bytes, model.bytes());
    assert!(counter.largest <= 64 << 10, "{}", counter.largest);
    let pieces = parameters.iter().flat_map(|p| p.pieces().map(|rows| (p.key.clone(), rows)));
    assert!(pieces.eq(asked));
}

#[test]
fn what_cannot_be_written_is_an_error() {
    let table = table("vgg11", [224, 224]);
    let fails = |table: &Architecture, options: &Export, says: &str| {
        let error = Model::new(table, options).expect_err(says).to_string();
        assert!(error.contains(says), "{error}");
    };
    let default = Export::default();
    let wide = |classes| VggConfig::vgg16().with_num_classes(classes).architecture();
    Model::new(&wide(98_000), &default).expect("2.14e9 bytes");
    fails(&wide(98_500), &default, "vgg16: ONNX file: expected at most 2147483647 bytes");
    fails(&table, &Export { input: Some([31, 32]), ..default.clone() }, "too small");
    fails(&table, &Export { batch: Some(0), ..default.clone() }, "batch");
    let preset = Some(Preset { std: [0.0; 3], ..Preset::imagenet() });
    fails(&table, &Export { preset, ..default.clone() }, "std");
    let pool = Architecture { pool: [1 << 30, 1], ..table.clone().without_classifier() };
    fails(&pool, &default, "avgpool");

    let model = Model::new(&table, &default).expect("valid");
    let too_few = |p: &Parameter, rows| zeros(p, rows).map(|values| values[1..].to_vec());
    let error = model.write(too_few, io::sink()).expect_err("too few values");
    assert!(matches!(&error, Error::Setting { place, .. } if place == "features.0.weight"));
    for full_at in [0, 1, 5000, model.bytes() - 1] {
        let to = Counter { full_at: Some(full_at), ..Counter::default() };
        let error = model.write(zeros, to).expect_err("a full disk");
        assert_eq!(error.to_string(), "vgg11: full");
    }
}

/// A network with another's record, which burn loads unchecked: the error comes after the first
/// bytes of the file.
#[test]
fn a_failed_export_leaves_nothing_behind() {
    use burn::module::Module;
    let device = Default::default();
    let network = |classes| -> Network<B> {
        formula::network(VggConfig::vgg11().with_width(0.05).with_num_classes(classes), &device)
    };
    let broken = network(7).load_record(network(9).into_record());
    let folder = tempfile::tempdir().expect("a folder");
    let path: PathBuf = folder.path().join("model.onnx");
    let error = broken.export_onnx(&path, &Export::default()).expect_err("7 rows, found 9");
    assert!(error.to_string().contains("classifier.6"), "{error}");
    assert_eq!(folder.path().read_dir().expect("a folder").count(), 0);
    network(7).export_onnx(&path, &Export::default()).expect("a writable folder");
    assert_eq!(folder.path().read_dir().expect("a folder").count(), 1);
    let nowhere = folder.path().join("no/such/model.onnx");
    let error = network(7).export_onnx(&nowhere, &Export::default()).expect_err("no folder");
    assert!(matches!(&error, Error::Io { path, .. } if *path == nowhere), "{error}");
}
