//! Times one of the Rust runtimes, by the protocol of `harness/peer.rs`.
//!
//!     alexnet-vgg-rust-runtimes RUNTIME NETWORK MODEL.onnx WEIGHTS.safetensors IMAGES.f32 BATCH THREADS
//!
//! For each line on stdin it runs a pass; if the line has a second word, it also writes the logits into
//! that file. RAYON_NUM_THREADS must be THREADS, because burn and candle ask rayon.

mod burn;
mod candle;
mod layers;
mod rten;
mod tract;

use std::path::PathBuf;
use std::time::Instant;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// A pass of the network on the images of the task: the logits.
type Pass = Box<dyn FnMut() -> Outcome<Vec<f32>>>;

/// What to compute.
struct Task {
    network: String,
    model: PathBuf,
    weights: PathBuf,
    /// `[batch, 3, 224, 224]`, flat.
    images: Vec<f32>,
    batch: usize,
    threads: usize,
}

impl Task {
    fn shape(&self) -> [usize; 4] {
        [self.batch, 3, 224, 224]
    }
}

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [runtime, network, model, weights, images, batch, threads] = &arguments[..] else {
        return Err(format!("expected 7 arguments, found {}", arguments.len()).into());
    };
    let images = std::fs::read(images)?;
    let task = Task {
        network: network.clone(),
        model: model.into(),
        weights: weights.into(),
        images: images.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect(),
        batch: batch.parse()?,
        threads: threads.parse()?,
    };
    let mut pass = match runtime.as_str() {
        "burn" => burn::load(&task)?,
        "candle" => candle::load(&task)?,
        "rten" => rten::load(&task)?,
        "tract" => tract::load(&task)?,
        other => return Err(format!("expected burn, candle, rten or tract, found {other}").into()),
    };
    pass()?;
    println!("ready");
    for line in std::io::stdin().lines() {
        let start = Instant::now();
        let logits = pass()?;
        let seconds = start.elapsed().as_secs_f64();
        if let Some((_, file)) = line?.split_once(' ') {
            let bytes: Vec<u8> = logits.iter().flat_map(|logit| logit.to_le_bytes()).collect();
            std::fs::write(file, bytes)?;
        }
        println!("seconds {seconds}");
    }
    Ok(())
}
