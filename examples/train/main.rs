//! Trains a network on a folder of pictures, with a subfolder for each class. Without arguments, it trains for half a
//! minute on the 200 handwritten digits in `examples/data`.
//!
//!     cargo run --release --features train --example train
//!     cargo run --release --features train --example train -- DATA --model alexnet --output RUN
//!     cargo run --release --features train --example train -- DATA --model alexnet --resume RUN
//!     cargo run --release --features train,wgpu --example train -- DATA --devices gpu:0,gpu:1
//!     mpirun -np 4 target/release/examples/train DATA --model alexnet --output RUN    (feature mpi)
//!     cargo run --release --features train --example train -- DATA --model vgg16 --recipe finetune --weights vgg16.pth
#![recursion_limit = "256"]

#[path = "../../crates/core/examples/cli/mod.rs"]
mod cli;
mod csv_args;
mod first_run;
mod job;
mod progress;

use alexnet_vgg::backend::{BackendName, Devices};
use alexnet_vgg::models::{AlexNetConfig, Head, NetworkConfig};
use alexnet_vgg::train::{
    BrokenPicture, FolderOptions, Recipe, RecipeOverrides, StopReason, TrainOptions,
    train_folder_on,
};
use alexnet_vgg::weights::{LoadOptions, Weights};
use burn::train::Interrupter;
use clap::Parser;
use job::Job;
use progress::ProgressLines;
use std::error::Error;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

#[derive(Parser)]
#[command(
    about = "Trains AlexNet or VGG on your pictures. Ctrl-C saves the run, --resume continues it"
)]
// If an option is given twice, the last one counts, so that a command can be changed at its end.
#[command(args_override_self = true)]
struct Args {
    /// A folder with a subfolder for each class; a folder with such folders named train and val (or valid,
    /// validation, test); or a CSV file with a column of paths and a column of labels.
    data: PathBuf,
    #[command(flatten)]
    csv: csv_args::CsvArgs,
    #[arg(long, help = cli::networks("The network. Default: that of --weights, or alexnet"), value_parser = NetworkConfig::by_name)]
    model: Option<NetworkConfig>,
    /// alexnet-2012, vgg-2014, torchvision, finetune, small, digits, or the TOML file of a recipe.
    #[arg(long, default_value = "torchvision")]
    recipe: String,
    /// A weights file to start from. If it is for the same network, everything that fits is used
    /// (for other classes, all but the last layer); if it is for a shallower VGG, the layers that
    /// the VGG paper reuses.
    #[arg(long)]
    weights: Option<PathBuf>,
    /// Layers to freeze, such as features or features.0. With the recipe finetune, `features` trains only
    /// the classifier, on features that are computed once.
    #[arg(long, value_name = "LAYERS", value_delimiter = ',')]
    freeze: Vec<String>,
    /// Side of the square that the network sees, in pixels. Default: as --weights states, or 224.
    #[arg(long)]
    input: Option<u32>,
    /// Short side that validation pictures are resized to. Default: 8/7 of --input, or without it, as --weights states.
    #[arg(long)]
    resize: Option<u32>,
    /// Factor by which the network's channels and hidden features are scaled. Default: 1, or that of --weights
    /// without --model.
    #[arg(long)]
    width: Option<f64>,
    /// What follows the convolutions: the side of the map that they are averaged to, and the features of each hidden
    /// layer. 1 is a single linear layer on a 1x1 map. Default: as published, or as in --weights without --model.
    #[arg(long, value_name = "SIDE[,FEATURES...]", value_parser = head)]
    head: Option<Head>,
    /// Passes over the training set. Default: the recipe's.
    #[arg(long)]
    epochs: Option<usize>,
    /// Images per step. Default: the recipe's.
    #[arg(long)]
    batch: Option<usize>,
    /// Micro-batches that a batch is divided into, to save memory. Default: the recipe's.
    #[arg(long)]
    micro_batches: Option<usize>,
    /// Learning rate. Default: the recipe's.
    #[arg(long)]
    rate: Option<f64>,
    /// Augmentation by name (alexnet, vgg, torchvision, none). Default: the recipe's.
    #[arg(long)]
    augmentation: Option<String>,
    /// Draw all classes equally often, however many pictures they have.
    #[arg(long)]
    balanced: bool,
    /// Seed of weights, order, augmentation and dropout.
    #[arg(long)]
    seed: Option<u64>,
    /// Fraction of every class to validate on, if the data has no validation set.
    #[arg(long, default_value_t = 0.1)]
    validation_fraction: f64,
    /// Use at most this many training pictures of each class.
    #[arg(long)]
    per_class: Option<usize>,
    /// Skip pictures that cannot be read, instead of stopping at the first.
    #[arg(long)]
    skip_broken: bool,
    /// Folder for checkpoints, weights, metrics and curves; it must not contain a run yet.
    #[arg(long, default_value = "run")]
    output: PathBuf,
    /// Instead of --output: the folder of an interrupted run to continue, with all other options unchanged.
    #[arg(long, value_name = "RUN", conflicts_with = "output")]
    resume: Option<PathBuf>,
    /// Seconds between checkpoints within an epoch.
    #[arg(long, default_value_t = 600)]
    save_after: u64,
    /// Steps between checkpoints within an epoch, in addition to --save-after.
    #[arg(long)]
    save_steps: Option<u64>,
    /// Threads that read pictures.
    #[arg(long, default_value_t = 1)]
    workers: usize,
    /// flex, ndarray or wgpu.
    #[arg(long, default_value = "flex")]
    backend: BackendName,
    /// Devices that train together, each on its part of every batch: cpu,cpu or gpu:0,gpu:1.
    #[arg(long, conflicts_with = "backend")]
    devices: Option<Devices>,
    /// Run the two halves of the network on the two --devices, as in 2012, instead of a copy on each.
    /// Default devices: cpu,cpu.
    #[arg(long)]
    two_gpu: bool,
    /// Use the batch norm statistics of all devices and processes together, instead of each one's own.
    #[arg(long)]
    sync_batch_norm: bool,
    /// Show burn-train's dashboard (feature dashboard). It keeps one core busy, and is stopped with
    /// q, not with Ctrl-C.
    #[arg(long)]
    dashboard: bool,
}

