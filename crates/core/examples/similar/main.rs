//! Finds the photos that are most like one, by the cosine similarity of a network's features. Without arguments, it finds
//! digits that are like a handwritten 4.
//!
//!     cargo run --release --example similar
//!     cargo run --release --example similar -- photo.jpg folder --weights vgg16.pth --output similar.png
//!
//! For a large folder, compute its vectors once:
//!
//!     cargo run --release --example features -- folder --weights vgg16.pth --output vectors.safetensors
//!     cargo run --release --example similar -- photo.jpg vectors.safetensors --weights vgg16.pth

#[path = "../cli/mod.rs"]
mod cli;
#[path = "../augment/contact_sheet.rs"]
mod contact_sheet;
#[path = "../features/feature_network.rs"]
mod feature_network;
#[path = "../classify/photos.rs"]
mod photos;
mod stored_vectors;
#[path = "../features/vectors.rs"]
mod vectors;

use alexnet_vgg_core::predict::cosine_similarity;
use alexnet_vgg_core::printable;
use alexnet_vgg_core::vision::{RgbImage, decode_file, thumbnail};
use clap::Parser;
use contact_sheet::CELL;
use feature_network::{FeatureArgs, FeatureNetwork};
use image::ImageFormat;
use serde_json::json;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use vectors::{Failed, Vectors};

#[derive(Parser)]
#[command(about = "The photos that are most like one")]
struct Args {
    /// The photo to compare with.
    photo: Option<PathBuf>,
    /// Photos, folders, or patterns to search; or a .safetensors file that the example `features` wrote.
    among: Vec<String>,
    /// Number of photos to find.
    #[arg(long, default_value_t = 11, value_parser = clap::value_parser!(u16).range(1..=1000))]
    count: u16,
    /// Also draw them on a contact sheet, after the photo itself.
    #[arg(long, value_name = "OUT.png")]
    output: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    features: FeatureArgs,
}

fn main() -> ExitCode {
    cli::finish(run(&cli::parse_or(&[
        "crates/core/samples/digits/4.png",
        "examples/data",
        "--weights",
        cli::DIGITS,
    ])))
}

fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let (Some(photo), false) = (&args.photo, args.among.is_empty()) else {
        return Err(
            "expected a photo, what to search, and the weights of a trained network, as in: \
            similar -- examples/photos/cat.jpg examples/photos --weights vgg16.pth"
                .into(),
        );
    };
    let picture = decode_file(photo)?;
    let network = FeatureNetwork::load(&args.features)?;
    let vector = network.vectors(&[network.input(&picture)?])?.values;
    let (vectors, failed) = search_space(&args.among, &network)?;
    let mut found = ranked(photo, &vector, &vectors)?;
    found.truncate(args.count.into());
    print(photo, &found, args.json)?;
    if let Some(output) = &args.output {
        draw(&picture, &found, output)?;
        cli::warn(format!(
            "{}: the photo, and the {} most like it\n",
            output.display(),
            found.len()
        ));
    }
    failed.report(vectors.photos.len())
}

/// The vectors of a file, or those of the photos that are named.
fn search_space(
    among: &[String],
    network: &FeatureNetwork,
) -> Result<(Vectors, Failed), Box<dyn Error>> {
    match among {
        [file] if file.ends_with(".safetensors") => {
            Ok((stored_vectors::read(Path::new(file), network)?, Failed::default()))
        }
        _ => vectors::of_photos(network, &photos::find(among)?),
    }
}

/// A photo, and its similarity.
type Found<'a> = (&'a Path, f32);

/// All photos but the one that is compared with, the most similar first.
fn ranked<'a>(
    photo: &Path,
    vector: &[f32],
    vectors: &'a Vectors,
) -> alexnet_vgg_core::Result<Vec<Found<'a>>> {
    let itself = photo.canonicalize().ok();
    let is_itself = |other: &Path| other.canonicalize().is_ok_and(|it| Some(it) == itself);
    let mut found = Vec::new();
    for (other, values) in vectors.photos.iter().zip(vectors.values.chunks(vectors.length.max(1))) {
        if !is_itself(other) {
            found.push((other.as_path(), cosine_similarity(vector, values)?));
        }
    }
    found.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(b.0)));
    Ok(found)
}

fn print(photo: &Path, found: &[Found], as_json: bool) -> Result<(), Box<dyn Error>> {
    let name = |path: &Path| path.display().to_string();
    if as_json {
        let similar: Vec<_> = (found.iter())
            .map(|(path, similarity)| json!({ "photo": name(path), "similarity": similarity }))
            .collect();
        return cli::print(format!("{}\n", json!({ "photo": name(photo), "similar": similar })));
    }
    found.iter().try_for_each(|(path, similarity)| {
        cli::print(format!("{similarity:7.4}  {}\n", printable(&name(path))))
    })
}

/// The photo and those that are like it, arranged in a square.
fn draw(photo: &RgbImage, found: &[Found], output: &Path) -> Result<(), Box<dyn Error>> {
    let mut cells = vec![thumbnail(photo, CELL)?];
    for (path, _) in found {
        cells.push(thumbnail(&decode_file(path)?, CELL)?);
    }
    let columns = (cells.len() as f64).sqrt().ceil() as usize;
    let rows: Vec<_> = cells.chunks(columns).map(<[RgbImage]>::to_vec).collect();
    contact_sheet::draw(&rows)?
        .save_with_format(output, ImageFormat::Png)
        .map_err(|error| format!("{}: {error}", output.display()))?;
    Ok(())
}
