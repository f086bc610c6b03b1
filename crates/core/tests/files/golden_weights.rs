//! Weights files as PyTorch and its users write them: tests/golden/weights.py wrote them. Their values are the
//! formula's, so the content of each file is known to the bit.

use crate::formula;
use alexnet_vgg_core::architecture::*;
use alexnet_vgg_core::weights::{Dtype, LoadOptions, Naming, SaveOptions, Weights, save};
use alexnet_vgg_core::{Error, Metadata, Result};
use half::{bf16, f16};
use serde::Deserialize;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// What tests/golden/weights.py says about its files.
#[derive(Deserialize)]
struct Manifest {
    width: f64,
    classes: usize,
    good: Vec<Case>,
    refused: Vec<Refused>,
}

#[derive(Deserialize)]
struct Case {
    file: String,
    network: String,
    naming: String,
    /// What chooses the network in the file.
    key: Option<String>,
    /// Tensors that hold another tensor's values, by torchvision's keys.
    #[serde(default)]
    same: HashMap<String, String>,
}

#[derive(Deserialize)]
struct Refused {
    file: String,
    why: String,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/weights")
}

impl Case {
    fn open(&self) -> Weights {
        let path = folder().join(&self.file);
        let opened = match &self.key {
            Some(key) => Weights::open_at(path, key),
            None => Weights::open(path),
        };
        opened.unwrap_or_else(|error| panic!("{error}"))
    }
}

fn manifest() -> Manifest {
    let text = std::fs::read_to_string(folder().join("manifest.json")).expect("manifest.json");
    serde_json::from_str(&text).expect("the manifest")
}

fn config(network: &str) -> NetworkConfig {
    let Manifest { width, classes, .. } = manifest();
    let config = NetworkConfig::by_name(network).expect("a known network");
    config.with_width(width).with_num_classes(classes)
}

fn architecture(network: &str) -> Architecture {
    config(network).architecture().expect("valid")
}

fn name(config: &NetworkConfig) -> String {
    config.table().name
}

/// The value that a type can hold.
fn rounded(value: f32, dtype: Dtype) -> f32 {
    match dtype {
        Dtype::F16 => f16::from_f32(value).to_f32(),
        Dtype::BF16 => bf16::from_f32(value).to_f32(),
        _ => value,
    }
}

/// Reads all parameters of a network and compares them with the formula. `dtype` is the type of the parameter
/// with that key in the file, `source` the key that its values are computed from.
fn expect_formula(
    weights: &Weights,
    architecture: &Architecture,
    place: &str,
    dtype: impl Fn(&str) -> Dtype,
    source: impl Fn(&str) -> String,
) -> Result<()> {
    let mut reader = weights.reader(architecture, LoadOptions::default())?;
    for parameter in architecture.parameters() {
        let Parameter { key, shape, .. } = parameter;
        let rows = 0..shape[0];
        let found = reader.rows(parameter, rows.clone())?;
        let wanted: Vec<f32> = (formula::fill(&source(key), shape, rows).iter())
            .map(|&value| rounded(value, dtype(key)))
            .collect();
        assert!(found == Some(wanted), "{place}: {key}");
    }
    reader.finish().map(drop)
}

#[test]
fn every_file_gives_its_network_to_the_bit() {
    let good = manifest().good;
    assert!(good.len() > 50, "{} files", good.len());
    for case in &good {
        let weights = case.open();
        let types: Vec<(&str, Dtype)> = weights.tensors().map(|t| (t.name, t.dtype)).collect();
        let floats: Vec<Dtype> =
            types.iter().map(|(_, dtype)| *dtype).filter(|&dtype| dtype != Dtype::I64).collect();
        // In a file of mixed types each tensor's is looked up; it has torchvision's names.
        let is_of_one_type = floats.iter().all(|&dtype| dtype == floats[0]);
        let dtype = |key: &str| {
            if is_of_one_type {
                floats[0]
            } else {
                types.iter().find(|(name, _)| *name == key).expect(key).1
            }
        };
        let source = |key: &str| case.same.get(key).map_or(key, String::as_str).to_string();
        expect_formula(&weights, &architecture(&case.network), &case.file, dtype, source)
            .unwrap_or_else(|error| panic!("{error}"));
    }
}

