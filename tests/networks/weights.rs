//! burn networks from weights files, and into weights and ONNX files. What is in the files is tested in the core
//! (crates/core/tests/files); here it must reach the network, and come out of it again.

#[cfg(target_os = "linux")]
#[path = "../../crates/core/tests/process_memory/mod.rs"]
mod process_memory;
#[cfg(feature = "hub")]
#[path = "../../crates/core/tests/hub/server.rs"]
mod server;

use crate::formula;
use alexnet_vgg::backend::Cpu as B;
use alexnet_vgg::engine::CompileOptions;
use alexnet_vgg::models::*;
use alexnet_vgg::vision::{Labels, Preset};
use alexnet_vgg::weights::{self, Dtype, LoadOptions, Naming, SaveOptions, Weights};
use alexnet_vgg::{Error, Metadata, Result};
use burn::tensor::{Tensor, TensorData};
use half::{bf16, f16};
use std::path::Path;

fn small() -> Architecture {
    of_classes(7)
}

fn of_classes(classes: usize) -> Architecture {
    let config = VggConfig::vgg11_bn().with_width(0.05).with_num_classes(classes);
    config.architecture().expect("valid")
}

fn images(shape: [usize; 4]) -> Tensor<B, 4> {
    let pixels = formula::fill("input", &shape, 0..shape[0]);
    Tensor::from_data(TensorData::new(pixels, shape), &Default::default())
}

fn logits(network: &Network<B>) -> Vec<f32> {
    network.forward(images([2, 3, 70, 63])).into_data().iter::<f32>().collect()
}

/// Writes a file with the formula's weights, without a network of burn's.
fn write_formula(architecture: &Architecture, path: &Path) {
    let (metadata, options) = (Metadata::default(), SaveOptions::default());
    weights::save(architecture, &metadata, path, &options, formula::values)
        .expect("a writable folder");
}

fn load(architecture: &Architecture, path: &Path) -> Result<Network<B>> {
    Network::load(architecture, path, &Default::default())
}

fn load_features(architecture: &Architecture, path: &Path) -> Result<Network<B>> {
    let weights = Weights::open(path)?;
    Network::from_weights(architecture, &weights, LoadOptions::features(), &Default::default())
}

/// Compares all values of a network with the formula's, each changed by `stored`.
fn expect_formula(network: &Network<B>, place: &str, stored: impl Fn(f32) -> f32) {
    for parameter in network.architecture().parameters() {
        let rows = 0..parameter.shape[0];
        let found = network.values(parameter, rows.clone()).expect("a parameter");
        let wanted = formula::fill(&parameter.key, &parameter.shape, rows);
        let wanted: Vec<f32> = wanted.into_iter().map(&stored).collect();
        assert!(found == wanted, "{place}: {}", parameter.key);
    }
}

/// What this test program does, in a process of its own.
#[cfg(any(feature = "hub", target_os = "linux"))]
fn child(what: &str) -> std::process::Command {
    let this = std::env::current_exe().expect("this test");
    let mut command = std::process::Command::new(this);
    command.args(["--exact", "weights::in_another_process", "--nocapture"]);
    command.env("NETWORKS_TEST_CHILD", what);
    command
}

/// Not a test, but what [`child`] runs.
#[test]
fn in_another_process() {
    match std::env::var("NETWORKS_TEST_CHILD").as_deref() {
        #[cfg(feature = "hub")]
        Ok("pretrained") => {
            let (vgg16, all) = (VggConfig::vgg16(), LoadOptions::default());
            Vgg::<B>::pretrained(vgg16, all, &Default::default()).expect("the weights");
        }
        #[cfg(feature = "hub")]
        Ok("pretrained features") => {
            let (ten, features) =
                (VggConfig::vgg16().with_num_classes(10), LoadOptions::features());
            Vgg::<B>::pretrained(ten, features, &Default::default()).expect("the weights");
        }
        #[cfg(target_os = "linux")]
        Ok("memory") => measure_memory().expect("files"),
        _ => {}
    }
}

#[test]
fn a_file_gives_the_network_it_was_made_from() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("small.safetensors");
    write_formula(&small(), &path);
    let network = load(&small(), &path).expect("the right weights");
    assert_eq!(logits(&network), logits(&formula::network(small(), &Default::default())));

    // A file of another network is an error with every difference.
    let error = load(&of_classes(10), &path).map(drop).expect_err("of 7 classes");
    let Error::WeightsMismatch { network, differences, .. } = error else { panic!("{error}") };
    assert_eq!((network.as_str(), differences.len()), ("vgg11_bn", 2), "{differences:#?}");
}

