//! Load: how many pictures a second the service answers, and how long they take, with one at a time and in batches.
//!
//!     cargo bench --package alexnet-vgg-serve --bench load -- --clients 1,8,64,512 --seconds 10
//!
//! Each client has a connection and sends its next picture when it has the answer. The pictures are photos of
//! `examples/photos`, in several crops; each answer is compared with the one that its picture got alone. The network has
//! fresh weights, unless `--weights` names a file.

#[path = "../../tests/client/mod.rs"]
mod client;
#[path = "../../tests/client/program.rs"]
mod program;

mod photos;
mod summary;

use alexnet_vgg_core::Metadata;
use alexnet_vgg_core::architecture::{FreshWeights, NetworkConfig};
use alexnet_vgg_core::vision::Preset;
use alexnet_vgg_core::weights::{SaveOptions, save};
use clap::Parser;
use client::Client;
use program::Program;
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use summary::Summary;

#[derive(Parser)]
#[command(about = "Measures the service under load")]
struct Args {
    #[arg(long, default_value = "alexnet", value_parser = NetworkConfig::by_name)]
    model: NetworkConfig,
    /// A weights file instead of fresh weights.
    #[arg(long)]
    weights: Option<PathBuf>,
    /// Numbers of clients.
    #[arg(long, value_delimiter = ',', default_value = "1,8,64,512")]
    clients: Vec<usize>,
    /// How long each number is measured.
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
    /// The short side of the photos, in pixels.
    #[arg(long, default_value_t = 300)]
    side: u32,
    /// Further options of the service, separated by spaces, for the measurement in batches.
    #[arg(long, default_value = "", allow_hyphen_values = true)]
    options: String,
    /// A service that runs already, instead of starting one.
    #[arg(long)]
    at: Option<SocketAddr>,
    /// What cargo passes to every bench.
    #[arg(long, hide = true)]
    bench: bool,
}

/// Between the answers to a picture in batches of different sizes.
const TOLERANCE: f64 = 2e-5;

type Answer = BTreeMap<u64, f64>;

fn main() -> io::Result<()> {
    let args = Args::parse();
    let photos = photos::photos(args.side)?;
    let bytes: usize = photos.iter().map(Vec::len).sum();
    println!(
        "{} photos with a short side of {} pixels, {} kB on average",
        photos.len(),
        args.side,
        bytes / photos.len() / 1000
    );
    if let Some(address) = args.at {
        let expected = expected(address, &photos)?;
        for &clients in &args.clients {
            println!("{}", measure(address, &photos, &expected, clients, args.seconds)?);
        }
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let weights = match &args.weights {
        Some(weights) => weights.clone(),
        None => fresh(&args.model, folder.path()),
    };
    let weights = weights.display().to_string();
    for (name, options) in [("one at a time", "--max-batch 1"), ("in batches", &args.options)] {
        println!("{name}: {options}");
        let further = options.split(' ').filter(|option| !option.is_empty());
        let options: Vec<&str> = ["--weights", &weights, "--log", "events", "--queue", "600"]
            .into_iter()
            .chain(further)
            .collect();
        let program = Program::start(&options);
        let expected = expected(program.address, &photos)?;
        for &clients in &args.clients {
            let before = [program.metric("batch_size_sum"), program.metric("batch_size_count")];
            let summary = measure(program.address, &photos, &expected, clients, args.seconds)?;
            let images = program.metric("batch_size_sum") - before[0];
            let batches = program.metric("batch_size_count") - before[1];
            let memory = program.resident() / f64::from(1 << 20);
            println!("{summary}, {:.1} images a batch, {memory:.0} MiB", images / batches.max(1.0));
        }
    }
    Ok(())
}

/// Writes a network with fresh weights.
fn fresh(config: &NetworkConfig, folder: &Path) -> PathBuf {
    let file = folder.join("network.safetensors");
    let network = config.architecture().expect("a network of the registry");
    let weights = FreshWeights::new(0);
    let metadata = Metadata::from(Preset::imagenet());
    let values = |parameter: &_, rows| Ok(weights.rows(parameter, rows));
    save(&network, &metadata, &file, &SaveOptions::default(), values).expect("written");
    file
}

/// The answer to each photo alone.
fn expected(address: SocketAddr, photos: &[Vec<u8>]) -> io::Result<Vec<Answer>> {
    let mut client = Client::connect(address)?;
    photos
        .iter()
        .map(|photo| Ok(ask(&mut client, photo)?.expect("an idle service answers")))
        .collect()
}

/// The probabilities of the best classes by their numbers, or the status of a refusal.
fn ask(client: &mut Client, photo: &[u8]) -> io::Result<Result<Answer, u16>> {
    let response = client.send("POST", "/v1/classify?top_k=5", &[], photo)?;
    if response.status != 200 {
        return Ok(Err(response.status));
    }
    let json = response.json();
    let predictions = json["results"][0]["predictions"].as_array().cloned().unwrap_or_default();
    let of = |it: &serde_json::Value| Some((it["index"].as_u64()?, it["probability"].as_f64()?));
    Ok(Ok(predictions.iter().filter_map(of).collect()))
}

/// Whether both name the same classes. The last of five may differ if the next one is as probable.
fn agree(found: &Answer, expected: &Answer) -> bool {
    let close = |(class, probability): (&u64, &f64)| {
        expected.get(class).is_some_and(|other| (other - probability).abs() < TOLERANCE)
    };
    found.len() == expected.len() && found.iter().filter(|it| close(*it)).count() + 1 >= found.len()
}

/// So many clients for so many seconds.
fn measure(
    address: SocketAddr,
    photos: &[Vec<u8>],
    expected: &[Answer],
    clients: usize,
    seconds: f64,
) -> io::Result<Summary> {
    let is_over = AtomicBool::new(false);
    let start = Instant::now();
    let of_clients: Vec<io::Result<Summary>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..clients)
            .map(|number| {
                let is_over = &is_over;
                let run = move || {
                    let mut summary = Summary::new(clients);
                    let mut client = Client::connect(address)?;
                    for picture in (number..).map(|number| number % photos.len()) {
                        if is_over.load(Ordering::Relaxed) {
                            break;
                        }
                        let start = Instant::now();
                        match ask(&mut client, &photos[picture])? {
                            Ok(answer) => {
                                let is_right = agree(&answer, &expected[picture]);
                                summary.add(start.elapsed(), is_right);
                            }
                            Err(status) => summary.refuse(status),
                        }
                    }
                    Ok(summary)
                };
                let builder = std::thread::Builder::new().stack_size(256 << 10);
                builder.spawn_scoped(scope, run).expect("a thread")
            })
            .collect();
        std::thread::sleep(Duration::from_secs_f64(seconds));
        is_over.store(true, Ordering::Relaxed);
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    let mut summary = Summary::new(clients);
    for of_client in of_clients {
        summary.join(of_client?);
    }
    summary.finish(start.elapsed());
    Ok(summary)
}