fn head(text: &str) -> Result<Head, String> {
    let sizes: Option<Vec<usize>> = text.split(',').map(|size| size.trim().parse().ok()).collect();
    match sizes.as_deref() {
        Some([side, hidden @ ..]) => Ok(Head::new([*side; 2], hidden)),
        _ => Err(format!("expected SIDE[,FEATURES...], such as 1 or 7,4096,4096, found {text}")),
    }
}

fn main() -> ExitCode {
    let args = first_run::arguments();
    match Job::start() {
        Ok(job) => job.end(run(&args, &job)),
        Err(error) => cli::finish(Err(error.into())),
    }
}

fn run(args: &Args, job: &Job) -> Result<(), Box<dyn Error>> {
    let backend = args.devices.as_ref().map_or(args.backend, Devices::backend);
    if backend == BackendName::NdArray {
        cli::warn(
            "training on ndarray is slow: a step of AlexNet takes about 40 times as long as with flex\n",
        );
    }
    let is_shown = job.is_first() && !(args.dashboard && std::io::stdout().is_terminal());
    let lines = ProgressLines::new(is_shown);
    let result = train_folder_on(backend, &args.data, &args.folder()?, args.options(&lines, job))?;
    if job.is_first() {
        lines.end(&result)?;
        if result.stop_reason != StopReason::Interrupted {
            first_run::say_what_is_next(args.run_folder(), &args.data)?;
        }
    }
    Ok(())
}

impl Args {
    fn recipe(&self) -> alexnet_vgg::Result<Recipe> {
        let is_file = Path::new(&self.recipe).extension().is_some();
        let recipe =
            if is_file { Recipe::read(&self.recipe)? } else { Recipe::by_name(&self.recipe)? };
        recipe.with_overrides(&RecipeOverrides {
            epochs: self.epochs,
            batch: self.batch,
            micro_batches: self.micro_batches,
            rate: self.rate,
            seed: self.seed,
            augmentation: self.augmentation.clone(),
            freeze: self.freeze.clone(),
            balanced: self.balanced,
            synchronized_batch_norm: self.sync_batch_norm,
        })
    }

    /// The network of --model, or else of --weights, with the head of --head.
    fn network(&self) -> alexnet_vgg::Result<NetworkConfig> {
        let network = match (&self.model, &self.weights) {
            (Some(model), _) => model.clone(),
            (None, Some(path)) => Weights::open(path)?.network(None, LoadOptions::features())?,
            (None, None) => AlexNetConfig::torchvision().into(),
        };
        match &self.head {
            Some(head) => network.with_head(head.clone()),
            None => Ok(network),
        }
    }

    /// --input and --resize, or the sizes in the preset that --weights states.
    fn sizes(&self) -> alexnet_vgg::Result<(u32, Option<u32>)> {
        let (None, Some(path)) = (self.input, &self.weights) else {
            return Ok((self.input.unwrap_or(224), self.resize));
        };
        Ok(match Weights::open(path)?.preset()? {
            Some(preset) => (preset.crop, self.resize.or(Some(preset.resize))),
            None => (224, self.resize),
        })
    }

    fn folder(&self) -> alexnet_vgg::Result<FolderOptions> {
        let network = self.network()?;
        let (input, resize) = self.sizes()?;
        Ok(FolderOptions {
            weights: self.weights.clone(),
            input,
            resize,
            width: self.width.unwrap_or(network.width()),
            csv: self.csv.options(),
            validation_fraction: self.validation_fraction,
            per_class: self.per_class,
            devices: self.devices.clone(),
            two_gpu: self.two_gpu,
            ..FolderOptions::new(network, self.recipe()?)
        })
    }

    fn run_folder(&self) -> &Path {
        self.resume.as_ref().unwrap_or(&self.output)
    }

    fn options(&self, lines: &ProgressLines, job: &Job) -> TrainOptions {
        let interrupter = Interrupter::new();
        let stop = interrupter.clone();
        // If no handler can be set, Ctrl-C ends the program, and the last checkpoint remains.
        let _ = ctrlc::set_handler(move || stop.stop(Some("Ctrl-C")));
        TrainOptions {
            output: Some(self.run_folder().into()),
            resume: self.resume.is_some(),
            save_after: Duration::from_secs(self.save_after),
            save_steps: self.save_steps,
            interrupter,
            dashboard: self.dashboard,
            on_event: lines.on_event(),
            workers: self.workers,
            broken: if self.skip_broken { BrokenPicture::Skip } else { BrokenPicture::Stop },
            processes: job.processes(),
            ..TrainOptions::default()
        }
    }
}