#[test]
fn every_golden_file_gives_its_network_to_the_bit() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/weights");
    let manifest = std::fs::read_to_string(folder.join("manifest.json")).expect("manifest.json");
    let manifest: serde_json::Value = serde_json::from_str(&manifest).expect("JSON");
    let width = manifest["width"].as_f64().expect("a width");
    let classes = manifest["classes"].as_u64().expect("a number of classes") as usize;
    let good = manifest["good"].as_array().expect("files");
    assert!(good.len() > 50, "{} files", good.len());
    for case in good {
        let [file, network] = ["file", "network"].map(|key| case[key].as_str().expect(key));
        let config = NetworkConfig::by_name(network).expect("a known network");
        let config = config.with_width(width).with_num_classes(classes);
        let path = folder.join(file);
        let weights = match case["key"].as_str() {
            Some(key) => Weights::open_at(path, key),
            None => Weights::open(path),
        };
        let weights = weights.unwrap_or_else(|error| panic!("{error}"));
        let all = LoadOptions::default();
        let network = Network::<B>::from_weights(config, &weights, all, &Default::default())
            .unwrap_or_else(|error| panic!("{error}"));
        let mut reader = weights.reader(network.architecture(), all).expect("the right weights");
        for parameter in network.architecture().parameters() {
            let rows = 0..parameter.shape[0];
            let found = network.values(parameter, rows.clone()).expect("a parameter");
            let wanted = reader.rows(parameter, rows).expect("finite values");
            assert!(Some(found) == wanted, "{file}: {}", parameter.key);
        }
    }
}

#[test]
fn every_network_is_saved_and_loaded_to_the_bit() {
    let folder = tempfile::tempdir().expect("a folder");
    for config in NetworkConfig::all() {
        let config = config.with_width(0.1).with_num_classes(7);
        let architecture = config.architecture().expect("valid");
        let network = formula::network::<B>(&architecture, &Default::default());
        for extension in ["pth", "safetensors"] {
            let path = folder.path().join(format!("network.{extension}"));
            network.save(&path).expect("a writable folder");
            let place = format!("{} {extension}", architecture.name);
            expect_formula(&load(&architecture, &path).expect("ours"), &place, |value| value);
        }
    }
}

#[test]
fn a_network_is_saved_in_every_naming_and_type() {
    let folder = tempfile::tempdir().expect("a folder");
    let network = formula::network::<B>(small(), &Default::default());
    type Round = fn(f32) -> f32;
    let types: [(Dtype, Round); 3] = [
        (Dtype::F32, |value| value),
        (Dtype::F16, |value| f16::from_f32(value).to_f32()),
        (Dtype::BF16, |value| bf16::from_f32(value).to_f32()),
    ];
    for naming in Naming::ALL {
        for (dtype, stored) in types {
            for extension in ["pth", "safetensors"] {
                let path = folder.path().join(format!("network.{extension}"));
                let options = SaveOptions { dtype, naming, ..SaveOptions::default() };
                network.save_as(&path, &options).expect("a writable folder");
                let weights = Weights::open(&path).expect("ours");
                assert_eq!(weights.naming(&small()).expect("this network's"), Some(naming));
                let place = format!("{naming} {dtype} {extension}");
                expect_formula(&load(&small(), &path).expect("ours"), &place, stored);
            }
        }
    }
}

#[test]
fn features_alone_must_be_asked_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("small.safetensors");
    write_formula(&small().without_classifier(), &path);
    assert!(matches!(
        load(&small(), &path),
        Err(Error::WeightsMismatch { differences, .. }) if differences.len() == 6
    ));
    let shape = [1, 3, 40, 40];
    let network = load_features(&small(), &path).expect("the features");
    let maps = |network: &Network<B>| network.features(images(shape)).expect("maps").into_data();
    let formula_network = formula::network::<B>(small(), &Default::default());
    assert_eq!(maps(&network), maps(&formula_network));

    // A whole file serves as well, and its classifier need not fit: the network's is fresh.
    write_formula(&small(), &path);
    assert!(load(&of_classes(10), &path).is_err());
    let network = load_features(&of_classes(10), &path).expect("the features");
    assert_eq!(network.forward(images(shape)).dims(), [1, 10]);
    assert_eq!(maps(&network), maps(&formula_network));
    let last = network.architecture().parameters().last().expect("a bias");
    let fresh = network.values(last, 0..10).expect("a parameter");
    assert_ne!(fresh, formula::fill(&last.key, &last.shape, 0..10));
}

