//! How the compiled engine does a network on this machine: the plan, what was estimated and what was
//! measured.
//!
//!     cargo run --release --example explain_plan -- --model vgg16 --batch 1
#![recursion_limit = "256"]

mod cli;

use alexnet_vgg::engine::{Compiled, Planned};
use alexnet_vgg::models::{NetworkConfig, Parameter};
use clap::Parser;
use std::error::Error;
use std::ops::Range;
use std::process::ExitCode;
use std::time::Duration;

#[derive(Parser)]
#[command(about = "The plan of a compiled network, layer by layer, with times")]
struct Args {
    #[arg(long, help = cli::networks("The network"), default_value = "vgg16", value_parser = NetworkConfig::by_name)]
    model: NetworkConfig,
    /// Images in the batch; more than 8 go through in parts, and the first part is shown.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=8))]
    batch: u16,
    /// Height and width of the images.
    #[arg(long, default_value = "224,224", value_parser = cli::size)]
    input: [usize; 2],
    #[command(flatten)]
    engine: cli::EngineArgs,
    /// Passes to measure.
    #[arg(long, default_value_t = 20)]
    passes: u32,
}

fn main() -> ExitCode {
    cli::finish(run(Args::parse()))
}

fn run(args: Args) -> Result<(), Box<dyn Error>> {
    // The time does not depend on what the weights are, as long as they are ordinary numbers.
    let small = |parameter: &Parameter, rows: Range<usize>| {
        Ok(vec![0.01; rows.len() * parameter.shape[1..].iter().product::<usize>()])
    };
    let table = args.model.for_input(args.input).architecture();
    let channels = table.input[0];
    let compiled = Compiled::from_values(table, args.engine.options(), small)?;
    let [height, width] = args.input;
    let shape = [args.batch.into(), channels, height, width];
    let layers = compiled.explain(shape, args.passes)?;
    let peak = fastest(&layers);

    cli::print(format!(
        "{}, {shape:?}, {}, {}\n\n{:<28} {:<14} {:<16} {:>7} {:>10} {:>9} {:>9} {:>7}\n",
        compiled.architecture().name,
        compiled.isa(),
        args.engine.precision,
        "layers",
        "algorithm",
        "schedule",
        "saved",
        "weights",
        "estimate",
        "measured",
        "speed",
    ))?;
    for (layer, time) in &layers {
        cli::print(line(layer, *time, peak))?;
    }
    let total: Duration = layers.iter().map(|(_, time)| *time).sum();
    cli::print(format!(
        "\n{:.2} ms in all, {:.1} images a second. saved: multiplications of the definition over those \
         done.\nestimate: the share of the cost model's cycles. speed: of the layers' fastest \
         multiplications a second.\n",
        1e3 * total.as_secs_f64(),
        f64::from(args.batch) / total.as_secs_f64(),
    ))?;
    Ok(())
}

/// Multiplications a second of the layer that has most of them.
fn fastest(layers: &[(Planned, Duration)]) -> f64 {
    layers
        .iter()
        .map(|(layer, time)| layer.multiplications as f64 / time.as_secs_f64().max(1e-9))
        .fold(0.0, f64::max)
}

fn line(layer: &Planned, time: Duration, peak: f64) -> String {
    let or_nothing = |text: Option<String>| text.unwrap_or_default();
    let computes = layer.multiplications > 0;
    format!(
        "{:<28} {:<14} {:<16} {:>7} {:>10} {:>9} {:>6.2} ms {:>7}\n",
        layer.layers,
        or_nothing(layer.algorithm.map(|algorithm| algorithm.to_string())),
        or_nothing(layer.schedule.map(|schedule| schedule.to_string())),
        or_nothing(computes.then(|| {
            format!("{:.2}x", layer.definition as f64 / layer.multiplications as f64)
        })),
        or_nothing(computes.then(|| format!("{:.1} MB", layer.bytes as f64 / 1e6))),
        or_nothing(computes.then(|| format!("{:.2} Mcyc", layer.cycles / 1e6))),
        1e3 * time.as_secs_f64(),
        or_nothing(computes.then(|| {
            format!("{:.0} %", 100.0 * layer.multiplications as f64 / time.as_secs_f64() / peak)
        })),
    )
}
