//! Computes the logits and the outputs of inner layers for a batch of tensors, to compare this crate with other
//! implementations. Input and output are safetensors files.
//!
//!     cargo run --release --example logits -- --model vgg16 --weights vgg16.safetensors \
//!         --input images.safetensors --output logits.safetensors --tap features.30 --tap fc7
//!
//! Reads the tensor `input`, `[N, 3, H, W]`, f32. Writes `logits`, `[N, classes]`, and each tap under its name.

#[path = "../crates/core/examples/cli/mod.rs"]
mod cli;

use alexnet_vgg::Array;
use alexnet_vgg::backend::BackendName;
use alexnet_vgg::engine::Compiled;
use alexnet_vgg::models::{Architecture, NetworkConfig, load_on};
use alexnet_vgg::predict::{Model, expect_finite};
use alexnet_vgg::weights::{LoadOptions, Weights};
use clap::Parser;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use std::collections::HashSet;
use std::error::Error;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(Parser)]
#[command(about = "The logits and the outputs of inner layers for a batch of tensors")]
struct Args {
    #[arg(long, help = cli::networks("The network"), value_parser = NetworkConfig::by_name)]
    model: NetworkConfig,
    /// Its weights file: safetensors or PyTorch's (.pth, old or new format).
    #[arg(long)]
    weights: PathBuf,
    /// A safetensors file with the tensor `input`, `[N, 3, H, W]`, f32, already normalized. At 227x227 the
    /// first convolution of alexnet_paper has no padding.
    #[arg(long)]
    input: PathBuf,
    /// The safetensors file to write.
    #[arg(long)]
    output: PathBuf,
    /// Also write the output of this layer, by torchvision's name (features.3) or the papers' (conv3_1). May
    /// be repeated.
    #[arg(long, value_name = "LAYER")]
    tap: Vec<String>,
    /// Number of classes. Default: as many as the weights have.
    #[arg(long, conflicts_with = "features_only")]
    num_classes: Option<usize>,
    /// Load only the convolutional part, for a weights file without this classifier. Writes only taps.
    #[arg(long, requires = "tap")]
    features_only: bool,
    /// burn (with --backend) or compiled (the CPU engine).
    #[arg(long, default_value = "burn", value_parser = ["burn", "compiled"])]
    engine: String,
    /// The backend of burn: ndarray, flex or wgpu.
    #[arg(long, default_value_t = BackendName::preferred())]
    backend: BackendName,
    #[command(flatten)]
    options: cli::EngineArgs,
    #[command(flatten)]
    key: cli::KeyArgs,
}

fn main() -> ExitCode {
    let example =
        "--model vgg16 --weights vgg16.pth --input images.safetensors --output logits.safetensors";
    cli::finish(run(cli::parse_needing(example)))
}

fn run(mut args: Args) -> Result<(), Box<dyn Error>> {
    let mut seen = HashSet::new();
    args.tap.retain(|tap| seen.insert(tap.clone()));
    let images = read_input(&args.input)?;
    let existed = args.output.exists();
    let output = open_output(&args.output, &[&args.input, &args.weights])?;
    let mut names = args.tap.clone();
    if !args.features_only {
        names.push("logits".into());
    }
    let written = compute(&args, &images)
        .and_then(|outputs| write_output(output, &args.output, &names, &outputs));
    if written.is_err() && !existed {
        // It is empty or incomplete.
        let _ = std::fs::remove_file(&args.output);
    }
    written
}

