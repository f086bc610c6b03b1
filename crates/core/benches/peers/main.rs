//! The compiled engine against other runtimes: they alternate, pass by pass, on the same input, with
//! the same weights. Ours runs in a process of its own, as theirs do: waking up a process that has
//! slept takes longer than calling a function.
//!
//!     cargo bench -p alexnet-vgg-core --bench peers -- --peer python3
//!     cargo bench -p alexnet-vgg-core --bench peers -- --peer python3 --only int8,ncnn vgg16/f32/1
//!     cargo bench -p alexnet-vgg-core --bench peers -- --only rust
//!
//! Most of the runtimes are Python's, and take a Python 3.11 or later. The first run makes an environment
//! of it in the target folder, and installs them there (gigabytes, torch among them); a Python that has
//! them already is used as it is. Those in Rust are a program in `rust_runtimes`, which the first run
//! builds. IDs: `<network>/<our precision>/<batch>`.

mod comparison;
mod engine_process;
#[path = "../harness/mod.rs"]
mod harness;
mod programs;
mod report;
mod runtimes;

use alexnet_vgg_core::engine::{Isa, Precision};
use clap::{Parser, Subcommand};
use comparison::Case;
use engine_process::EngineProcess;
use harness::Outcome;
use harness::arguments::BenchArguments;
use programs::Programs;
use std::path::Path;
use std::time::Duration;

const NETWORKS: [&str; 7] =
    ["vgg16", "alexnet", "alexnet_paper", "vgg11", "vgg13", "vgg19", "vgg16_bn"];
const BATCHES: [usize; 2] = [1, 8];
const THREADS: usize = 2;
const CLASSES: usize = 1000;

/// Measures the compiled engine against other runtimes, in f32, bf16 and int8, and against those in Rust.
/// The IDs of the cases are `<network>/<our precision>/<batch>`, such as `vgg16/f32/1`.
#[derive(Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(flatten)]
    bench: BenchArguments,
    /// Time of each case; at least seven rounds are measured
    #[arg(long, value_name = "SECONDS", env = "ALEXNET_VGG_SECONDS", default_value = "30")]
    #[arg(value_parser = seconds)]
    measurement_time: Duration,
    /// Compare only with these runtimes or classes of them (f32, bf16, int8, rust); default: all
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    only: Vec<String>,
    /// Precision of our engine; of several, each in turn
    #[arg(long, value_name = "NAME", value_delimiter = ',', default_values_t = [Precision::default()])]
    precision: Vec<Precision>,
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
    let arguments = Arguments::parse();
    if let Some(Process::Engine(process)) = arguments.process {
        return process.run();
    }
    if arguments.bench.measures() { arguments.compare() } else { Ok(()) }
}

impl Arguments {
    fn compare(&self) -> Outcome<()> {
        let python = self.bench.peer.as_deref();
        if python.is_none() && self.only.is_empty() {
            println!("peers: skipped; `-- --peer python3` compares with other runtimes");
            return Ok(());
        }
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("peers");
        std::fs::create_dir_all(&folder)?;
        let runtimes = runtimes::selected(&self.only)?;
        let programs = Programs::new(&runtimes, python, &folder)?;
        for network in NETWORKS {
            for &precision in &self.precision {
                for batch in BATCHES {
                    let case = Case { network, precision, batch, isa: self.isa };
                    if self.bench.selects(&case.id()) {
                        case.compare(self.measurement_time, &runtimes, &programs, &folder)?;
                    }
                }
            }
        }
        Ok(())
    }
}