/// Also for a network that has no classifier, whose names are the same in torchvision's and timm's namings.
#[test]
fn features_leave_the_classifier_of_any_naming() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/weights");
    let manifest = std::fs::read_to_string(folder.join("manifest.json")).expect("manifest.json");
    let manifest: serde_json::Value = serde_json::from_str(&manifest).expect("JSON");
    let width = manifest["width"].as_f64().expect("a width");
    for (file, network) in [
        ("legacy.pth", "vgg11_bn"),
        ("timm_vgg11_bn.pth", "vgg11_bn"),
        ("paper_vgg16.pth", "vgg16"),
        ("tutorial_fc3.pth", "vgg16"),
        ("tutorial_classifier.pth", "vgg16"),
    ] {
        let config = NetworkConfig::by_name(network).expect("a known network");
        let five = config.with_width(width).with_num_classes(5).architecture().expect("valid");
        for architecture in [five.without_classifier(), five] {
            let network = load_features(&architecture, &folder.join(file))
                .unwrap_or_else(|error| panic!("{error}"));
            let first = architecture.parameters().next().expect("a parameter");
            let stored = |value: f32| {
                if file == "legacy.pth" { value } else { f16::from_f32(value).to_f32() }
            };
            let wanted = formula::fill(&first.key, &first.shape, 0..first.shape[0]);
            let wanted: Vec<f32> = wanted.into_iter().map(stored).collect();
            assert!(network.values(first, 0..first.shape[0]).expect("a parameter") == wanted);
        }
    }
}

/// Real trained weights, where they are.
#[test]
fn the_shared_features_of_vgg16_load() {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/weights/vgg16-features.safetensors");
    if !path.exists() {
        return eprintln!("skipped: there is no {}", path.display());
    }
    let vgg16 = VggConfig::vgg16().architecture().expect("valid");
    assert!(matches!(
        load(&vgg16, &path),
        Err(Error::WeightsMismatch { differences, .. }) if differences.len() == 6
    ));
    // To a network without a classifier the file is whole.
    let bare = load(&vgg16.without_classifier(), &path).expect("the features");
    // A classifier, small here, is fresh.
    let mut table = vgg16.table().clone();
    table.classifier.truncate(2);
    table.classifier[0] = match table.classifier[0] {
        Layer::Linear { init, .. } => Layer::Linear { out: 10, init },
        other => other,
    };
    let network = load_features(&Architecture::new(table).expect("valid"), &path);
    let network = network.expect("the features");
    let maps = network.features(images([1, 3, 64, 64])).expect("maps");
    assert_eq!(maps.dims(), [1, 512, 2, 2]);
    let same = bare.features(images([1, 3, 64, 64])).expect("maps");
    assert_eq!(maps.to_data(), same.to_data());
    assert!(maps.into_data().iter::<f32>().any(|value| value > 0.0));
}

#[test]
fn the_preset_goes_with_the_weights() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("small.safetensors");
    let network = formula::network::<B>(small(), &Default::default());
    network.save(&path).expect("a writable folder");
    let loaded = load(&small(), &path).expect("ours");
    assert_eq!(loaded.metadata().preset, None);
    loaded.metadata().expect_preset(&Preset::caffe(), "vgg11_bn").expect("it is not known");

    // A known one is written as its name, another one as a whole.
    let own = Preset { crop: 200, name: "own".into(), ..Preset::imagenet() };
    for preset in [Preset::imagenet(), Preset::caffe(), own] {
        let network = network.clone().with_metadata(preset.clone().into());
        network.save(&path).expect("a writable folder");
        let loaded = load(&small(), &path).expect("ours");
        assert_eq!(loaded.metadata().preset.as_ref(), Some(&preset));
        loaded.metadata().expect_preset(&preset, "vgg11_bn").expect("the same");
        let other = Preset { std: [0.5; 3], ..preset };
        let error = loaded.metadata().expect_preset(&other, "vgg11_bn").expect_err("another");
        assert!(matches!(error, Error::PresetMismatch { .. }), "{error}");
        let message = error.to_string();
        assert!(message.contains("vgg11_bn") && message.contains(&other.name), "{message}");
    }
}

