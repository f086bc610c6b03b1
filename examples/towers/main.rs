//! The network of 2012 as it was run, on two devices: who talks where, how much that is, and what it costs.
//!
//!     cargo run --release --features flex --example towers
//!     cargo run --release --features train --example towers -- --batch 32 --width 0.5
//!     cargo run --release --features wgpu,train --example towers -- --devices gpu:0,gpu:1 --batch 128
#![recursion_limit = "256"]

#[path = "../cli/mod.rs"]
mod cli;
mod figures;
mod picture;
mod race;

use alexnet_vgg::backend::Devices;
use alexnet_vgg::models::NetworkConfig;
use clap::Parser;
use std::error::Error;
use std::process::ExitCode;

#[derive(Parser)]
#[command(about = "A network as two halves on two devices, as AlexNet was in 2012")]
struct Args {
    #[arg(long, help = cli::networks("The network"), default_value = "alexnet_towers", value_parser = NetworkConfig::by_name)]
    model: NetworkConfig,
    /// Where the halves are: cpu,cpu; gpu,gpu (both on the default GPU); gpu:0,gpu:1.
    #[arg(long, default_value = "cpu,cpu", value_parser = two)]
    devices: Devices,
    /// Images in the batch.
    #[arg(long, default_value_t = 16)]
    batch: usize,
    /// Factor on the channels and hidden features of the network.
    #[arg(long, default_value_t = 1.0)]
    width: f64,
    /// Height and width of the input.
    #[arg(long, value_name = "H,W", default_value = "224,224", value_parser = cli::size)]
    input: [usize; 2],
    /// Only read the table: no weights, nothing runs.
    #[arg(long)]
    no_forward: bool,
}

fn two(text: &str) -> Result<Devices, String> {
    let devices: Devices = text.parse().map_err(|error: alexnet_vgg::Error| error.to_string())?;
    match devices.count() {
        2 => Ok(devices),
        _ => Err("expected two devices, such as cpu,cpu or gpu:0,gpu:1".into()),
    }
}

fn main() -> ExitCode {
    cli::finish(run(&Args::parse()))
}

fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let config = args.model.clone().with_width(args.width).for_input(args.input);
    let table = config.architecture();
    let division = table.divide(args.input)?;
    // It checks the batch, too.
    let figures = figures::Figures::new(&table, &division, args.batch, args.input)?;
    cli::print(picture::draw(&table.name, &division))?;
    cli::print(&figures)?;
    match args.no_forward {
        true => Ok(()),
        false => {
            let devices = args.devices.clone();
            let race = race::Race { table, batch: args.batch, input: args.input, devices };
            args.devices.backend().run(race)?
        }
    }
}
