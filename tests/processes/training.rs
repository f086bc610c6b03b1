//! Training by several processes: nothing that happens to one of them loses the run, and all of them train the
//! same network.

use super::Scenario;
use super::launch::{Job, mpirun};
use alexnet_vgg::Result;
use alexnet_vgg::backend::Flex;
use alexnet_vgg::models::{Network, NetworkConfig, VggConfig};
use alexnet_vgg::train::processes::{Mpi, ProcessGroup};
use alexnet_vgg::train::{Data, Event, Examples, Recipe, TrainOptions, fit};
use alexnet_vgg::vision::augment::Sample;
use alexnet_vgg::weights::Weights;
use burn::backend::Autodiff;
use burn::tensor::backend::Backend;
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub const SCENARIOS: [Scenario; 5] = [
    Scenario { name: "training the same run", play: trains_alike, check: numbers_of_ranks_agree },
    Scenario { name: "training killed", play: trains, check: killed_runs_come_to_the_same_bits },
    Scenario { name: "training on a full disk", play: trains, check: full_disk_is_reported },
    Scenario {
        name: "training by another recipe",
        play: other_recipe,
        check: other_rate_is_reported,
    },
    Scenario { name: "training on other data", play: other_data, check: other_count_is_reported },
];

/// The run's folder, for all jobs that continue it.
const RUN: &str = "PROCESSES_TEST_RUN";
const SOON: Duration = Duration::from_secs(60);
const KILLS: u64 = 6;

/// Noise, brighter in the channel of its class, and different at every visit.
struct Noise {
    labels: Vec<String>,
    classes: Vec<usize>,
}

impl Noise {
    fn new(count: usize) -> Arc<Self> {
        let labels = (0..3).map(|class| format!("class {class}")).collect();
        Arc::new(Self { labels, classes: (0..count).map(|index| index % 3).collect() })
    }

    fn data(count: usize) -> Data {
        Data { train: Self::new(count), still: Self::new(count), valid: Self::new(12) }
    }
}

impl Examples for Noise {
    fn labels(&self) -> &[String] {
        &self.labels
    }

    fn classes(&self) -> &[usize] {
        &self.classes
    }

    fn shape(&self) -> [usize; 3] {
        [3, 32, 32]
    }

    fn read(&self, index: usize, sample: Sample, out: &mut Vec<f32>) -> Result<()> {
        let mut random = ChaCha8Rng::seed_from_u64(index as u64 + 1000 * sample.epoch);
        for channel in 0..3 {
            let bright = if channel == self.classes[index] { 0.5 } else { 0.0 };
            out.extend((0..32 * 32).map(|_| random.random_range(-1.0..1.0) + bright));
        }
        Ok(())
    }

    fn name(&self, index: usize) -> String {
        format!("noise {index}")
    }

    fn identity(&self) -> Vec<(String, String)> {
        vec![("examples".into(), self.classes.len().to_string())]
    }
}

fn recipe() -> Recipe {
    let alexnet = Recipe::by_name("alexnet-2012").expect("known");
    Recipe { batch: 8, epochs: 6, ..alexnet }
}

fn train(mpi: &Arc<Mpi>, folder: &Path, recipe: &Recipe, data: &Data) -> Result<()> {
    let config = NetworkConfig::from(VggConfig::vgg11_bn().with_width(0.05)).with_num_classes(3);
    train_network(mpi, folder, config, recipe, data)
}

fn train_network(
    mpi: &Arc<Mpi>,
    folder: &Path,
    config: NetworkConfig,
    recipe: &Recipe,
    data: &Data,
) -> Result<()> {
    type B = Autodiff<Flex>;
    B::seed(&Default::default(), 1);
    let network: Network<B> = Network::new(config.for_input([32, 32]), &Default::default())?;
    let run = std::env::var_os(RUN).map_or_else(|| folder.join("run"), PathBuf::from);
    let (at_work, disk) = (folder.join("at work"), run.clone());
    let on_event = move |event: Event| match event {
        Event::Step(_) => fs::write(&at_work, "").expect("a file"),
        Event::CheckpointSaved(_) if disk.join("is small").exists() => fill(&disk),
        _ => {}
    };
    let options = TrainOptions {
        output: Some(run),
        resume: true,
        save_steps: Some(1),
        on_event: Arc::new(on_event),
        processes: mpi.clone(),
        ..TrainOptions::default()
    };
    fit(network, recipe, data, options).map(drop)
}

fn trains(mpi: &Arc<Mpi>, folder: &Path) -> Result<()> {
    train(mpi, folder, &recipe(), &Noise::data(61))
}

/// Without batch norm, which would depend on the shards. With dropout, and noise that changes in every epoch.
fn trains_alike(mpi: &Arc<Mpi>, folder: &Path) -> Result<()> {
    let config = NetworkConfig::from(VggConfig::vgg11().with_width(0.05)).with_num_classes(3);
    let recipe = Recipe { rate: 0.001, ..recipe() };
    train_network(mpi, folder, config, &recipe, &Noise::data(61))
}

