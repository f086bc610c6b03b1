//! Files that hold a network and not only its tensors: Caffe's and ONNX. tests/golden/caffe.py and onnx_files.py wrote
//! the fixtures, whose weights are the formula's, and computed their logits with OpenCV and with PyTorch.

use crate::formula;
use crate::hostile::{refusal, refused};
use alexnet_vgg_core::architecture::*;
use alexnet_vgg_core::engine::{CompileOptions, Compiled};
use alexnet_vgg_core::vision::Preset;
use alexnet_vgg_core::weights::{Dtype, Format, LoadOptions, Naming, Weights};
use half::f16;
use safetensors::SafeTensors;
use std::path::{Path, PathBuf};

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden").join(name)
}

fn read(folder_name: &str, file: &str) -> Vec<u8> {
    std::fs::read(folder(folder_name).join(file)).expect("a fixture")
}

fn golden_logits(folder_name: &str, key: &str) -> Vec<f32> {
    let bytes = read(folder_name, "logits.safetensors");
    let tensors = SafeTensors::deserialize(&bytes).expect("the fixture");
    let tensor = tensors.tensor(key).expect("logits of this file");
    tensor.data().as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect()
}

/// The network that the file states, without a hint.
fn network(weights: &Weights) -> Architecture {
    let config = weights.network(None, LoadOptions::default()).unwrap_or_else(|e| panic!("{e}"));
    config.architecture().expect("valid")
}

/// Every value is the formula's.
fn expect_formula(weights: &Weights, architecture: &Architecture, place: &str) {
    let mut reader = weights.reader(architecture, LoadOptions::default()).expect("this network's");
    for parameter in architecture.parameters() {
        let found = reader.rows(parameter, 0..parameter.shape[0]).expect("values");
        assert!(found == Some(formula::all_values(parameter)), "{place}: {}", parameter.key);
    }
    assert_eq!(weights.naming(architecture).expect("this network's"), Some(Naming::Torchvision));
}

fn expect_logits(weights: &Weights, architecture: &Architecture, expected: &[f32], tolerance: f64) {
    let [channels, height, width] = architecture.input;
    let shape = [1, channels, height, width];
    let options = CompileOptions::default();
    let compiled = Compiled::from_weights(architecture, weights, LoadOptions::default(), options);
    let mut logits = vec![0.0; expected.len()];
    let compiled = compiled.expect("this network's");
    compiled.run(&formula::images(shape), shape, &mut logits).expect("valid");
    let largest = expected.iter().fold(0f32, |largest, value| largest.max(value.abs()));
    for (ours, theirs) in logits.iter().zip(expected) {
        let error = f64::from((ours - theirs).abs() / largest);
        assert!(error < tolerance, "{}: {logits:?}, not {expected:?}", architecture.name);
    }
}

#[test]
fn every_file_of_caffe_gives_its_network_to_the_bit_and_opencvs_logits() {
    let caffe = Preset::caffe;
    let at_227 = || Preset { name: "caffe at 227".into(), crop: 227, ..caffe() };
    let own =
        Preset { name: "caffe-own".into(), mean: [93.5, 104.0, 129.25], std: [2.0; 3], ..caffe() };
    for (file, name, preset) in [
        ("bvlc_alexnet", "alexnet_caffe", at_227()),
        ("caffenet", "caffenet", at_227()),
        ("vgg16", "vgg16", caffe()),
        ("vgg16_convolutional", "vgg16", caffe()),
        ("vgg19_own_mean", "vgg19", own),
    ] {
        let path = folder("caffe").join(format!("{file}.caffemodel"));
        let weights = Weights::open(path).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(weights.format(), Format::Caffe);
        let architecture = network(&weights);
        assert_eq!((&*architecture.name, architecture.num_classes()), (name, 5), "{file}");
        assert_eq!(weights.preset().expect("valid"), Some(preset), "{file}");
        expect_formula(&weights, &architecture, file);
        expect_logits(&weights, &architecture, &golden_logits("caffe", file), 1e-5);
    }
}

