//! Says what is in a photo.
//!
//!     cargo run --release --example classify -- photo.jpg --model vgg16 --weights vgg16.safetensors
//!     cargo run --release --features hub --example classify -- photo.jpg --model vgg16 --pretrained
#![recursion_limit = "256"]

mod cli;

use alexnet_vgg::backend::{self, BackendName, Job};
use alexnet_vgg::engine::{CompileOptions, Compiled};
use alexnet_vgg::models::{Architecture, Network, NetworkConfig};
use alexnet_vgg::predict::{Ranked, top_k};
use alexnet_vgg::vision::{self, Preset};
use alexnet_vgg::weights::Weights;
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;
use clap::Parser;
use std::error::Error;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(Parser)]
#[command(about = "Ranked labels with probabilities for photos")]
struct Args {
    /// Photos: JPEG, PNG, WebP, GIF, BMP, TIFF or PNM.
    #[arg(required = true)]
    photos: Vec<PathBuf>,
    #[arg(long, help = cli::networks("The network"), default_value = "vgg16", value_parser = NetworkConfig::by_name)]
    model: NetworkConfig,
    /// Its weights: a file of safetensors or PyTorch (.pth), old or new.
    #[arg(long)]
    weights: Option<PathBuf>,
    /// torchvision's published weights: downloaded once, then from the cache. Needs feature `hub`.
    #[arg(long, conflicts_with = "weights")]
    pretrained: bool,
    /// How many labels to print for each photo.
    #[arg(long, default_value = "5")]
    top_k: NonZeroUsize,
    /// Preprocessing that the weights were trained with: imagenet or caffe. Default: what the
    /// weights file says, or imagenet.
    #[arg(long, value_parser = Preset::by_name)]
    preset: Option<Preset>,
    /// Names of the classes, one a line. Default: ImageNet's, if there are 1000 classes.
    #[arg(long)]
    labels: Option<PathBuf>,
    /// Classes of the network.
    #[arg(long, default_value_t = 1000)]
    num_classes: usize,
    /// ndarray, flex or wgpu, to compute by burn. Default: the compiled CPU engine.
    #[arg(long, conflicts_with_all = ["precision", "threads", "isa"])]
    backend: Option<BackendName>,
    #[command(flatten)]
    engine: cli::EngineArgs,
}

fn main() -> ExitCode {
    cli::finish(run(Args::parse()))
}

fn run(args: Args) -> Result<(), Box<dyn Error>> {
    let table = args.model.with_num_classes(args.num_classes).architecture();
    table.steps()?;
    let labels = labels(args.labels.as_deref(), args.num_classes)?;
    let (weights, preset) = match (args.pretrained, args.weights) {
        (true, _) => pretrained(&table, args.preset).map(|(path, preset)| (Some(path), preset))?,
        (false, Some(path)) => {
            let preset = preset(args.preset, Weights::open(&path)?.preset()?)?;
            (Some(path), preset)
        }
        (false, None) => (None, preset(args.preset, None)?),
    };
    if weights.is_none() {
        cli::print(format!(
            "No --weights: this {} is untrained, its weights are random, and its answer means nothing.\n\n",
            table.name
        ))?;
    }
    let job = Classify {
        table,
        weights,
        preset,
        photos: args.photos,
        top_k: args.top_k.get(),
        labels,
        engine: args.backend.is_none().then(|| args.engine.options()),
    };
    match args.backend.unwrap_or_else(BackendName::preferred).run(job)?? {
        0 => Ok(()),
        failed => Err(format!("{failed} of the photos could not be classified").into()),
    }
}

/// The file of the published weights, and their preset.
#[cfg(feature = "hub")]
fn pretrained(
    table: &Architecture,
    asked: Option<Preset>,
) -> Result<(PathBuf, Preset), Box<dyn Error>> {
    use alexnet_vgg::hub::{self, Published};
    let published = Published::of(table)?;
    // Before half a gigabyte is fetched.
    let preset = preset(asked, Some(published.preset()?))?;
    Ok((hub::fetch(published)?, preset))
}

#[cfg(not(feature = "hub"))]
fn pretrained(_: &Architecture, _: Option<Preset>) -> Result<(PathBuf, Preset), Box<dyn Error>> {
    Err("--pretrained needs the package's feature `hub`: cargo run --features hub ...".into())
}

