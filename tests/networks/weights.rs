//! Weights from files: exactly the network's, or an error that lists every difference.

use crate::formula;
use alexnet_vgg::Error;
use alexnet_vgg::backend::Cpu as B;
use alexnet_vgg::engine::{Compiled, Precision};
use alexnet_vgg::models::*;
use alexnet_vgg::vision::{Labels, Preset};
use alexnet_vgg::weights::{Naming, SaveOptions, Weights};
use burn::tensor::{Tensor, TensorData};
use half::{bf16, f16};
use safetensors::tensor::{Dtype, TensorView};
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

/// A file's tensors before they are written.
type Tensors = BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>;

fn small() -> Architecture {
    VggConfig::vgg11_bn().with_width(0.05).with_num_classes(7).architecture()
}

fn tensors(table: &Architecture) -> Tensors {
    let bytes = |p: &Parameter| {
        formula::fill(&p.key, &p.shape, 0..p.shape[0])
            .iter()
            .flat_map(|v| v.to_le_bytes())
            .collect()
    };
    let parameters = table.parameters().expect("valid");
    parameters.iter().map(|p| (p.key.clone(), (Dtype::F32, p.shape.clone(), bytes(p)))).collect()
}

fn serialized(tensors: &Tensors, metadata: Option<HashMap<String, String>>) -> Vec<u8> {
    let view = |(name, (dtype, shape, bytes)): (&String, &(Dtype, Vec<usize>, Vec<u8>))| {
        (name.clone(), TensorView::new(*dtype, shape.clone(), bytes.leak_copy()).expect("a tensor"))
    };
    safetensors::serialize(tensors.iter().map(view), metadata).expect("serializable")
}

/// Views want to outlive the closure; the tests are short.
trait LeakCopy {
    fn leak_copy(&self) -> &'static [u8];
}

impl LeakCopy for Vec<u8> {
    fn leak_copy(&self) -> &'static [u8] {
        self.clone().leak()
    }
}

fn written(folder: &Path, bytes: &[u8]) -> PathBuf {
    let path = folder.join("weights.safetensors");
    std::fs::write(&path, bytes).expect("a writable folder");
    path
}

fn logits(network: &Network<B>) -> Vec<f32> {
    let shape = [2, 3, 70, 63];
    let images = TensorData::new(formula::fill("input", &shape, 0..2), shape);
    let logits = network.forward(Tensor::from_data(images, &Default::default()));
    logits.into_data().iter::<f32>().collect()
}

fn load(bytes: &[u8]) -> alexnet_vgg::Result<Network<B>> {
    let folder = tempfile::tempdir().expect("a folder");
    Network::load(small(), written(folder.path(), bytes), &Default::default())
}

fn differences(tensors: &Tensors) -> Vec<String> {
    match load(&serialized(tensors, None)) {
        Err(Error::WeightsMismatch { differences, network, .. }) => {
            assert_eq!(network, "vgg11_bn");
            differences
        }
        other => panic!("{:?}", other.map(|_| "loaded")),
    }
}

/// The length of the header comes first, and its bytes can be those of another format.
#[test]
fn a_header_of_any_length_is_one() {
    let header = |spaces: usize| {
        let tensor = r#""w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}"#;
        format!("{{{tensor}{}}}", " ".repeat(spaces))
    };
    // 0x80 is the first byte of a pickle, 2 to 4 its protocol.
    for length in [128, 640, 896, 1152, 1280] {
        let json = header(length - header(0).len());
        let mut bytes = (json.len() as u64).to_le_bytes().to_vec();
        bytes.extend(json.bytes().chain([0; 4]));
        let weights = Weights::from_bytes("w.safetensors", bytes).expect("a safetensors file");
        assert_eq!(weights.values("w").expect("a value"), [0.0], "{length}");
    }
}

#[test]
fn a_file_gives_the_network_it_was_made_from() {
    let network = load(&serialized(&tensors(&small()), None)).expect("the right weights");
    assert_eq!(logits(&network), logits(&formula::network(small(), &Default::default())));
}

#[test]
fn torchs_batch_counters_are_no_difference() {
    let mut all = tensors(&small());
    all.insert("features.1.num_batches_tracked".into(), (Dtype::I64, vec![], vec![0; 8]));
    load(&serialized(&all, None)).expect("as torchvision saves it");
    // ... but only where a batch norm is, and of that type.
    all.insert("features.0.num_batches_tracked".into(), (Dtype::I64, vec![], vec![0; 8]));
    all.insert("features.5.num_batches_tracked".into(), (Dtype::F32, vec![2], vec![0; 8]));
    assert_eq!(differences(&all).len(), 2);
}

