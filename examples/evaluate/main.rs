//! How good a trained network is on labeled pictures.
//!
//!     cargo run --release --features train --example evaluate -- data/test --weights best.safetensors
//!     cargo run --release --features train --example evaluate -- data --weights best.safetensors \
//!         --views ten-crop --scales 256,384 --output report
//!
//! The pictures are in a folder with one folder for each class, or in `test`, `val` or `validation` in it.
#![recursion_limit = "256"]

#[path = "../cli/mod.rs"]
mod cli;
mod files;
mod pictures;
mod tally;

use alexnet_vgg::engine::Compiled;
use alexnet_vgg::models::NetworkConfig;
use alexnet_vgg::predict::{Classifier, Fusion};
use alexnet_vgg::vision::{Labels, Preset};
use alexnet_vgg::weights::Weights;
use clap::Parser;
use indicatif::ProgressBar;
use pictures::Pictures;
use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use tally::Tally;

#[derive(Parser)]
#[command(about = "Accuracy of a trained network on labeled pictures, class by class")]
struct Args {
    /// A folder with one folder of pictures for each class, or one that has such a folder `test`, `val`
    /// or `validation`.
    data: PathBuf,
    /// Trained weights: a file of safetensors or PyTorch (.pth), old or new.
    #[arg(long)]
    weights: PathBuf,
    #[arg(long, help = cli::networks("The network; default: the one that the weights are of"), value_parser = NetworkConfig::by_name)]
    model: Option<NetworkConfig>,
    /// Preprocessing that the weights were trained with: imagenet or caffe. Default: what the weights
    /// file says, or imagenet.
    #[arg(long, value_parser = Preset::by_name)]
    preset: Option<Preset>,
    /// Names of the classes, one a line. Default: what the weights file says, or the folders' names.
    #[arg(long)]
    labels: Option<PathBuf>,
    #[command(flatten)]
    views: cli::views::ViewsArgs,
    /// How views become one answer: mean-probability, mean-logit, geometric-mean or vote.
    #[arg(long, default_value_t)]
    fusion: Fusion,
    /// A folder for confusion.png, mistakes.png, classes.csv and predictions.csv.
    #[arg(long, value_name = "FOLDER")]
    output: Option<PathBuf>,
    /// Mistakes on mistakes.png: those that the network was surest of.
    #[arg(long, default_value_t = 25)]
    mistakes: usize,
    /// All numbers as one line of JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    engine: cli::EngineArgs,
}

fn main() -> ExitCode {
    cli::finish(run(Args::parse()))
}

fn run(args: Args) -> Result<(), Box<dyn Error>> {
    let weights = Weights::open(&args.weights)?;
    let table = cli::trained::network(&weights, &args.weights, args.model.as_ref())?.architecture();
    let preset = cli::trained::preset(args.preset.clone(), weights.preset()?)?;
    let stated = match &args.labels {
        Some(path) => Some(Labels::read(path)?),
        None => weights.labels()?,
    };
    let pictures = Pictures::find(&args.data)?.of_network(stated, table.num_classes()?)?;
    let views = args.views.of(&table)?;
    let name = table.name.clone();
    let model = Compiled::from_weights(table, &weights, args.engine.options())?;
    let classifier = Classifier::builder(model)
        .preset(preset)
        .views(views)
        .fusion(args.fusion)
        .labels(pictures.labels.clone())
        .top_k(pictures.labels.count())
        .build()?;
    let tally = evaluate(&classifier, &pictures)?;
    if let Some(folder) = &args.output {
        files::write(folder, &tally, args.mistakes)?;
    }
    match args.json {
        true => cli::print(format!("{}\n", tally.json())),
        false => {
            let views = classifier.views().as_slice().len();
            let preset = &classifier.preset().name;
            cli::print(format!("{name}, preset {preset}, views of a picture: {views}\n\n{tally}"))
        }
    }
}

/// The network's answers to all pictures.
fn evaluate<'a>(
    classifier: &Classifier,
    pictures: &'a Pictures,
) -> Result<Tally<'a>, Box<dyn Error>> {
    let mut tally = Tally::new(pictures);
    let progress = ProgressBar::new(pictures.files.len() as u64);
    let readers = std::thread::available_parallelism().map_or(1, usize::from);
    let mut result = Ok(());
    classifier.classify_files(&pictures.files, readers, |picture, answer| {
        progress.inc(1);
        result = tally.add(picture, answer);
        result.is_ok()
    })?;
    progress.finish_and_clear();
    result?;
    for (file, error) in &tally.broken {
        cli::complain(format!("left out: {}: {error}\n", file.display()));
    }
    match tally.predictions.is_empty() {
        true => Err("none of the pictures could be classified".into()),
        false => Ok(tally),
    }
}
