//! Draws augmented photos, as training sees them, on a contact sheet.
//!
//!     cargo run --release --example augment -- photo.jpg --output sheet.png --augmentation vgg
//!
//! Each photo is followed by its samples in successive epochs. --stages shows instead how each sample is made,
//! one row for each, and prints the random choices. A custom augmentation is a JSON file such as
//!
//!     { "name": "mine", "steps": [
//!         { "Resize": { "short": 256 } }, { "RandomCrop": { "side": 224 } },
//!         { "ColorJitter": { "brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.1 } } ] }

#[path = "../cli/mod.rs"]
mod cli;
mod contact_sheet;

use alexnet_vgg_core::vision::augment::{
    Augmentation, ColorPca, ColorStatistics, Operation, Sample, apply,
};
use alexnet_vgg_core::vision::{self, RgbImage, thumbnail};
use clap::Parser;
use contact_sheet::CELL;
use image::ImageFormat;
use rayon::prelude::*;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(Parser)]
#[command(about = "A contact sheet of augmented photos")]
struct Args {
    /// Photos: JPEG, PNG, WebP, GIF, BMP, TIFF or PNM.
    #[arg(required = true)]
    photos: Vec<PathBuf>,
    /// The contact sheet to write, a PNG file.
    #[arg(long)]
    output: PathBuf,
    /// alexnet, vgg, torchvision, or a JSON file.
    #[arg(long, default_value = "alexnet", value_parser = augmentation)]
    augmentation: Augmentation,
    /// Side of the crops in pixels; all other sizes are scaled in proportion. Default: the augmentation's own.
    #[arg(long)]
    crop: Option<u32>,
    /// Seed of the random choices.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Number of samples of each photo.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u64).range(1..=1000))]
    count: u64,
    /// Use the principal colors of the pictures in this folder instead of ImageNet's.
    #[arg(long, value_name = "FOLDER")]
    pca_from: Option<PathBuf>,
    /// Draw a row for each sample, with the photo after each operation.
    #[arg(long)]
    stages: bool,
}

fn main() -> ExitCode {
    cli::finish(run(cli::parse_needing("examples/photos/cat.jpg --output sheet.png")))
}

fn run(args: Args) -> Result<(), Box<dyn Error>> {
    let mut augmentation = args.augmentation;
    if let Some(side) = args.crop {
        augmentation = augmentation.with_crop(side);
    }
    if let Some(folder) = &args.pca_from {
        augmentation = augmentation.with_color_pca(principal_colors(folder)?);
    }
    augmentation.validate()?;
    let mut rows = Vec::new();
    for (path, index) in args.photos.iter().zip(0..) {
        let photo = vision::decode_file(path)?;
        let samples = (0..args.count).map(|epoch| Sample { seed: args.seed, epoch, index });
        if args.stages {
            cli::print(format!("{}\n", path.display()))?;
            for sample in samples {
                let drawn = augmentation.draw(photo.dimensions(), sample)?;
                cli::print(format!("  {}: {}\n", sample.epoch, describe(&drawn)))?;
                rows.push(stages(&photo, &drawn)?);
            }
        } else {
            rows.extend(grid(&photo, &augmentation, samples)?);
        }
        contact_sheet::size(&rows)?;
    }
    contact_sheet::draw(&rows)?
        .save_with_format(&args.output, ImageFormat::Png)
        .map_err(|error| format!("{}: {error}", args.output.display()))?;
    cli::print(format!("{}: {}\n", args.output.display(), augmentation.name))
}

fn augmentation(text: &str) -> Result<Augmentation, Box<dyn Error + Send + Sync>> {
    if text.ends_with(".json") {
        Ok(serde_json::from_slice(&std::fs::read(text)?)?)
    } else {
        Ok(Augmentation::by_name(text)?)
    }
}

/// Computes and prints the principal colors of a folder's pictures.
fn principal_colors(folder: &Path) -> Result<ColorPca, Box<dyn Error>> {
    let unreadable = |error| format!("{}: {error}", folder.display());
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .and_then(|entries| entries.map(|entry| entry.map(|entry| entry.path())).collect())
        .map_err(unreadable)?;
    files.retain(|path| path.is_file());
    // The sums are integers, so their order, which depends on the threads, does not matter.
    let statistics = (files.par_iter())
        .filter_map(|path| match vision::decode_file(path) {
            Ok(photo) => Some(ColorStatistics::from_photo(&photo)),
            Err(error) => {
                cli::warn(format!("skipped: {error}\n"));
                None
            }
        })
        .reduce(ColorStatistics::default, |mut all, one| {
            all.merge(&one);
            all
        });
    let pca = statistics
        .pca()
        .map_err(|_| format!("{}: expected pictures, found none", folder.display()))?;
    let pixels = statistics.pixels();
    cli::print(format!("principal colors of {pixels} pixels in {}\n", folder.display()))?;
    for (value, [red, green, blue]) in pca.eigenvalues.iter().zip(pca.eigenvectors) {
        cli::print(format!("  {value:.4}  [{red:7.4}, {green:7.4}, {blue:7.4}]\n"))?;
    }
    Ok(pca)
}

/// The photo and its samples, arranged in a square.
fn grid(
    photo: &RgbImage,
    augmentation: &Augmentation,
    samples: impl Iterator<Item = Sample>,
) -> alexnet_vgg_core::Result<Vec<Vec<RgbImage>>> {
    let mut cells = vec![thumbnail(photo, CELL)?];
    for sample in samples {
        cells.push(thumbnail(&augmentation.picture(photo, sample)?, CELL)?);
    }
    let columns = (cells.len() as f64).sqrt().ceil() as usize;
    Ok(cells.chunks(columns).map(<[RgbImage]>::to_vec).collect())
}

/// The photo before the first operation, and after each of them.
fn stages(photo: &RgbImage, drawn: &[Operation]) -> alexnet_vgg_core::Result<Vec<RgbImage>> {
    (0..=drawn.len()).map(|done| thumbnail(&apply(photo, &drawn[..done])?, CELL)).collect()
}

fn describe(operations: &[Operation]) -> String {
    let one = |operation: &Operation| match *operation {
        Operation::Resize { width, height } => format!("resize to {width}x{height}"),
        Operation::Crop(part) => {
            format!("crop {}x{} at ({}, {})", part.width, part.height, part.left, part.top)
        }
        Operation::HorizontalFlip => "flip".into(),
        Operation::Rotate(degrees) => format!("rotate by {degrees:+.1} degrees"),
        Operation::Brightness(factor) => format!("brightness {factor:.2}"),
        Operation::Contrast(factor) => format!("contrast {factor:.2}"),
        Operation::Saturation(factor) => format!("saturation {factor:.2}"),
        Operation::Hue(turn) => format!("hue {turn:+.2}"),
        Operation::Shift([red, green, blue]) => {
            format!("shift by ({red:+.1}, {green:+.1}, {blue:+.1})")
        }
    };
    operations.iter().map(one).collect::<Vec<_>>().join(", ")
}