#[test]
fn half_precision_becomes_f32() {
    let full = tensors(&small());
    let halved = |to_half: fn(f32) -> [u8; 2], dtype| -> Tensors {
        let convert = |bytes: &[u8]| -> Vec<u8> {
            bytes
                .as_chunks()
                .0
                .iter()
                .flat_map(|&value| to_half(f32::from_le_bytes(value)))
                .collect()
        };
        full.iter()
            .map(|(name, (_, shape, bytes))| (name.clone(), (dtype, shape.clone(), convert(bytes))))
            .collect()
    };
    let exact = logits(&formula::network(small(), &Default::default()));
    let largest = exact.iter().fold(0f32, |largest, v| largest.max(v.abs()));
    // One rounding of every weight, a relative 2^-11 and 2^-8, in ten layers.
    for (file, tolerance) in [
        (halved(|v| f16::from_f32(v).to_le_bytes(), Dtype::F16), 1e-2),
        (halved(|v| bf16::from_f32(v).to_le_bytes(), Dtype::BF16), 8e-2),
    ] {
        let ours = logits(&load(&serialized(&file, None)).expect("half precision"));
        let error = ours.iter().zip(&exact).fold(0f32, |error, (a, b)| error.max((a - b).abs()));
        assert!(error > 0.0 && error < tolerance * largest, "{error} of {largest}");
    }
}

#[test]
fn all_differences_are_in_one_error() {
    let mut all = tensors(&small());
    all.remove("features.0.weight");
    all.remove("features.0.bias");
    all.remove("classifier.6.bias");
    all.insert("classifier.7.weight".into(), (Dtype::F32, vec![1], vec![0; 4]));
    all.insert("module.features.0.weight".into(), (Dtype::F32, vec![1], vec![0; 4]));
    if let Some((_, shape, _)) = all.get_mut("classifier.3.weight") {
        shape.insert(0, 1);
    }
    if let Some((dtype, ..)) = all.get_mut("features.4.bias") {
        *dtype = Dtype::I32;
    }
    let differences = differences(&all);
    assert_eq!(differences.len(), 6, "{differences:#?}");
    for (tensor, says) in [
        ("features.0.bias", "missing"),
        ("classifier.6.bias", "missing"),
        ("classifier.7.weight", "extra"),
        ("module.features.0.weight", "expected shape [4, 3, 3, 3], found [1]"),
        ("classifier.3.weight", "expected shape"),
        ("features.4.bias", "expected F32, F16, BF16 or F64, found I32"),
    ] {
        let found = differences.iter().any(|line| line.starts_with(tensor) && line.contains(says));
        assert!(found, "{tensor}: {says} in {differences:#?}");
    }
}

#[test]
fn features_alone_must_be_asked_for() {
    let mut features = tensors(&small());
    features.retain(|name, _| name.starts_with("features."));
    assert_eq!(differences(&features).len(), 6);

    let folder = tempfile::tempdir().expect("a folder");
    let path = written(folder.path(), &serialized(&features, None));
    let device = Default::default();
    let network = Network::<B>::load_features(small(), &path, &device).expect("the features");
    let images = || {
        Tensor::<B, 4>::from_data(
            TensorData::new(formula::fill("input", &[1, 3, 40, 40], 0..1), [1, 3, 40, 40]),
            &device,
        )
    };
    let maps = |network: &Network<B>| network.features(images()).expect("maps").into_data();
    assert_eq!(maps(&network), maps(&formula::network(small(), &device)));

    // A whole file serves as well, and its classifier need not fit.
    let path = written(folder.path(), &serialized(&tensors(&small()), None));
    let ten = VggConfig::vgg11_bn().with_width(0.05).with_num_classes(10);
    assert!(Network::<B>::load(ten.clone(), &path, &device).is_err());
    let network = Network::<B>::load_features(ten, &path, &device).expect("the features");
    assert_eq!(network.forward(images()).dims(), [1, 10]);
    // A tensor missing among the features is still an error.
    features.remove("features.1.running_var");
    let path = written(folder.path(), &serialized(&features, None));
    let error =
        Network::<B>::load_features(small(), &path, &device).expect_err("missing").to_string();
    assert!(error.contains("features.1.running_var"), "{error}");
}

