//! How long the processes of a job take to sum gradients (MPI's all-reduce), by the size of the chunks that
//! are summed at a time. `Mpi::sum` has its chunk size from here.
//!
//!     cargo bench --features mpi --bench all_reduce --no-run
//!     mpirun -np 4 target/release/deps/all_reduce-* 61.1 138.4
//!
//! The numbers are millions of values: the parameters of AlexNet and of VGG16.

#[path = "../../crates/core/benches/harness/mod.rs"]
mod harness;

use alexnet_vgg::train::processes::{Mpi, ProcessGroup};
use clap::Parser;
use harness::Outcome;
use harness::arguments::CargoArguments;
use harness::statistics::minimum;
use mpi::collective::SystemOperation;
use mpi::topology::SimpleCommunicator;
use mpi::traits::CommunicatorCollectives;
use std::time::Instant;

/// In MB. The last one is more than all values.
const CHUNKS: [usize; 5] = [1, 5, 25, 100, 4000];
const REPETITIONS: usize = 5;

/// Measures how long the processes of a job take to sum gradients. Launch it with mpirun, with numbers
/// of values.
#[derive(Parser)]
struct Arguments {
    /// Millions of values to sum: 61.1 is AlexNet, 138.4 is VGG16
    #[arg(value_name = "MILLIONS", value_parser = count)]
    counts: Vec<usize>,
    #[command(flatten)]
    cargo: CargoArguments,
}

/// Millions of values as a number of them.
fn count(millions: &str) -> Result<usize, String> {
    match millions.parse::<f64>() {
        Ok(millions) if (1e-6..1e6).contains(&millions) => Ok((millions * 1e6) as usize),
        _ => Err("expected millions of values, such as 61.1".into()),
    }
}

fn main() -> Outcome<()> {
    let Arguments { counts, cargo } = Arguments::parse();
    if counts.is_empty() {
        if cargo.measures() {
            println!("all_reduce: skipped; launch it with mpirun, see `--help`");
        }
        return Ok(());
    }
    let mpi = Mpi::start()?;
    for count in counts {
        measure(&mpi, count)?;
    }
    Ok(mpi.finish()?)
}

fn measure(mpi: &Mpi, count: usize) -> Outcome<()> {
    let mut values = vec![0.5; count];
    let report = |what: &str, seconds: f64| {
        if mpi.rank() == 0 {
            let moved =
                2.0 * (mpi.world_size() - 1) as f64 / mpi.world_size() as f64 * 4.0 * count as f64;
            println!(
                "{} processes, {:.1} M values, {what}: {:.0} ms, {:.2} GB/s per process",
                mpi.world_size(),
                count as f64 / 1e6,
                seconds * 1e3,
                moved / seconds / 1e9,
            );
        }
    };
    for megabytes in CHUNKS {
        let chunk = (megabytes * 250_000).min(count);
        let seconds = shortest(mpi, || {
            sum(&mut values, chunk);
            Ok(())
        })?;
        report(&format!("chunks of {megabytes} MB"), seconds);
    }
    let seconds = shortest(mpi, || Ok(mpi.all_reduce(&mut values)?))?;
    report("Mpi::sum", seconds);
    Ok(())
}

/// As `Mpi::sum` does it, `chunk` values at a time.
fn sum(values: &mut [f32], chunk: usize) {
    let mut own = Vec::with_capacity(chunk);
    for part in values.chunks_mut(chunk) {
        own.clear();
        own.extend_from_slice(part);
        SimpleCommunicator::world().all_reduce_into(&own[..], part, SystemOperation::sum());
    }
}

/// The shortest time of several repetitions, in seconds.
fn shortest(mpi: &Mpi, mut work: impl FnMut() -> Outcome<()>) -> Outcome<f64> {
    let mut times = Vec::new();
    for _ in 0..REPETITIONS {
        mpi.all_reduce(&mut [1.0])?; // so that all processes start together
        let start = Instant::now();
        work()?;
        times.push(start.elapsed().as_secs_f64());
    }
    Ok(minimum(&times))
}
