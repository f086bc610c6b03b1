//! All runtimes on one network, alternating.

use crate::engine_process::{self, OURS};
use crate::harness::peer::Peer;
use crate::harness::{Outcome, fresh_weights};
use crate::programs::{Files, Programs};
use crate::runtimes::Runtime;
use crate::{Precision, THREADS, report};
use alexnet_vgg_core::Metadata;
use alexnet_vgg_core::architecture::NetworkConfig;
use alexnet_vgg_core::engine::Isa;
use alexnet_vgg_core::onnx::{self, ExportOptions};
use alexnet_vgg_core::weights::{self, SaveOptions};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// The threads of a runtime spin for a while after a pass: not into the next one's.
const REST: Duration = Duration::from_millis(30);
const FEWEST_ROUNDS: usize = 7;

/// What is compared.
#[derive(Clone, Copy)]
pub struct Case {
    pub network: &'static str,
    /// Of our engine.
    pub precision: Precision,
    pub batch: usize,
    /// Of our engine.
    pub isa: Option<Isa>,
}

/// One side of the comparison, and what was measured of it.
pub struct Side {
    /// `None` for our engine.
    pub runtime: Option<Runtime>,
    process: Peer,
    /// Of all rounds, in seconds.
    pub seconds: Vec<f64>,
}

impl Case {
    pub fn id(&self) -> String {
        format!("{}/{}/{}", self.network, self.precision, self.batch)
    }

    /// Measures for this long, and prints the result.
    pub fn compare(
        &self,
        time: Duration,
        runtimes: &[Runtime],
        programs: &Programs,
        folder: &Path,
    ) -> Outcome<()> {
        let files = self.write_files(folder)?;
        let in_f32 = Self { precision: Precision::default(), ..*self };
        let expected = in_f32.start_engine(&files)?.logits(&files)?;
        let mut sides = vec![self.start_engine(&files)?];
        for &runtime in runtimes {
            match programs.start(runtime, self, &files) {
                Ok(process) => sides.push(Side::new(Some(runtime), process)),
                Err(error) => eprintln!("{} is left out: {error}", runtime.name),
            }
        }
        for side in &mut sides {
            side.run()?;
        }
        let start = Instant::now();
        while sides[0].seconds.len() < FEWEST_ROUNDS || start.elapsed() < time {
            for side in &mut sides {
                std::thread::sleep(REST);
                let seconds = side.run()?;
                side.seconds.push(seconds);
            }
        }
        report::print(&self.id(), &mut sides, &expected, &files)
    }

    fn write_files(&self, folder: &Path) -> Outcome<Files> {
        let files = Files {
            onnx: folder.join(format!("{}.onnx", self.network)),
            weights: folder.join(format!("{}.safetensors", self.network)),
            images: folder.join("images.f32"),
            folder: folder.into(),
        };
        let architecture = NetworkConfig::by_name(self.network)?.architecture()?;
        onnx::export(&architecture, &files.onnx, &ExportOptions::default(), fresh_weights::rows)?;
        let (metadata, options) = (Metadata::default(), SaveOptions::default());
        weights::save(&architecture, &metadata, &files.weights, &options, fresh_weights::rows)?;
        let pixels: Vec<f32> = (0..self.batch * 3 * 224 * 224).map(pixel).collect();
        engine_process::write(&files.images, &pixels)?;
        Ok(files)
    }

    /// The arguments that all sides have in common: the batch and the threads.
    pub fn numbers(&self) -> [String; 2] {
        [self.batch.to_string(), THREADS.to_string()]
    }

    fn start_engine(&self, files: &Files) -> Outcome<Side> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["engine", self.network]).args([&files.weights, &files.images]);
        command.args(self.numbers()).arg(self.precision.to_string());
        if let Some(isa) = self.isa {
            command.args(["--isa", &isa.to_string()]);
        }
        Ok(Side::new(None, Peer::start(&mut command)?))
    }
}

impl Side {
    fn new(runtime: Option<Runtime>, process: Peer) -> Self {
        Self { runtime, process, seconds: Vec::new() }
    }

    pub fn name(&self) -> &'static str {
        self.runtime.map_or(OURS, |runtime| runtime.name)
    }

    /// The seconds of one pass.
    fn run(&mut self) -> Outcome<f64> {
        let [seconds] = self.process.seconds(self.name())?;
        Ok(seconds)
    }

    /// The logits of one more pass.
    pub fn logits(&mut self, files: &Files) -> Outcome<Vec<f32>> {
        let file = files.folder.join("logits.f32");
        self.process.seconds::<1>(&format!("{} {}", self.name(), file.display()))?;
        engine_process::read(&file)
    }
}

/// Something like a normalized photo: no zeros, both signs.
fn pixel(index: usize) -> f32 {
    let hash = (index as u32).wrapping_mul(2_654_435_761);
    ((hash ^ (hash >> 15)) >> 8) as f32 / (1 << 24) as f32 * 4.0 - 2.0
}