#[test]
fn every_onnx_file_gives_its_network_to_the_bit_and_torchs_logits() {
    for (file, name, is_exact) in [
        ("alexnet_torchscript", "alexnet", true),
        ("alexnet_dynamo", "alexnet", true),
        // Batch norm was folded into the convolutions.
        ("vgg11_bn_dynamo", "vgg11", false),
        ("vgg11_bn_torchscript", "vgg11_bn", true),
        ("vgg16-7", "vgg16", true),
        ("vgg16-12_matmul", "vgg16", true),
        ("bvlcalexnet-12", "alexnet_caffe", true),
        ("caffenet-9", "caffenet", true),
    ] {
        let file = format!("{file}.onnx");
        let weights = Weights::open(folder("onnx").join(&file)).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(weights.format(), Format::Onnx);
        let architecture = network(&weights);
        assert_eq!((&*architecture.name, architecture.num_classes()), (name, 5), "{file}");
        assert_eq!(weights.preset().expect("none"), None);
        if is_exact {
            expect_formula(&weights, &architecture, &file);
        }
        expect_logits(&weights, &architecture, &golden_logits("onnx", &file), 1e-5);
    }
    let half = Weights::open(folder("onnx").join("alexnet_f16.onnx")).expect("a graph");
    assert!(half.tensors().all(|tensor| tensor.dtype == Dtype::F16));
    for parameter in network(&half).parameters() {
        let wanted = formula::all_values(parameter).into_iter();
        let wanted: Vec<f32> = wanted.map(|value| f16::from_f32(value).to_f32()).collect();
        assert_eq!(half.values(&parameter.key).expect("values"), wanted);
    }
    for (file, says) in [
        ("refused_external_data.onnx", "onnx.save(onnx.load(IN), OUT)"),
        ("refused_lrn_of_torch.onnx", "LocalResponseNorm"),
    ] {
        refused(file, &read("onnx", file), says);
    }
}

#[cfg(feature = "onnx")]
#[test]
fn what_we_export_comes_back_to_the_bit() {
    use alexnet_vgg_core::onnx::{ExportOptions, OnnxFile};
    let back = |architecture: &Architecture, options: &ExportOptions| {
        let file = OnnxFile::new(architecture, options).expect("valid");
        let mut bytes = Vec::new();
        file.write(formula::values, &mut bytes).expect("memory");
        Weights::from_bytes("exported", bytes).unwrap_or_else(|error| panic!("{error}"))
    };
    let small = |name: &str| {
        let config = NetworkConfig::by_name(name).expect("known");
        config.with_num_classes(7).with_width(0.0625).with_in_channels(4)
    };
    for config in NetworkConfig::all() {
        let name = config.table().name;
        let architecture = small(&name).architecture().expect("valid");
        let preset = Preset { resize: 99, crop: 98, ..Preset::imagenet() };
        let options = ExportOptions { preset: Some(preset.clone()), ..ExportOptions::default() };
        let weights = back(&architecture, &options);
        assert_eq!(network(&weights).table(), architecture.table());
        assert_eq!(weights.preset().expect("valid"), Some(preset));
        expect_formula(&weights, &architecture, &name);
    }
    for head in [
        Head::linear([1, 1]),
        Head::linear([7, 7]),
        Head::new([1, 1], [20, 14]),
        Head::new([2, 2], [16]),
        Head::new([7, 7], [16, 8, 12]),
    ] {
        let config = VggConfig::vgg11().with_width(0.0625).with_num_classes(7);
        let architecture = config.with_head(head).architecture().expect("valid");
        let weights = back(&architecture, &ExportOptions::default());
        assert_eq!(network(&weights).table(), architecture.table());
        expect_formula(&weights, &architecture, "a head of its own");
    }
    // Where the adaptive pool is an average, or matrix products; and without padding.
    for (name, size) in [
        ("alexnet_paper", [227, 227]),
        ("alexnet_two_gpu", [256, 320]),
        ("alexnet", [256, 256]),
        ("vgg11", [448, 224]),
        ("vgg13_bn", [256, 320]),
        ("vgg16_c", [32, 224]),
    ] {
        let architecture = small(name).for_input(size).architecture().expect("valid");
        let options = ExportOptions { input: Some(size), ..ExportOptions::default() };
        let weights = back(&architecture, &options);
        assert_eq!(network(&weights).table(), architecture.table(), "{name} at {size:?}");
        expect_formula(&weights, &architecture, name);
    }
    let features = small("vgg13").architecture().expect("valid").without_classifier();
    let identity = back(&features, &ExportOptions::default()).identify().expect("vgg13");
    assert!(identity.features_only && identity.networks.len() == 1);
}