#[test]
fn every_file_is_identified() {
    for case in manifest().good {
        let weights = case.open();
        let identity = weights.identify().expect(&case.file);
        let names: Vec<String> = identity.networks.iter().map(name).collect();
        // Only LRN distinguishes Caffe's networks from the paper's, and it has no tensors.
        let expected = match case.network.as_str() {
            "alexnet_paper" => vec!["alexnet_paper", "alexnet_caffe", "caffenet"],
            network => vec![network],
        };
        assert_eq!(names, expected, "{}", case.file);
        let naming = identity.naming.expect(&case.file).to_string();
        assert!(naming.starts_with(&case.naming), "{}: {naming}", case.file);
        assert!(!identity.features_only);
        let identified = identity.networks[0].architecture().expect("valid");
        assert!(identified.parameters().eq(architecture(&case.network).parameters()));
    }
}

/// They are the weights of another network if LRN has other constants, or comes after the pool.
#[test]
fn an_alexnet_of_2012_that_does_not_state_its_lrn_must_be_named() {
    let weights = Weights::open(folder().join("paper_alexnet.pth")).expect("a golden file");
    let error = weights.network(None, LoadOptions::default()).expect_err("three networks");
    let expected = "fit alexnet_paper, alexnet_caffe, caffenet; choose one with --model";
    assert!(error.to_string().contains(expected), "{error}");
    let caffenet = AlexNetConfig::caffenet().into();
    let network = weights.network(Some(&caffenet), LoadOptions::default()).expect("of its shapes");
    assert_eq!(name(&network), "caffenet");
}

/// Also for a network that has none, where torchvision's and timm's names are the same.
#[test]
fn features_leave_the_classifier_of_any_naming() {
    for (file, network) in [
        ("legacy.pth", "vgg11_bn"),
        ("timm_vgg11_bn.pth", "vgg11_bn"),
        ("paper_vgg16.pth", "vgg16"),
        ("tutorial_fc3.pth", "vgg16"),
        ("tutorial_classifier.pth", "vgg16"),
    ] {
        let five = config(network).with_num_classes(5).architecture().expect("valid");
        for architecture in [five.without_classifier(), five] {
            let weights = Weights::open(folder().join(file)).unwrap_or_else(|e| panic!("{e}"));
            let mut reader = weights
                .reader(&architecture, LoadOptions::features())
                .unwrap_or_else(|error| panic!("{error}"));
            let dtype = if file == "legacy.pth" { Dtype::F32 } else { Dtype::F16 };
            for parameter in architecture.parameters() {
                let found = reader.rows(parameter, 0..parameter.shape[0]).expect("values");
                let wanted = formula::all_values(parameter);
                let wanted = wanted.into_iter().map(|value| rounded(value, dtype)).collect();
                let is_feature = parameter.key.starts_with("features.");
                let wanted: Option<Vec<f32>> = is_feature.then_some(wanted);
                assert!(found == wanted, "{file}: {}", parameter.key);
            }
            reader.finish().unwrap_or_else(|error| panic!("{error}"));
        }
    }
}

/// Pruned layers, and those with weight normalization.
#[test]
fn parameters_that_torch_computes_are_computed() {
    let right = Weights::open(folder().join("derived_right.safetensors")).expect("a golden file");
    let mut names: Vec<&str> = right.tensors().map(|tensor| tensor.name).collect();
    names.sort_unstable();
    for file in ["derived.pth", "derived.safetensors"] {
        let derived = Weights::open(folder().join(file)).unwrap_or_else(|error| panic!("{error}"));
        let mut found: Vec<&str> = derived.tensors().map(|tensor| tensor.name).collect();
        found.sort_unstable();
        assert_eq!(found, names, "{file}");
        for name in &names {
            let (found, wanted) = (derived.values(name), right.values(name).expect("finite"));
            let found = found.unwrap_or_else(|error| panic!("{error}"));
            // Half an ulp for the length, one for the quotient, and one for the product.
            let is_near = |(a, b): (&f32, &f32)| (a - b).abs() <= 3e-7 * b.abs();
            assert_eq!(found.len(), wanted.len());
            assert!(found.iter().zip(&wanted).all(is_near), "{file} {name}: {found:?} {wanted:?}");
            let rows = derived.values_of_rows(name, 1..2).expect("the second row");
            assert_eq!(rows, found[rows.len()..2 * rows.len()]);
        }
        derived.verify().expect("right checksums");
    }
}