/// The last batch is of five: shards of one and two.
fn numbers_of_ranks_agree(scenario: &Scenario) {
    /// Of the largest weight: sums of f32 in another order, 48 steps long.
    const ROUNDING: f32 = 1e-5;
    let run = |ranks| {
        let folder = tempfile::tempdir().expect("a folder");
        start(scenario, ranks, folder.path()).end().well();
        let last = Weights::open(folder.path().join("last.safetensors")).expect("weights");
        let names: Vec<String> = last.tensors().map(|tensor| tensor.name.to_string()).collect();
        names.iter().flat_map(|name| last.values(name).expect("values")).collect::<Vec<f32>>()
    };
    let one = run(1);
    let largest = one.iter().fold(0f32, |most, value| most.max(value.abs()));
    for ranks in [2, 4] {
        let several = run(ranks);
        let apart = one.iter().zip(&several).map(|(a, b)| (a - b).abs() / largest);
        let apart = apart.fold(0f32, f32::max);
        println!("1 and {ranks} ranks: apart by {apart:.1e}");
        assert!(one.len() == several.len() && apart <= ROUNDING, "{ranks}: {apart}");
    }
}

fn start(scenario: &Scenario, ranks: usize, run: &Path) -> Job {
    let run = run.to_str().expect("a folder's name");
    scenario.start_by(&mpirun(), ranks, &[(RUN, run)])
}

fn weights(run: &Path) -> Vec<u8> {
    fs::read(run.join("last.safetensors")).expect("weights")
}

/// Each rank in turn, at random moments of a run.
fn killed_runs_come_to_the_same_bits(scenario: &Scenario) {
    const RANKS: usize = 3;
    let [whole, pieces] = [(); 2].map(|()| tempfile::tempdir().expect("a folder"));
    let start_of_whole = Instant::now();
    let job = start(scenario, RANKS, whole.path());
    job.wait_for("at work");
    let begun = start_of_whole.elapsed();
    job.end().well();
    let length = start_of_whole.elapsed() - begun;
    println!("a run takes {length:?}");

    let mut random = ChaCha8Rng::seed_from_u64(7);
    let mut killed = 0;
    for round in 0..KILLS {
        let victim = round as usize % RANKS;
        let job = start(scenario, RANKS, pieces.path());
        job.wait_for("at work");
        // The runs that are killed are over before all of them have been.
        std::thread::sleep(length.mul_f64(random.random_range(0.0..1.5) / KILLS as f64));
        job.signal("-KILL", victim);
        let start_of_end = Instant::now();
        let ended = job.end();
        assert!(start_of_end.elapsed() < Duration::from_secs(30), "{:?}", start_of_end.elapsed());
        println!("rank {victim}: {:?}, {}", ended.after, ended.status);
        if !ended.status.success() {
            killed += 1;
        }
    }
    assert!(killed >= KILLS / 2, "{killed} of {KILLS} runs were killed");
    start(scenario, RANKS, pieces.path()).end().well();
    assert!(weights(whole.path()) == weights(pieces.path()), "the bits of the weights");
}

/// All that there is.
fn fill(disk: &Path) {
    use std::io::Write;
    let mut file = fs::File::create(disk.join("ballast")).expect("a file");
    while file.write_all(&[0; 4096]).is_ok() {}
}

/// Rank 0 alone writes, and so it alone can say why nothing is left.
fn full_disk_is_reported(scenario: &Scenario) {
    const NO_MOUNT: i32 = 77;
    let disk = tempfile::tempdir().expect("a folder");
    let mut command = Command::new("unshare");
    let script = format!(
        "mount -t tmpfs -o size=16m none \"${RUN}\" && touch \"${RUN}/is small\" || exit {NO_MOUNT}; exec \"$@\""
    );
    command.args(["--mount", "sh", "-c", &script, "sh", &mpirun(), "-np", "2"]);
    let run = disk.path().to_str().expect("a folder's name");
    let ended = scenario.start_command(command, &[(RUN, run)]).end();
    match ended.status.code() {
        Some(NO_MOUNT) => eprintln!("skipped: nothing can be mounted here"),
        _ => ended.badly(SOON, &["rank 0 of 2 (", "No space left"]),
    }
}

fn other_recipe(mpi: &Arc<Mpi>, folder: &Path) -> Result<()> {
    let rate = [0.01, 0.02][mpi.rank()];
    train(mpi, folder, &Recipe { rate, ..recipe() }, &Noise::data(61))
}

fn other_rate_is_reported(scenario: &Scenario) {
    let says = ["process 1 (", "rate", "0.02", "0.01"];
    scenario.start(2).end().badly(SOON, &says);
}

fn other_data(mpi: &Arc<Mpi>, folder: &Path) -> Result<()> {
    train(mpi, folder, &recipe(), &Noise::data([61, 62][mpi.rank()]))
}

fn other_count_is_reported(scenario: &Scenario) {
    scenario.start(2).end().badly(SOON, &["process 1 (", "examples", "62", "61"]);
}
