//! Describes weights files: format, network, metadata and tensors.
//!
//!     cargo run --release --example inspect -- vgg16-397923af.pth
//!
//! Reads safetensors, PyTorch's files, old and new, Caffe's, and ONNX. Only the header is read, so even huge files
//! take no time; --verify reads all values and checks them against the file's checksums.

mod cli;

use alexnet_vgg_core::architecture::{Head, NetworkConfig};
use alexnet_vgg_core::printable;
use alexnet_vgg_core::weights::{Dtype, Identity, LoadOptions, Weights};
use clap::Parser;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(Parser)]
#[command(about = "The tensors of weights files, and the network they belong to")]
struct Args {
    /// Files in the format of safetensors, PyTorch, Caffe or ONNX.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Also read all values, which must be finite, and check the checksums that PyTorch's zip files have.
    #[arg(long)]
    verify: bool,
    #[command(flatten)]
    key: cli::KeyArgs,
}

fn main() -> ExitCode {
    cli::finish(run(&cli::parse_or(&[cli::DIGITS])))
}

fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let mut failed = 0;
    for path in &args.files {
        match open(path, args) {
            Ok(weights) => {
                describe(path, &weights)?;
                if args.verify {
                    cli::print("  verified: all values can be read and are finite\n")?;
                }
            }
            Err(error) => {
                cli::warn(format!("{error}\n"));
                failed += 1;
            }
        }
    }
    if failed > 0 {
        let all = args.files.len();
        return Err(format!("{failed} of {all} files are not valid weights files").into());
    }
    Ok(())
}

fn open(path: &Path, args: &Args) -> alexnet_vgg_core::Result<Weights> {
    let weights = args.key.open(path)?;
    if args.verify {
        let floats = [Dtype::F32, Dtype::F16, Dtype::BF16, Dtype::F64];
        for tensor in weights.tensors().filter(|tensor| floats.contains(&tensor.dtype)) {
            weights.values(tensor.name)?;
        }
        weights.verify()?;
    }
    Ok(weights)
}

fn describe(path: &Path, weights: &Weights) -> Result<(), Box<dyn Error>> {
    let bytes: u64 = weights.tensors().map(|tensor| tensor.bytes()).sum();
    let (format, count) = (weights.format(), weights.tensors().count());
    cli::print(format!("{}: {format}, {count} tensors, {bytes} bytes\n", path.display()))?;
    if let Some(container) = weights.container() {
        cli::print(format!("  inside: {}\n", printable(container)))?;
    }
    cli::print(format!("  network: {}\n", network(weights)?))?;
    if let Some(labels) = weights.labels()? {
        let first: Vec<String> = labels.names().iter().take(5).map(|it| printable(it)).collect();
        let more = if labels.count() > first.len() { ", ..." } else { "" };
        cli::print(format!("  {} labels: {}{more}\n", labels.count(), first.join(", ")))?;
    }
    for (key, value) in weights.metadata().filter(|(key, _)| *key != "labels") {
        cli::print(format!("  {} = {}\n", printable(key), in_lines(value)))?;
    }
    let width = weights.tensors().map(|tensor| tensor.name.len()).max().unwrap_or(0).min(60);
    for tensor in weights.tensors() {
        let (name, dtype) = (printable(tensor.name), tensor.dtype.to_string());
        let (bytes, shape) = (tensor.bytes(), tensor.shape);
        cli::print(format!("  {name:width$}  {dtype:4}  {bytes:>11}  {shape:?}\n"))?;
    }
    Ok(())
}

/// A text of several lines, such as a recipe, below its key.
fn in_lines(text: &str) -> String {
    if !text.trim_end().contains('\n') {
        return printable(text);
    }
    text.lines().map(|line| format!("\n    {}", printable(line))).collect()
}

fn network(weights: &Weights) -> Result<String, Box<dyn Error>> {
    let Some(Identity { networks, naming, features_only }) = weights.identify() else {
        let found = match weights.network(None, LoadOptions::default()) {
            Err(alexnet_vgg_core::Error::Setting { found, .. }) => found,
            _ => String::new(),
        };
        return Ok(format!("none of the known ones, but {}", printable(&found)));
    };
    let names: Vec<String> = networks.iter().map(|config| config.table().name).collect();
    let mut text = names.join(" or ");
    if let Some(config) = networks.first() {
        if features_only {
            text += ", only the convolutional part";
        } else {
            let classes = config.architecture()?.num_classes();
            text += &format!(", {classes} {}", if classes == 1 { "class" } else { "classes" });
        }
        match config.table().input[0] {
            3 => {}
            1 => text += ", gray images",
            channels => text += &format!(", images of {channels} channels"),
        }
        if config.width() != 1.0 {
            text += &format!(", width {:.3}", config.width());
        }
        text += &own_layers(config);
    }
    Ok(format!("{text}, {}", cli::names(naming)))
}

/// In which layers the network differs from the published one, apart from its width.
fn own_layers(config: &NetworkConfig) -> String {
    let head = match config {
        NetworkConfig::AlexNet(config) => &config.head,
        NetworkConfig::Vgg(config) => &config.head,
        NetworkConfig::Custom(_) => return ", with channels of its own".into(),
    };
    match head {
        Head::Published => String::new(),
        Head::Custom { pool: [height, width], hidden } if hidden.is_empty() => {
            format!(", a single linear layer on a {height}x{width} map")
        }
        Head::Custom { pool: [height, width], hidden } => {
            format!(", hidden layers of {hidden:?} on a {height}x{width} map")
        }
    }
}