/// The weights know best what they were trained on.
fn preset(asked: Option<Preset>, stated: Option<Preset>) -> Result<Preset, Box<dyn Error>> {
    match (asked, stated) {
        (Some(asked), Some(stated)) if asked != stated => Err(format!(
            "the weights were trained with preset {}, --preset asks for {}",
            stated.name, asked.name
        )
        .into()),
        (asked, stated) => Ok(asked.or(stated).unwrap_or_else(Preset::imagenet)),
    }
}

/// `None`: the classes have no names.
fn labels(file: Option<&Path>, num_classes: usize) -> Result<Option<Vec<String>>, Box<dyn Error>> {
    let labels: Vec<String> = match file {
        Some(path) => std::fs::read_to_string(path)
            .map_err(|error| format!("{}: {error}", path.display()))?
            .lines()
            .map(String::from)
            .collect(),
        None if num_classes == 1000 => {
            vision::imagenet_labels().into_iter().map(String::from).collect()
        }
        None => return Ok(None),
    };
    match labels.len() == num_classes {
        true => Ok(Some(labels)),
        false => Err(format!(
            "{}: expected {num_classes} labels, one a line, found {}",
            file.map_or("ImageNet".into(), |file| file.display().to_string()),
            labels.len()
        )
        .into()),
    }
}

struct Classify {
    table: Architecture,
    weights: Option<PathBuf>,
    preset: Preset,
    photos: Vec<PathBuf>,
    top_k: usize,
    labels: Option<Vec<String>>,
    /// `None`: burn's backend computes.
    engine: Option<CompileOptions>,
}

/// Either way from images to logits.
enum Ready<B: Backend> {
    Burn(Box<Network<B>>),
    Compiled(Compiled),
}

impl<B: Backend> Ready<B> {
    fn logits(&self, images: Tensor<B, 4>) -> alexnet_vgg::Result<Vec<f32>> {
        let logits = match self {
            Ready::Burn(network) => network.try_forward(images)?,
            Ready::Compiled(compiled) => compiled.try_forward(images)?,
        };
        Ok(backend::read(logits)?.iter::<f32>().collect())
    }
}

impl Job for Classify {
    /// How many photos failed; an error only if nobody reads the answers.
    type Output = Result<usize, Box<dyn Error>>;

    fn run<B: Backend>(self, device: &B::Device) -> alexnet_vgg::Result<Self::Output> {
        B::seed(device, 0);
        let table = self.table.clone();
        let ready: Ready<B> = match (&self.weights, self.engine.clone()) {
            (Some(path), Some(options)) => Ready::Compiled(Compiled::load(table, path, options)?),
            (Some(path), None) => Ready::Burn(Box::new(Network::load(table, path, device)?)),
            (None, Some(options)) => {
                Ready::Compiled(Network::<B>::new(table, device)?.compile(options)?)
            }
            (None, None) => Ready::Burn(Box::new(Network::new(table, device)?)),
        };
        Ok(self.each_photo(&ready, device))
    }
}

impl Classify {
    fn each_photo<B: Backend>(
        &self,
        ready: &Ready<B>,
        device: &B::Device,
    ) -> Result<usize, Box<dyn Error>> {
        let mut failed = 0;
        for photo in &self.photos {
            cli::print(format!("{}\n", photo.display()))?;
            match self.classify(ready, photo, device) {
                Ok(ranked) => ranked.iter().try_for_each(|ranked| {
                    let percent = ranked.probability * 100.0;
                    cli::print(format!("  {percent:6.2} %  {}\n", self.label(ranked.class)))
                })?,
                Err(error) => {
                    cli::complain(format!("  {error}\n"));
                    failed += 1;
                }
            }
            cli::print("\n")?;
        }
        Ok(failed)
    }

    fn label(&self, class: usize) -> String {
        match &self.labels {
            Some(labels) => labels[class].clone(),
            None => format!("class {class}"),
        }
    }

    fn classify<B: Backend>(
        &self,
        ready: &Ready<B>,
        photo: &Path,
        device: &B::Device,
    ) -> alexnet_vgg::Result<Vec<Ranked>> {
        let pixels = vision::decode_file(photo)?;
        let logits = ready.logits(self.preset.batch(&[pixels], device)?)?;
        top_k(&logits, self.top_k)
    }
}
