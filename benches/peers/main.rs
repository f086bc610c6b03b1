//! The compiled engine against other runtimes: all of them in turn, pass by pass, on the same input, with
//! the same weights. Ours runs in a process of its own, as theirs do: who has just slept would be woken
//! more slowly than who has just been called.
//!
//!     ALEXNET_VGG_PEERS=python3 cargo bench --bench peers
//!     ALEXNET_VGG_PEERS=python3 cargo bench --bench peers -- vgg16/f32/1
//!
//! The variable names a Python 3.10 or later. The first run makes an environment of it in the target
//! folder, and installs the runtimes (gigabytes, torch among them); a Python that has them already is
//! taken as it is. Ids: `<network>/<precision>/<batch>`. `ALEXNET_VGG_ISA=avx2` forces our
//! instructions, not theirs; `ALEXNET_VGG_SECONDS` is the time of each case, 30 by default.
#![recursion_limit = "256"]

use alexnet_vgg::backend::Cpu;
use alexnet_vgg::engine::{CompileOptions, Compiled, Precision, Threads};
use alexnet_vgg::models::{Network, NetworkConfig};
use alexnet_vgg::onnx::Export;
use std::error::Error;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

const NETWORKS: [&str; 7] =
    ["vgg16", "alexnet", "alexnet_paper", "vgg11", "vgg13", "vgg19", "vgg16_bn"];
const BATCHES: [usize; 2] = [1, 8];
const THREADS: usize = 2;
const CLASSES: usize = 1000;
/// The argument of our own process.
const OURS: &str = "ours";
/// Runtimes let their threads spin for a while after a pass: not into the next one's.
const REST: Duration = Duration::from_millis(30);
const FEWEST_ROUNDS: usize = 7;

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    // cargo test runs benches, too, once and quickly.
    if !std::env::args().any(|argument| argument == "--bench") {
        return Ok(());
    }
    let arguments: Vec<String> = std::env::args().collect();
    if let Some(at) = arguments.iter().position(|argument| argument == OURS) {
        return answer(&arguments[at + 1..]);
    }
    let Ok(python) = std::env::var("ALEXNET_VGG_PEERS") else {
        println!("peers: skipped; ALEXNET_VGG_PEERS=python3 compares with other runtimes");
        return Ok(());
    };
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("peers");
    std::fs::create_dir_all(&folder)?;
    let python = environment(&python, &folder)?;
    for name in NETWORKS {
        for precision in [Precision::F32, Precision::Bf16] {
            for batch in BATCHES {
                let id = format!("{name}/{precision}/{batch}");
                // bf16 is compared for one network.
                if is_selected(&id) && (precision == Precision::F32 || name == "vgg16") {
                    compare(&id, name, precision, batch, &python, &folder)?;
                }
            }
        }
    }
    Ok(())
}

fn is_selected(id: &str) -> bool {
    let filter = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    filter.is_none_or(|filter| id.contains(filter.as_str()))
}

