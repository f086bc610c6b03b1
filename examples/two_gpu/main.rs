//! Runs a network split between two devices, as AlexNet was in 2012: what each device computes, how much crosses
//! between them, and how long it takes.
//!
//!     cargo run --release --example two_gpu
//!     cargo run --release --features train --example two_gpu -- --batch 32 --width 0.5
//!     cargo run --release --features wgpu,train --example two_gpu -- --devices gpu:0,gpu:1 --batch 128
#![recursion_limit = "256"]

#[path = "../../crates/core/examples/cli/mod.rs"]
mod cli;
mod comparison;
mod costs;
mod diagram;

use alexnet_vgg::backend::Devices;
use alexnet_vgg::models::NetworkConfig;
use clap::Parser;
use comparison::Comparison;
use costs::Costs;
use std::error::Error;
use std::process::ExitCode;

#[derive(Parser)]
#[command(about = "A network split between two devices, as AlexNet was in 2012")]
struct Args {
    #[arg(long, help = cli::networks("The network"), default_value = "alexnet_two_gpu", value_parser = NetworkConfig::by_name)]
    model: NetworkConfig,
    /// The devices: cpu,cpu; gpu,gpu (the default GPU twice); or gpu:0,gpu:1.
    #[arg(long, default_value = "cpu,cpu", value_parser = two_devices)]
    devices: Devices,
    /// Images in the batch.
    #[arg(long, default_value_t = 16)]
    batch: usize,
    /// Factor by which the network's channels and hidden features are scaled.
    #[arg(long, default_value_t = 1.0)]
    width: f64,
    /// Height and width of the input.
    #[arg(long, value_name = "H,W", default_value = "224,224", value_parser = cli::size)]
    input: [usize; 2],
    /// Only read the table: no weights, no forward pass.
    #[arg(long)]
    no_forward: bool,
}

fn two_devices(text: &str) -> Result<Devices, String> {
    let devices: Devices = text.parse().map_err(|error: alexnet_vgg::Error| error.to_string())?;
    if devices.count() != 2 {
        return Err("expected two devices, such as cpu,cpu or gpu:0,gpu:1".into());
    }
    Ok(devices)
}

fn main() -> ExitCode {
    cli::finish(run(&Args::parse()))
}

fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let config = args.model.clone().with_width(args.width).for_input(args.input);
    let architecture = config.architecture()?;
    let split = architecture.two_gpu_split(args.input)?;
    let costs = Costs::new(&architecture, &split, args.batch, args.input)?;
    cli::print(diagram::draw(&architecture.name, &split))?;
    cli::print(&costs)?;
    if args.no_forward {
        return Ok(());
    }
    let (batch, input, devices) = (args.batch, args.input, args.devices.clone());
    args.devices.backend().run(Comparison { architecture, batch, input, devices })?
}
