//! Says what is in photos. Without arguments, it reads the handwritten digits that come with the library.
//!
//!     cargo run --release --example classify
//!     cargo run --release --example classify -- photo.jpg --weights vgg16.safetensors
//!     cargo run --release --features hub --example classify -- photo.jpg --model vgg16 --pretrained
//!     cargo run --release --example classify -- folder --weights vgg16.safetensors --views ten-crop

#[path = "../cli/mod.rs"]
mod cli;
mod first_try;
mod heat_map;
mod member;
mod photos;
mod report;

use alexnet_vgg_core::architecture::NetworkConfig;
use alexnet_vgg_core::predict::{Classifier, Fusion, Labels, McDropout};
use clap::Parser;
use member::Member;
use report::Report;
use std::error::Error;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Parser)]
#[command(about = "The most probable classes of photos; without arguments: of the sample digits")]
struct Args {
    /// Photos (JPEG, PNG, WebP, GIF, BMP, TIFF or PNM), folders, or patterns such as 'a/**/*.jpg'.
    // Without any arguments, there is something to show.
    #[arg(required = std::env::args_os().len() > 1)]
    photos: Vec<String>,
    #[arg(long, help = cli::networks("The network. Default: the one that the weights file is for, or vgg16. One of"), value_parser = NetworkConfig::by_name)]
    model: Option<NetworkConfig>,
    /// A weights file: safetensors, PyTorch's (.pth, old or new format), Caffe's (.caffemodel) or ONNX.
    #[arg(long)]
    weights: Option<PathBuf>,
    /// torchvision's published weights, downloaded once and then read from a cache. Needs feature `hub`.
    #[arg(long, conflicts_with = "weights")]
    pretrained: bool,
    /// Weights files of additional networks, of any kind: the probabilities of all networks are
    /// averaged. Only one network is in memory at a time.
    #[arg(long, num_args = 1.., value_name = "FILE")]
    ensemble: Vec<PathBuf>,
    #[command(flatten)]
    views: cli::views::ViewsArgs,
    /// How the predictions of several views are combined: mean-probability, mean-logit, geometric-mean or
    /// vote.
    #[arg(long, default_value_t)]
    fusion: Fusion,
    /// A photo may have any number of labels: the probability of each output is its sigmoid.
    #[arg(long)]
    multi_label: bool,
    /// Monte Carlo dropout: the mean probabilities of this many passes with dropout, and their standard
    /// deviations.
    #[arg(long, value_name = "PASSES", value_parser = clap::value_parser!(u16).range(1..=10_000))]
    mc_dropout: Option<u16>,
    /// Seed of Monte Carlo dropout, and of the weights of an untrained network.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Number of predictions to print for each photo.
    #[arg(long, default_value = "5")]
    top_k: NonZeroUsize,
    #[command(flatten)]
    preset: cli::preset::PresetArgs,
    /// A file with the names of the classes: one on each line, or JSON. Default: as stated in the weights file, or
    /// ImageNet's if there are 1000 classes.
    #[arg(long)]
    labels: Option<PathBuf>,
    /// Number of classes. Default: as in the weights file, or 1000.
    #[arg(long)]
    num_classes: Option<usize>,
    /// Also write the photo, overlaid with a heat map of where the class is seen. Takes a single
    /// photo.
    #[arg(long, value_name = "OUT.png")]
    heatmap: Option<PathBuf>,
    /// The class of the heat map, by number. Default: the most probable one.
    #[arg(long, requires = "heatmap", value_name = "CLASS")]
    heatmap_class: Option<usize>,
    /// Print a line of JSON for each photo, with the prediction of each view.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    engine: cli::EngineArgs,
    #[command(flatten)]
    key: cli::KeyArgs,
}

fn main() -> ExitCode {
    cli::finish(run(&Args::parse()))
}

fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    if args.photos.is_empty() {
        return first_try::run();
    }
    let photos = photos::find(&args.photos)?;
    if args.heatmap.is_some() && photos.len() != 1 {
        return Err(format!("--heatmap takes one photo, found {}", photos.len()).into());
    }
    if !args.ensemble.is_empty() && args.weights.is_none() && !args.pretrained {
        return Err(
            "--ensemble: expected the first network as --weights FILE or --pretrained".into()
        );
    }
    let mut members = vec![Member::first(args)?];
    for path in &args.ensemble {
        members.push(Member::open(args, path, None)?);
    }
    let labels = labels(args, &members)?;
    if let Some(class) = args.heatmap_class.filter(|class| *class >= labels.count()) {
        let last = labels.count() - 1;
        return Err(format!("--heatmap-class: expected 0 to {last}, found {class}").into());
    }
    // Wrong options are reported before half a gigabyte of weights is read.
    for member in &members {
        labels.expect_classes(member.architecture.num_classes())?;
        member.preset(args)?.expect_views(&args.views.of(&member.architecture)?)?;
    }
    if members[0].weights.is_none() {
        let warning = format!(
            "No --weights: this {} is untrained. Its weights are random, and its predictions meaningless.\n\n",
            members[0].architecture.name
        );
        if args.json { cli::warn(warning) } else { cli::print(warning)? }
    }
    let mut report = Report::new(&photos, &labels, args.json, members.len());
    for (index, member) in members.into_iter().enumerate() {
        let heatmap = args.heatmap.as_ref().filter(|_| index == 0);
        classify(args, member, &labels, &photos, heatmap, &mut report)?;
        report.next_network();
    }
    report.finish()
}

/// The names of the classes, which all networks must share.
fn labels(args: &Args, members: &[Member]) -> Result<Labels, Box<dyn Error>> {
    if let Some(path) = &args.labels {
        return Ok(Labels::read(path)?);
    }
    let mut stated = members.iter().filter_map(|member| member.metadata.labels.as_ref());
    match stated.next() {
        Some(labels) if stated.all(|other| other == labels) => Ok(labels.clone()),
        Some(_) => Err("the networks of the ensemble have different classes, or the same ones in \
            different orders; if they are in fact the same, pass their names with --labels FILE"
            .into()),
        None => Ok(Labels::for_classes(members[0].architecture.num_classes())),
    }
}

/// All photos through one network.
fn classify(
    args: &Args,
    member: Member,
    labels: &Labels,
    photos: &[PathBuf],
    heatmap: Option<&PathBuf>,
    report: &mut Report,
) -> Result<(), Box<dyn Error>> {
    let mut builder = Classifier::builder(member.compile(args)?)
        .preset(member.preset(args)?)
        .views(args.views.of(&member.architecture)?)
        .fusion(args.fusion)
        .labels(labels.clone())
        .top_k(args.top_k.get());
    if args.multi_label {
        builder = builder.multi_label();
    }
    if let Some(passes) = args.mc_dropout {
        builder = builder.dropout(McDropout { passes: passes.into(), seed: args.seed });
    }
    let classifier = builder.build()?;
    let readers = std::thread::available_parallelism().map_or(1, usize::from);
    let (mut best, mut printed) = (None, Ok(()));
    classifier.classify_files(photos, readers, |photo, result| {
        best = result.as_ref().ok().and_then(|it| it.predictions.first()).map(|it| it.class);
        printed = report.add(photo, result);
        printed.is_ok()
    })?;
    printed?;
    if let (Some(output), Some(best)) = (heatmap, best) {
        let class = args.heatmap_class.unwrap_or(best);
        // By default at twice the size that the network was trained at: the larger, the finer.
        let largest = args.views.scales.iter().copied().max();
        let scale = largest.unwrap_or(2 * classifier.preset().crop);
        heat_map::draw(&classifier, &photos[0], class, scale, output)?;
    }
    Ok(())
}
