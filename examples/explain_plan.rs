//! How the compiled engine does a network on this machine: the plan, what was estimated and what was
//! measured.
//!
//!     cargo run --release --example explain_plan -- --model vgg16 --batch 1
#![recursion_limit = "256"]

mod cli;

use alexnet_vgg::engine::{Compiled, Isa, Planned};
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
    /// Images in the batch; more than 8 go through in parts of 8.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=8))]
    batch: u16,
    /// Height and width of the images.
    #[arg(long, default_value = "224,224", value_parser = cli::size)]
    input: [usize; 2],
    #[command(flatten)]
    engine: cli::EngineArgs,
    /// Passes to measure.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
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
    // Without threads given, the engine takes as many as there are cores.
    let cores = args.engine.threads.unwrap_or_else(cores).min(cores());
    let limit = Limit { isa: compiled.isa(), clock: compiled.isa().cycles_per_second(), cores };

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
        cli::print(line(layer, *time, &limit))?;
    }
    let total: Duration = layers.iter().map(|(_, time)| *time).sum();
    cli::print(format!(
        "\n{:.2} ms in all, {:.1} images a second.\nsaved: multiplications of the definition over those \
         done. estimate: of the cost model, for two cores. speed: of the multiplications that {cores} \
         cores can do.\n",
        1e3 * total.as_secs_f64(),
        f64::from(args.batch) / total.as_secs_f64(),
    ))?;
    Ok(())
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// What this machine could do.
struct Limit {
    isa: Isa,
    /// Cycles a second, where they can be measured.
    clock: Option<f64>,
    cores: usize,
}

impl Limit {
    /// Milliseconds of a number of cycles of the cost model.
    fn estimate(&self, cycles: f64) -> Option<f64> {
        Some(1e3 * cycles / self.clock?)
    }

    /// Per cent of the cores' multiply-adds that a layer makes use of.
    fn share(&self, multiplications: u64, time: Duration) -> Option<f64> {
        let core = self.clock? * self.isa.multiply_adds_per_cycle();
        Some(100.0 * multiplications as f64 / time.as_secs_f64() / (core * self.cores as f64))
    }
}

fn line(layer: &Planned, time: Duration, limit: &Limit) -> String {
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
        or_nothing(
            (limit.estimate(layer.cycles)).filter(|_| computes).map(|ms| format!("{ms:.2} ms"))
        ),
        1e3 * time.as_secs_f64(),
        or_nothing(
            (limit.share(layer.multiplications, time))
                .filter(|_| computes)
                .map(|share| format!("{share:.0} %"))
        ),
    )
}
