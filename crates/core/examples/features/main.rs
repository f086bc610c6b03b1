//! Turns photos into vectors, for search, clustering, and other classifiers.
//!
//!     cargo run --release --example features -- folder --weights vgg16.pth --output vectors.npy
//!     cargo run --release --example features -- folder --weights vgg16.pth --output vectors.safetensors --layer relu6

#[path = "../cli/mod.rs"]
mod cli;
mod feature_network;
#[path = "../classify/photos.rs"]
mod photos;
mod vectors;
mod vectors_file;

use clap::Parser;
use feature_network::{FeatureArgs, FeatureNetwork};
use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use vectors_file::Format;

#[derive(Parser)]
#[command(about = "Photos as vectors: the outputs of a network's layers")]
struct Args {
    /// Photos (JPEG, PNG, WebP, GIF, BMP, TIFF or PNM), folders, or patterns such as 'a/**/*.jpg'.
    photos: Vec<String>,
    /// The file to write: .safetensors, with the vectors as `features` and the names of the photos in its metadata; or
    /// .npy, with the names in a .json file beside it.
    #[arg(long, value_name = "OUT.safetensors|OUT.npy")]
    output: Option<PathBuf>,
    #[command(flatten)]
    features: FeatureArgs,
}

fn main() -> ExitCode {
    let example = "examples/photos --weights vgg16.pth --output vectors.npy";
    cli::finish(run(&cli::parse_needing(example)))
}

fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let (Some(output), false) = (&args.output, args.photos.is_empty()) else {
        return Err(
            "expected photos, the weights of a trained network, and a file to write, as in: \
            features -- examples/photos --weights vgg16.pth --output vectors.npy"
                .into(),
        );
    };
    let format = Format::of(output)?;
    let photos = photos::find(&args.photos)?;
    let network = FeatureNetwork::load(&args.features)?;
    let (vectors, failed) = vectors::of_photos(&network, &photos)?;
    vectors_file::write(output, format, &network, &vectors)?;
    cli::print(format!(
        "{}: {} vectors of {} values, from {}\n",
        output.display(),
        vectors.photos.len(),
        vectors.length,
        network.description()
    ))?;
    failed.report(photos.len())
}
