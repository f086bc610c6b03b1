//! What a weights file is, from its header alone.
//!
//!     cargo run --release --example inspect -- vgg16-397923af.pth
//!
//! Reads safetensors and PyTorch's files, old and new. No tensor's values are read, so that it costs
//! nothing on files of any size; `--verify` reads them all and compares the file's checksums.
#![recursion_limit = "256"]

mod cli;

use alexnet_vgg::models::NetworkConfig;
use alexnet_vgg::printable;
use alexnet_vgg::weights::{Dtype, Identity, Weights};
use clap::Parser;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(Parser)]
#[command(about = "Tensors of weights files, and which network they are of")]
struct Args {
    /// Files of safetensors or PyTorch.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Read all values, too: they must be numbers, and PyTorch's zip files have checksums.
    #[arg(long)]
    verify: bool,
}

fn main() -> ExitCode {
    cli::finish(run(Args::parse()))
}

fn run(args: Args) -> Result<(), Box<dyn Error>> {
    let mut failed = 0;
    for path in &args.files {
        let weights = Weights::open(path).and_then(|weights| match args.verify {
            true => verify(&weights).map(|()| weights),
            false => Ok(weights),
        });
        match weights {
            Ok(weights) => {
                describe(path, &weights)?;
                if args.verify {
                    cli::print("  verified: all values are read, and are numbers\n")?;
                }
            }
            Err(error) => {
                cli::complain(format!("{error}\n"));
                failed += 1;
            }
        }
    }
    match failed {
        0 => Ok(()),
        failed => Err(format!("{failed} of {} files are no weights", args.files.len()).into()),
    }
}

fn verify(weights: &Weights) -> alexnet_vgg::Result<()> {
    let floats = [Dtype::F32, Dtype::F16, Dtype::BF16, Dtype::F64];
    (weights.tensors().filter(|tensor| floats.contains(&tensor.dtype)))
        .try_for_each(|tensor| weights.values(tensor.name).map(drop))?;
    weights.verify()
}

fn describe(path: &Path, weights: &Weights) -> Result<(), Box<dyn Error>> {
    let bytes: u64 = weights.tensors().map(|tensor| tensor.bytes()).sum();
    let count = weights.tensors().count();
    cli::print(format!(
        "{}: {}, {count} tensors, {bytes} bytes\n",
        path.display(),
        weights.format()
    ))?;
    if let Some(note) = weights.note() {
        cli::print(format!("  inside: {}\n", printable(note)))?;
    }
    cli::print(format!("  network: {}\n", identity(weights.identify()?)))?;
    if let Some(labels) = weights.labels()? {
        let first = labels.names().iter().take(5).map(|name| printable(name)).collect::<Vec<_>>();
        let more = if labels.count() > first.len() { ", ..." } else { "" };
        cli::print(format!("  {} labels: {}{more}\n", labels.count(), first.join(", ")))?;
    }
    for (key, value) in weights.metadata().filter(|(key, _)| *key != "labels") {
        cli::print(format!("  {} = {}\n", printable(key), printable(value)))?;
    }
    let width = weights.tensors().map(|tensor| tensor.name.len()).max().unwrap_or(0).min(60);
    for tensor in weights.tensors() {
        cli::print(format!(
            "  {:width$}  {:4}  {:>11}  {:?}\n",
            printable(tensor.name),
            tensor.dtype.to_string(),
            tensor.bytes(),
            tensor.shape
        ))?;
    }
    Ok(())
}

fn identity(identity: Option<Identity>) -> String {
    let Some(Identity { networks, naming, features_only }) = identity else {
        return "none of this crate's".into();
    };
    let names: Vec<String> = networks.iter().map(|config| config.architecture().name).collect();
    let mut text = names.join(" or ");
    match (features_only, networks.first().map(NetworkConfig::architecture)) {
        (true, _) => text += ", the convolutional part",
        (false, Some(table)) => {
            text += &format!(", {} classes", table.num_classes().unwrap_or_default());
        }
        (false, None) => {}
    }
    match networks.first() {
        Some(config) if config.width() != 1.0 => text += &format!(", width {:.3}", config.width()),
        _ => {}
    }
    text + &format!(", names as in {naming}")
}
