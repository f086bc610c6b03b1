//! How many photos a second become crops for training: from a JPEG of 500x375 in memory to the values
//! of a 224x224 crop, on two threads.
//!
//!     cargo bench --bench augment
//!     ALEXNET_VGG_PEER=python cargo bench --bench augment
//!
//! The second command times torchvision on Pillow in turn with us, in that Python: two threads and two
//! processes, of which the faster one counts. The photos are those of the examples, in 24 different
//! parts, as JPEGs of quality 90.
#![recursion_limit = "256"]

use alexnet_vgg::vision::augment::{
    Augmentation, ColorStatistics, Operation, Rectangle, Sample, apply,
};
use alexnet_vgg::vision::{self, Preset};
use image::codecs::jpeg::JpegEncoder;
use rayon::prelude::*;
use std::error::Error;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

const SIZE: (u32, u32) = (500, 375);
const QUALITY: u8 = 90;
const FILES: u32 = 24;
const THREADS: usize = 2;
/// Photos of one measurement.
const COUNT: usize = 384;
/// Photos of one job, as of a batch.
const BATCH: usize = 32;
const ROUNDS: usize = 11;
/// Threads are left to fall asleep, not to run on into the other's time.
const REST: Duration = Duration::from_millis(30);
const PEER: &str = include_str!("peer.py");

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    // cargo test runs benches, too, once and quickly.
    if !std::env::args().any(|argument| argument == "--bench") {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let files = write_photos(folder.path())?;
    let bytes: usize = files.iter().map(Vec::len).sum();
    println!(
        "{FILES} JPEGs of {}x{}, {} kB on average",
        SIZE.0,
        SIZE.1,
        bytes / 1000 / files.len()
    );
    let pool = rayon::ThreadPoolBuilder::new().num_threads(THREADS).build()?;
    let python = std::env::var("ALEXNET_VGG_PEER").ok();
    let mut peer = python.map(|python| Peer::start(&python, folder.path())).transpose()?;
    for name in ["alexnet", "vgg", "torchvision"] {
        let augmentation = Augmentation::by_name(name)?;
        let mut ours = Vec::new();
        let mut theirs = Vec::new();
        for round in 0..ROUNDS {
            ours.push(pool.install(|| augment(&augmentation, &files, round as u64))?);
            std::thread::sleep(REST);
            if let Some(peer) = &mut peer {
                theirs.push(peer.augment(name)?);
                std::thread::sleep(REST);
            }
        }
        report(name, &ours, &theirs);
    }
    stages(&files)
}

/// Parts of the examples' photos, resized to the size.
fn write_photos(folder: &Path) -> Outcome<Vec<Vec<u8>>> {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/photos");
    let photos = ["cat.jpg", "rocket.jpg"].map(|name| vision::decode_file(examples.join(name)));
    let [cat, rocket] = photos;
    let photos = [cat?, rocket?];
    let mut files = Vec::new();
    for index in 0..FILES {
        let photo = &photos[index as usize % photos.len()];
        let (width, height) = photo.dimensions();
        // From nine tenths of the photo to all of it.
        let part = |side: u32| side - side * (index / 2) / (10 * FILES / 2);
        let (width, height) = (part(width), part(height));
        let part = apply(
            photo,
            &[
                Operation::Crop(Rectangle::whole((width, height))),
                Operation::Resize { width: SIZE.0, height: SIZE.1 },
            ],
        )?;
        let mut jpeg = Vec::new();
        JpegEncoder::new_with_quality(&mut jpeg, QUALITY).encode_image(&part)?;
        std::fs::write(folder.join(format!("{index:02}.jpg")), &jpeg)?;
        files.push(jpeg);
    }
    Ok(files)
}

/// Seconds for all photos of a measurement.
fn augment(augmentation: &Augmentation, files: &[Vec<u8>], epoch: u64) -> alexnet_vgg::Result<f64> {
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
    println!("{name}: {:.0} photos a second", rate(median(ours.to_vec())));
    if theirs.is_empty() {
        return;
    }
    let kinds = [0, 1].map(|kind| median(theirs.iter().map(|both| both[kind]).collect()));
    for (kind, what) in ["two threads", "two processes"].iter().enumerate() {
        let ratio = median(ours.iter().zip(theirs).map(|(ours, both)| both[kind] / ours).collect());
        println!(
            "  torchvision, {what}: {:.0} photos a second; ours / torchvision's {ratio:.2}",
            rate(kinds[kind])
        );
    }
}

/// Where the time goes, on one thread.
fn stages(files: &[Vec<u8>]) -> Outcome<()> {
    let preset = Preset::imagenet();
    let photos: Vec<_> = files.iter().map(|file| vision::decode(file)).collect::<Result<_, _>>()?;
    let milliseconds = |each: &mut dyn FnMut(usize) -> Outcome<()>| -> Outcome<f64> {
        let mut times = Vec::new();
        for _ in 0..ROUNDS {
            let start = Instant::now();
            (0..files.len()).try_for_each(&mut *each)?;
            times.push(1e3 * start.elapsed().as_secs_f64() / files.len() as f64);
        }
        Ok(median(times))
    };
    let decoded = milliseconds(&mut |index| {
        std::hint::black_box(vision::decode(&files[index])?);
        Ok(())
    })?;
    let counted = milliseconds(&mut |index| {
        std::hint::black_box(ColorStatistics::of(&photos[index]));
        Ok(())
    })?;
    println!(
        "one thread, a photo: decoded in {decoded:.2} ms, its colors counted in {counted:.2} ms"
    );
    for name in ["alexnet", "vgg", "torchvision"] {
        let augmentation = Augmentation::by_name(name)?;
        let mut values = Vec::new();
        let augmented = milliseconds(&mut |index| {
            values.clear();
            let sample = Sample { seed: 0, epoch: 0, index: index as u64 };
            Ok(augmentation.values(&photos[index], sample, &preset, &mut values)?)
        })?;
        println!("  {name}: augmented in {augmented:.2} ms");
    }
    Ok(())
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// A Python that augments all photos for each name that it is sent, and answers with two times.
struct Peer {
    process: Child,
    /// `None` once it is to end.
    ask: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Peer {
    fn start(python: &str, folder: &Path) -> Outcome<Self> {
        let mut process = Command::new(python)
            .arg("-c")
            .arg(PEER)
            .arg(folder)
            .args([COUNT, BATCH].map(|number| number.to_string()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let ask = process.stdin.take();
        let answers = BufReader::new(process.stdout.take().ok_or("no stdout")?);
        Ok(Self { process, ask, answers })
    }

    fn augment(&mut self, name: &str) -> Outcome<[f64; 2]> {
        writeln!(self.ask.as_mut().ok_or("no stdin")?, "{name}")?;
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        let seconds: Vec<f64> = line.split_whitespace().filter_map(|s| s.parse().ok()).collect();
        seconds.try_into().map_err(|_| format!("the peer said {line:?}").into())
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It ends its own processes; killed, it would leave them.
        drop(self.ask.take());
        let _ = self.process.wait();
    }
}