#[test]
fn weights_that_are_not_numbers_are_an_error() {
    for wrong in [f32::NAN, f32::INFINITY] {
        let mut all = tensors(&small());
        if let Some((_, _, bytes)) = all.get_mut("features.4.weight") {
            bytes[40..44].copy_from_slice(&wrong.to_le_bytes());
        }
        let error = load(&serialized(&all, None)).expect_err("not a number").to_string();
        assert!(error.contains("features.4.weight") && error.contains("index 10"), "{error}");
    }
    // The root of a variance below 0 would be no number either.
    let mut all = tensors(&small());
    if let Some((_, _, bytes)) = all.get_mut("features.5.running_var") {
        bytes[4..8].copy_from_slice(&(-1e-3f32).to_le_bytes());
    }
    let error = load(&serialized(&all, None)).expect_err("a negative variance").to_string();
    assert!(error.contains("features.5.running_var") && error.contains("-0.001"), "{error}");
}

#[test]
fn the_file_says_which_preset_it_wants() {
    let folder = tempfile::tempdir().expect("a folder");
    let stating = |preset: &str| {
        let metadata = HashMap::from([("preset".to_string(), preset.to_string())]);
        let bytes = serialized(&tensors(&small()), Some(metadata));
        Weights::open(written(folder.path(), &bytes)).expect("valid").preset()
    };
    assert_eq!(
        stating("caffe").expect("known").map(|preset| preset.name).as_deref(),
        Some("caffe")
    );
    assert!(matches!(stating("keras"), Err(Error::Setting { .. })));
}

