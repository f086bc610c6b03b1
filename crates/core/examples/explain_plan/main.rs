//! Shows how the compiled engine computes a network on this machine: its plan, with estimated and measured
//! times.
//!
//!     cargo run --release --example explain_plan -- --model vgg16 --batch 1
//!
//! Below that is a prediction of how the threads share each stage. `--threads N` predicts it for any number of
//! threads, also for more than the machine has cores; the measured times are then of threads that wait for a core.
//!
//! With `--training`, it shows how long each layer's kernels for training take instead: forward, back to the input,
//! and back to the weights.
//!
//!     cargo run --release --example explain_plan -- --model vgg16 --batch 8 --training

#[path = "../cli/mod.rs"]
mod cli;
mod machine;
mod threads;
mod training;

use alexnet_vgg_core::architecture::{Architecture, NetworkConfig, Parameter};
use alexnet_vgg_core::engine::{Compiled, ConvolutionArithmetic, PlannedLayer};
use clap::Parser;
use machine::Machine;
use std::error::Error;
use std::ops::Range;
use std::process::ExitCode;
use std::time::Duration;

#[derive(Parser)]
#[command(about = "The plan of a compiled network, with the time of each layer")]
struct Args {
    #[arg(long, help = cli::networks("The network"), default_value = "vgg16", value_parser = NetworkConfig::by_name)]
    model: NetworkConfig,
    /// Images in the batch, at most 8, as the engine processes larger batches in parts of 8; with --training at most
    /// 1024.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024))]
    batch: u16,
    /// Height and width of the images.
    #[arg(long, default_value = "224,224", value_parser = cli::size)]
    input: [usize; 2],
    #[command(flatten)]
    engine: cli::EngineArgs,
    /// Number of passes to measure.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    passes: u32,
    /// Show the kernels for training instead: forward, back to the input, and back to the weights.
    #[arg(long)]
    training: bool,
}

fn main() -> ExitCode {
    cli::finish(run(Args::parse()))
}

fn run(args: Args) -> Result<(), Box<dyn Error>> {
    let architecture = args.model.clone().for_input(args.input).architecture()?;
    // By default the engine has a thread for each core.
    let machine = Machine::new(args.engine.threads);
    if args.training {
        // The kernels for training run on rayon's threads; 0 is one for each core.
        let threads = args.engine.threads.unwrap_or(0);
        let team = rayon::ThreadPoolBuilder::new().num_threads(threads).build()?;
        let explain = || training::explain(&architecture, args.batch.into(), args.passes, &machine);
        return team.install(|| explain().map_err(|error| error.to_string())).map_err(Into::into);
    }
    if args.batch > 8 {
        return Err(format!("--batch: expected at most 8, found {}", args.batch).into());
    }
    explain(architecture, &args, &machine)
}

fn explain(
    architecture: Architecture,
    args: &Args,
    machine: &Machine,
) -> Result<(), Box<dyn Error>> {
    // The time does not depend on the weights, unless they are NaN, infinite or subnormal.
    let constant = |parameter: &Parameter, rows: Range<usize>| {
        Ok(vec![0.01; rows.len() * parameter.shape[1..].iter().product::<usize>()])
    };
    let channels = architecture.input[0];
    let compiled = Compiled::from_values(architecture, args.engine.options(), constant)?;
    let [height, width] = args.input;
    let shape = [args.batch.into(), channels, height, width];
    let layers = compiled.explain(shape, args.passes)?;

    cli::print(format!(
        "{}, {shape:?}, {}, {}\n\n{:<28} {:<19} {:<16} {:>7} {:>10} {:>9} {:>9} {:>7}\n",
        compiled.architecture().name,
        compiled.isa(),
        args.engine.precision_name(),
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
        cli::print(line(layer, *time, machine))?;
    }
    // As many as the engine has.
    let threads = args
        .engine
        .threads
        .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    let total: Duration = layers.iter().map(|(_, time)| *time).sum();
    cli::print(format!(
        "\n{:.2} ms in total, {:.1} images per second.\nsaved: multiplications by definition, divided by those \
         done. estimate: by the cost model, for two cores.\nspeed: percentage of the multiplications that \
         {} can do in this time.\n",
        1e3 * total.as_secs_f64(),
        f64::from(args.batch) / total.as_secs_f64(),
        machine.cores(),
    ))?;
    threads::explain(&compiled, shape, threads, machine)
}

fn line(layer: &PlannedLayer, time: Duration, machine: &Machine) -> String {
    let mut columns = [const { String::new() }; 4];
    if layer.multiplications > 0 {
        let [saved, weights, estimate, speed] = &mut columns;
        *saved =
            format!("{:.2}x", layer.direct_multiplications as f64 / layer.multiplications as f64);
        *weights = format!("{:.1} MB", layer.weight_bytes as f64 / 1e6);
        if let Some(milliseconds) = machine.estimate(layer.estimated_cycles) {
            *estimate = format!("{milliseconds:.2} ms");
        }
        if let Some(percent) = machine.utilization(layer.multiplications, time) {
            *speed = format!("{percent:.0}%");
        }
    }
    let [saved, weights, estimate, speed] = columns;
    let algorithm = match (layer.algorithm, layer.arithmetic) {
        (Some(algorithm), Some(ConvolutionArithmetic::Int16)) => format!("{algorithm} int16"),
        (Some(algorithm), _) => algorithm.to_string(),
        _ => String::new(),
    };
    let schedule = layer.schedule.map_or(String::new(), |it| it.to_string());
    let (layers, milliseconds) = (&layer.layers, 1e3 * time.as_secs_f64());
    format!(
        "{layers:<28} {algorithm:<19} {schedule:<16} {saved:>7} {weights:>10} {estimate:>9} \
         {milliseconds:>6.2} ms {speed:>7}\n"
    )
}
