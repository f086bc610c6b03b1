//! Weights from one format, naming or type into another.
//!
//!     cargo run --release --example convert -- vgg16-397923af.pth vgg16.safetensors
//!     cargo run --release --example convert -- vgg16.safetensors vgg16.pth --to timm --dtype f16
//!
//! What the input is, is found out; the output's ending says its format.
#![recursion_limit = "256"]

mod cli;

use alexnet_vgg::models::{Architecture, NetworkConfig};
use alexnet_vgg::vision::{Labels, Preset};
use alexnet_vgg::weights::{Dtype, Format, Naming, SaveOptions, Weights};
use clap::{Parser, ValueEnum};
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(Parser)]
#[command(about = "Weights into another format, naming or type")]
struct Args {
    /// safetensors or PyTorch, with the names of torchvision, timm, the papers or the tutorials.
    input: PathBuf,
    /// A path that ends in .safetensors, .pth or .pt.
    output: PathBuf,
    /// What the tensors are called: torchvision, timm, paper, tutorial or tutorial-numbered.
    #[arg(long, default_value_t = Naming::Torchvision)]
    to: Naming,
    /// Default: as they are, or f32 where they are f64 or of several types.
    #[arg(long)]
    dtype: Option<Type>,
    #[arg(long, help = cli::networks("The network, if the file fits several"), value_parser = NetworkConfig::by_name)]
    model: Option<NetworkConfig>,
    /// The preprocessing that the weights were trained with, to write into a safetensors file that
    /// does not say yet: imagenet or caffe.
    #[arg(long, value_parser = Preset::by_name)]
    preset: Option<Preset>,
    /// The names of the classes, one a line, to write into a safetensors file that does not say yet.
    #[arg(long)]
    labels: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Type {
    F32,
    F16,
    Bf16,
}

fn main() -> ExitCode {
    cli::finish(run(Args::parse()))
}

fn run(args: Args) -> Result<(), Box<dyn Error>> {
    let weights = Weights::open(&args.input)?;
    let table = network(&weights, args.model, &args.input)?;
    let from = weights.naming(&table)?;
    let dtype = match args.dtype {
        Some(Type::F32) => Dtype::F32,
        Some(Type::F16) => Dtype::F16,
        Some(Type::Bf16) => Dtype::BF16,
        None => own_type(&weights),
    };
    let stated = weights.preset()?;
    if let (Some(stated), Some(asked)) = (&stated, &args.preset)
        && stated != asked
    {
        let text = format!("the weights state preset {}, --preset {}", stated.name, asked.name);
        return Err(text.into());
    }
    let preset = stated.or(args.preset);
    let labels = args.labels.map(Labels::read).transpose()?;
    if let (Some(stated), Some(asked)) = (weights.labels()?, &labels)
        && stated != *asked
    {
        return Err("the weights state other labels than --labels".into());
    }
    let options = SaveOptions { dtype, naming: args.to, preset, labels };
    weights.convert(&table, &args.output, &options)?;
    cli::print(format!(
        "{}: {}, {}, names as in {from}\n{}: {}, {dtype}, names as in {}\n",
        args.input.display(),
        table.name,
        weights.format(),
        args.output.display(),
        ending(&args.output),
        args.to
    ))?;
    if ending(&args.output) != Format::Safetensors {
        left_out(&weights, &options)?;
    }
    Ok(())
}

/// What PyTorch's files have no place for.
fn left_out(weights: &Weights, options: &SaveOptions) -> Result<(), Box<dyn Error>> {
    if let Some(preset) = &options.preset {
        cli::complain(format!("note: PyTorch's files have no place for preset {}\n", preset.name));
    }
    if let Some(labels) = weights.labels()?.as_ref().or(options.labels.as_ref()) {
        let count = labels.count();
        cli::complain(format!("note: PyTorch's files have no place for the {count} labels\n"));
    }
    Ok(())
}

/// The network that the file is of, or its convolutional part if that is all there is.
fn network(
    weights: &Weights,
    asked: Option<NetworkConfig>,
    path: &Path,
) -> Result<Architecture, Box<dyn Error>> {
    let identity = weights.identify()?;
    let part = |table: Architecture| match &identity {
        Some(identity) if identity.features_only => table.without_classifier(),
        _ => table,
    };
    let fitting = identity.iter().flat_map(|identity| &identity.networks);
    let mut tables = fitting.map(|config| part(config.architecture()));
    let asked = asked.map(|config| config.architecture());
    let found = match &asked {
        Some(asked) => tables.find(|table| table.name == asked.name),
        None => tables.next(),
    };
    match (found, asked) {
        (Some(first), None) if identity.as_ref().is_some_and(|it| it.networks.len() > 1) => {
            let others: Vec<String> = tables.map(|table| table.name).collect();
            let path = path.display();
            let (first, others) = (first.name, others.join(", "));
            Err(format!("{path}: {first} or {others}; --model says which").into())
        }
        (Some(table), _) => Ok(table),
        // Says what is different.
        (None, Some(asked)) => Ok(weights.naming(&asked).map(|_| asked)?),
        (None, None) => Err(format!(
            "{}: not the weights of a network of this crate (--model NAME says what is different)",
            path.display()
        )
        .into()),
    }
}

fn ending(path: &Path) -> Format {
    let is_safetensors =
        path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("safetensors"));
    if is_safetensors { Format::Safetensors } else { Format::PyTorch }
}

/// The type that all floating-point tensors have, if it can be written.
fn own_type(weights: &Weights) -> Dtype {
    let mut types =
        weights.tensors().map(|tensor| tensor.dtype).filter(|&dtype| dtype != Dtype::I64);
    match types.next() {
        Some(first @ (Dtype::F16 | Dtype::BF16)) if types.all(|dtype| dtype == first) => first,
        _ => Dtype::F32,
    }
}
