//! What a step of training takes on several processes, and how much of it is spent waiting for the others and
//! summing gradients: the classifier's gradients are sent while the features' are still computed, or after
//! that, in alternation.
//!
//!     cargo bench --features mpi --bench data_parallel --no-run
//!     mpirun -np 2 --bind-to none target/release/deps/data_parallel-* alexnet 16

mod constant_examples;
#[path = "../../crates/core/benches/harness/mod.rs"]
mod harness;

use alexnet_vgg::Result;
use alexnet_vgg::backend::Flex;
use alexnet_vgg::models::{Network, NetworkConfig};
use alexnet_vgg::train::processes::{Mpi, ProcessGroup};
use alexnet_vgg::train::{self, Data, Epoch, Recipe, TrainOptions};
use burn::backend::Autodiff;
use clap::Parser;
use constant_examples::ConstantExamples;
use harness::arguments::CargoArguments;
use harness::statistics::median;
use std::num::NonZeroUsize;
use std::sync::Arc;

const STEPS: usize = 5;
const ROUNDS: usize = 3;

/// Measures steps of data-parallel training. Launch it with mpirun, with a network and a batch.
#[derive(Parser)]
struct Arguments {
    /// Network, such as alexnet or vgg16
    #[arg(requires = "batch")]
    network: Option<String>,
    /// Images of one step, of all processes together
    batch: Option<NonZeroUsize>,
    #[command(flatten)]
    cargo: CargoArguments,
}

fn main() -> Result<()> {
    let Arguments { network, batch, cargo } = Arguments::parse();
    let (Some(network), Some(batch)) = (network, batch) else {
        if cargo.measures() {
            println!("data_parallel: skipped; launch it with mpirun, see `--help`");
        }
        return Ok(());
    };
    let mpi = Arc::new(Mpi::start()?);
    if let Err(error) = measure(&mpi, &network, batch.get()) {
        mpi.abort(error)
    }
    mpi.finish()
}

fn measure(mpi: &Arc<Mpi>, name: &str, batch: usize) -> Result<()> {
    let mut epochs = [Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        for (overlap_communication, epochs) in [true, false].into_iter().zip(&mut epochs) {
            epochs.push(epoch(mpi, name, batch, overlap_communication)?);
        }
    }
    let architecture = NetworkConfig::by_name(name)?.architecture()?;
    let trained = architecture.parameters().filter(|parameter| parameter.role.is_trained());
    let bytes = 4 * trained.map(|parameter| parameter.elements()).sum::<u64>();
    for (order, epochs) in ["during the backward pass", "after it"].iter().zip(&epochs) {
        let median = |value: fn(&Epoch) -> f64| median(epochs.iter().map(value).collect());
        let step = batch as f64 / median(|epoch| epoch.images_per_second);
        if mpi.rank() == 0 {
            println!(
                "{name}, {} processes, {batch} images, gradients sent {order}: {:.0} ms per step, of which \
                 {:.1}% waiting for others, {:.1}% for sums; {:.1} MB of gradients summed, of {:.1} MB in all",
                mpi.world_size(),
                1e3 * step,
                100.0 * median(|epoch| epoch.waited_for_others),
                100.0 * median(|epoch| epoch.exchanged),
                median(|epoch| epoch.exchanged_bytes as f64) / STEPS as f64 / 1e6,
                bytes as f64 / 1e6,
            );
        }
    }
    Ok(())
}

/// An epoch of a few steps, from fresh weights.
fn epoch(mpi: &Arc<Mpi>, name: &str, batch: usize, overlap_communication: bool) -> Result<Epoch> {
    let network =
        Network::<Autodiff<Flex>>::new(NetworkConfig::by_name(name)?, &Default::default())?;
    let recipe = Recipe { batch, micro_batches: 1, epochs: 1, ..Recipe::by_name("torchvision")? };
    let data = ConstantExamples::new(batch * STEPS);
    let data =
        Data { train: data.clone(), still: data, valid: ConstantExamples::new(mpi.world_size()) };
    let hooks =
        TrainOptions { processes: mpi.clone(), overlap_communication, ..TrainOptions::default() };
    Ok(train::fit(network, &recipe, &data, hooks)?.history.epochs.swap_remove(0))
}
