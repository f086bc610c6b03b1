//! Writes a network as an ONNX file, for other runtimes.
//!
//!     cargo run --release --example export_onnx -- --model vgg16 --weights vgg16.safetensors \
//!         --output vgg16.onnx
//!     cargo run --release --example export_onnx -- --model alexnet_paper --input 227,227 \
//!         --fixed-batch 8 --output alexnet.onnx
#![recursion_limit = "256"]

mod cli;

use alexnet_vgg::backend::{BackendName, Job};
use alexnet_vgg::models::{Architecture, Network, NetworkConfig};
use alexnet_vgg::onnx::{Export, IR_VERSION, Model, OPSET};
use alexnet_vgg::vision::Preset;
use burn::tensor::backend::Backend;
use clap::Parser;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(Parser)]
#[command(about = "A network as an ONNX file")]
struct Args {
    #[arg(long, help = cli::networks("The network"), value_parser = NetworkConfig::by_name)]
    model: NetworkConfig,
    /// Its weights: a file of safetensors or PyTorch (.pth), old or new. Default: random ones.
    #[arg(long)]
    weights: Option<PathBuf>,
    /// ONNX file to write.
    #[arg(long)]
    output: PathBuf,
    /// Height and width of the images; the file takes no others. Default: the network's own size.
    #[arg(long, value_name = "H,W", value_parser = cli::size)]
    input: Option<[usize; 2]>,
    /// Images in a batch; the file takes no other number. Default: any number.
    #[arg(long, value_name = "N")]
    fixed_batch: Option<usize>,
    /// Classes of the classifier.
    #[arg(long, default_value_t = 1000)]
    num_classes: usize,
    /// Preprocessing that the weights were trained with, to note in the file: imagenet or caffe.
    /// Default: what the weights file says, if it does.
    #[arg(long, value_parser = Preset::by_name)]
    preset: Option<Preset>,
    /// ndarray, flex or wgpu.
    #[arg(long, default_value_t = BackendName::preferred())]
    backend: BackendName,
}

fn main() -> ExitCode {
    cli::finish(run(Args::parse()))
}

fn run(args: Args) -> Result<(), Box<dyn Error>> {
    let config = args.model.with_num_classes(args.num_classes);
    let config = match args.input {
        Some(size) => config.for_input(size),
        None => config,
    };
    let (table, output) = (config.architecture(), args.output);
    let options = Export { input: args.input, batch: args.fixed_batch, preset: args.preset };
    // Before the work, so that it is not done in vain.
    Model::new(&table, &options)?;
    match &args.weights {
        Some(weights) => expect_another(weights, &output)?,
        None => say(
            &output,
            format!("No --weights: this {} is untrained, its weights are random.\n", table.name),
        )?,
    }
    let name = table.name.clone();
    let job = ExportOnnx { table, weights: args.weights, output: output.clone(), options };
    let model = args.backend.run(job)?;
    say(
        &output,
        format!(
            "{}: {name}, {} nodes of opset {OPSET} (IR version {IR_VERSION}), {} bytes\n",
            output.display(),
            model.nodes(),
            model.bytes()
        ),
    )
}

struct ExportOnnx {
    table: Architecture,
    weights: Option<PathBuf>,
    output: PathBuf,
    options: Export,
}

impl Job for ExportOnnx {
    type Output = Model;

    fn run<B: Backend>(self, device: &B::Device) -> alexnet_vgg::Result<Model> {
        let network: Network<B> = match self.weights {
            Some(weights) => {
                let network = Network::load(self.table, weights, device)?;
                self.options.preset.iter().try_for_each(|asked| network.expect_preset(asked))?;
                network
            }
            None => Network::new(self.table, device)?,
        };
        network.export_onnx(&self.output, &self.options)
    }
}

fn expect_another(weights: &Path, output: &Path) -> Result<(), Box<dyn Error>> {
    match (weights.canonicalize(), output.canonicalize()) {
        (Ok(weights), Ok(whole)) if weights == whole => {
            Err(format!("{}: --output would overwrite the weights", output.display()).into())
        }
        _ => Ok(()),
    }
}

/// On stdout, unless that may be where the model goes.
fn say(output: &Path, text: String) -> Result<(), Box<dyn Error>> {
    match output.metadata() {
        Ok(found) if !found.is_file() => {
            cli::complain(text);
            Ok(())
        }
        _ => cli::print(text),
    }
}
