//! A trained network and the layers whose outputs are the vectors.

use crate::cli;
use alexnet_vgg_core::Array;
use alexnet_vgg_core::Metadata;
use alexnet_vgg_core::architecture::NetworkConfig;
use alexnet_vgg_core::engine::Compiled;
use alexnet_vgg_core::predict::{FeatureOptions, Pooling};
use alexnet_vgg_core::vision::{Preset, RgbImage};
use alexnet_vgg_core::weights::LoadOptions;
use clap::Args;
use image::Rgb;
use std::error::Error;
use std::path::PathBuf;

#[derive(Args)]
pub struct FeatureArgs {
    /// A weights file: safetensors, PyTorch's (.pth, old or new format), Caffe's (.caffemodel) or ONNX.
    #[arg(long)]
    weights: Option<PathBuf>,
    #[arg(long, help = cli::networks("The network. Default: the one that the weights file is for. One of"), value_parser = NetworkConfig::by_name)]
    model: Option<NetworkConfig>,
    /// The layers whose outputs make up the vector, by the papers' or torchvision's names, such as relu6,pool5. Default:
    /// relu7 (the 4096 values of the last hidden layer), or pool5 for a network without it.
    #[arg(long, value_delimiter = ',', value_name = "LAYER")]
    layer: Vec<String>,
    /// What becomes of a feature map: the average of each channel, its maximum (max), or all its values (none).
    #[arg(long, default_value = "average", value_parser = pooling)]
    pooling: Pooling,
    /// Leave the vectors as long as they are. Default: they have length 1, and their dot product is the cosine similarity.
    #[arg(long)]
    unnormalized: bool,
    #[command(flatten)]
    preset: cli::preset::PresetArgs,
    #[command(flatten)]
    engine: cli::EngineArgs,
    #[command(flatten)]
    key: cli::KeyArgs,
}

/// A network that turns photos into vectors.
pub struct FeatureNetwork {
    compiled: Compiled,
    preset: Preset,
    options: FeatureOptions,
}

impl FeatureNetwork {
    pub fn load(args: &FeatureArgs) -> Result<Self, Box<dyn Error>> {
        let path = args.weights.as_ref().ok_or(
            "expected the weights of a trained network, such as --weights vgg16.pth; without them, vectors mean nothing",
        )?;
        let weights = args.key.open(path)?;
        let load = LoadOptions::default();
        let architecture = weights.network(args.model.as_ref(), load)?.architecture()?;
        cli::expect_memory(&architecture)?;
        let layers = match &args.layer[..] {
            [] => {
                [FeatureOptions::fc7(), FeatureOptions::conv5()]
                    .into_iter()
                    .find(|usual| usual.validate(&architecture).is_ok())
                    .ok_or("this network has neither relu7 nor pool5: name a layer with --layer")?
                    .layers
            }
            named => named.to_vec(),
        };
        let options =
            FeatureOptions { layers, pooling: args.pooling, normalize: !args.unnormalized };
        // A wrong name is reported before half a gigabyte of weights is read.
        options.validate(&architecture)?;
        let metadata = Metadata::default().with_preset(weights.preset()?);
        let preset = args.preset.of(&metadata, &architecture)?;
        let compiled =
            Compiled::from_weights(&architecture, &weights, load, args.engine.options())?;
        Ok(Self { compiled, preset, options })
    }

    /// A photo as the network's input, `[1, C, H, W]`.
    pub fn input(&self, photo: &RgbImage) -> alexnet_vgg_core::Result<Array> {
        self.preset.batch(std::slice::from_ref(photo))
    }

    /// The vectors of several inputs, `[N, length]`.
    pub fn vectors(&self, inputs: &[Array]) -> alexnet_vgg_core::Result<Array> {
        let side = self.preset.crop as usize;
        let shape = [inputs.len(), self.preset.channels.count(), side, side];
        let values: Vec<f32> = inputs.iter().flat_map(|input| &input.values).copied().collect();
        self.options.vectors(&self.compiled, &values, shape)
    }

    /// The vector of a picture that is always the same. It differs if anything differs that vectors depend on: the weights,
    /// the layers, or the preprocessing.
    pub fn fingerprint(&self) -> alexnet_vgg_core::Result<Vec<f32>> {
        let colors = RgbImage::from_fn(320, 256, |x, y| {
            Rgb([(x * 255 / 319) as u8, y as u8, (x * y / 8 % 256) as u8])
        });
        Ok(self.vectors(&[self.input(&colors)?])?.values)
    }

    /// The layers and the network, in words.
    pub fn description(&self) -> String {
        format!("{} of {}", self.options.layers.join(" and "), self.compiled.architecture().name)
    }
}

fn pooling(text: &str) -> Result<Pooling, String> {
    match text {
        "average" => Ok(Pooling::Average),
        "max" => Ok(Pooling::Max),
        "none" => Ok(Pooling::None),
        _ => Err("expected average, max, or none".into()),
    }
}
