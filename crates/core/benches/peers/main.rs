//! The compiled engine against other runtimes: they alternate, pass by pass, on the same input, with
//! the same weights. Ours runs in a process of its own, as theirs do: waking up a process that has
//! slept takes longer than calling a function.
//!
//!     cargo bench -p alexnet-vgg-core --bench peers -- --peer python3
//!     cargo bench -p alexnet-vgg-core --bench peers -- --peer python3 vgg16/f32/1
//!
//! This takes a Python 3.10 or later. The first run makes an environment of it in the target folder,
//! and installs the runtimes there (gigabytes, torch among them); a Python that has them already is
//! used as it is. IDs: `<network>/<precision>/<batch>`.

mod comparison;
mod engine_process;
#[path = "../harness/mod.rs"]
mod harness;
mod precision;
mod python_environment;
mod report;

use alexnet_vgg_core::engine::Isa;
use clap::{Parser, Subcommand};
use comparison::Case;
use engine_process::EngineProcess;
use harness::Outcome;
use harness::arguments::BenchArguments;
use precision::Precision;
use std::path::Path;
use std::time::Duration;

const NETWORKS: [&str; 7] =
    ["vgg16", "alexnet", "alexnet_paper", "vgg11", "vgg13", "vgg19", "vgg16_bn"];
const BATCHES: [usize; 2] = [1, 8];
const THREADS: usize = 2;
const CLASSES: usize = 1000;

/// Measures the compiled engine against onnxruntime, OpenVINO, ncnn, MNN and torch. The IDs of the
/// cases are `<network>/<precision>/<batch>`, such as `vgg16/f32/1`.
#[derive(Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(flatten)]
    bench: BenchArguments,
    /// Time of each case; at least seven rounds are measured
    #[arg(long, value_name = "SECONDS", env = "ALEXNET_VGG_SECONDS", default_value = "30")]
    #[arg(value_parser = seconds)]
    measurement_time: Duration,
    /// Instruction set of our engine, instead of the best one; the others choose for themselves
    #[arg(long, env = "ALEXNET_VGG_ISA")]
    isa: Option<Isa>,
    #[command(subcommand)]
    process: Option<Process>,
}

/// What this program does when it is started by itself.
#[derive(Subcommand)]
enum Process {
    /// Run passes of our engine
    #[command(hide = true)]
    Engine(EngineProcess),
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "expected a number of seconds")?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

fn main() -> Outcome<()> {
    let Arguments { bench, measurement_time, isa, process } = Arguments::parse();
    if let Some(Process::Engine(process)) = process {
        return process.run();
    }
    if !bench.measures() {
        return Ok(());
    }
    let Some(python) = &bench.peer else {
        println!("peers: skipped; `-- --peer python3` compares with other runtimes");
        return Ok(());
    };
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("peers");
    std::fs::create_dir_all(&folder)?;
    let python = python_environment::with_runtimes(python, &folder)?;
    for network in NETWORKS {
        for precision in [Precision::F32, Precision::Bf16] {
            for batch in BATCHES {
                let case = Case { network, precision, batch, isa };
                // bf16 is compared for one network.
                let is_compared = precision == Precision::F32 || network == "vgg16";
                if is_compared && bench.selects(&case.id()) {
                    case.compare(measurement_time, &python, &folder)?;
                }
            }
        }
    }
    Ok(())
}
