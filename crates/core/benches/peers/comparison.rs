//! All runtimes on one network, alternating.

use crate::engine_process::{self, OURS};
use crate::harness::peer::Peer;
use crate::harness::{Outcome, fresh_weights};
use crate::precision::Precision;
use crate::{THREADS, report};
use alexnet_vgg_core::Metadata;
use alexnet_vgg_core::architecture::NetworkConfig;
use alexnet_vgg_core::engine::Isa;
use alexnet_vgg_core::onnx::{self, ExportOptions};
use alexnet_vgg_core::weights::{self, SaveOptions};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// The threads of a runtime spin for a while after a pass: not into the next one's.
const REST: Duration = Duration::from_millis(30);
const FEWEST_ROUNDS: usize = 7;

/// What is compared.
pub struct Case {
    pub network: &'static str,
    pub precision: Precision,
    pub batch: usize,
    /// Of our engine.
    pub isa: Option<Isa>,
}

/// The files that all runtimes read.
struct Files {
    onnx: PathBuf,
    weights: PathBuf,
    images: PathBuf,
}

/// The times of all rounds.
pub struct Times {
    /// In seconds.
    pub ours: Vec<f64>,
    /// Those of each runtime, in the order of [`Peer::runtimes`].
    pub theirs: Vec<Vec<f64>>,
}

impl Case {
    pub fn id(&self) -> String {
        format!("{}/{}/{}", self.network, self.precision, self.batch)
    }

    /// Measures for this long, and prints the result.
    pub fn compare(&self, time: Duration, python: &Path, folder: &Path) -> Outcome<()> {
        let files = self.write_files(folder)?;
        let mut ours = self.start_engine(&files)?;
        let mut peer = self.start_peer(python, &files, folder)?;
        ours.seconds::<1>(OURS)?;

        let theirs = vec![Vec::new(); peer.runtimes().len()];
        let mut times = Times { ours: Vec::new(), theirs };
        let start = Instant::now();
        while times.ours.len() < FEWEST_ROUNDS || start.elapsed() < time {
            std::thread::sleep(REST);
            times.ours.extend(ours.seconds::<1>(OURS)?);
            for (times, name) in times.theirs.iter_mut().zip(peer.runtimes().to_vec()) {
                std::thread::sleep(REST);
                times.extend(peer.seconds::<1>(&name)?);
            }
        }
        report::print(&self.id(), &times, &mut ours, &mut peer, folder)
    }

    fn write_files(&self, folder: &Path) -> Outcome<Files> {
        let onnx = folder.join(format!("{}.onnx", self.network));
        let weights = folder.join(format!("{}.safetensors", self.network));
        let architecture = NetworkConfig::by_name(self.network)?.architecture()?;
        onnx::export(&architecture, &onnx, &ExportOptions::default(), fresh_weights::rows)?;
        let (metadata, options) = (Metadata::default(), SaveOptions::default());
        weights::save(&architecture, &metadata, &weights, &options, fresh_weights::rows)?;
        let images = folder.join("images.f32");
        let pixels: Vec<f32> = (0..self.batch * 3 * 224 * 224).map(pixel).collect();
        engine_process::write(&images, &pixels)?;
        Ok(Files { onnx, weights, images })
    }

    /// The arguments that both sides have in common.
    fn numbers(&self) -> [String; 3] {
        [self.batch.to_string(), THREADS.to_string(), self.precision.to_string()]
    }

    fn start_engine(&self, files: &Files) -> Outcome<Peer> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["engine", self.network]).args([&files.weights, &files.images]);
        command.args(self.numbers());
        if let Some(isa) = self.isa {
            command.args(["--isa", &isa.to_string()]);
        }
        Peer::start(&mut command)
    }

    fn start_peer(&self, python: &Path, files: &Files, folder: &Path) -> Outcome<Peer> {
        let mut command = Peer::python(python, include_str!("peers.py"));
        command.args([&files.onnx, &files.images]).args(self.numbers()).arg(folder);
        Peer::start(&mut command)
    }
}

/// Something like a normalized photo: no zeros, both signs.
fn pixel(index: usize) -> f32 {
    let hash = (index as u32).wrapping_mul(2_654_435_761);
    ((hash ^ (hash >> 15)) >> 8) as f32 / (1 << 24) as f32 * 4.0 - 2.0
}
