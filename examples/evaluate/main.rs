//! Evaluates a trained network on labeled pictures.
//!
//!     cargo run --release --features train --example evaluate -- data/test --weights best.safetensors
//!     cargo run --release --features train --example evaluate -- data --weights best.safetensors \
//!         --views ten-crop --scales 256,384 --output report
//!
//! The pictures are in a folder with a subfolder for each class, or in such a folder named `test`, `val`,
//! `valid`, or `validation` inside it.

#[path = "../../crates/core/examples/cli/mod.rs"]
mod cli;
#[path = "../train/csv_args.rs"]
mod csv_args;
mod files;
mod pictures;
mod tally;

use alexnet_vgg::Metadata;
use alexnet_vgg::engine::Compiled;
use alexnet_vgg::models::NetworkConfig;
use alexnet_vgg::predict::{Classifier, Fusion};
use alexnet_vgg::vision::Labels;
use alexnet_vgg::weights::LoadOptions;
use clap::Parser;
use indicatif::ProgressBar;
use pictures::Pictures;
use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use tally::Tally;

#[derive(Parser)]
#[command(about = "The accuracy of a trained network on labeled pictures, class by class")]
struct Args {
    /// A folder with a subfolder of pictures for each class, or a folder that contains such a folder named
    /// test, val, valid, or validation, or a CSV file.
    data: PathBuf,
    #[command(flatten)]
    csv: csv_args::CsvArgs,
    /// The trained weights: safetensors or PyTorch's (.pth, old or new format).
    #[arg(long)]
    weights: PathBuf,
    #[arg(long, help = cli::networks("The network. Default: the one that the weights file is for. One of"), value_parser = NetworkConfig::by_name)]
    model: Option<NetworkConfig>,
    #[command(flatten)]
    preset: cli::preset::PresetArgs,
    /// A file with the names of the classes: one on each line, or JSON. Default: as stated in the weights file, or the
    /// names of the folders.
    #[arg(long)]
    labels: Option<PathBuf>,
    #[command(flatten)]
    views: cli::views::ViewsArgs,
    /// How the predictions of several views are combined: mean-probability, mean-logit, geometric-mean or
    /// vote.
    #[arg(long, default_value_t)]
    fusion: Fusion,
    /// Write confusion.svg, mistakes.html, classes.csv and predictions.csv into this folder.
    #[arg(long, value_name = "FOLDER")]
    output: Option<PathBuf>,
    /// Number of mistakes on mistakes.html, those with the highest probabilities.
    #[arg(long, default_value_t = 25)]
    mistakes: usize,
    /// Print all results as a line of JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    engine: cli::EngineArgs,
    #[command(flatten)]
    key: cli::KeyArgs,
}

fn main() -> ExitCode {
    cli::finish(run(&cli::parse_or(&["examples/data", "--weights", cli::DIGITS])))
}

fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let weights = args.key.open(&args.weights)?;
    let network = weights.network(args.model.as_ref(), LoadOptions::default())?.architecture()?;
    let stated = match &args.labels {
        Some(path) => Some(Labels::read(path)?),
        None => weights.labels()?,
    };
    let pictures = Pictures::find(&args.data, &args.csv.options())?
        .of_network(stated, network.num_classes())?;
    let views = args.views.of(&network)?;
    let compile_options = args.engine.options();
    let model =
        Compiled::from_weights(&network, &weights, LoadOptions::default(), compile_options)?;
    let mut builder = Classifier::builder(model)
        .views(views)
        .fusion(args.fusion)
        .labels(pictures.labels.clone())
        .top_k(pictures.labels.count());
    let stated = Metadata::default().with_preset(weights.preset()?);
    if let Some(preset) = args.preset.given(&stated, &network)? {
        builder = builder.preset(preset);
    }
    let classifier = builder.build()?;
    let tally = evaluate(&classifier, &pictures)?;
    if let Some(folder) = &args.output {
        files::write(folder, &tally, args.mistakes)?;
    }
    if args.json {
        return cli::print(format!("{}\n", tally.json()));
    }
    let (name, preset) = (&network.name, &classifier.preset().name);
    let views = classifier.views().as_slice().len();
    cli::print(format!("{name}, preset {preset}, views per picture: {views}\n\n{tally}"))
}

/// Classifies all pictures.
fn evaluate<'a>(
    classifier: &Classifier,
    pictures: &'a Pictures,
) -> Result<Tally<'a>, Box<dyn Error>> {
    let mut tally = Tally::new(pictures);
    let progress = ProgressBar::new(pictures.files.len() as u64);
    let readers = std::thread::available_parallelism().map_or(1, usize::from);
    let mut added = Ok(());
    classifier.classify_files(&pictures.files, readers, |picture, result| {
        progress.inc(1);
        added = tally.add(picture, result);
        added.is_ok()
    })?;
    progress.finish_and_clear();
    added?;
    for (file, error) in &tally.failed {
        cli::warn(format!("skipped: {}\n", cli::with_path(file, error)));
    }
    if tally.predictions.is_empty() {
        return Err("none of the pictures could be classified".into());
    }
    Ok(tally)
}