#[test]
fn the_labels_go_with_the_weights() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("small.safetensors");
    let days = Labels::new(["Mo", "Di", "Mi", "Do", "Fr", "Sa", "\"So\" \n日曜日"]);
    let network = formula::network::<B>(small(), &Default::default());
    assert_eq!(network.metadata().labels, None);
    let network = network.with_metadata(Metadata::default().with_labels(days.clone()));
    network.save(&path).expect("a writable folder");

    let weights = Weights::open(&path).expect("ours");
    assert_eq!(weights.labels().expect("ours"), Some(days.clone()));
    let loaded = load(&small(), &path).expect("ours");
    assert_eq!(loaded.metadata().labels.as_ref(), Some(&days));
    let compiled = loaded.compile(CompileOptions::default()).expect("a network");
    assert_eq!(compiled.metadata().labels, Some(days));
    // Another classifier has other classes.
    let features = load_features(&of_classes(3), &path).expect("features");
    assert_eq!(features.metadata().labels, None);

    // Labels that could not be read again are not written.
    let refused = |labels: Labels| {
        let path = folder.path().join("new.safetensors");
        let metadata = Metadata::default().with_labels(labels);
        let error = network.clone().with_metadata(metadata).save(&path).expect_err("refused");
        assert!(!path.exists());
        error
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
    let device = Default::default();
    let network = formula::network::<B>(small(), &device);
    std::fs::write(file("old.pth"), "old").expect("a writable folder");
    let with_a_large_value = |parameter: &Parameter, rows| {
        let mut values = formula::values(parameter, rows)?;
        if parameter.key == "classifier.6.bias" {
            values[2] = 70_000.0;
        }
        Ok(values)
    };
    let large = Network::<B>::from_values(small(), &device, with_a_large_value);
    let f16 = SaveOptions { dtype: Dtype::F16, ..SaveOptions::default() };
    let error = large.expect("a network").save_as(file("old.pth"), &f16).expect_err("beyond f16");
    assert!(matches!(error, Error::ValueOutOfRange { .. }), "{error}");
    let message = error.to_string();
    assert!(message.contains("classifier.6.bias") && message.contains("70000"), "{message}");
    assert_eq!(std::fs::read(file("old.pth")).expect("the old file"), b"old");

    let f64 = SaveOptions { dtype: Dtype::F64, ..SaveOptions::default() };
    assert!(matches!(network.save_as(file("a.pth"), &f64), Err(Error::Setting { .. })));
    assert!(matches!(network.save(file("weights.bin")), Err(Error::UnknownName { .. })));
    assert!(matches!(network.save(file("weights")), Err(Error::UnknownName { .. })));
    assert!(matches!(network.save(file("no/such/folder.pth")), Err(Error::Io { .. })));
    let left: Vec<_> = std::fs::read_dir(folder.path()).expect("a folder").collect();
    assert_eq!(left.len(), 1);
    network.save(file("old.pth")).expect("a writable folder");
    load(&small(), &file("old.pth")).expect("the new file");
}

/// Also with the preset of the network's metadata, unless the options have another one.
#[cfg(feature = "onnx")]
#[test]
fn a_network_is_exported_with_its_weights_and_its_preset() {
    use alexnet_vgg::onnx::{self, ExportOptions};
    let folder = tempfile::tempdir().expect("a folder");
    let network = formula::network::<B>(small(), &Default::default());
    let network = network.with_metadata(Preset::caffe().into());
    for (given, wanted) in [(None, Preset::caffe()), (Some(Preset::imagenet()), Preset::imagenet())]
    {
        let [ours, theirs] = ["ours.onnx", "theirs.onnx"].map(|name| folder.path().join(name));
        let options = |preset| ExportOptions { preset, batch: Some(3), ..Default::default() };
        let file = network.export_onnx(&ours, &options(given)).expect("a writable folder");
        onnx::export(&small(), &theirs, &options(Some(wanted)), formula::values)
            .expect("a writable folder");
        let [ours, theirs] = [ours, theirs].map(|path| std::fs::read(path).expect("the file"));
        assert_eq!(file.bytes(), ours.len() as u64);
        assert!(ours == theirs);
    }
}

