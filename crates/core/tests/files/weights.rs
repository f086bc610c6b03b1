//! Weights from files are exactly the network's, or an error that lists every difference.

use crate::formula;
use alexnet_vgg_core::architecture::*;
use alexnet_vgg_core::engine::{CompileOptions, Compiled};
use alexnet_vgg_core::vision::{Labels, Preset};
use alexnet_vgg_core::weights::{LoadOptions, Naming, SaveOptions, Weights, save};
use alexnet_vgg_core::{Error, Metadata, Result};
use half::{bf16, f16};
use safetensors::tensor::{Dtype, TensorView};
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

/// A file's tensors before they are written.
type Tensors = BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>;

fn small() -> Architecture {
    let config = VggConfig::vgg11_bn().with_width(0.05).with_num_classes(7);
    config.architecture().expect("valid")
}

fn tensors(architecture: &Architecture) -> Tensors {
    let bytes =
        |p: &Parameter| formula::all_values(p).iter().flat_map(|v| v.to_le_bytes()).collect();
    let tensor = |p: &Parameter| (p.key.clone(), (Dtype::F32, p.shape.clone(), bytes(p)));
    architecture.parameters().map(tensor).collect()
}

fn serialized(tensors: &Tensors, metadata: Option<HashMap<String, String>>) -> Vec<u8> {
    let views = tensors.iter().map(|(name, (dtype, shape, bytes))| {
        (name, TensorView::new(*dtype, shape.clone(), bytes).expect("a tensor"))
    });
    safetensors::serialize(views, metadata).expect("serializable")
}

/// The small network's tensors in a file with one entry of metadata.
fn stating(key: &str, value: &str) -> Vec<u8> {
    serialized(&tensors(&small()), Some(HashMap::from([network(), (key.into(), value.into())])))
}

/// The entry of metadata by which a file is known to be ours.
fn network() -> (String, String) {
    ("network".into(), "vgg11_bn".into())
}

fn written(folder: &Path, bytes: &[u8]) -> PathBuf {
    let path = folder.join("weights.safetensors");
    std::fs::write(&path, bytes).expect("a writable folder");
    path
}

fn logits(network: &Compiled) -> Vec<f32> {
    let shape = [2, 3, 70, 63];
    let mut logits = vec![0.0; 2 * network.architecture().num_classes()];
    network.run(&formula::images(shape), shape, &mut logits).expect("valid");
    logits
}

fn load(bytes: &[u8]) -> Result<Compiled> {
    let folder = tempfile::tempdir().expect("a folder");
    Compiled::load(small(), written(folder.path(), bytes), CompileOptions::default())
}

