//! Photos per second that become crops for training: from a JPEG of 500×375 in memory to the values of
//! a 224×224 crop, on two threads.
//!
//!     cargo bench -p alexnet-vgg-core --bench augment
//!     cargo bench -p alexnet-vgg-core --bench augment -- --peer python3
//!
//! The second command alternates our passes with torchvision's on Pillow, in that Python: with two
//! threads and with two processes. The photos are crops of those of the examples, 24 different ones, as
//! JPEGs of quality 90. IDs: the augmentation's name.

#[path = "../harness/mod.rs"]
mod harness;
mod photos;
mod stages;

use alexnet_vgg_core::vision::augment::{Augmentation, Sample};
use alexnet_vgg_core::vision::{self, Preset};
use clap::Parser;
use harness::Outcome;
use harness::arguments::BenchArguments;
use harness::peer::Peer;
use harness::statistics::median;
use rayon::prelude::*;
use std::path::Path;
use std::time::{Duration, Instant};

const AUGMENTATIONS: [&str; 3] = ["alexnet", "vgg", "torchvision"];
const THREADS: usize = 2;
/// Photos of one measurement.
const COUNT: usize = 384;
/// Photos of one job, as of a batch.
const BATCH: usize = 32;
const ROUNDS: usize = 11;
/// Idle threads spin for a while before they sleep: not into the other side's time.
const REST: Duration = Duration::from_millis(30);

/// Measures photos per second from JPEG files to augmented crops for training. The IDs of the cases
/// are `alexnet`, `vgg` and `torchvision`.
#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    bench: BenchArguments,
}

fn main() -> Outcome<()> {
    let Arguments { bench } = Arguments::parse();
    if !bench.measures() {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let files = photos::write(folder.path())?;
    let bytes: usize = files.iter().map(Vec::len).sum();
    println!(
        "{} JPEGs of {}x{}, {} kB on average",
        files.len(),
        photos::SIZE.0,
        photos::SIZE.1,
        bytes / 1000 / files.len()
    );
    let pool = rayon::ThreadPoolBuilder::new().num_threads(THREADS).build()?;
    let mut peer =
        bench.peer.as_ref().map(|python| torchvision(python, folder.path())).transpose()?;
    let names: Vec<&str> = AUGMENTATIONS.into_iter().filter(|name| bench.selects(name)).collect();
    for name in &names {
        let augmentation = Augmentation::by_name(name)?;
        let mut ours = Vec::new();
        let mut theirs = Vec::new();
        for round in 0..ROUNDS {
            ours.push(pool.install(|| augment(&augmentation, &files, round as u64))?);
            std::thread::sleep(REST);
            if let Some(peer) = &mut peer {
                theirs.push(peer.seconds(name)?);
                std::thread::sleep(REST);
            }
        }
        report(name, &ours, &theirs);
    }
    stages::measure(&files, &names, ROUNDS)
}

/// A Python that augments all photos by the named augmentation: with threads, then with processes.
fn torchvision(python: &Path, folder: &Path) -> Outcome<Peer> {
    let mut command = Peer::python(python, include_str!("peer.py"));
    Peer::start(command.arg(folder).args([COUNT, BATCH].map(|number| number.to_string())))
}

/// Seconds for all photos of a measurement.
fn augment(
    augmentation: &Augmentation,
    files: &[Vec<u8>],
    epoch: u64,
) -> alexnet_vgg_core::Result<f64> {
    let preset = Preset::imagenet();
    let start = Instant::now();
    (0..COUNT).into_par_iter().step_by(BATCH).try_for_each(|first| {
        let mut values = Vec::new();
        (first..first + BATCH).try_for_each(|index| {
            let photo = vision::decode(&files[index % files.len()])?;
            let sample = Sample { seed: 0, epoch, index: index as u64 };
            augmentation.values(&photo, sample, &preset, &mut values)
        })
    })?;
    Ok(start.elapsed().as_secs_f64())
}

fn report(name: &str, ours: &[f64], theirs: &[[f64; 2]]) {
    let rate = |seconds: f64| COUNT as f64 / seconds;
    println!("{name}: {:.0} photos per second", rate(median(ours.to_vec())));
    if theirs.is_empty() {
        return;
    }
    for (kind, workers) in ["two threads", "two processes"].iter().enumerate() {
        let seconds = median(theirs.iter().map(|both| both[kind]).collect());
        let ratio = median(ours.iter().zip(theirs).map(|(ours, both)| both[kind] / ours).collect());
        println!(
            "  torchvision, {workers}: {:.0} photos per second; ours / torchvision's {ratio:.2}",
            rate(seconds)
        );
    }
}