/// A network with the record of another one, which burn loads unchecked: the error comes after the first bytes
/// of the file.
#[cfg(feature = "onnx")]
#[test]
fn a_failed_export_leaves_nothing_behind() {
    use alexnet_vgg::onnx::ExportOptions;
    use burn::module::Module;
    let network = |classes| -> Network<B> {
        let vgg11 = VggConfig::vgg11().with_width(0.05).with_num_classes(classes);
        formula::network(vgg11, &Default::default())
    };
    let options = ExportOptions::default();
    let broken = network(7).load_record(network(9).into_record());
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("model.onnx");
    let error = broken.export_onnx(&path, &options).expect_err("7 rows, found 9");
    assert!(error.to_string().contains("classifier.6"), "{error}");
    assert_eq!(folder.path().read_dir().expect("a folder").count(), 0);
    network(7).export_onnx(&path, &options).expect("a writable folder");
    assert_eq!(folder.path().read_dir().expect("a folder").count(), 1);
    let nowhere = folder.path().join("no/such/model.onnx");
    let error = network(7).export_onnx(&nowhere, &options).expect_err("no folder");
    assert!(matches!(&error, Error::Io { path, .. } if *path == nowhere), "{error}");
}

#[cfg(feature = "hub")]
#[test]
fn pretrained_asks_for_the_published_file() {
    for what in ["pretrained", "pretrained features"] {
        let missing = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
        let server = server::Server::new(Vec::new(), vec![server::Reply::Raw(missing.into())]);
        let cache = tempfile::tempdir().expect("a folder");
        let output = child(what)
            .env("ALEXNET_VGG_CACHE", cache.path())
            .env("ALEXNET_VGG_MIRROR", &server.address)
            .output()
            .expect("it ends");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let address = format!("{}/vgg16-397923af.pth", server.address);
        assert!(!output.status.success(), "{what}");
        assert!(said.contains(&address) && said.contains("404"), "{said}");
        assert_eq!(server.requests()[0].path, "/weights/vgg16-397923af.pth");
    }
}

/// In a process of its own: the other tests of this program need memory at the same time.
#[cfg(target_os = "linux")]
#[test]
fn building_and_loading_take_little_more_memory_than_the_weights() {
    let output = child("memory").output().expect("it ends");
    let [said, errors] =
        [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    println!("{said}{errors}");
    assert!(output.status.success(), "{said}{errors}");
    // The child has run the measurement, and no empty set of tests.
    assert!(said.contains("weights ") || errors.contains("skipped: "), "{said}{errors}");
}

/// Half of VGG16's width, to be quick: its first linear layer is still 3/4 of it.
#[cfg(target_os = "linux")]
fn measure_memory() -> Result<()> {
    use process_memory::{MIB, can_be_measured, peak_of};
    if !can_be_measured() {
        eprintln!("skipped: this system does not reset a process's peak memory");
        return Ok(());
    }
    let vgg16 = VggConfig::vgg16().with_width(0.5).architecture()?;
    let weights: u64 = vgg16.parameters().map(|p| 4 * p.elements()).sum();
    let row = |p: &Parameter| 4 * p.shape[1..].iter().product::<usize>() as u64;
    let chunks =
        vgg16.parameters().flat_map(|p| p.row_chunks().map(|rows| rows.len() as u64 * row(p)));
    let largest_chunk = chunks.max().expect("chunks");
    let folder = tempfile::tempdir().map_err(Error::io(&std::env::temp_dir()))?;
    let file = |name: &str| folder.path().join(name);
    write_formula(&vgg16, &file("vgg16.safetensors"));

    let mut network = None;
    let loading =
        peak_of(|| load(&vgg16, &file("vgg16.safetensors")).map(|loaded| network = Some(loaded)))?;
    assert!(loading * 10 <= weights * 13, "loading: {} of {} MiB", loading / MIB, weights / MIB);
    // Into files, a chunk at a time.
    let network = network.expect("it was loaded");
    let saving = peak_of(|| network.save(file("vgg16.pth")))?;
    assert!(saving <= largest_chunk + 32 * MIB, "saving: {} MiB", saving / MIB);
    #[cfg(feature = "onnx")]
    {
        let options = Default::default();
        let exporting = peak_of(|| network.export_onnx(file("vgg16.onnx"), &options))?;
        assert!(exporting <= largest_chunk + 32 * MIB, "exporting: {} MiB", exporting / MIB);
    }
    drop(network);
    let from_pth = peak_of(|| load(&vgg16, &file("vgg16.pth")))?;
    assert!(from_pth * 10 <= weights * 13, "loading .pth: {} MiB", from_pth / MIB);

    let building = peak_of(|| Network::<B>::new(&vgg16, &Default::default()))?;
    assert!(building <= weights * 2, "building: {} of {} MiB", building / MIB, weights / MIB);
    println!(
        "weights {} MiB, loading {} MiB (.pth {} MiB), building {} MiB",
        weights / MIB,
        loading / MIB,
        from_pth / MIB,
        building / MIB
    );
    Ok(())
}