/// Some hold a whole network and something else; most are pickles and archives written by hand.
#[test]
fn every_file_to_refuse_is_refused() {
    let refused = manifest().refused;
    assert!(refused.len() > 120, "{} files", refused.len());
    for Refused { file, why } in refused {
        let opened = Weights::open(folder().join(&file)).and_then(|weights| {
            weights.tensors().try_for_each(|tensor| weights.values(tensor.name).map(drop))?;
            weights.verify()
        });
        let Err(error) = opened else { panic!("{file}: {why}") };
        assert!(matches!(error, Error::WeightsFormat { .. }), "{file}: {error}");
        println!("{why}: {error}");
    }
}

#[test]
fn what_is_written_is_read_again_in_every_format_naming_and_type() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut written = 0;
    for network in ["alexnet", "alexnet_paper", "vgg11_bn", "vgg16", "vgg16_c", "vgg19_bn"] {
        let architecture = architecture(network);
        for naming in Naming::ALL {
            for dtype in [Dtype::F32, Dtype::F16, Dtype::BF16] {
                for ending in ["pth", "safetensors"] {
                    let path = folder.path().join(format!("{network}.{ending}"));
                    let options = SaveOptions { dtype, naming, ..SaveOptions::default() };
                    save(&architecture, &Metadata::default(), &path, &options, formula::values)
                        .expect("a writable folder");
                    let weights = Weights::open(&path).expect("our own file");
                    weights.verify().expect("right checksums");
                    let found = weights.naming(&architecture).expect("this network's");
                    assert_eq!(found, Some(naming));
                    let place = format!("{network} {naming} {dtype} {ending}");
                    expect_formula(&weights, &architecture, &place, |_| dtype, str::to_string)
                        .unwrap_or_else(|error| panic!("{error}"));
                    written += 1;
                }
            }
        }
    }
    println!("{written} files");
}

#[test]
fn converting_there_and_back_changes_nothing() {
    let scratch = tempfile::tempdir().expect("a folder");
    let file = |name: &str| scratch.path().join(name);
    let vgg11_bn = architecture("vgg11_bn");
    let convert = |from: &Path, to: &Path, naming| {
        let options = SaveOptions { naming, ..SaveOptions::default() };
        Weights::open(from)
            .and_then(|from| from.convert(&vgg11_bn, to, &options))
            .expect("convertible");
    };
    let original = folder().join("legacy.pth");
    convert(&original, &file("timm.safetensors"), Naming::Timm);
    convert(&file("timm.safetensors"), &file("paper.pth"), Naming::Paper);
    convert(&file("paper.pth"), &file("there.safetensors"), Naming::Torchvision);
    convert(&folder().join("plain.safetensors"), &file("direct.safetensors"), Naming::Torchvision);
    let bytes = |name| std::fs::read(file(name)).expect(name);
    // The counters of batches come along.
    assert!(bytes("there.safetensors") == bytes("direct.safetensors"));
    let counters = Weights::open(file("there.safetensors")).expect("ours");
    let counter = counters.tensors().filter(|t| t.name.ends_with("num_batches_tracked")).count();
    assert_eq!(counter, 8);
    // Also in another type; weights.py's count is 7.
    convert(
        &folder().join("counted_in_halves.pth"),
        &file("halves.safetensors"),
        Naming::Torchvision,
    );
    let header = String::from_utf8_lossy(&bytes("halves.safetensors")).into_owned();
    let start = 8 + usize::from_le_bytes(*bytes("halves.safetensors").first_chunk().expect("8"));
    assert!(header.contains("I64"));
    assert_eq!(bytes("halves.safetensors")[start..start + 8], 7i64.to_le_bytes());
}