#[test]
fn files_that_are_not_safetensors() {
    let whole = serialized(&tensors(&small()), None);
    let header = |json: &str, data: usize| -> Vec<u8> {
        [&(json.len() as u64).to_le_bytes()[..], json.as_bytes(), &vec![0; data]].concat()
    };
    let huge = |length: u64| [&length.to_le_bytes()[..], b"{}"].concat();
    let entry = |range: &str| {
        format!(r#""features.0.weight":{{"dtype":"F32","shape":[2],"data_offsets":{range}}}"#)
    };
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("empty", Vec::new()),
        ("7 bytes", vec![0; 7]),
        ("a header of 2^64 - 1 bytes", huge(u64::MAX)),
        ("a header of 100 MB", huge(100_000_000)),
        ("text", b"this is a text and no weights, as long as one likes".to_vec()),
        ("JSON that is no object", header("[1, 2]", 0)),
        ("half a header", header(r#"{"a":{"dtype":"F32","shape":[2],"#, 8)),
        ("an unknown type", header(r#"{"a":{"dtype":"F3","shape":[2],"data_offsets":[0,8]}}"#, 8)),
        ("a range past the end", header(&format!("{{{}}}", entry("[0,8]")), 4)),
        ("bytes to spare", header(&format!("{{{}}}", entry("[0,8]")), 9)),
        ("a range backwards", header(&format!("{{{}}}", entry("[8,0]")), 8)),
        ("a range too short for its shape", header(&format!("{{{}}}", entry("[0,4]")), 4)),
        (
            "a shape that overflows",
            header(
                r#"{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,8]}}"#,
                8,
            ),
        ),
        ("the same name twice", header(&format!("{{{},{}}}", entry("[0,8]"), entry("[0,8]")), 8)),
        ("one byte missing", whole[..whole.len() - 1].to_vec()),
        ("one byte more", [&whole[..], &[0]].concat()),
    ];
    for (name, bytes) in cases {
        match load(&bytes) {
            Err(Error::WeightsFormat { expected, found, .. }) => {
                assert!(!expected.is_empty() && !found.is_empty(), "{name}");
            }
            other => panic!("{name}: {:?}", other.map(|_| "loaded")),
        }
    }
    assert!(matches!(Weights::open("no such file"), Err(Error::Io { .. })));
    assert!(Weights::open(env!("CARGO_MANIFEST_DIR")).is_err());
}

#[test]
fn truncated_anywhere_or_a_header_byte_flipped_is_an_error_or_the_same_weights() {
    let table = AlexNetConfig::torchvision().with_width(0.001).with_num_classes(2).architecture();
    let whole = serialized(&tensors(&table), None);
    let folder = tempfile::tempdir().expect("a folder");
    let load = |bytes: &[u8]| {
        Network::<B>::load(table.clone(), written(folder.path(), bytes), &Default::default())
    };
    let right = logits(&load(&whole).expect("the right weights"));
    for cut in (0..whole.len()).step_by(1 + whole.len() / 2000) {
        assert!(load(&whole[..cut]).is_err(), "cut at {cut}");
    }
    let header = 8 + u64::from_le_bytes(whole[..8].try_into().expect("8 bytes")) as usize;
    for at in 0..header {
        let mut damaged = whole.clone();
        damaged[at] ^= 1;
        if let Ok(network) = load(&damaged) {
            assert_eq!(logits(&network), right, "byte {at} flipped");
        }
    }
}

/// Through PyTorch's format with the papers' names, and back: every value is the same.
fn there_and_back(path: &Path) {
    let folder = tempfile::tempdir().expect("a folder");
    let table = VggConfig::vgg16().architecture().without_classifier();
    let original = Weights::open(path).expect("the features");
    let (paper, back) = (folder.path().join("paper.pth"), folder.path().join("back.safetensors"));
    let options = SaveOptions { naming: Naming::Paper, ..SaveOptions::default() };
    original.convert(&table, &paper, &options).expect("disk");
    let paper = Weights::open(paper).expect("our own");
    assert_eq!(
        paper.values("conv5_3.bias").expect("512"),
        original.values("features.28.bias").expect("512")
    );
    paper.convert(&table, &back, &SaveOptions::default()).expect("disk");
    let back = Weights::open(back).expect("our own");
    for tensor in original.tensors() {
        let [ours, theirs] =
            [&back, &original].map(|weights| weights.values(tensor.name).expect("f32"));
        assert!(ours == theirs, "{}", tensor.name);
    }
}

/// Real trained weights, where they are.
#[test]
fn the_shared_features_of_vgg16_load() {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/weights/vgg16-features.safetensors");
    if !path.exists() {
        return eprintln!("skipped: no ../shared/weights/vgg16-features.safetensors");
    }
    let table = VggConfig::vgg16().architecture();
    assert!(matches!(
        Network::<B>::load(table.clone(), &path, &Default::default()),
        Err(Error::WeightsMismatch { differences, .. }) if differences.len() == 6
    ));
    // Without a classifier there is nothing partial about it.
    let bare = table.clone().without_classifier();
    let bare = Network::<B>::load(bare, &path, &Default::default()).expect("the features");
    // With one, small here, it is fresh.
    let mut table = table;
    table.classifier.truncate(2);
    table.classifier[0] = match table.classifier[0] {
        Layer::Linear { init, .. } => Layer::Linear { out: 10, init },
        other => other,
    };
    let network = Network::<B>::load_features(table, &path, &Default::default());
    let network = network.expect("the features");
    there_and_back(&path);
    let images = TensorData::new(formula::fill("input", &[1, 3, 64, 64], 0..1), [1, 3, 64, 64]);
    let images = Tensor::from_data(images, &Default::default());
    let maps = network.features(images.clone()).expect("maps");
    assert_eq!(maps.dims(), [1, 512, 2, 2]);
    let same = bare.features(images).expect("maps");
    assert_eq!(maps.to_data(), same.to_data());
    assert!(maps.into_data().iter::<f32>().any(|value| value > 0.0));
}

#[test]
fn the_preset_goes_with_the_weights() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("small.safetensors");
    let network = formula::network::<B>(small(), &Default::default());
    let load = || Network::<B>::load(small(), &path, &Default::default()).expect("ours");
    network.save(&path).expect("a writable folder");
    assert_eq!(load().preset(), None);
    load().expect_preset(&Preset::caffe()).expect("nobody knows");

    // A known one goes by its name, another as a whole.
    let own = Preset { crop: 200, name: "own".into(), ..Preset::imagenet() };
    for preset in [Preset::imagenet(), Preset::caffe(), own] {
        let network = network.clone().with_preset(preset.clone());
        network.save(&path).expect("a writable folder");
        let loaded = load();
        assert_eq!(loaded.preset(), Some(&preset));
        loaded.expect_preset(&preset).expect("the same");
        let other = Preset { std: [0.5; 3], ..preset };
        let error = loaded.expect_preset(&other).expect_err("another").to_string();
        assert!(error.contains("vgg11_bn") && error.contains(&other.name), "{error}");
    }
    let stating = |preset: &str| {
        let metadata = HashMap::from([("preset".to_string(), preset.to_string())]);
        let bytes = serialized(&tensors(&small()), Some(metadata));
        Network::<B>::load(small(), written(folder.path(), &bytes), &Default::default())
    };
    for wrong in ["{}", "{\"name\": 3}", "keras", "{"] {
        let error = stating(wrong).map(drop).expect_err(wrong);
        assert!(matches!(error, Error::Setting { .. }), "{error}");
    }
}

#[test]
fn the_labels_go_with_the_weights() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str| folder.path().join(name);
    let (path, device) = (file("small.safetensors"), Default::default());
    let days = Labels::new(["Mo", "Di", "Mi", "Do", "Fr", "Sa", "\"So\" \n日曜日"]);
    let network = formula::network::<B>(small(), &device);
    assert_eq!(network.labels(), None);
    let network = network.with_labels(days.clone());
    network.save(&path).expect("a writable folder");

    let weights = Weights::open(&path).expect("ours");
    assert_eq!(weights.labels().expect("ours"), Some(days.clone()));
    let loaded = Network::<B>::from_weights(small(), &weights, &device).expect("ours");
    assert_eq!(loaded.labels(), Some(&days));
    assert_eq!(loaded.compile(Precision::F32).expect("a network").labels(), Some(&days));
    let compiled = Compiled::from_weights(small(), &weights, Precision::F32).expect("ours");
    assert_eq!(compiled.labels(), Some(&days));
    weights
        .convert(
            &small(),
            file("half.safetensors"),
            &SaveOptions { dtype: Dtype::F16, ..SaveOptions::default() },
        )
        .expect("half");
    let half = Weights::open(file("half.safetensors")).expect("ours");
    assert_eq!(half.labels().expect("ours"), Some(days));
    // Another classifier has other classes.
    let table = VggConfig::vgg11_bn().with_width(0.05).with_num_classes(3);
    let features = Network::<B>::features_from_weights(table, &weights, &device).expect("features");
    assert_eq!(features.labels(), None);
}

#[test]
fn labels_that_do_not_fit_are_an_error() {
    let folder = tempfile::tempdir().expect("a folder");
    let stating = |labels: &str| {
        let metadata = HashMap::from([("labels".to_string(), labels.to_string())]);
        let bytes = serialized(&tensors(&small()), Some(metadata));
        let error =
            Network::<B>::load(small(), written(folder.path(), &bytes), &Default::default());
        error.map(drop).expect_err(labels).to_string()
    };
    let long = format!("[\"a\", \"{}\"]", "b".repeat(513));
    for (labels, says) in [
        ("[\"a\", \"b\"]", "labels: expected 7, one for each class of the network, found 2"),
        ("[]", "expected 7"),
        (&long, "at most 512 bytes, found bbbb"),
        ("a, b, c, d, e, f, g", "a list of names as JSON"),
        ("[1, 2, 3, 4, 5, 6, 7]", "a list of names as JSON"),
        ("{\"a\": 1}", "a list of names as JSON"),
        ("", "a list of names as JSON"),
    ] {
        let error = stating(labels);
        assert!(error.contains("weights.safetensors") && error.contains(says), "{error}");
    }
    // What could not be read again is not written.
    let network = formula::network::<B>(small(), &Default::default());
    for labels in [Labels::for_classes(8), Labels::new(vec!["c".repeat(513); 7])] {
        let path = folder.path().join("new.safetensors");
        let error = network.clone().with_labels(labels).save(&path).expect_err("not to be read");
        assert!(matches!(error, Error::Setting { .. }) && !path.exists(), "{error}");
    }
}

#[test]
fn a_save_that_fails_leaves_what_was_there() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str| folder.path().join(name);
    let device = Default::default();
    let network = formula::network::<B>(small(), &device);
    std::fs::write(file("old.pth"), "old").expect("a writable folder");
    let large = |parameter: &Parameter, rows| {
        let mut values = formula::fill(&parameter.key, &parameter.shape, rows);
        if parameter.key == "classifier.6.bias" {
            values[2] = 70_000.0;
        }
        Ok(values)
    };
    let large = Network::<B>::from_values(small(), &device, large).expect("a network");
    let f16 = SaveOptions { dtype: Dtype::F16, ..SaveOptions::default() };
    let error = large.save_as(file("old.pth"), &f16).expect_err("beyond f16").to_string();
    assert!(error.contains("classifier.6.bias") && error.contains("70000"), "{error}");
    assert_eq!(std::fs::read(file("old.pth")).expect("the old file"), b"old");

    let f64 = SaveOptions { dtype: Dtype::F64, ..SaveOptions::default() };
    assert!(matches!(network.save_as(file("a.pth"), &f64), Err(Error::Setting { .. })));
    assert!(matches!(network.save(file("weights.bin")), Err(Error::Setting { .. })));
    assert!(matches!(network.save(file("weights")), Err(Error::Setting { .. })));
    assert!(matches!(network.save(file("no/such/folder.pth")), Err(Error::Io { .. })));
    let left: Vec<_> = std::fs::read_dir(folder.path()).expect("a folder").collect();
    assert_eq!(left.len(), 1);
    network.save(file("old.pth")).expect("a writable folder");
    Network::<B>::load(small(), file("old.pth"), &device).expect("the new file");
}
