//! Tensors in, logits and inner layers out: the door through which to compare this crate with any
//! other implementation. All files are safetensors.
//!
//!     cargo run --release --example logits -- --model vgg16 --weights vgg16.safetensors \
//!         --input images.safetensors --output logits.safetensors --tap features.30 --tap fc7
//!
//! Reads `input` `[N, 3, H, W]` f32; writes `logits` `[N, classes]` and each tap under its own name.
#![recursion_limit = "256"]

mod cli;

use alexnet_vgg::backend::{BackendName, Job};
use alexnet_vgg::engine::{CompileOptions, Compiled};
use alexnet_vgg::models::{Architecture, Network, NetworkConfig};
use alexnet_vgg::predict::expect_finite;
use alexnet_vgg::weights::Weights;
use burn::tensor::backend::Backend;
use burn::tensor::{Tensor, TensorData};
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
#[command(about = "Logits and inner layers of a batch of tensors")]
struct Args {
    #[arg(long, help = cli::networks("The network"), value_parser = NetworkConfig::by_name)]
    model: NetworkConfig,
    /// Its weights: a file of safetensors or PyTorch (.pth), old or new.
    #[arg(long)]
    weights: PathBuf,
    /// Safetensors file with `input`, `[N, 3, H, W]`, f32, already normalized. At 227x227,
    /// alexnet_paper is the network without padding in its first convolution.
    #[arg(long)]
    input: PathBuf,
    /// Safetensors file to write.
    #[arg(long)]
    output: PathBuf,
    /// A layer whose output to write too, as torchvision (features.3) or the papers (conv3_1) call
    /// it. May be repeated.
    #[arg(long, value_name = "LAYER")]
    tap: Vec<String>,
    /// Classes of the network.
    #[arg(long, default_value_t = 1000, conflicts_with = "features_only")]
    num_classes: usize,
    /// The weights have no classifier, or not this one: load the features and write only taps.
    #[arg(long, requires = "tap")]
    features_only: bool,
    /// burn (with --backend), or compiled: the CPU engine.
    #[arg(long, default_value = "burn", value_parser = ["burn", "compiled"])]
    engine: String,
    /// ndarray, flex or wgpu.
    #[arg(long, default_value_t = BackendName::preferred())]
    backend: BackendName,
    #[command(flatten)]
    options: cli::EngineArgs,
}

/// A tensor on its way to a file.
struct Output {
    name: String,
    shape: Vec<usize>,
    values: Vec<f32>,
}

fn main() -> ExitCode {
    cli::finish(run(Args::parse()))
}

fn run(args: Args) -> Result<(), Box<dyn Error>> {
    let images = read_input(&args.input)?;
    let was_there = args.output.exists();
    let output = open_output(&args.output, &[&args.input, &args.weights])?;
    let path = args.output.clone();
    let done = compute(args, images).and_then(|outputs| write_output(output, &path, &outputs));
    if done.is_err() && !was_there {
        // What is there is nothing, or not whole.
        let _ = std::fs::remove_file(&path);
    }
    done
}

fn compute(args: Args, images: TensorData) -> Result<Vec<Output>, Box<dyn Error>> {
    let size = [images.shape[2], images.shape[3]];
    let config = args.model.with_num_classes(args.num_classes).for_input(size);
    let mut taps = args.tap;
    let mut seen = HashSet::new();
    taps.retain(|tap| seen.insert(tap.clone()));
    let mut table = config.architecture();
    if args.features_only {
        table = table.without_classifier();
    }
    let compiled = args.engine == "compiled";
    if args.options.are_given() && !compiled {
        return Err("--precision, --threads and --isa are of --engine compiled".into());
    }
    let job =
        Logits { table, weights: args.weights, images, taps, features_only: args.features_only };
    Ok(match compiled {
        true => job.on_the_engine(args.options.options())?,
        false => args.backend.run(job)?,
    })
}

struct Logits {
    table: Architecture,
    weights: PathBuf,
    images: TensorData,
    taps: Vec<String>,
    features_only: bool,
}

