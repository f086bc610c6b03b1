//! Says what is in photos.
//!
//!     cargo run --release --example classify -- photo.jpg --weights vgg16.safetensors
//!     cargo run --release --features hub --example classify -- photo.jpg --model vgg16 --pretrained
//!     cargo run --release --example classify -- folder --views ten-crop --weights vgg16.safetensors
#![recursion_limit = "256"]

#[path = "../cli/mod.rs"]
mod cli;
mod heat;
mod photos;
mod speak;

use alexnet_vgg::backend::{BackendName, Job};
use alexnet_vgg::engine::Compiled;
use alexnet_vgg::models::{Architecture, Network, NetworkConfig};
use alexnet_vgg::predict::{Classifier, Fusion, Labels, McDropout, Model};
use alexnet_vgg::vision::{Preset, RgbImage};
use alexnet_vgg::weights::Weights;
use burn::tensor::backend::Backend;
use clap::Parser;
use heat::Method;
use speak::Speaker;
use std::error::Error;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(Parser)]
#[command(about = "Ranked labels with probabilities for photos")]
struct Args {
    /// Photos (JPEG, PNG, WebP, GIF, BMP, TIFF or PNM), folders of them, or patterns such as 'a/**/*.jpg'.
    #[arg(required = true)]
    photos: Vec<String>,
    #[arg(long, help = cli::networks("The network; default: the one that the weights are of, or vgg16"), value_parser = NetworkConfig::by_name)]
    model: Option<NetworkConfig>,
    /// Its weights: a file of safetensors or PyTorch (.pth), old or new.
    #[arg(long)]
    weights: Option<PathBuf>,
    /// torchvision's published weights: downloaded once, then from the cache. Needs feature `hub`.
    #[arg(long, conflicts_with = "weights")]
    pretrained: bool,
    /// Weights of more networks, of any kind: probabilities are averaged, one network is in memory at
    /// a time.
    #[arg(long, num_args = 1.., value_name = "FILE")]
    ensemble: Vec<PathBuf>,
    #[command(flatten)]
    views: cli::views::ViewsArgs,
    /// How views become one answer: mean-probability, mean-logit, geometric-mean or vote.
    #[arg(long, default_value_t)]
    fusion: Fusion,
    /// Passes with dropout left on: mean probabilities, and how far they are apart.
    #[arg(long, value_name = "PASSES", value_parser = clap::value_parser!(u16).range(1..=10_000))]
    mc_dropout: Option<u16>,
    /// Seed of dropout, and of an untrained network.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// How many labels to print for each photo.
    #[arg(long, default_value = "5")]
    top_k: NonZeroUsize,
    /// Preprocessing that the weights were trained with: imagenet or caffe. Default: what the
    /// weights file says, or imagenet.
    #[arg(long, value_parser = Preset::by_name)]
    preset: Option<Preset>,
    /// Names of the classes, one a line. Default: what the weights file says, or ImageNet's, if there are
    /// 1000 classes.
    #[arg(long)]
    labels: Option<PathBuf>,
    /// Classes of the network. Default: as many as the weights have, or 1000.
    #[arg(long)]
    num_classes: Option<usize>,
    /// Where in the photo (one) the class is seen, drawn over it: a picture file to write.
    #[arg(long, value_name = "OUT.png")]
    heatmap: Option<PathBuf>,
    /// dense (scores at every place, by the compiled engine or the backend) or grad-cam (gradients, by burn).
    #[arg(long, default_value = "dense", requires = "heatmap")]
    heatmap_by: Method,
    /// The class that is looked for. Default: the most probable one.
    #[arg(long, requires = "heatmap", value_name = "CLASS")]
    heatmap_class: Option<usize>,
    /// A line of JSON for each photo: ranked labels, and what each view says.
    #[arg(long)]
    json: bool,
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
    let photos = photos::find(&args.photos)?;
    if args.heatmap.is_some() && photos.len() != 1 {
        return Err(format!("--heatmap takes one photo, found {}", photos.len()).into());
    }
    let mut members = vec![Member::first(&args)?];
    for path in &args.ensemble {
        members.push(Member::of_file(&args, path, None)?);
    }
    let labels = labels(&args, &members)?;
    if let Some(class) = args.heatmap_class.filter(|class| *class >= labels.count()) {
        let last = labels.count() - 1;
        return Err(format!("--heatmap-class: expected 0 to {last}, found {class}").into());
    }
    // Before half a gigabyte is read.
    for member in &members {
        labels.expect_classes(member.table.num_classes()?)?;
        member.preset.expect_views(&args.views.of(&member.table)?)?;
    }
    if members[0].weights.is_none() {
        let warning = format!(
            "No --weights: this {} is untrained, its weights are random, and its answer means nothing.\n\n",
            members[0].table.name
        );
        match args.json {
            true => cli::complain(warning),
            false => cli::print(warning)?,
        }
    }
    let mut heatmap = args.heatmap.clone();
    let mut speaker = Speaker::new(&photos, &labels, args.json, members.len());
    for member in members {
        let (args, labels, photos) = (&args, &labels, &photos);
        // Of the first network.
        let job = Classify {
            args,
            labels,
            photos,
            member,
            speaker: &mut speaker,
            heatmap: heatmap.take(),
        };
        args.backend.unwrap_or_else(BackendName::preferred).run(job)??;
        speaker.next_network();
    }
    speaker.finish()
}