/// A Python that has the runtimes.
fn environment(python: &str, folder: &Path) -> Outcome<PathBuf> {
    let has_them = Command::new(python)
        .args(["-c", "import MNN, ncnn, onnxruntime, openvino, pnnx, torch"])
        .stderr(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .map_err(|error| format!("ALEXNET_VGG_PEERS={python} does not start: {error}"))?;
    if has_them.success() {
        return Ok(python.into());
    }
    let venv = folder.join("python");
    let own = venv.join("bin/python");
    let succeeds = |command: &mut Command| -> Outcome<()> {
        match command.status()?.success() {
            true => Ok(()),
            false => Err(format!("{command:?} failed").into()),
        }
    };
    if !own.exists() {
        succeeds(Command::new(python).args(["-m", "venv"]).arg(&venv))?;
    }
    let requirements = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/peers/requirements.txt");
    succeeds(Command::new(&own).args(["-m", "pip", "install", "--quiet", "-r"]).arg(requirements))?;
    Ok(own)
}

fn compare(
    id: &str,
    name: &str,
    precision: Precision,
    batch: usize,
    python: &Path,
    folder: &Path,
) -> Outcome<()> {
    let model = folder.join(format!("{name}.onnx"));
    let weights = folder.join(format!("{name}.safetensors"));
    let network = Network::<Cpu>::new(NetworkConfig::by_name(name)?, &Default::default())?;
    network.export_onnx(&model, &Export::default())?;
    network.save(&weights)?;
    drop(network);
    let images: Vec<f32> = (0..batch * 3 * 224 * 224).map(noise).collect();
    let input = folder.join("images.f32");
    std::fs::write(&input, images.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>())?;

    let numbers = [batch.to_string(), THREADS.to_string(), precision.to_string()];
    let mut own = Command::new(std::env::current_exe()?);
    own.args(["--bench", OURS, name]).args([&weights, &input]).args(&numbers);
    let mut ours = Process::start(&mut own)?;
    let mut python = Command::new(python);
    python.args(["-c", include_str!("peers.py")]).args([&model, &input]).args(&numbers).arg(folder);
    let mut peers = Process::start(&mut python)?;
    ours.seconds(OURS, None)?;

    let limit =
        std::env::var("ALEXNET_VGG_SECONDS").ok().and_then(|s| s.parse().ok()).unwrap_or(30);
    let (start, mut times) = (Instant::now(), vec![Vec::new(); peers.names.len() + 1]);
    while times[0].len() < FEWEST_ROUNDS || start.elapsed() < Duration::from_secs(limit) {
        std::thread::sleep(REST);
        times[0].push(ours.seconds(OURS, None)?);
        for (times, name) in times[1..].iter_mut().zip(peers.names.clone()) {
            std::thread::sleep(REST);
            times.push(peers.seconds(&name, None)?);
        }
    }
    report(id, &times, &mut ours, &mut peers, folder)
}

/// Our own process: says `ready` and, for each line, runs a pass, as peers.py does.
fn answer(arguments: &[String]) -> Outcome<()> {
    let [name, weights, input, batch, threads, precision] = arguments else {
        return Err(format!("{OURS}: not for you to call").into());
    };
    let batch: usize = batch.parse()?;
    let isa = std::env::var("ALEXNET_VGG_ISA").ok().map(|isa| isa.parse()).transpose()?;
    let threads = Threads::Own(threads.parse()?);
    let options = CompileOptions { precision: precision.parse()?, threads, isa };
    let compiled = Compiled::load(NetworkConfig::by_name(name)?, weights, options)?;
    let images = numbers(&std::fs::read(input)?);
    let mut logits = vec![0.0; batch * CLASSES];
    println!("ready {OURS}");
    for line in std::io::stdin().lines() {
        let start = Instant::now();
        compiled.run(&images, [batch, 3, 224, 224], &mut logits)?;
        let seconds = start.elapsed().as_secs_f64();
        if let Some((_, file)) = line?.split_once(' ').filter(|(_, file)| !file.is_empty()) {
            std::fs::write(file, logits.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>())?;
        }
        println!("seconds {seconds}");
    }
    Ok(())
}

fn numbers(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect()
}

fn report(
    id: &str,
    times: &[Vec<f64>],
    ours: &mut Process,
    peers: &mut Process,
    folder: &Path,
) -> Outcome<()> {
    let file = folder.join("logits.f32");
    ours.seconds(OURS, Some(&file))?;
    let logits = numbers(&std::fs::read(&file)?);
    println!("\n{id}, {THREADS} threads, {} rounds", times[0].len());
    println!(
        "{:<14}{:>10}{:>10}{:>22}{:>28}",
        "", "median ms", "least ms", "over ours (quartiles)", "logits' difference to ours"
    );
    println!(
        "{:<14}{:>10.2}{:>10.2}",
        "ours",
        1e3 * quartiles(&times[0])[1],
        1e3 * least(&times[0])
    );
    let mut fastest = f64::INFINITY;
    for (name, theirs) in peers.names.clone().iter().zip(&times[1..]) {
        let ratios: Vec<f64> = theirs.iter().zip(&times[0]).map(|(a, b)| a / b).collect();
        let [low, median, high] = quartiles(&ratios);
        peers.seconds(name, Some(&file))?;
        println!(
            "{name:<14}{:>10.2}{:>10.2}{:>22}{:>28.1e}",
            1e3 * quartiles(theirs)[1],
            1e3 * least(theirs),
            format!("{median:.2} ({low:.2}-{high:.2})"),
            difference(&logits, &numbers(&std::fs::read(&file)?))?,
        );
        fastest = fastest.min(median);
    }
    println!("the fastest of them takes {fastest:.2} of our time");
    Ok(())
}

/// Of the largest logit.
fn difference(ours: &[f32], theirs: &[f32]) -> Outcome<f64> {
    if theirs.len() != ours.len() {
        return Err(format!("{} logits, not {}", theirs.len(), ours.len()).into());
    }
    let largest = theirs.iter().fold(0f32, |largest, v| largest.max(v.abs()));
    if !ours.iter().chain(theirs).all(|logit| logit.is_finite()) {
        return Err("logits that are not numbers".into());
    }
    let apart = ours.iter().zip(theirs).fold(0f32, |worst, (a, b)| worst.max((a - b).abs()));
    match apart <= 0.1 * largest {
        true => Ok((apart / largest).into()),
        false => {
            Err(format!("the logits are not the same: {apart} apart, the largest is {largest}")
                .into())
        }
    }
}

fn least(times: &[f64]) -> f64 {
    times.iter().copied().fold(f64::INFINITY, f64::min)
}

fn quartiles(values: &[f64]) -> [f64; 3] {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    [1, 2, 3].map(|quarter| sorted[(sorted.len() - 1) * quarter / 4])
}

/// Something like a normalized photo: no zeros, both signs.
fn noise(index: usize) -> f32 {
    let hash = (index as u32).wrapping_mul(2_654_435_761);
    ((hash ^ (hash >> 15)) >> 8) as f32 / (1 << 24) as f32 * 4.0 - 2.0
}

/// A process that runs passes when asked: ours, or peers.py.
struct Process {
    process: Child,
    say: ChildStdin,
    hear: BufReader<ChildStdout>,
    names: Vec<String>,
}

impl Process {
    fn start(command: &mut Command) -> Outcome<Self> {
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let (Some(say), Some(hear)) = (process.stdin.take(), process.stdout.take()) else {
            return Err("no pipes".into());
        };
        let mut it = Self { process, say, hear: BufReader::new(hear), names: Vec::new() };
        it.names = it.answer("ready")?.split_whitespace().map(String::from).collect();
        Ok(it)
    }

    /// The rest of the next line that begins with `word`.
    fn answer(&mut self, word: &str) -> Outcome<String> {
        let mut line = String::new();
        while self.hear.read_line(&mut line)? > 0 {
            if let Some(rest) = line.strip_prefix(word) {
                return Ok(rest.trim().into());
            }
            line.clear();
        }
        Err("a process ended".into())
    }

    fn seconds(&mut self, name: &str, logits: Option<&Path>) -> Outcome<f64> {
        let file = logits.map(|file| file.display().to_string()).unwrap_or_default();
        writeln!(self.say, "{name} {file}")?;
        self.say.flush()?;
        Ok(self.answer("seconds")?.parse()?)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
