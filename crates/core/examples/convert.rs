//! Converts weights to another file format, naming or type.
//!
//!     cargo run --release --example convert -- vgg16-397923af.pth vgg16.safetensors
//!     cargo run --release --example convert -- vgg16.safetensors vgg16.pth --to timm --dtype f16
//!
//! Format and naming of the input are detected; the extension of the output chooses its format.

mod cli;

use alexnet_vgg_core::Metadata;
use alexnet_vgg_core::architecture::{Architecture, NetworkConfig};
use alexnet_vgg_core::vision::Labels;
use alexnet_vgg_core::weights::{Dtype, Format, LoadOptions, Naming, SaveOptions, Weights};
use clap::{Parser, ValueEnum};
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(Parser)]
#[command(about = "Converts weights to another file format, naming or type")]
struct Args {
    /// A safetensors, PyTorch, Caffe or ONNX file, with tensors named as in torchvision, timm, the papers or tutorials.
    input: PathBuf,
    /// The file to write; its name ends in .safetensors, .pth or .pt.
    output: PathBuf,
    /// How to name the tensors: torchvision, timm, paper, tutorial or tutorial-numbered.
    #[arg(long, default_value_t = Naming::Torchvision)]
    to: Naming,
    /// The type of the values. Default: that of the input, or f32 if the input has f64 or several types.
    #[arg(long)]
    dtype: Option<Type>,
    #[arg(long, help = cli::networks("The network, if the file fits several"), value_parser = NetworkConfig::by_name)]
    model: Option<NetworkConfig>,
    // If the input does not state it. Only safetensors files can state it.
    #[command(flatten)]
    preset: cli::preset::PresetArgs,
    /// A file with the names of the classes, one on each line or as JSON, if the input does not state them.
    /// Only safetensors files can state them.
    #[arg(long)]
    labels: Option<PathBuf>,
    #[command(flatten)]
    key: cli::KeyArgs,
}

#[derive(Clone, Copy, ValueEnum)]
enum Type {
    F32,
    F16,
    Bf16,
}

fn main() -> ExitCode {
    cli::finish(run(&cli::parse_needing("vgg16-397923af.pth vgg16.safetensors")))
}

fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    cli::expect_no_input(&args.output, &[&args.input])?;
    let weights = args.key.open(&args.input)?;
    let architecture = architecture(&weights, args.model.as_ref())?;
    let from = cli::names(weights.naming(&architecture)?);
    let dtype = match args.dtype {
        Some(Type::F32) => Dtype::F32,
        Some(Type::F16) => Dtype::F16,
        Some(Type::Bf16) => Dtype::BF16,
        None => dtype_of(&weights),
    };
    let metadata = metadata(args, &weights, &architecture)?;
    let options = SaveOptions { dtype, naming: args.to, metadata };
    weights.convert(&architecture, &args.output, &options)?;
    let (input, output) = (args.input.display(), args.output.display());
    let (name, from_format) = (&architecture.name, weights.format());
    let (to_format, to) = (format_of(&args.output), args.to);
    cli::print(format!(
        "{input}: {name}, {from_format}, {from}\n{output}: {to_format}, {dtype}, names as in {to}\n",
    ))?;
    if to_format != Format::Safetensors {
        warn_about_lost(&options.metadata);
    }
    Ok(())
}

/// The network that the file is for, or its convolutional part if the file has nothing else.
fn architecture(
    weights: &Weights,
    hint: Option<&NetworkConfig>,
) -> alexnet_vgg_core::Result<Architecture> {
    let features_only = weights.identify().is_some_and(|identity| identity.features_only);
    let architecture = weights.network(hint, LoadOptions { features_only })?.architecture()?;
    Ok(if features_only { architecture.without_classifier() } else { architecture })
}

/// What the input states, completed by the options, which must not contradict it.
fn metadata(
    args: &Args,
    weights: &Weights,
    network: &Architecture,
) -> Result<Metadata, Box<dyn Error>> {
    let stated = Metadata::default().with_preset(weights.preset()?).with_labels(weights.labels()?);
    let preset = args.preset.given(&stated, network)?;
    let labels = args.labels.as_ref().map(Labels::read).transpose()?;
    if let (Some(stated), Some(given)) = (&stated.labels, &labels)
        && stated != given
    {
        return Err("the input's labels differ from those of --labels".into());
    }
    Ok(Metadata::default().with_preset(preset).with_labels(labels).or(&stated))
}

fn warn_about_lost(metadata: &Metadata) {
    if let Some(preset) = &metadata.preset {
        let name = &preset.name;
        cli::warn(format!("note: PyTorch's format cannot store the preset, which is {name}\n"));
    }
    if let Some(labels) = &metadata.labels {
        let count = labels.count();
        cli::warn(format!("note: PyTorch's format cannot store the {count} labels\n"));
    }
}

fn format_of(path: &Path) -> Format {
    let is_safetensors = path.extension().is_some_and(|it| it.eq_ignore_ascii_case("safetensors"));
    if is_safetensors { Format::Safetensors } else { Format::PyTorch }
}

/// The type that all floating-point tensors share, if it can be written.
fn dtype_of(weights: &Weights) -> Dtype {
    let mut types = weights.tensors().map(|it| it.dtype).filter(|&dtype| dtype != Dtype::I64);
    match types.next() {
        Some(first @ (Dtype::F16 | Dtype::BF16)) if types.all(|dtype| dtype == first) => first,
        _ => Dtype::F32,
    }
}
