//! What a step of training takes on several processes, and what part of it is waiting for others and sending:
//! with and without sending the classifier's gradients while the features still go back, in turn.
//!
//!     cargo bench --features mpi --bench together --no-run
//!     mpirun -np 2 --bind-to none target/release/deps/together-* alexnet 16
//!
//! A network, and the images of a step of all processes together.

use alexnet_vgg::Result;
use alexnet_vgg::backend::Flex;
use alexnet_vgg::models::{Network, NetworkConfig};
use alexnet_vgg::train::processes::{Mpi, Processes};
use alexnet_vgg::train::{self, Data, Epoch, Examples, Hooks, Recipe};
use alexnet_vgg::vision::augment::Sample;
use burn::backend::Autodiff;
use std::sync::Arc;

const STEPS: usize = 5;
const ROUNDS: usize = 3;

/// Pictures of 224×224 that cost nothing to read.
struct Flat {
    labels: Vec<String>,
    classes: Vec<usize>,
}

impl Flat {
    fn new(count: usize) -> Arc<Self> {
        let labels = (0..1000).map(|class| format!("class {class}")).collect();
        Arc::new(Self { labels, classes: (0..count).map(|index| index % 1000).collect() })
    }
}

impl Examples for Flat {
    fn labels(&self) -> &[String] {
        &self.labels
    }

    fn classes(&self) -> &[usize] {
        &self.classes
    }

    fn shape(&self) -> [usize; 3] {
        [3, 224, 224]
    }

    fn read(&self, index: usize, _: Sample, out: &mut Vec<f32>) -> Result<()> {
        let value = (index % 7) as f32 / 7.0 - 0.5;
        out.resize(out.len() + 3 * 224 * 224, value);
        Ok(())
    }

    fn name(&self, index: usize) -> String {
        format!("picture {index}")
    }

    fn identity(&self) -> Vec<(String, String)> {
        vec![("examples".into(), self.classes.len().to_string())]
    }
}

fn main() -> Result<()> {
    let mpi = Arc::new(Mpi::start()?);
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    // cargo test runs benches, too, and gives none.
    if let [name, batch] = &args[..]
        && let Ok(batch) = batch.parse()
        && let Err(error) = measure(&mpi, name, batch)
    {
        mpi.abort(error)
    }
    mpi.finish()
}

fn measure(mpi: &Arc<Mpi>, name: &str, batch: usize) -> Result<()> {
    let mut epochs = [Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        for (overlaps, epochs) in [true, false].into_iter().zip(&mut epochs) {
            epochs.push(epoch(mpi, name, batch, overlaps)?);
        }
    }
    let values = NetworkConfig::by_name(name)?.architecture().parameters()?.into_iter();
    let values = values.filter(|own| own.role.is_trained()).map(|own| own.elements());
    let bytes = 4 * values.sum::<u64>();
    for (how, epochs) in ["while the features go back", "after all"].iter().zip(&epochs) {
        let of = |value: fn(&Epoch) -> f64| median(epochs.iter().map(value).collect());
        let step = batch as f64 / of(|epoch| epoch.images_per_second);
        if mpi.rank() == 0 {
            println!(
                "{name}, {} processes, {batch} images: {:.0} ms a step, of which waiting for others {:.1} %, for sums \
                 {:.1} %, sent {how}; {:.1} MB of gradients given to sums, {:.1} MB in all",
                mpi.count(),
                1e3 * step,
                100.0 * of(|epoch| epoch.waited_for_others),
                100.0 * of(|epoch| epoch.exchanged),
                of(|epoch| epoch.exchanged_bytes as f64) / STEPS as f64 / 1e6,
                bytes as f64 / 1e6,
            );
        }
    }
    Ok(())
}

/// Some steps from fresh weights.
fn epoch(mpi: &Arc<Mpi>, name: &str, batch: usize, overlaps: bool) -> Result<Epoch> {
    let network =
        Network::<Autodiff<Flex>>::new(NetworkConfig::by_name(name)?, &Default::default())?;
    let recipe = Recipe { batch, parts: 1, epochs: 1, ..Recipe::by_name("torchvision")? };
    let data = Flat::new(batch * STEPS);
    let data = Data { train: data.clone(), still: data, valid: Flat::new(mpi.count()) };
    let hooks = Hooks { processes: mpi.clone(), overlaps, ..Hooks::default() };
    Ok(train::fit(network, &recipe, &data, hooks)?.history.epochs.swap_remove(0))
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
