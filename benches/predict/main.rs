//! Photos a second from JPEG files to answers: decoding, resizing and the network, as they overlap.
//!
//!     cargo bench --bench predict
//!     cargo bench --bench predict -- alexnet center        (only cases with these words)
//!     ALEXNET_VGG_PEER=python3 cargo bench --bench predict
//!     cargo bench --bench predict -- memory
//!
//! Of each case the whole, and its two halves alone: making the files ready, and the network. With the
//! third command in turn with a Python that has torchvision (on Pillow) and onnxruntime, which does the same
//! with the same files and weights, threads decoding ahead while the network works; only dense evaluation
//! has no counterpart there. `memory` sends 10,000 pictures through and prints what the process holds.
#![recursion_limit = "256"]

use alexnet_vgg::backend::Cpu;
use alexnet_vgg::engine::{CompileOptions, Compiled, Threads};
use alexnet_vgg::models::{Network, NetworkConfig};
use alexnet_vgg::predict::{Classifier, Model};
use alexnet_vgg::vision::{Preset, Views, decode_file};
use image::imageops::{FilterType, crop_imm, resize};
use rayon::prelude::*;
use std::error::Error;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Instant;

const PEER: &str = include_str!("peer.py");
/// In turn.
const ROUNDS: usize = 5;

type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;

fn main() -> Result<()> {
    // cargo test runs benches, too, once and quickly.
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if !arguments.iter().any(|argument| argument == "--bench") {
        return Ok(());
    }
    let words: Vec<&str> =
        arguments.iter().map(String::as_str).filter(|word| !word.starts_with("--")).collect();
    let folder = tempfile::tempdir()?;
    if words.contains(&"memory") {
        return memory(folder.path());
    }
    let files = photos(folder.path(), 48)?;
    println!(
        "photos a second; `ready`: files alone; `network`: alone; overlap: whole / the slower of the two\n\
         {:8} {:9} {:>7}  {:>7} {:>7} {:>7} {:>7}  peer (ours / peer)",
        "network", "views", "threads", "whole", "ready", "network", "overlap"
    );
    for name in ["alexnet", "vgg16"] {
        let network: Network<Cpu> =
            Network::new(NetworkConfig::by_name(name)?.architecture(), &Default::default())?;
        let onnx = folder.path().join(format!("{name}.onnx"));
        network.export_onnx(&onnx, &Default::default())?;
        for threads in [1, 2] {
            let options =
                CompileOptions { threads: Threads::Own(threads), ..CompileOptions::default() };
            let model = network.clone().compile(options)?;
            for views in ["center", "ten-crop", "dense"] {
                let case = format!("{name} {views} {threads}");
                if words.iter().all(|word| case.contains(word)) {
                    measure(name, views, threads, &model, &onnx, &files)?;
                }
            }
        }
    }
    Ok(())
}

/// Different pictures of 500x375 from those of the examples.
fn photos(folder: &Path, count: u32) -> Result<Vec<PathBuf>> {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/photos");
    let sources = ["cat.jpg", "rocket.jpg"].map(|name| decode_file(examples.join(name)));
    let mut files = Vec::new();
    for index in 0..count {
        let source = sources[index as usize % 2].as_ref().map_err(|error| error.to_string())?;
        let (width, height) = source.dimensions();
        let part = crop_imm(source, index, index / 2, width - 50, height - 50).to_image();
        let photo = resize(&part, 500, 375, FilterType::CatmullRom);
        let file = folder.join(format!("{index}.jpg"));
        let encoder =
            image::codecs::jpeg::JpegEncoder::new_with_quality(std::fs::File::create(&file)?, 90);
        photo.write_with_encoder(encoder)?;
        files.push(file);
    }
    Ok(files)
}

fn measure(
    name: &str,
    views: &str,
    threads: usize,
    model: &Compiled,
    onnx: &Path,
    files: &[PathBuf],
) -> Result<()> {
    let set: Views = views.parse()?;
    // Few photos where each takes long.
    let files = match (name, views) {
        ("vgg16", "center") => &files[..16],
        ("vgg16", _) => &files[..2],
        (_, "center") => files,
        _ => &files[..16],
    };
    let classifier = Classifier::builder(model.clone()).views(set.clone()).build()?;
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build()?;
    let mut peer = match (std::env::var("ALEXNET_VGG_PEER"), views) {
        (Ok(python), "center" | "ten-crop") => {
            Some(Peer::start(&python, onnx, views, threads, files)?)
        }
        _ => None,
    };
    let mut rates = [const { Vec::new() }; 4];
    // The first round plans and fills the caches.
    for round in 0..=ROUNDS {
        let of_round = [
            rate(files, || classify_all(&classifier, files, threads))?,
            rate(files, || ready(files, &set, &pool).map(drop))?,
            network_rate(files, &set, &pool, model)?,
            match &mut peer {
                Some(peer) => peer.rate()?,
                None => f64::NAN,
            },
        ];
        if round > 0 {
            rates.iter_mut().zip(of_round).for_each(|(rates, rate)| rates.push(rate));
        }
    }
    let slower = |i: usize| f64::min(rates[1][i], rates[2][i]);
    let overlap = median((0..ROUNDS).map(|i| slower(i) / rates[0][i]).collect());
    let against = median((0..ROUNDS).map(|i| rates[0][i] / rates[3][i]).collect());
    let [whole, ready, network, peer_rate] = rates.map(median);
    print!("{name:8} {views:9} {threads:7}  {whole:7.1} {ready:7.1} {network:7.1} {overlap:7.2}");
    match peer {
        Some(_) => println!("  {peer_rate:.1} ({against:.2})"),
        None => println!(),
    }
    Ok(())
}