fn with_formula(architecture: &Architecture) -> Compiled {
    formula::compiled(architecture, CompileOptions::default())
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

/// Other programs have entries of the same names, with something else in them.
#[test]
fn metadata_of_other_programs_is_a_notice() {
    let eight = r#"["a", "b", "c", "d", "e", "f", "g", "h"]"#;
    for (key, value, says) in [
        ("preset", "fast", "fast"),
        ("preset", "{\"name\": 3}", "a preset as JSON"),
        ("labels", "cat, dog", "a list of names as JSON"),
        ("labels", "{\"0\": \"cat\"}", "a list of names as JSON"),
        ("labels", eight, "expected 7, one for each class of the network, found 8"),
    ] {
        let metadata = HashMap::from([(key.to_string(), value.to_string())]);
        let theirs = serialized(&tensors(&small()), Some(metadata));
        let weights = Weights::from_bytes("theirs", theirs.clone()).expect("a right file");
        let notices = weights.notices();
        assert_eq!(notices.len(), 1);
        assert!(notices[0].contains(says) && notices[0].contains("theirs"), "{notices:?}");
        assert_eq!(weights.preset().expect("not ours"), None);
        assert_eq!(weights.labels().expect("not ours"), None);
        let loaded = load(&theirs).expect("right weights");
        assert_eq!(*loaded.metadata(), Metadata::default());
    }
    let ours = Weights::from_bytes("ours", stating("preset", "caffe")).expect("a right file");
    assert!(ours.notices().is_empty());
}

/// Dropout counts as a layer, so the numbers depend on where it is.
#[test]
fn linear_layers_may_have_other_numbers() {
    let config = AlexNetConfig::torchvision().with_width(0.05).with_num_classes(7);
    let alexnet = config.architecture().expect("valid");
    for (network, own) in [(small(), [0, 3, 6]), (alexnet, [1, 4, 6])] {
        let expected = logits(&with_formula(&network));
        // torchvision 0.1, and networks that were trained with Caffe; torchvision's; without dropout.
        for numbers in [[1, 4, 6], [0, 3, 6], [0, 2, 4], [1, 3, 5], [10, 12, 14]] {
            let renamed = renumbered(&tensors(&network), own, numbers);
            let weights =
                Weights::from_bytes("renamed", serialized(&renamed, None)).expect("a file");
            let found = weights.network(Some(&by_name(&network)), LoadOptions::default());
            let found = found.expect("this network").architecture().expect("valid");
            let options = (LoadOptions::default(), CompileOptions::default());
            let loaded = Compiled::from_weights(&found, &weights, options.0, options.1);
            assert_eq!(logits(&loaded.expect("loads")), expected, "{numbers:?}");
        }
    }
    // Where there is no room for an activation, it is another network.
    let differences = differences(&renumbered(&tensors(&small()), [0, 3, 6], [0, 1, 2]));
    assert!(
        differences.iter().any(|it| it.contains("classifier.1.weight: extra")),
        "{differences:?}"
    );
}

fn by_name(architecture: &Architecture) -> NetworkConfig {
    NetworkConfig::by_name(&architecture.name).expect("a known network")
}

/// The tensors with other numbers of the linear layers.
fn renumbered(tensors: &Tensors, own: [usize; 3], numbers: [usize; 3]) -> Tensors {
    let rename = |name: &String| {
        let number = |at: &usize| name.starts_with(&format!("classifier.{}.", own[*at]));
        let at = (0..3).find(number);
        at.map_or(name.clone(), |at| {
            let attribute = name.rsplit('.').next().unwrap_or_default();
            format!("classifier.{}.{attribute}", numbers[at])
        })
    };
    tensors.iter().map(|(name, tensor)| (rename(name), tensor.clone())).collect()
}

/// The length of the header comes first, and its bytes can look like another format's.
#[test]
fn a_safetensors_header_may_have_any_length() {
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
    assert_eq!(logits(&network), logits(&with_formula(&small())));
}

#[test]
fn torchs_batch_counters_are_no_difference() {
    let mut all = tensors(&small());
    all.insert("features.1.num_batches_tracked".into(), (Dtype::I64, vec![], vec![0; 8]));
    load(&serialized(&all, None)).expect("as torchvision saves it");
    all.insert("epoch".into(), (Dtype::I64, vec![], vec![0; 8]));
    load(&serialized(&all, None)).expect("with another counter beside the network");
    // ... but a counter is a single number.
    all.insert("features.5.num_batches_tracked".into(), (Dtype::F32, vec![2], vec![0; 8]));
    assert_eq!(differences(&all).len(), 1);
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
    let exact = logits(&with_formula(&small()));
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

    let from = |bytes: Vec<u8>, architecture: &Architecture| -> Result<Vec<Option<Vec<f32>>>> {
        let weights = Weights::from_bytes("features", bytes)?;
        let mut reader = weights.reader(architecture, LoadOptions::features())?;
        let mut all_rows = |p: &Parameter| reader.rows(p, 0..p.shape[0]);
        let values = architecture.parameters().map(&mut all_rows).collect::<Result<_>>()?;
        reader.finish().map(|_| values)
    };
    // A whole file serves as well, and its classifier need not fit.
    let ten = VggConfig::vgg11_bn().with_width(0.05).with_num_classes(10).architecture();
    let ten = ten.expect("valid");
    let whole = serialized(&tensors(&small()), None);
    let weights = Weights::from_bytes("whole", whole.clone()).expect("a file");
    assert!(weights.reader(&ten, LoadOptions::default()).is_err());
    for (bytes, architecture) in
        [(serialized(&features, None), &small()), (whole.clone(), &small()), (whole, &ten)]
    {
        let values = from(bytes, architecture).expect("the features");
        for (parameter, values) in architecture.parameters().zip(values) {
            let is_feature = parameter.key.starts_with("features.");
            let wanted = is_feature.then(|| formula::all_values(parameter));
            assert!(values == wanted, "{}", parameter.key);
        }
    }
    // A network that has nothing else takes them for a whole.
    let bare = small().without_classifier();
    let weights = Weights::from_bytes("features", serialized(&features, None)).expect("a file");
    let compiled = Compiled::from_weights(
        bare.clone(),
        &weights,
        LoadOptions::features(),
        CompileOptions::default(),
    );
    assert_eq!(logits(&compiled.expect("the features")), logits(&with_formula(&bare)));
    // A tensor missing among the features is still an error.
    features.remove("features.1.running_var");
    let error = from(serialized(&features, None), &small()).expect_err("missing").to_string();
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
    // The root of a variance below 0 would not be a number either.
    let mut all = tensors(&small());
    if let Some((_, _, bytes)) = all.get_mut("features.5.running_var") {
        bytes[4..8].copy_from_slice(&(-1e-3f32).to_le_bytes());
    }
    let error = load(&serialized(&all, None)).expect_err("a negative variance").to_string();
    assert!(error.contains("features.5.running_var") && error.contains("-0.001"), "{error}");
}

#[test]
fn a_file_states_the_preset_of_its_weights() {
    let preset_of = |preset: &str| {
        let weights = Weights::from_bytes("weights", stating("preset", preset));
        weights.expect("valid").preset()
    };
    let caffe = preset_of("caffe").expect("known").map(|preset| preset.name);
    assert_eq!(caffe.as_deref(), Some("caffe"));
    assert!(matches!(preset_of("keras"), Err(Error::WeightsMetadata { .. })));
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
    let config = AlexNetConfig::torchvision().with_width(0.001).with_num_classes(2);
    let alexnet = config.architecture().expect("valid");
    let whole = serialized(&tensors(&alexnet), None);
    let folder = tempfile::tempdir().expect("a folder");
    let load = |bytes: &[u8]| {
        Compiled::load(&alexnet, written(folder.path(), bytes), CompileOptions::default())
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

/// Converts to PyTorch's format with the papers' names, and back: every value is the same.
fn there_and_back(path: &Path, architecture: &Architecture) {
    let folder = tempfile::tempdir().expect("a folder");
    let original = Weights::open(path).expect("the features");
    let (paper, back) = (folder.path().join("paper.pth"), folder.path().join("back.safetensors"));
    let options = SaveOptions { naming: Naming::Paper, ..SaveOptions::default() };
    original.convert(architecture, &paper, &options).expect("disk");
    let paper = Weights::open(paper).expect("our own");
    assert_eq!(
        paper.values("conv5_3.bias").expect("512"),
        original.values("features.28.bias").expect("512")
    );
    paper.convert(architecture, &back, &SaveOptions::default()).expect("disk");
    let back = Weights::open(back).expect("our own");
    for tensor in original.tensors() {
        let [ours, theirs] =
            [&back, &original].map(|weights| weights.values(tensor.name).expect("f32"));
        assert!(ours == theirs, "{}", tensor.name);
    }
}

/// Real trained weights, where they are.
#[test]
fn the_shared_features_of_vgg16_load() -> Result<()> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../../shared/weights/vgg16-features.safetensors");
    if !path.exists() {
        eprintln!("skipped: there is no {}", path.display());
        return Ok(());
    }
    let vgg16 = VggConfig::vgg16().architecture()?;
    assert!(matches!(
        Compiled::load(&vgg16, &path, CompileOptions::default()),
        Err(Error::WeightsMismatch { differences, .. }) if differences.len() == 6
    ));
    // To a network without a classifier the file is whole.
    let bare = vgg16.without_classifier();
    let compiled = Compiled::load(&bare, &path, CompileOptions::default())?;
    let weights = Weights::open(&path)?;
    let features = LoadOptions::features();
    let of_features = Compiled::from_weights(&bare, &weights, features, CompileOptions::default())?;
    let shape = [1, 3, 64, 64];
    let maps = compiled.taps(&formula::images(shape), shape, &["pool5"])?;
    assert_eq!(maps[0].shape, [1, 512, 2, 2]);
    assert_eq!(maps, of_features.taps(&formula::images(shape), shape, &["pool5"])?);
    assert!(maps[0].values.iter().any(|&value| value > 0.0));
    there_and_back(&path, &bare);
    Ok(())
}

#[test]
fn the_preset_goes_with_the_weights() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("small.safetensors");
    let load = || {
        let loaded = Compiled::load(small(), &path, CompileOptions::default()).expect("ours");
        loaded.metadata().clone()
    };
    let save = |metadata: &Metadata| {
        save(&small(), metadata, &path, &SaveOptions::default(), formula::values)
            .expect("a writable folder")
    };
    save(&Metadata::default());
    assert_eq!(load().preset, None);
    load().expect_preset(&Preset::caffe(), "vgg11_bn").expect("it is not known");

    // A known one is written as its name, another one as a whole.
    let own = Preset { crop: 200, name: "own".into(), ..Preset::imagenet() };
    for preset in [Preset::imagenet(), Preset::caffe(), own] {
        save(&preset.clone().into());
        let loaded = load();
        assert_eq!(loaded.preset, Some(preset.clone()));
        loaded.expect_preset(&preset, "vgg11_bn").expect("the same");
        let other = Preset { std: [0.5; 3], ..preset };
        let error = loaded.expect_preset(&other, "vgg11_bn").expect_err("another");
        assert!(matches!(error, Error::PresetMismatch { .. }), "{error}");
        let message = error.to_string();
        assert!(message.contains("vgg11_bn") && message.contains(&other.name), "{message}");
    }
    for wrong in ["{}", "{\"name\": 3}", "keras", "{"] {
        let error = load_error(&stating("preset", wrong));
        assert!(matches!(error, Error::WeightsMetadata { .. }), "{error}");
    }
}

fn load_error(bytes: &[u8]) -> Error {
    load(bytes).map(drop).expect_err("wrong metadata")
}

#[test]
fn labels_and_training_go_with_the_weights() -> Result<()> {
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str| folder.path().join(name);
    let days = Labels::new(["Mo", "Di", "Mi", "Do", "Fr", "Sa", "\"So\" \n日曜日"]);
    assert_eq!(with_formula(&small()).metadata().labels, None);
    let (path, options) = (file("small.safetensors"), SaveOptions::default());
    let [recipe, accuracy] = ["rate = 0.1\n", "98% of 7 pictures"].map(str::to_string);
    let metadata = Metadata::default().with_labels(days.clone());
    let metadata = metadata.with_recipe(recipe).with_accuracy(accuracy);
    save(&small(), &metadata, &path, &options, formula::values)?;

    let weights = Weights::open(&path)?;
    assert_eq!(weights.labels()?, Some(days.clone()));
    let (all, compile) = (LoadOptions::default(), CompileOptions::default());
    let compiled = Compiled::from_weights(small(), &weights, all, compile)?;
    assert_eq!(compiled.metadata(), &metadata);
    let f16 = SaveOptions { dtype: Dtype::F16, ..SaveOptions::default() };
    weights.convert(&small(), file("half.safetensors"), &f16)?;
    let half = Weights::open(file("half.safetensors"))?;
    assert_eq!(half.labels()?, Some(days));
    assert_eq!((half.recipe(), half.accuracy()), (weights.recipe(), weights.accuracy()));
    assert_eq!((half.recipe(), half.accuracy()), (Some("rate = 0.1\n"), Some("98% of 7 pictures")));
    // Another classifier has other classes.
    let three = VggConfig::vgg11_bn().with_width(0.05).with_num_classes(3).architecture()?;
    let features = weights.reader(&three, LoadOptions::features())?;
    assert_eq!(features.finish()?, Metadata::default());
    Ok(())
}

#[test]
fn labels_that_do_not_fit_are_an_error() {
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
        let error = load_error(&stating("labels", labels)).to_string();
        assert!(error.contains("weights.safetensors") && error.contains(says), "{error}");
    }
    // Labels that could not be read again are not written.
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("new.safetensors");
    let refused = |labels: Labels| {
        let metadata = Metadata::default().with_labels(labels);
        let error = save(&small(), &metadata, &path, &SaveOptions::default(), formula::values);
        assert!(!path.exists());
        error.expect_err("refused")
    };
    let error = refused(Labels::for_classes(8));
    assert!(matches!(error, Error::LabelsMismatch { classes: 7, labels: 8, .. }), "{error}");
    let error = refused(Labels::new(vec!["c".repeat(513); 7]));
    assert!(matches!(error, Error::Setting { .. }), "{error}");
}

