//! Our engine, as a process like those of the other runtimes.

use crate::harness::Outcome;
use crate::{CLASSES, Precision};
use alexnet_vgg_core::architecture::NetworkConfig;
use alexnet_vgg_core::engine::{CompileOptions, Compiled, Isa, Threads};
use clap::Args;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Its name as a runtime.
pub const OURS: &str = "ours";

/// Compiles a network, and runs a pass for each line on stdin, by the protocol of `harness/peer.rs`.
/// A line is the runtime's name, followed by a file if the logits are to be written there.
#[derive(Args)]
pub struct EngineProcess {
    network: String,
    weights: PathBuf,
    images: PathBuf,
    batch: usize,
    threads: usize,
    precision: Precision,
    #[arg(long)]
    isa: Option<Isa>,
}

impl EngineProcess {
    pub fn run(self) -> Outcome<()> {
        let threads = Threads::Dedicated(self.threads);
        let options = CompileOptions { threads, isa: self.isa, ..self.precision.into() };
        let network = NetworkConfig::by_name(&self.network)?;
        let compiled = Compiled::load(network, &self.weights, options)?;
        let images = read(&self.images)?;
        let mut logits = vec![0.0; self.batch * CLASSES];
        println!("ready");
        for line in std::io::stdin().lines() {
            let start = Instant::now();
            compiled.run(&images, [self.batch, 3, 224, 224], &mut logits)?;
            let seconds = start.elapsed().as_secs_f64();
            if let Some((_, file)) = line?.split_once(' ') {
                write(Path::new(file), &logits)?;
            }
            println!("seconds {seconds}");
        }
        Ok(())
    }
}

/// Numbers from a file of little-endian f32.
pub fn read(file: &Path) -> Outcome<Vec<f32>> {
    let bytes = std::fs::read(file)?;
    Ok(bytes.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect())
}

/// Numbers into a file of little-endian f32.
pub fn write(file: &Path, numbers: &[f32]) -> Outcome<()> {
    let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
    Ok(std::fs::write(file, bytes)?)
}