/// LRN has no tensors, and under the papers' names no number either; but our files state their network.
#[test]
fn a_layer_without_parameters_is_not_forgotten() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("paper.safetensors");
    let options = SaveOptions { naming: Naming::Paper, ..SaveOptions::default() };
    let lrn = architecture("vgg11_lrn");
    save(&lrn, &Metadata::default(), &path, &options, formula::values).expect("a writable folder");
    let weights = Weights::open(&path).expect("ours");
    let identity = weights.identify().expect("one of ours");
    assert_eq!(identity.networks.iter().map(name).collect::<Vec<_>>(), ["vgg11_lrn"]);
    weights.reader(&lrn, LoadOptions::default()).expect("what it is");
    let error = weights.reader(&architecture("vgg11"), LoadOptions::default());
    let error = error.expect_err("what it is not");
    assert!(error.to_string().contains("it is for vgg11_lrn"), "{error}");
}

/// Every file is cut at every byte, and every byte of its headers is changed. The tensors' bytes themselves
/// have a checksum in zip files only; in the others only what comes before them is changed.
#[test]
fn damage_is_an_error_or_changes_nothing() {
    std::thread::scope(|scope| {
        for (file, network, headers) in [
            ("zip.pth", "vgg11_bn", usize::MAX),
            ("module.pth", "vgg11", usize::MAX),
            ("legacy.pth", "vgg11_bn", 9353),
            ("plain.safetensors", "vgg11_bn", 4912),
        ] {
            scope.spawn(move || damage(file, network, headers));
        }
    });
}

fn damage(file: &str, network: &str, headers: usize) {
    let architecture = architecture(network);
    let whole = std::fs::read(folder().join(file)).expect("a golden file");
    let read = |bytes: Vec<u8>| -> Result<Vec<(String, Vec<f32>)>> {
        let weights = Weights::from_bytes(file, bytes)?;
        weights.naming(&architecture)?;
        weights.verify()?;
        let floats = weights.tensors().filter(|tensor| tensor.dtype != Dtype::I64);
        floats.map(|tensor| Ok((tensor.name.into(), weights.values(tensor.name)?))).collect()
    };
    let mut right = read(whole.clone()).expect("undamaged");
    right.sort_by(|a, b| a.0.cmp(&b.0));
    for length in 0..whole.len() {
        assert!(read(whole[..length].to_vec()).is_err(), "{file}, its first {length} bytes");
    }
    let headers = headers.min(whole.len());
    let mut harmless = 0;
    for at in 0..headers {
        let mut damaged = whole.clone();
        damaged[at] ^= [1, 0x20, 0x80][at % 3];
        if let Ok(mut found) = read(damaged) {
            found.sort_by(|a, b| a.0.cmp(&b.0));
            assert!(found == right, "{file}, byte {at}");
            harmless += 1;
        }
    }
    println!(
        "{file}: all {} cuts are errors; of {headers} changed bytes {harmless} change nothing, the \
         others are errors",
        whole.len()
    );
}

/// CI's Python (tests/python/weight_files.py) reads what this leaves in the target folder.
#[test]
fn files_for_other_readers() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("weights");
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).expect("a target folder");
    for network in ["alexnet", "alexnet_paper", "vgg11_bn", "vgg16"] {
        let architecture = architecture(network);
        for (dtype, name) in [(Dtype::F32, "f32"), (Dtype::F16, "f16"), (Dtype::BF16, "bf16")] {
            for ending in ["pth", "safetensors"] {
                let options = SaveOptions { dtype, ..SaveOptions::default() };
                let path = folder.join(format!("{network}.{name}.{ending}"));
                save(&architecture, &Metadata::default(), path, &options, formula::values)
                    .expect("a writable folder");
            }
        }
    }
}