#[test]
fn a_save_that_fails_leaves_what_was_there() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str| folder.path().join(name);
    std::fs::write(file("old.pth"), "old").expect("a writable folder");
    let with_a_large_value = |parameter: &Parameter, rows| {
        let mut values = formula::values(parameter, rows)?;
        if parameter.key == "classifier.6.bias" {
            values[2] = 70_000.0;
        }
        Ok(values)
    };
    let f16 = SaveOptions { dtype: Dtype::F16, ..SaveOptions::default() };
    let none = Metadata::default();
    let error = save(&small(), &none, file("old.pth"), &f16, with_a_large_value);
    let error = error.expect_err("beyond f16");
    assert!(matches!(error, Error::ValueOutOfRange { .. }), "{error}");
    let message = error.to_string();
    assert!(message.contains("classifier.6.bias") && message.contains("70000"), "{message}");
    assert_eq!(std::fs::read(file("old.pth")).expect("the old file"), b"old");

    let save_as = |name: &str, dtype| {
        let options = SaveOptions { dtype, ..SaveOptions::default() };
        save(&small(), &none, file(name), &options, formula::values)
    };
    assert!(matches!(save_as("a.pth", Dtype::F64), Err(Error::Setting { .. })));
    assert!(matches!(save_as("weights.bin", Dtype::F32), Err(Error::UnknownName { .. })));
    assert!(matches!(save_as("weights", Dtype::F32), Err(Error::UnknownName { .. })));
    assert!(matches!(save_as("no/such/folder.pth", Dtype::F32), Err(Error::Io { .. })));
    let left: Vec<_> = std::fs::read_dir(folder.path()).expect("a folder").collect();
    assert_eq!(left.len(), 1);
    save_as("old.pth", Dtype::F32).expect("a writable folder");
    Compiled::load(small(), file("old.pth"), CompileOptions::default()).expect("the new file");
}