fn compute(args: &Args, images: &Array) -> Result<Vec<Array>, Box<dyn Error>> {
    let [batch, channels, height, width] = images.shape[..] else {
        return Err(format!("input: expected [N, 3, H, W], found {:?}", images.shape).into());
    };
    let shape = [batch, channels, height, width];
    let weights = args.key.open(&args.weights)?;
    let part = LoadOptions { features_only: args.features_only };
    let mut config = weights.network(Some(&args.model), part)?.for_input([height, width]);
    if let Some(classes) = args.num_classes {
        config = config.with_num_classes(classes);
    }
    let mut architecture = config.architecture()?;
    if args.features_only {
        architecture = architecture.without_classifier();
    }
    // Wrong names are reported before any values are read.
    let mut layers: Vec<&str> = args.tap.iter().map(String::as_str).collect();
    layers.iter().try_for_each(|layer| architecture.find(layer).map(drop))?;
    if !args.features_only {
        // The logits are the output of the last layer.
        layers.extend(architecture.steps().last().map(|last| last.key.as_str()));
    }
    Ok(load(args, &architecture, &weights, shape)?.taps(&images.values, shape, &layers)?)
}

fn load(
    args: &Args,
    architecture: &Architecture,
    weights: &Weights,
    shape: [usize; 4],
) -> Result<Box<dyn Model>, Box<dyn Error>> {
    let options = LoadOptions { features_only: args.features_only };
    if args.engine == "compiled" {
        let compile_options = args.options.options();
        let model = Compiled::from_weights(architecture, weights, options, compile_options)?;
        return Ok(Box::new(model));
    }
    if args.options.are_given() {
        return Err(
            "--precision, --linear-weights, --threads, and --isa need --engine compiled".into()
        );
    }
    let model = load_on(args.backend, architecture, weights, options)?;
    model.check(shape)?;
    Ok(model)
}

fn read_input(path: &Path) -> Result<Array, Box<dyn Error>> {
    let bytes = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let wrong = |found: &str| {
        format!(
            "{}: expected a safetensors file with tensor input, f32, [N, 3, H, W], found {found}",
            path.display()
        )
    };
    let tensors = SafeTensors::deserialize(&bytes).map_err(|error| wrong(&error.to_string()))?;
    let others = || {
        let mut names = tensors.names();
        names.sort_unstable();
        format!("only {}", names.join(", "))
    };
    let input = tensors.tensor("input").map_err(|_| wrong(&others()))?;
    if input.dtype() != Dtype::F32 || input.shape().len() != 4 {
        return Err(wrong(&format!("{:?} {:?}", input.dtype(), input.shape())).into());
    }
    let (chunks, _) = input.data().as_chunks::<4>();
    let values: Vec<f32> = chunks.iter().map(|&chunk| f32::from_le_bytes(chunk)).collect();
    expect_finite(&format!("{} input", path.display()), &values)?;
    Ok(Array { shape: input.shape().into(), values })
}

/// Opened before the work, so that the work is not done in vain. An existing file keeps its
/// contents until the end.
fn open_output(path: &Path, inputs: &[&Path]) -> Result<File, Box<dyn Error>> {
    cli::expect_no_input(path, inputs)?;
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(path);
    Ok(file.map_err(|error| format!("{}: {error}", path.display()))?)
}

fn write_output(
    mut file: File,
    path: &Path,
    names: &[String],
    outputs: &[Array],
) -> Result<(), Box<dyn Error>> {
    let bytes = |output: &Array| output.values.iter().flat_map(|it| it.to_le_bytes()).collect();
    let bytes: Vec<Vec<u8>> = outputs.iter().map(bytes).collect();
    let mut views = Vec::new();
    for ((name, output), bytes) in names.iter().zip(outputs).zip(&bytes) {
        views.push((name.as_str(), TensorView::new(Dtype::F32, output.shape.clone(), bytes)?));
    }
    // Not `serialize_to_file`, which would replace a link or a device with a new file.
    let bytes = safetensors::serialize(views, None)?;
    let is_file = file.metadata().is_ok_and(|info| info.is_file());
    if is_file { file.set_len(0) } else { Ok(()) }
        .and_then(|()| file.write_all(&bytes))
        .map_err(|error| format!("{}: {error}", path.display()))?;
    for (name, output) in names.iter().zip(outputs) {
        cli::print(format!("{name} {:?}\n", output.shape))?;
    }
    Ok(())
}