/// The names of the classes: those that are asked for, or those that a network was trained with.
fn labels(args: &Args, members: &[Member]) -> Result<Labels, Box<dyn Error>> {
    if let Some(path) = &args.labels {
        return Ok(Labels::read(path)?);
    }
    let mut stated = members.iter().filter_map(|member| member.labels.as_ref());
    match stated.next() {
        Some(labels) if stated.all(|other| other == labels) => Ok(labels.clone()),
        Some(_) => {
            Err("the networks of an ensemble were trained with different classes, or orders of \
            them; --labels FILE says what they are"
                .into())
        }
        None => Ok(Labels::for_classes(members[0].table.num_classes()?)),
    }
}

/// A network of the ensemble; most have but one.
struct Member {
    table: Architecture,
    weights: Option<PathBuf>,
    preset: Preset,
    labels: Option<Labels>,
}

impl Member {
    fn first(args: &Args) -> Result<Self, Box<dyn Error>> {
        if let Some(path) = &args.weights {
            return Self::of_file(args, path, args.model.as_ref());
        }
        let config = args.model.clone().map_or_else(|| NetworkConfig::by_name("vgg16"), Ok)?;
        let table = config.with_num_classes(args.num_classes.unwrap_or(1000)).architecture();
        let asked = args.preset.clone();
        let (weights, preset) = match args.pretrained {
            true => pretrained(&table, asked).map(|(path, preset)| (Some(path), preset))?,
            false => (None, cli::trained::preset(asked, None)?),
        };
        Ok(Self { table, weights, preset, labels: None })
    }

    /// A file says itself which network it is of.
    fn of_file(
        args: &Args,
        path: &Path,
        asked: Option<&NetworkConfig>,
    ) -> Result<Self, Box<dyn Error>> {
        let file = Weights::open(path)?;
        let preset = cli::trained::preset(args.preset.clone(), file.preset()?)?;
        let config = cli::trained::network(&file, path, asked)?;
        let config = match args.num_classes {
            Some(classes) => config.with_num_classes(classes),
            None => config,
        };
        let (table, labels) = (config.architecture(), file.labels()?);
        Ok(Self { table, weights: Some(path.into()), preset, labels })
    }
}

/// All photos through one network.
struct Classify<'a, 's> {
    args: &'a Args,
    labels: &'a Labels,
    photos: &'a [PathBuf],
    member: Member,
    speaker: &'a mut Speaker<'s>,
    heatmap: Option<PathBuf>,
}

impl Job for Classify<'_, '_> {
    /// An error only if nobody reads the answers.
    type Output = Result<(), Box<dyn Error>>;

    fn run<B: Backend>(self, device: &B::Device) -> alexnet_vgg::Result<Self::Output> {
        B::seed(device, self.args.seed);
        let table = self.member.table.clone();
        let options = self.args.backend.is_none().then(|| self.args.engine.options());
        match (&self.member.weights, options) {
            (Some(path), Some(options)) => {
                let model = Compiled::load(table, path, options)?;
                self.with::<B>(model, device)
            }
            (Some(path), None) => {
                let model: Network<B> = Network::load(table, path, device)?;
                self.with::<B>(model, device)
            }
            (None, Some(options)) => {
                let model = Network::<B>::new(table, device)?.compile(options)?;
                self.with::<B>(model, device)
            }
            (None, None) => self.with::<B>(Network::<B>::new(table, device)?, device),
        }
    }
}

impl Classify<'_, '_> {
    fn with<B: Backend>(
        self,
        model: impl Model + 'static,
        device: &B::Device,
    ) -> alexnet_vgg::Result<Result<(), Box<dyn Error>>> {
        let args = self.args;
        let mut builder = Classifier::builder(model)
            .preset(self.member.preset.clone())
            .views(args.views.of(&self.member.table)?)
            .fusion(args.fusion)
            .labels(self.labels.clone())
            .top_k(args.top_k.get());
        if let Some(passes) = args.mc_dropout {
            builder = builder.dropout(McDropout { passes: passes.into(), seed: args.seed });
        }
        let classifier = builder.build()?;
        let readers = std::thread::available_parallelism().map_or(1, usize::from);
        let mut result = Ok(());
        let mut best = None;
        classifier.classify_files(self.photos, readers, |photo, answer| {
            best = answer.as_ref().ok().and_then(|answer| answer.ranked.first()).map(|b| b.class);
            result = self.speaker.hears(photo, answer);
            result.is_ok()
        })?;
        if let (Some(output), Some(best), Ok(())) = (&self.heatmap, best, &result) {
            let class = args.heatmap_class.unwrap_or(best);
            let preset = classifier.preset().clone();
            let map = |photo: &RgbImage| match args.heatmap_by {
                Method::Dense => {
                    classifier.heat_map(photo, class, heat::scale(&preset, &args.views.scales))
                }
                Method::GradCam => {
                    let Member { table, weights, preset, .. } = &self.member;
                    B::seed(device, args.seed);
                    heat::grad_cam::<B>(table, weights.as_deref(), preset, photo, class, device)
                }
            };
            result = heat::draw(&self.photos[0], self.labels, class, output, args.heatmap_by, map);
        }
        Ok(result)
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
    let preset = cli::trained::preset(asked, Some(published.preset()?))?;
    Ok((hub::fetch(published)?, preset))
}

#[cfg(not(feature = "hub"))]
fn pretrained(_: &Architecture, _: Option<Preset>) -> Result<(PathBuf, Preset), Box<dyn Error>> {
    Err("--pretrained needs the package's feature `hub`: cargo run --features hub ...".into())
}
