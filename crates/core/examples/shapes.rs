//! Prints the layers of every network, as its table describes them, and runs a forward pass to
//! confirm them.
//!
//!     cargo run --release --example shapes
//!     cargo run --release --example shapes -- --model vgg16 --input 256,320 --batch 8
//!     cargo run --release --example shapes -- --model vgg16 --kernels

mod cli;

use alexnet_vgg_core::Array;
use alexnet_vgg_core::architecture::small_kernels::SmallKernels;
use alexnet_vgg_core::architecture::summary::Summary;
use alexnet_vgg_core::architecture::{Architecture, NetworkConfig};
use alexnet_vgg_core::engine::CompileOptions;
use alexnet_vgg_core::predict::Model;
use clap::{Parser, ValueEnum};
use serde::Serialize;
use std::error::Error;
use std::process::ExitCode;

#[derive(Parser)]
#[command(about = "Shapes, parameters, multiply-adds and receptive fields of AlexNet and VGG")]
struct Args {
    #[arg(long, help = cli::networks("One network instead of all of them"), value_parser = NetworkConfig::by_name)]
    model: Option<NetworkConfig>,
    /// Height and width of the input.
    #[arg(long, value_name = "H,W", default_value = "224,224", value_parser = cli::size)]
    input: [usize; 2],
    /// Images in the batch.
    #[arg(long, default_value_t = 1)]
    batch: usize,
    /// Number of classes.
    #[arg(long, default_value_t = 1000)]
    num_classes: usize,
    /// Output format.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Only read the tables: no weights, no forward pass.
    #[arg(long)]
    no_forward: bool,
    /// Instead, compare each stack of small convolutions with one large kernel.
    #[arg(long, conflicts_with_all = ["batch", "no_forward"])]
    kernels: bool,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Format {
    Table,
    Json,
}

#[derive(Serialize)]
struct Shapes {
    #[serde(flatten)]
    summary: Summary,
    logits: Option<[usize; 2]>,
}

fn main() -> ExitCode {
    cli::finish(run(&Args::parse()))
}

fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let configs = match &args.model {
        Some(config) => vec![config.clone()],
        None => NetworkConfig::all(),
    };
    let architectures = configs
        .into_iter()
        .map(|it| it.with_num_classes(args.num_classes).for_input(args.input).architecture())
        .collect::<alexnet_vgg_core::Result<Vec<_>>>()?;
    if args.kernels {
        print_kernels(args, &architectures)
    } else {
        print_shapes(args, &architectures)
    }
}

fn print_kernels(args: &Args, architectures: &[Architecture]) -> Result<(), Box<dyn Error>> {
    let kernels = architectures
        .iter()
        .map(|architecture| SmallKernels::new(architecture, args.input))
        .collect::<alexnet_vgg_core::Result<Vec<_>>>()?;
    match args.format {
        Format::Json => cli::print(serde_json::to_string_pretty(&kernels)? + "\n"),
        Format::Table => kernels.iter().try_for_each(|of| cli::print(format!("{of}\n"))),
    }
}

fn print_shapes(args: &Args, architectures: &[Architecture]) -> Result<(), Box<dyn Error>> {
    let mut all = Vec::new();
    for architecture in architectures {
        let summary = Summary::new(architecture, args.batch, args.input)?;
        if args.format == Format::Table {
            cli::print(&summary)?;
        }
        let logits = if args.no_forward { None } else { Some(forward(args, architecture)?) };
        if args.format == Format::Table {
            if let Some(shape) = logits {
                cli::print(format!("logits of a forward pass: {shape:?}\n"))?;
            }
            cli::print("\n")?;
        }
        all.push(Shapes { summary, logits });
    }
    if args.format == Format::Json {
        cli::print(serde_json::to_string_pretty(&all)? + "\n")?;
    }
    Ok(())
}

/// Runs an untrained network on black images, and returns the shape of its logits.
fn forward(args: &Args, architecture: &Architecture) -> Result<[usize; 2], Box<dyn Error>> {
    cli::expect_memory(architecture)?;
    let compiled = cli::untrained(architecture, 0, CompileOptions::default())?;
    let shape = [args.batch, architecture.input[0], args.input[0], args.input[1]];
    let images = Array::zeros(&shape)?;
    let logits = compiled.logits(&images.values, shape)?;
    Ok([args.batch, logits.len() / args.batch])
}
