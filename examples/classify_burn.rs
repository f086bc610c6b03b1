//! Says what is in photos, on a burn backend, and which part of a photo that answer comes from.
//!
//!     cargo run --release --example classify_burn -- photo.jpg --weights vgg16.safetensors
//!     cargo run --release --features wgpu --example classify_burn -- photo.jpg --weights vgg16.safetensors \
//!         --backend wgpu --heatmap map.png
//!
//! `classify` does this without burn, and has more options.

#[path = "../crates/core/examples/cli/mod.rs"]
mod cli;

use alexnet_vgg::backend::BackendName;
use alexnet_vgg::models::{BackendModel, NetworkConfig, init_on, load_on};
use alexnet_vgg::predict::{Classifier, HeatMap};
use alexnet_vgg::printable;
use alexnet_vgg::vision::{Crop, Orientation, Preset, RgbImage, View, Views, decode_file};
use alexnet_vgg::weights::{LoadOptions, Weights};
use clap::Parser;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(Parser)]
#[command(about = "The most probable classes of photos, on a burn backend")]
struct Args {
    /// Photos: JPEG, PNG, WebP, GIF, BMP, TIFF or PNM.
    #[arg(required = true)]
    photos: Vec<PathBuf>,
    #[arg(long, help = cli::networks("The network. Default: the one that the weights file is for, or vgg16. One of"), value_parser = NetworkConfig::by_name)]
    model: Option<NetworkConfig>,
    /// A weights file: safetensors or PyTorch's (.pth, old or new format). Default: random weights.
    #[arg(long)]
    weights: Option<PathBuf>,
    /// ndarray, flex or wgpu.
    #[arg(long, default_value_t = BackendName::preferred())]
    backend: BackendName,
    /// Also write the photo, overlaid with a Grad-CAM heat map of where the evidence for the class
    /// is. Takes a single photo.
    #[arg(long, value_name = "OUT.png")]
    heatmap: Option<PathBuf>,
    /// The class of the heat map, by number. Default: the most probable one.
    #[arg(long, requires = "heatmap", value_name = "CLASS")]
    heatmap_class: Option<usize>,
}

fn main() -> ExitCode {
    cli::finish(run(&cli::parse_or(&[
        "crates/core/samples/digits/7.png",
        "--weights",
        cli::DIGITS,
    ])))
}

fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    if args.heatmap.is_some() && args.photos.len() != 1 {
        return Err(format!("--heatmap takes one photo, found {}", args.photos.len()).into());
    }
    let model = model(args)?;
    let heat_map = match &args.heatmap {
        Some(_) => Some(heat_map(&*model, &args.photos[0], args.heatmap_class)?),
        None => None,
    };
    let classifier = Classifier::builder(model).build()?;
    for photo in &args.photos {
        let classification = classifier.classify_file(photo)?;
        cli::print(format!("{}\n", printable(&photo.display().to_string())))?;
        for prediction in classification.predictions {
            let (percent, label) = (prediction.probability * 100.0, printable(&prediction.label));
            cli::print(format!("  {percent:6.2}%  {label}\n"))?;
        }
    }
    if let (Some(output), Some((photo, map, class))) = (&args.heatmap, heat_map) {
        let picture = map.draw(&photo)?;
        picture.save(output).map_err(|error| format!("{}: {error}", output.display()))?;
        let label = printable(classifier.labels().get(class));
        cli::warn(format!("{}: Grad-CAM of {label}\n", output.display()));
    }
    Ok(())
}

fn model(args: &Args) -> Result<Box<dyn BackendModel>, Box<dyn Error>> {
    if let Some(path) = &args.weights {
        let weights = Weights::open(path)?;
        let network = weights.network(args.model.as_ref(), LoadOptions::default())?;
        return Ok(load_on(args.backend, network, &weights, LoadOptions::default())?);
    }
    let network = args.model.clone().map_or_else(|| NetworkConfig::by_name("vgg16"), Ok)?;
    let name = network.table().name;
    cli::print(format!(
        "No --weights: this {name} is untrained. Its weights are random, and its predictions meaningless.\n\n"
    ))?;
    Ok(init_on(args.backend, network, 0)?)
}

/// The photo, the map over all of it, and the map's class.
fn heat_map(
    model: &dyn BackendModel,
    photo: &Path,
    class: Option<usize>,
) -> Result<(RgbImage, HeatMap, usize), Box<dyn Error>> {
    let photo = decode_file(photo)?;
    let preset = model.metadata().preset.clone().unwrap_or_else(Preset::imagenet);
    let scale = Some(preset.resize);
    let whole = View { scale, orientation: Orientation::Upright, crop: Crop::Whole, weight: 1.0 };
    let shown = preset.views(&photo, &Views::new([whole])?)?;
    let whole = shown.whole_images.first().ok_or("the preset gives no picture")?;
    let [height, width] = whole.size;
    let (map, class) = model.grad_cam(&whole.values, [1, 3, height, width], None, class)?;
    Ok((photo, map, class))
}
