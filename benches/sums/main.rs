//! How long the processes of a job take to add up gradients, by the size of the pieces that go through MPI
//! at once: what `Mpi::sum` has its size from.
//!
//!     cargo bench --features mpi --bench sums --no-run
//!     mpirun -np 4 target/release/deps/sums-* 61.1 138.4
//!
//! The numbers are millions of values: AlexNet's and VGG16's parameters.

use alexnet_vgg::train::processes::{Mpi, Processes};
use mpi::collective::SystemOperation;
use mpi::topology::SimpleCommunicator;
use mpi::traits::CommunicatorCollectives;
use std::error::Error;
use std::time::Instant;

/// MB. The last one is all at once.
const PIECES: [usize; 5] = [1, 5, 25, 100, 4000];
const REPETITIONS: usize = 5;

fn main() -> Result<(), Box<dyn Error>> {
    let mpi = Mpi::start()?;
    // cargo test gives none, and runs benches, too, once and quickly.
    for millions in std::env::args().skip(1).filter_map(|arg| arg.parse::<f64>().ok()) {
        measure(&mpi, (millions * 1e6) as usize)?;
    }
    Ok(mpi.finish()?)
}

fn measure(mpi: &Mpi, count: usize) -> Result<(), Box<dyn Error>> {
    let mut values = vec![0.5; count];
    let report = |what: &str, seconds: f64| {
        if mpi.rank() == 0 {
            let moved = 2.0 * (mpi.count() - 1) as f64 / mpi.count() as f64 * 4.0 * count as f64;
            println!(
                "{} ranks, {:.1} M values, {what}: {:.0} ms, {:.2} GB/s for each rank",
                mpi.count(),
                count as f64 / 1e6,
                seconds * 1e3,
                moved / seconds / 1e9,
            );
        }
    };
    for megabytes in PIECES {
        let piece = (megabytes * 250_000).min(count);
        let seconds = best(mpi, || {
            sum(&mut values, piece);
            Ok(())
        })?;
        report(&format!("pieces of {megabytes} MB"), seconds);
    }
    let seconds = best(mpi, || Ok(mpi.sum(&mut values)?))?;
    report("Mpi::sum", seconds);
    Ok(())
}

/// As `Mpi::sum` does it.
fn sum(values: &mut [f32], piece: usize) {
    let mut own = Vec::with_capacity(piece);
    for part in values.chunks_mut(piece) {
        own.clear();
        own.extend_from_slice(part);
        SimpleCommunicator::world().all_reduce_into(&own[..], part, SystemOperation::sum());
    }
}

/// The shortest of some.
fn best(
    mpi: &Mpi,
    mut work: impl FnMut() -> Result<(), Box<dyn Error>>,
) -> Result<f64, Box<dyn Error>> {
    let mut best = f64::INFINITY;
    for _ in 0..REPETITIONS {
        mpi.sum(&mut [1.0])?; // all begin together
        let start = Instant::now();
        work()?;
        best = best.min(start.elapsed().as_secs_f64());
    }
    Ok(best)
}
