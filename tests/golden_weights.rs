//! Weight files as torch and its users write them: golden/weights.py made them. Their values are
//! tests/formula's, so what a file must hold is known to the bit.

mod formula;

use alexnet_vgg::backend::Cpu as B;
use alexnet_vgg::models::*;
use alexnet_vgg::weights::{Dtype, Naming, SaveOptions, Weights};
use half::{bf16, f16};
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// What golden/weights.py says of a file.
#[derive(Deserialize)]
struct Case {
    file: String,
    network: String,
    naming: String,
    dtype: String,
}

const WIDTH: f64 = 0.004;
const CLASSES: usize = 3;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/weights")
}

fn cases() -> Vec<Case> {
    let text = std::fs::read_to_string(folder().join("cases.json")).expect("cases.json");
    serde_json::from_str(&text).expect("a list of cases")
}

fn config(network: &str) -> NetworkConfig {
    let config = NetworkConfig::by_name(network).expect("a known network");
    config.with_width(WIDTH).with_num_classes(CLASSES)
}

/// The value that a type can hold.
fn rounded(value: f32, dtype: &str) -> f32 {
    match dtype {
        "F16" => f16::from_f32(value).to_f32(),
        "BF16" => bf16::from_f32(value).to_f32(),
        _ => value,
    }
}

fn expect_formula(network: &Network<B>, dtype: &str, place: &str) {
    for parameter in network.architecture().parameters().expect("valid") {
        let rows = 0..parameter.shape[0];
        let found = network.values(&parameter, rows.clone()).expect("a parameter");
        let wanted: Vec<f32> = (formula::fill(&parameter.key, &parameter.shape, rows).iter())
            .map(|&value| rounded(value, dtype))
            .collect();
        assert!(found == wanted, "{place}: {}", parameter.key);
    }
}

#[test]
fn every_file_gives_its_network_to_the_bit() {
    let cases = cases();
    assert!(cases.len() > 45, "{} cases", cases.len());
    for case in &cases {
        let path = folder().join(&case.file);
        let network = Network::<B>::load(config(&case.network), &path, &Default::default())
            .unwrap_or_else(|error| panic!("{error}"));
        expect_formula(&network, &case.dtype, &case.file);
    }
}

#[test]
fn every_file_is_known_for_what_it_is() {
    for case in cases() {
        let weights = Weights::open(folder().join(&case.file)).expect("a golden file");
        let identity = weights.identify().expect("tables").expect(&case.file);
        let names: Vec<String> =
            identity.networks.iter().map(|config| config.architecture().name).collect();
        assert!(names.contains(&case.network), "{}: {names:?}", case.file);
        // LRN has no parameters: only a naming that counts layers knows of it.
        let twins = if case.file == "paper_vgg11_bn.pth" { 2 } else { 1 };
        assert_eq!(names.len(), twins, "{}: {names:?}", case.file);
        assert_eq!(identity.naming.to_string(), case.naming, "{}", case.file);
        assert!(!identity.features_only);
        let table = identity.networks[0].architecture();
        assert_eq!(table.num_classes().expect("valid"), CLASSES);
        assert_eq!(
            table.parameters().expect("valid"),
            config(&case.network).architecture().parameters().expect("valid")
        );
    }
}

#[test]
fn what_is_written_is_read_again_in_every_format_naming_and_type() {
    let folder = tempfile::tempdir().expect("a folder");
    let device = Default::default();
    let mut written = 0;
    for network in ["alexnet", "alexnet_paper", "vgg11_bn", "vgg16", "vgg16_c", "vgg19_bn"] {
        let original = formula::network::<B>(config(network), &device);
        for naming in Naming::ALL {
            for (dtype, name) in [(Dtype::F32, "F32"), (Dtype::F16, "F16"), (Dtype::BF16, "BF16")] {
                for ending in ["pth", "safetensors"] {
                    let path = folder.path().join(format!("{network}.{ending}"));
                    let options = SaveOptions { dtype, naming, ..SaveOptions::default() };
                    original.save_as(&path, &options).expect("a writable folder");
                    let weights = Weights::open(&path).expect("our own file");
                    weights.verify().expect("right checksums");
                    let table = original.architecture();
                    assert_eq!(weights.naming(table).expect("this network's"), naming);
                    let read =
                        Network::from_weights(table.clone(), &weights, &device).expect("read");
                    expect_formula(&read, name, &format!("{network} {naming} {name} {ending}"));
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
    let table = config("vgg11_bn").architecture();
    let convert = |from: &Path, to: &Path, naming| {
        let options = SaveOptions { naming, ..SaveOptions::default() };
        Weights::open(from)
            .and_then(|from| from.convert(&table, to, &options))
            .expect("convertible");
    };
    let original = folder().join("transposed.legacy.pth");
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
}

/// Every file cut at every byte, and every byte of its headers changed. The tensors' bytes themselves
/// have a checksum in zip files only; in the others what is changed is what is before them.
#[test]
fn damage_is_an_error_or_changes_nothing() {
    std::thread::scope(|scope| {
        for (file, headers) in [
            ("plain.pth", usize::MAX),
            ("module.pth", usize::MAX),
            ("plain.legacy.pth", 7925),
            ("plain.safetensors", 4880),
        ] {
            scope.spawn(move || damage(file, headers));
        }
    });
}

fn damage(file: &str, headers: usize) {
    let table = config("vgg11_bn").architecture();
    let whole = std::fs::read(folder().join(file)).expect("a golden file");
    let read = |bytes: Vec<u8>| -> alexnet_vgg::Result<Vec<(String, Vec<f32>)>> {
        let weights = Weights::from_bytes(file, bytes)?;
        weights.naming(&table)?;
        weights.verify()?;
        let floats = weights.tensors().filter(|tensor| tensor.dtype == Dtype::F32);
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

/// CI's Python (tests/python/weights.py) reads what this leaves in the target folder.
#[test]
fn files_for_other_readers() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("weights");
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).expect("a target folder");
    for network in ["alexnet", "alexnet_paper", "vgg11_bn", "vgg16"] {
        let network_ = formula::network::<B>(config(network), &Default::default());
        for (dtype, name) in [(Dtype::F32, "f32"), (Dtype::F16, "f16"), (Dtype::BF16, "bf16")] {
            for ending in ["pth", "safetensors"] {
                let options = SaveOptions { dtype, ..SaveOptions::default() };
                let path = folder.join(format!("{network}.{name}.{ending}"));
                network_.save_as(path, &options).expect("a writable folder");
            }
        }
    }
}
