//! Prints what every network is made of, from its table, and runs a forward pass to prove it.
//!
//!     cargo run --release --example shapes
//!     cargo run --release --example shapes -- --model vgg16 --input 256,320 --batch 8
//!     cargo run --release --example shapes -- --model vgg16 --kernels
#![recursion_limit = "256"]

mod cli;

use alexnet_vgg::backend::{BackendName, Job};
use alexnet_vgg::models::{Architecture, Network, NetworkConfig};
use alexnet_vgg::small_kernels::SmallKernels;
use alexnet_vgg::summary::Summary;
use burn::tensor::backend::Backend;
use burn::tensor::{Distribution, Tensor};
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
    /// Classes of the classifier.
    #[arg(long, default_value_t = 1000)]
    num_classes: usize,
    /// Backend of the forward pass: ndarray, flex or wgpu.
    #[arg(long, default_value_t = BackendName::preferred())]
    backend: BackendName,
    /// How to print.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Only read the table: no weights, no forward pass.
    #[arg(long)]
    no_forward: bool,
    /// The chapter on small kernels: each stack of convolutions against one large kernel.
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
    logits: Option<Vec<usize>>,
}

fn main() -> ExitCode {
    cli::finish(run(&Args::parse()))
}

fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let configs = match &args.model {
        Some(config) => vec![config.clone()],
        None => NetworkConfig::all(),
    };
    let tables: Vec<Architecture> = configs
        .into_iter()
        .map(|config| {
            config.with_num_classes(args.num_classes).for_input(args.input).architecture()
        })
        .collect();
    match args.kernels {
        true => print_kernels(args, &tables),
        false => print_shapes(args, tables),
    }
}

fn print_kernels(args: &Args, tables: &[Architecture]) -> Result<(), Box<dyn Error>> {
    let chapters = tables
        .iter()
        .map(|table| SmallKernels::new(table, args.input))
        .collect::<alexnet_vgg::Result<Vec<_>>>()?;
    match args.format {
        Format::Json => cli::print(serde_json::to_string_pretty(&chapters)? + "\n"),
        Format::Table => chapters.iter().try_for_each(|chapter| cli::print(format!("{chapter}\n"))),
    }
}

fn print_shapes(args: &Args, tables: Vec<Architecture>) -> Result<(), Box<dyn Error>> {
    let mut all = Vec::new();
    for table in tables {
        let summary = Summary::new(&table, args.batch, args.input)?;
        if args.format == Format::Table {
            cli::print(&summary)?;
        }
        let logits = match args.no_forward {
            true => None,
            false => {
                Some(args.backend.run(Forward { table, batch: args.batch, input: args.input })?)
            }
        };
        if args.format == Format::Table {
            if let Some(logits) = &logits {
                cli::print(format!("logits of a forward pass on {}: {logits:?}\n", args.backend))?;
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

struct Forward {
    table: Architecture,
    batch: usize,
    input: [usize; 2],
}

impl Job for Forward {
    type Output = Vec<usize>;

    fn run<B: Backend>(self, device: &B::Device) -> alexnet_vgg::Result<Vec<usize>> {
        let shape = [self.batch, self.table.input[0], self.input[0], self.input[1]];
        let network = Network::<B>::new(self.table, device)?;
        network.check(shape, device)?;
        let images = Tensor::<B, 4>::random(shape, Distribution::Normal(0.0, 1.0), device);
        let logits = alexnet_vgg::backend::read(network.try_forward(images)?)?;
        Ok(logits.shape.to_vec())
    }
}
