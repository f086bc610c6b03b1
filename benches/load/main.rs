//! How long VGG16's weights (528 MB) take from a file that the machine has in memory to a network.
//!
//!     cargo bench --bench load --features flex
//!     ALEXNET_VGG_PEER=python cargo bench --bench load --features flex
//!
//! The second command times PyTorch in turn with us, in one process of that Python that has imported
//! torch: `torch.load(mmap=True)` and `load_state_dict`, into a VGG16 that is there already, and into
//! a new one, which is what we make.
#![recursion_limit = "256"]

use alexnet_vgg::backend::Cpu;
use alexnet_vgg::models::{Vgg, VggConfig};
use std::error::Error;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Instant;

const ROUNDS: usize = 15;
const PEER: &str = include_str!("peer.py");

fn main() -> Result<(), Box<dyn Error>> {
    // cargo test runs benches, too, once and quickly.
    if !std::env::args().any(|argument| argument == "--bench") {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let device = Default::default();
    let vgg = VggConfig::vgg16().init::<Cpu>(&device);
    let files = ["vgg16.pth", "vgg16.safetensors"].map(|name| folder.path().join(name));
    for file in &files {
        vgg.save(file)?;
    }
    drop(vgg);
    let mut peer = std::env::var("ALEXNET_VGG_PEER").ok().map(|p| Peer::start(&p)).transpose()?;
    for file in &files {
        let mut ours = Vec::new();
        let mut theirs = Vec::new();
        for _ in 0..ROUNDS {
            ours.push(load(file)?);
            if let Some(peer) = &mut peer {
                theirs.push(peer.load(file)?);
            }
        }
        report(file, &ours, &theirs);
    }
    Ok(())
}

fn load(file: &Path) -> Result<f64, Box<dyn Error>> {
    let start = Instant::now();
    let vgg = Vgg::<Cpu>::load(VggConfig::vgg16(), file, &Default::default())?;
    let seconds = start.elapsed().as_secs_f64();
    drop(vgg);
    Ok(seconds)
}

fn report(file: &Path, ours: &[f64], theirs: &[[f64; 2]]) {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let fastest = ours.iter().copied().fold(f64::INFINITY, f64::min);
    println!("{name}: median {:.3} s, fastest {fastest:.3} s", median(ours.to_vec()));
    if theirs.is_empty() {
        return;
    }
    for (i, what) in ["into a network that is there", "into a new network"].iter().enumerate() {
        let seconds = median(theirs.iter().map(|both| both[i]).collect());
        let ratio = median(ours.iter().zip(theirs).map(|(ours, both)| ours / both[i]).collect());
        println!("  PyTorch {what}: {seconds:.3} s; ours / PyTorch {ratio:.2}");
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// A Python that loads a file for each line that it is sent, and answers with two times.
struct Peer {
    process: Child,
    ask: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Peer {
    fn start(python: &str) -> Result<Self, Box<dyn Error>> {
        let mut process = Command::new(python)
            .args(["-c", PEER])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let ask = process.stdin.take().ok_or("no stdin")?;
        let answers = BufReader::new(process.stdout.take().ok_or("no stdout")?);
        Ok(Self { process, ask, answers })
    }

    fn load(&mut self, file: &Path) -> Result<[f64; 2], Box<dyn Error>> {
        writeln!(self.ask, "{}", file.display())?;
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        let seconds: Vec<f64> = line.split_whitespace().filter_map(|s| s.parse().ok()).collect();
        seconds.try_into().map_err(|_| format!("the peer said {line:?}").into())
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