/// An error of any photo.
fn classify_all(classifier: &Classifier, files: &[PathBuf], readers: usize) -> Result<()> {
    let mut result = Ok(());
    classifier.classify_files(files, readers, |_, answer| {
        result = answer.map(drop);
        result.is_ok()
    })?;
    Ok(result?)
}

/// Photos a second.
fn rate(files: &[PathBuf], run: impl FnOnce() -> Result<()>) -> Result<f64> {
    let start = Instant::now();
    run()?;
    Ok(files.len() as f64 / start.elapsed().as_secs_f64())
}

type Ready = Vec<alexnet_vgg::vision::Shown>;

fn ready(files: &[PathBuf], views: &Views, pool: &rayon::ThreadPool) -> Result<Ready> {
    let preset = Preset::imagenet();
    let ready = |file: &PathBuf| preset.views(&decode_file(file)?, views);
    let ready = pool.install(|| files.par_iter().map(ready).collect::<alexnet_vgg::Result<_>>());
    Ok(ready?)
}

/// Of photos that are ready, in the batches that the classifier takes.
fn network_rate(
    files: &[PathBuf],
    views: &Views,
    pool: &rayon::ThreadPool,
    model: &Compiled,
) -> Result<f64> {
    let photos = ready(files, views, pool)?;
    let squares: Vec<f32> = photos.iter().flat_map(|photo| &photo.squares).copied().collect();
    let of_photo = squares.len() / photos.len() / (3 * 224 * 224);
    let at_once = (8 / of_photo.max(1)).max(1) * of_photo.max(1);
    rate(files, || {
        for part in squares.chunks(at_once * 3 * 224 * 224) {
            Model::logits(model, part, [part.len() / (3 * 224 * 224), 3, 224, 224])?;
        }
        for whole in photos.iter().flat_map(|photo| &photo.wholes) {
            model.score_maps(&whole.values, [1, 3, whole.size[0], whole.size[1]])?;
        }
        Ok(())
    })
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// What the process holds on the way through 10,000 photos, and through 1,000 of 69 sizes, once resized, that
/// are seen whole, each of which is planned by itself.
fn memory(folder: &Path) -> Result<()> {
    let files = photos(folder, 100)?;
    let network: Network<Cpu> =
        Network::new(NetworkConfig::by_name("alexnet")?.architecture(), &Default::default())?;
    let model = network.compile(CompileOptions::default())?;
    for (views, count, of_sizes) in [(Views::center(), 10_000, false), (Views::dense(), 1000, true)]
    {
        for (index, file) in files.iter().enumerate().filter(|_| of_sizes) {
            let photo = decode_file(file)?;
            crop_imm(&photo, 0, 0, 500 - index as u32, 375).to_image().save(file)?;
        }
        let classifier = Classifier::builder(model.clone()).views(views.clone()).build()?;
        let files: Vec<&PathBuf> = files.iter().cycle().take(count).collect();
        classifier.classify_files(&files, 2, |index, answer| {
            if let Err(error) = &answer {
                println!("{error}");
            }
            if matches!(index + 1, 100 | 300 | 1000 | 3000 | 10_000) {
                let views = views.as_slice()[0];
                println!("{views}: {:6} photos, {} MiB", index + 1, resident_mib());
            }
            answer.is_ok()
        })?;
    }
    Ok(())
}

/// What the system says that the process holds; 0 where it does not say so in Linux's way.
fn resident_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) / 1024
}

/// A Python that classifies all files for each line that it is sent, and answers with the seconds.
struct Peer {
    process: Child,
    ask: ChildStdin,
    answers: BufReader<ChildStdout>,
    photos: usize,
}

impl Peer {
    fn start(
        python: &str,
        onnx: &Path,
        views: &str,
        threads: usize,
        files: &[PathBuf],
    ) -> Result<Self> {
        let mut process = Command::new(python)
            .args(["-c", PEER])
            .arg(onnx)
            .args([views, &threads.to_string()])
            .args(files)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let ask = process.stdin.take().ok_or("no stdin")?;
        let answers = BufReader::new(process.stdout.take().ok_or("no stdout")?);
        Ok(Self { process, ask, answers, photos: files.len() })
    }

    fn rate(&mut self) -> Result<f64> {
        writeln!(self.ask)?;
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        let seconds: f64 = line.trim().parse().map_err(|_| format!("the peer said {line:?}"))?;
        Ok(self.photos as f64 / seconds)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