impl Logits {
    /// The layers to tap, and what their outputs are called in the file. One pass gives the logits
    /// too: they are what the last layer gives.
    fn layers(&self) -> alexnet_vgg::Result<(Vec<String>, Vec<String>)> {
        let (mut layers, mut names) = (self.taps.clone(), self.taps.clone());
        if !self.features_only {
            layers.extend(self.table.steps()?.pop().map(|last| last.key));
            names.push("logits".into());
        }
        for layer in &layers {
            self.table.find(layer)?;
        }
        Ok((layers, names))
    }

    fn on_the_engine(self, options: CompileOptions) -> alexnet_vgg::Result<Vec<Output>> {
        let (layers, names) = self.layers()?;
        let weights = Weights::open(&self.weights)?;
        let compiled = match self.features_only {
            true => Compiled::features_from_weights(self.table, &weights, options)?,
            false => Compiled::from_weights(self.table, &weights, options)?,
        };
        let shape = self.images.shape.dims();
        let images: Vec<f32> = self.images.iter::<f32>().collect();
        let taps = compiled.taps(&images, shape, &layers)?;
        Ok((names.into_iter().zip(taps))
            .map(|(name, tap)| Output { name, shape: tap.shape, values: tap.values })
            .collect())
    }
}

impl Job for Logits {
    type Output = Vec<Output>;

    fn run<B: Backend>(self, device: &B::Device) -> alexnet_vgg::Result<Vec<Output>> {
        let (layers, names) = self.layers()?;
        let network: Network<B> = match self.features_only {
            true => Network::load_features(self.table, &self.weights, device)?,
            false => Network::load(self.table, &self.weights, device)?,
        };
        network.check(self.images.shape.dims(), device)?;
        let images = Tensor::from_data(self.images, device);
        let taps = network.taps(images, &layers)?;
        (names.into_iter().zip(taps))
            .map(|(name, tap)| {
                let data = tap.into_data()?;
                let shape = data.shape.to_vec();
                Ok(Output { name, shape, values: data.iter::<f32>().collect() })
            })
            .collect()
    }
}

fn read_input(path: &Path) -> Result<TensorData, Box<dyn Error>> {
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
    Ok(TensorData::new(values, input.shape()))
}

/// Before the work, so that it is not done in vain. What is there already stays until the end.
fn open_output(path: &Path, inputs: &[&Path]) -> Result<File, Box<dyn Error>> {
    let failed = |error| format!("{}: {error}", path.display());
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(path);
    let file = file.map_err(failed)?;
    let whole = path.canonicalize().map_err(failed)?;
    match inputs.iter().find(|input| input.canonicalize().is_ok_and(|input| input == whole)) {
        Some(_) => Err(format!("{}: --output would overwrite an input", path.display()).into()),
        None => Ok(file),
    }
}

fn write_output(mut file: File, path: &Path, outputs: &[Output]) -> Result<(), Box<dyn Error>> {
    let bytes: Vec<Vec<u8>> = outputs
        .iter()
        .map(|output| output.values.iter().flat_map(|value| value.to_le_bytes()).collect())
        .collect();
    let views = outputs
        .iter()
        .zip(&bytes)
        .map(|(output, bytes)| {
            let view = TensorView::new(Dtype::F32, output.shape.clone(), bytes)?;
            Ok((output.name.as_str(), view))
        })
        .collect::<Result<Vec<_>, safetensors::SafeTensorError>>()?;
    // Not `serialize_to_file`, which puts a new file in the place of a link or a device.
    let bytes = safetensors::serialize(views, None)?;
    let is_file = file.metadata().is_ok_and(|info| info.is_file());
    if is_file { file.set_len(0) } else { Ok(()) }
        .and_then(|()| file.write_all(&bytes))
        .map_err(|error| format!("{}: {error}", path.display()))?;
    for output in outputs {
        cli::print(format!("{} {:?}\n", output.name, output.shape))?;
    }
    Ok(())
}
