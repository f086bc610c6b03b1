//! Steps of ours and of PyTorch's in turn.

use super::step::Training;
use super::{BATCH, NETWORKS};
use alexnet_vgg::backend::Flex;
use burn::backend::Autodiff;
use std::error::Error;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

const PEER: &str = include_str!("peer.py");
const WARM_UP: usize = 2;
/// A pair takes 1 s to a minute: at least this many, and more where time allows.
const PAIRS: usize = 7;
const TIME: Duration = Duration::from_secs(20);

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Prints, of each network that the command line selects, the medians and the median ratio.
pub fn in_turn(python: &str) -> Result<()> {
    // cargo test runs benches, too, once and quickly.
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if !arguments.iter().any(|argument| argument == "--bench") {
        return Ok(());
    }
    let filter = arguments.iter().find(|argument| !argument.starts_with('-'));
    for name in NETWORKS {
        let id = format!("train/{name}/flex/{BATCH}");
        if filter.is_none_or(|filter| id.contains(filter.as_str())) {
            compare(&id, name, python)?;
        }
    }
    Ok(())
}

fn compare(id: &str, name: &str, python: &str) -> Result<()> {
    let mut peer = Peer::start(python, name)?;
    let mut training = Training::<Autodiff<Flex>>::new(name, BATCH, &Default::default());
    let mut pair = || -> Result<[f64; 2]> {
        let start = Instant::now();
        training.step();
        Ok([start.elapsed().as_secs_f64(), peer.step()?])
    };
    for _ in 0..WARM_UP {
        pair()?;
    }
    let start = Instant::now();
    let mut pairs = Vec::new();
    while pairs.len() < PAIRS || start.elapsed() < TIME {
        pairs.push(pair()?);
    }
    let median = |value: fn(&[f64; 2]) -> f64| {
        let mut values: Vec<f64> = pairs.iter().map(value).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    println!(
        "{id:<32}{:.0} ms, PyTorch {:.0} ms, ratio {:.2} (medians of {} pairs)",
        median(|pair| pair[0]) * 1e3,
        median(|pair| pair[1]) * 1e3,
        median(|pair| pair[0] / pair[1]),
        pairs.len()
    );
    Ok(())
}

/// A Python that does a step for each line that it is sent, and answers with the seconds.
struct Peer {
    process: Child,
    ask: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Peer {
    fn start(python: &str, name: &str) -> Result<Self> {
        let mut process = Command::new(python)
            .args(["-c", PEER, concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden")])
            .args([name, &BATCH.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let ask = process.stdin.take().ok_or("no stdin")?;
        let answers = BufReader::new(process.stdout.take().ok_or("no stdout")?);
        Ok(Self { process, ask, answers })
    }

    fn step(&mut self) -> Result<f64> {
        writeln!(self.ask)?;
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        Ok(line.trim().parse().map_err(|_| format!("the peer said {line:?}"))?)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