#[cfg(feature = "onnx")]
#[test]
fn another_chain_is_an_error_that_says_where_it_differs() {
    use alexnet_vgg_core::onnx::{ExportOptions, OnnxFile};
    let error = |table: Table| {
        let architecture = Architecture::new(table).expect("valid");
        let file = OnnxFile::new(&architecture, &ExportOptions::default()).expect("valid");
        let mut bytes = Vec::new();
        file.write(formula::values, &mut bytes).expect("memory");
        refusal("another chain", &bytes).expect("no known network")
    };
    let small = |config: VggConfig| config.with_width(0.02).with_num_classes(3).table();
    let mut table = small(VggConfig::vgg16());
    table.features[7] = Layer::Tanh;
    for part in ["the nearest is vgg13", "conv2_2 (features.7)", "found tanh"] {
        let found = error(table.clone());
        assert!(found.contains(part), "{part}: {found}");
    }
    let mut table = AlexNetConfig::paper().with_width(0.05).table();
    for layer in &mut table.features {
        if let Layer::Lrn { k, .. } = layer {
            *k = 1.5;
        }
    }
    let found = error(table);
    assert!(found.contains("k = 2") && found.contains("k = 1.5"), "{found}");
}

/// Where the values of the tensors are.
fn is_value(bytes: &[u8], weights: &Weights) -> Vec<bool> {
    let mut is_value = vec![false; bytes.len()];
    for tensor in weights.tensors() {
        let values = weights.values(tensor.name).expect("values");
        let wanted: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let at =
            bytes.windows(wanted.len()).position(|window| window == wanted).expect(tensor.name);
        is_value[at..at + wanted.len()].fill(true);
    }
    is_value
}

