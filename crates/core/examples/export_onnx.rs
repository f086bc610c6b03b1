//! Writes a network as an ONNX file, for other runtimes.
//!
//!     cargo run --release --example export_onnx -- --weights vgg16.safetensors --output vgg16.onnx
//!     cargo run --release --example export_onnx -- --model alexnet_paper --input 227,227 \
//!         --fixed-batch 8 --output alexnet.onnx

mod cli;

use alexnet_vgg_core::architecture::{Architecture, FreshWeights, NetworkConfig, Parameter};
use alexnet_vgg_core::onnx::{self, ExportOptions, IR_VERSION, OPSET, OnnxFile};
use alexnet_vgg_core::vision::Preset;
use alexnet_vgg_core::weights::{LoadOptions, Weights};
use alexnet_vgg_core::{Error, Metadata};
use clap::Parser;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

type Result<T, E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

#[derive(Parser)]
#[command(about = "Writes a network as an ONNX file")]
struct Args {
    #[arg(long, required_unless_present = "weights", help = cli::networks("The network. Default: the one that the weights file is for. One of"), value_parser = NetworkConfig::by_name)]
    model: Option<NetworkConfig>,
    /// A weights file: safetensors or PyTorch's (.pth, old or new format). Default: random weights.
    #[arg(long)]
    weights: Option<PathBuf>,
    /// The ONNX file to write.
    #[arg(long)]
    output: PathBuf,
    /// Height and width of the images, which are fixed in the file. Default: those that the network was
    /// designed for.
    #[arg(long, value_name = "H,W", value_parser = cli::size)]
    input: Option<[usize; 2]>,
    /// Fix the number of images in a batch. Default: any number.
    #[arg(long, value_name = "N")]
    fixed_batch: Option<usize>,
    /// Number of classes. Default: as in the weights file, or 1000.
    #[arg(long)]
    num_classes: Option<usize>,
    /// The preprocessing that the weights were trained with, to be stated in the file: a name, such as imagenet,
    /// or a JSON file (docs/your-weights.md). Default: as stated in the weights file, if it is.
    #[arg(long, value_name = "NAME|FILE.json", value_parser = Preset::by_name_or_file)]
    preset: Option<Preset>,
    #[command(flatten)]
    key: cli::KeyArgs,
}

fn main() -> ExitCode {
    let example = "--weights crates/core/samples/digits.safetensors --output digits.onnx";
    cli::finish(run(&cli::parse_needing(example)))
}

fn run(args: &Args) -> Result<()> {
    if let Some(weights) = &args.weights {
        cli::expect_no_input(&args.output, &[weights])?;
    }
    let weights = args.weights.as_ref().map(|path| args.key.open(path)).transpose()?;
    let architecture = architecture(args, weights.as_ref())?;
    let preset = match &weights {
        Some(weights) => preset(args, weights, &architecture.name)?,
        None => args.preset.clone(),
    };
    let options = ExportOptions { input: args.input, batch: args.fixed_batch, preset };
    // Wrong options are reported before any weights are read.
    OnnxFile::new(&architecture, &options)?;
    let name = &architecture.name;
    let model = match &weights {
        Some(weights) => export(&architecture, weights, &args.output, &options)?,
        None => {
            say(
                args,
                format!("No --weights: this {name} is untrained, its weights are random.\n"),
            )?;
            let fresh = FreshWeights::new(0);
            let values = |parameter: &_, rows| Ok(fresh.rows(parameter, rows));
            onnx::export(&architecture, &args.output, &options, values)?
        }
    };
    let (output, nodes, bytes) = (args.output.display(), model.nodes(), model.bytes());
    say(
        args,
        format!(
            "{output}: {name}, {nodes} nodes of opset {OPSET} (IR version {IR_VERSION}), {bytes} bytes\n"
        ),
    )
}

fn architecture(args: &Args, weights: Option<&Weights>) -> Result<Architecture> {
    let mut config = match (weights, args.model.clone()) {
        (Some(weights), hint) => weights.network(hint.as_ref(), LoadOptions::default())?,
        (None, Some(model)) => model,
        (None, None) => return Err("expected --model or --weights".into()),
    };
    if let Some(classes) = args.num_classes {
        config = config.with_num_classes(classes);
    }
    if let Some(size) = args.input {
        config = config.for_input(size);
    }
    Ok(config.architecture()?)
}

fn preset(args: &Args, weights: &Weights, network: &str) -> Result<Option<Preset>> {
    let stated = Metadata::default().with_preset(weights.preset()?);
    if let Some(preset) = &args.preset {
        stated.expect_preset(preset, network)?;
    }
    Ok(args.preset.clone().or(stated.preset))
}

fn export(
    architecture: &Architecture,
    weights: &Weights,
    output: &Path,
    options: &ExportOptions,
) -> Result<OnnxFile> {
    // Checked first, because the ONNX file is complete as soon as the last value is read.
    weights.verify()?;
    let mut reader = weights.reader(architecture, LoadOptions::default())?;
    let values = |parameter: &Parameter, rows: Range<usize>| {
        reader.rows(parameter, rows)?.ok_or_else(|| Error::Setting {
            place: parameter.key.clone(),
            expected: "a tensor in the weights file".into(),
            found: "none".into(),
        })
    };
    Ok(onnx::export(architecture, output, options, values)?)
}

/// Prints to stdout, or to stderr if the model may have been written to stdout.
fn say(args: &Args, text: String) -> Result<()> {
    if args.output.metadata().is_ok_and(|found| !found.is_file()) {
        cli::warn(text);
        return Ok(());
    }
    cli::print(text)
}
