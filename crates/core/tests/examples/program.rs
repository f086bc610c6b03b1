//! Runs examples as a user does: in the root of the workspace, on the command line.

// Both packages use a part of it.
#![allow(dead_code)]

use crate::{ROOT, formula};
use alexnet_vgg_core::Metadata;
use alexnet_vgg_core::architecture::{Architecture, FreshWeights, VggConfig};
use alexnet_vgg_core::vision::{Labels, Preset};
use alexnet_vgg_core::weights::{SaveOptions, save};
use safetensors::tensor::{Dtype, TensorView};
use std::path::Path;
use std::process::{Command, Output};

/// `cargo test` builds the examples beside the tests.
pub fn example(name: &str) -> Command {
    let this = std::env::current_exe().expect("this test");
    let folder = this.ancestors().nth(2).expect("target/PROFILE");
    let program = folder.join("examples").join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    assert!(
        program.exists(),
        "{} is built by `cargo test` or `cargo build --examples` in the root of the workspace",
        program.display()
    );
    let mut command = Command::new(program);
    command.current_dir(ROOT);
    command
}

pub fn run(name: &str, arguments: &[&str]) -> Output {
    example(name).args(arguments).output().expect("the example runs")
}

/// What it writes to stdout.
pub fn succeeds(name: &str, arguments: &[&str]) -> String {
    let output = run(name, arguments);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{name} {arguments:?}: {errors}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// It fails with one message that has `part` in it.
pub fn fails(name: &str, arguments: &[&str], part: &str) {
    let output = run(name, arguments);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(matches!(output.status.code(), Some(1 | 2)), "{name} {arguments:?}: {error}");
    assert!(error.contains(part) && !error.contains("panicked"), "{name} {arguments:?}: {error}");
}

pub fn text(path: &Path) -> &str {
    path.to_str().expect("a path of letters")
}

pub fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// A safetensors file of the formula's weights that states nothing about itself, whatever its name.
pub fn write_weights(architecture: &Architecture, path: &Path) {
    let tensors: Vec<_> =
        architecture.parameters().map(|p| (bytes(&formula::all_values(p)), p)).collect();
    let views = tensors.iter().map(|(bytes, p)| {
        (p.key.as_str(), TensorView::new(Dtype::F32, p.shape.clone(), bytes).expect("a tensor"))
    });
    safetensors::serialize_to_file(views, None, path).expect("a writable folder");
}

/// A narrow network in a file that states its name, what its classes are called and its preset.
pub fn write_named(path: &Path, names: &[&str]) {
    let config = VggConfig::vgg11_bn().with_width(0.05).with_num_classes(names.len());
    let preset = Preset { name: "small".into(), resize: 72, crop: 64, ..Preset::imagenet() };
    let metadata = Metadata::from(preset).with_labels(Labels::new(names.iter().copied()));
    let fresh = FreshWeights::new(0);
    let values = |parameter: &_, rows| Ok(fresh.rows(parameter, rows));
    let architecture = config.architecture().expect("valid");
    save(&architecture, &metadata, path, &SaveOptions::default(), values)
        .expect("a writable folder");
}