#[test]
fn truncated_anywhere_or_a_byte_changed_is_an_error_or_the_same_weights() {
    for (folder, file) in [
        ("caffe", "caffenet.caffemodel"),
        ("caffe", "bvlc_alexnet.caffemodel"),
        ("onnx", "alexnet_torchscript.onnx"),
        ("onnx", "caffenet-9.onnx"),
    ] {
        let whole = read(folder, file);
        let right = Weights::from_bytes(file, whole.clone()).expect("a fixture");
        let architecture = network(&right);
        let is_value = is_value(&whole, &right);
        // Caffe's files may end after each layer: without the loss, it is the same network.
        for cut in (0..whole.len()).filter(|&at| !is_value[at] || at % 101 == 0) {
            if let Ok(weights) = Weights::from_bytes("cut", whole[..cut].to_vec()) {
                let place = format!("{file} cut at {cut}");
                assert_eq!(network(&weights).table(), architecture.table(), "{place}");
                expect_formula(&weights, &architecture, &place);
            }
        }
        let mut bit = 0;
        for at in (0..whole.len()).filter(|&at| !is_value[at]) {
            let mut damaged = whole.clone();
            bit = (bit + 3) % 8;
            damaged[at] ^= 1 << bit;
            let Ok(weights) = Weights::from_bytes("damaged", damaged) else { continue };
            let Ok(config) = weights.network(None, LoadOptions::default()) else { continue };
            let place = format!("{file}: bit {bit} of byte {at}");
            assert_eq!(config.table(), *architecture.table(), "{place}");
            expect_formula(&weights, &architecture, &place);
        }
    }
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value > 0x7f {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

/// A field of bytes.
fn field(number: u64, bytes: &[u8]) -> Vec<u8> {
    [varint(number << 3 | 2), varint(bytes.len() as u64), bytes.to_vec()].concat()
}

fn number(number: u64, value: u64) -> Vec<u8> {
    [varint(number << 3), varint(value)].concat()
}

#[test]
fn absurd_messages_are_refused_soon_and_in_little_memory() {
    let caffe = |layers: &[u8]| [field(1, b"a network of Caffe"), layers.to_vec()].concat();
    let onnx = |graph: &[u8]| [number(1, 8), field(7, graph)].concat();
    let layer = |inner: &[u8]| caffe(&field(100, inner));
    let relu = [field(1, b"relu"), field(2, b"ReLU"), field(3, b"data"), field(4, b"x")].concat();
    let mut long = caffe(&[]);
    long.extend([varint(100 << 3 | 2), varint(u64::MAX)].concat());
    refused("a layer of 2^64 bytes", &long, "end inside");
    let mut deep = Vec::new();
    for _ in 0..2000 {
        deep = field(100, &deep);
    }
    refused("layers in layers", &caffe(&deep), "");
    refused("a million fields", &caffe(&number(5, 1).repeat(1 << 20)), "none of them");
    refused("many fields in a layer", &layer(&number(10, 1).repeat(200_000)), "131072 fields");
    refused("many layers", &caffe(&field(100, &relu).repeat(2000)), "1024 layers");
    refused("many numbers", &[caffe(&field(100, &relu)), field(4, &[1; 600])].concat(), "numbers");
    refused("a name twice", &layer(&[relu.clone(), field(1, b"other")].concat()), "twice");
    refused("a long name", &layer(&field(1, &[b'n'; 513])), "512 bytes");
    refused("a name that is no text", &layer(&field(1, b"\xff\xfe")), "UTF-8");
    refused("a group of proto2", &layer(&[9 << 3 | 3]), "known types");
    refused("field 0", &layer(&[0, 0]), "known types");
    refused(
        "a varint of 11 bytes",
        &layer(&[[0x50].as_slice(), &[0x80; 11]].concat()),
        "known types",
    );
    let input = field(3, b"data");
    refused("no layers", &caffe(&field(100, &[])), "");
    refused("V0 layers", &caffe(&field(2, &field(1, &[]))), "upgrade_net_proto_binary");
    let unknown = [field(1, b"a"), field(2, b"Deconvolution"), field(3, b"data"), field(4, b"b")];
    let unknown = [input.clone(), field(100, &unknown.concat())].concat();
    refused("an unknown layer", &caffe(&unknown), "Deconvolution");
    let sum = [relu.clone(), field(3, b"other")].concat();
    refused("two inputs", &caffe(&[input.clone(), field(100, &sum)].concat()), "a chain");
    let blob = |shape: &[u8], data: &[u8]| {
        let blob = [field(7, &field(1, shape)), field(5, data)].concat();
        let settings = field(106, &[number(1, 1), number(2, 0), number(4, 1)].concat());
        let head = [field(1, b"c"), field(2, b"Convolution"), field(3, b"data"), field(4, b"d")];
        let layer = [head.concat(), settings, field(7, &blob)].concat();
        caffe(&[input.clone(), field(100, &layer)].concat())
    };
    refused("too few values", &blob(&[1, 1, 1, 1], &[0; 3]), "the values of shape");
    let huge = varint(1 << 30).repeat(4);
    refused("a shape of 2^120", &blob(&huge, &[0; 4]), "the values of shape");
    refused("no values", &blob(&[0, 1, 1, 1], &[]), "the values of shape");

    let node = |inner: Vec<u8>| onnx(&[field(11, &field(1, b"x")), field(1, &inner)].concat());
    let relu = [field(1, b"x"), field(2, b"y"), field(4, b"Relu")].concat();
    refused("an empty graph", &onnx(&[]), "one input");
    refused("no output", &node(relu.clone()), "one output");
    refused("another domain", &node([relu.clone(), field(7, b"mine")].concat()), "\"mine\"");
    refused("many nodes", &onnx(&field(1, &relu).repeat(5000)), "4096 nodes");
    refused("a graph twice", &[onnx(&[]), field(7, &[])].concat(), "twice");
    let tensor = field(5, &field(8, b"w"));
    refused("a tensor twice", &onnx(&tensor.repeat(2)), "twice");
    refused("a sparse tensor", &onnx(&field(15, &[])), "sparse");
    let branch = [field(1, b"x"), field(1, b"x"), field(2, b"y"), field(4, b"Add")].concat();
    refused("a sum of layers", &node(branch), "a chain");
    let cut = onnx(&field(1, &relu));
    refused("a graph that is cut", &cut[..cut.len() - 3], "end inside");
}
