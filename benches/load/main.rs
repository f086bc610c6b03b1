//! How long it takes to load VGG16's weights (528 MiB) from a file in the page cache into a network.
//!
//!     cargo bench --bench load
//!     cargo bench --bench load -- --peer python3
//!
//! The second command alternates with PyTorch, in one process of that Python, which has imported torch:
//! `torch.load(mmap=True)` and `load_state_dict`, into an existing VGG16, and into a new one, which is what
//! we do. IDs: the file's name.
#![recursion_limit = "256"]

#[path = "../../crates/core/benches/harness/mod.rs"]
mod harness;

use alexnet_vgg::backend::Cpu;
use alexnet_vgg::models::{InitNetwork, Vgg, VggConfig};
use clap::Parser;
use harness::Outcome;
use harness::arguments::BenchArguments;
use harness::peer::Peer;
use harness::statistics::{median, minimum};
use std::path::Path;
use std::time::Instant;

const FILES: [&str; 2] = ["vgg16.pth", "vgg16.safetensors"];
const ROUNDS: usize = 15;

/// Measures how long it takes to load VGG16's weights. The IDs of the cases are `vgg16.pth` and
/// `vgg16.safetensors`.
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
    let vgg = VggConfig::vgg16().init::<Cpu>(&Default::default());
    let names = FILES.into_iter().filter(|name| bench.selects(name));
    let files: Vec<_> = names.map(|name| folder.path().join(name)).collect();
    for file in &files {
        vgg.save(file)?;
    }
    drop(vgg);
    let start = |python| Peer::start(&mut Peer::python(python, include_str!("peer.py")));
    let mut peer = bench.peer.as_ref().map(start).transpose()?;
    for file in &files {
        let mut ours = Vec::new();
        let mut theirs = Vec::new();
        for _ in 0..ROUNDS {
            ours.push(load(file)?);
            if let Some(peer) = &mut peer {
                theirs.push(peer.seconds(&file.display().to_string())?);
            }
        }
        report(file, &ours, &theirs);
    }
    Ok(())
}

/// Seconds.
fn load(file: &Path) -> Outcome<f64> {
    let start = Instant::now();
    let vgg = Vgg::<Cpu>::load(VggConfig::vgg16(), file, &Default::default())?;
    let seconds = start.elapsed().as_secs_f64();
    drop(vgg);
    Ok(seconds)
}

fn report(file: &Path, ours: &[f64], theirs: &[[f64; 2]]) {
    let name = file.file_name().unwrap_or_default().display();
    println!("{name}: median {:.3} s, fastest {:.3} s", median(ours.to_vec()), minimum(ours));
    if theirs.is_empty() {
        return;
    }
    for (kind, target) in ["into an existing network", "into a new network"].iter().enumerate() {
        let seconds = median(theirs.iter().map(|both| both[kind]).collect());
        let ratio = median(ours.iter().zip(theirs).map(|(ours, both)| ours / both[kind]).collect());
        println!("  PyTorch {target}: {seconds:.3} s; ours / PyTorch {ratio:.2}");
    }
}
