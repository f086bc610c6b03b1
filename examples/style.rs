//! Neural style transfer (Gatys, Ecker and Bethge 2016): paints a photo in the style of another picture, by
//! optimizing pixels until a VGG's layers find the photo's content and the picture's style in them.
//!
//!     cargo run --release --example style -- photo.jpg painting.jpg --weights vgg16.safetensors --output out.png
#![recursion_limit = "256"]

#[path = "../crates/core/examples/cli/mod.rs"]
mod cli;

use alexnet_vgg::Error;
use alexnet_vgg::backend::Flex;
use alexnet_vgg::models::{Network, NetworkConfig, Tap};
use alexnet_vgg::vision::{self, Channels, Preset, RgbImage};
use alexnet_vgg::weights::{LoadOptions, Weights};
use burn::backend::Autodiff;
use burn::module::{Module, Param};
use burn::optim::{GradientsParams, LBFGSConfig};
use burn::tensor::backend::Backend;
use burn::tensor::{Distribution, Tensor, TensorData};
use clap::Parser;
use image::imageops::{self, FilterType};
use indicatif::{ProgressBar, ProgressStyle};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

type B = Autodiff<Flex>;
type Result<T, E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

#[derive(Parser)]
#[command(about = "Paints a photo in the style of another picture")]
struct Args {
    /// The photo that gives the content: JPEG, PNG, WebP, GIF, BMP, TIFF or PNM.
    content: PathBuf,
    /// The picture that gives the style.
    style: PathBuf,
    #[arg(long, help = cli::networks("The network"), default_value = "vgg16", value_parser = NetworkConfig::by_name)]
    model: NetworkConfig,
    /// Its trained weights: safetensors or PyTorch's (.pth). The convolutions are enough.
    #[arg(long)]
    weights: Option<PathBuf>,
    /// The preprocessing that the weights were trained with: a name, such as imagenet or caffe, or a JSON
    /// file (docs/your-weights.md). Default: as stated in the weights file, or imagenet.
    #[arg(long, value_name = "NAME|FILE.json", value_parser = Preset::by_name_or_file)]
    preset: Option<Preset>,
    /// The picture to write; its extension chooses the format (PNG, JPEG, ...).
    #[arg(long)]
    output: PathBuf,
    /// The longer side of the result in pixels.
    #[arg(long, default_value_t = 192, value_parser = clap::value_parser!(u32).range(32..=2048))]
    size: u32,
    /// Steps of the optimizer.
    #[arg(long, default_value = "100")]
    steps: NonZeroUsize,
    /// Weight of the style loss; that of the content loss is 1.
    #[arg(long, default_value = "10", value_parser = weight)]
    style_weight: f64,
    /// Weight of the total variation, which keeps the picture smooth.
    #[arg(long, default_value = "1", value_parser = weight)]
    smoothness: f64,
    /// The layer in which the content is compared, by torchvision's or the papers' name.
    #[arg(long, default_value = "conv4_2")]
    content_layer: String,
    /// The layers in which the style is compared, separated by commas.
    #[arg(long, value_delimiter = ',', default_value = "conv1_1,conv2_1,conv3_1,conv4_1,conv5_1")]
    style_layers: Vec<String>,
    /// Also write the initial picture and every N-th after it: out-0025.png beside out.png.
    #[arg(long, default_value = "25", value_name = "N")]
    every: NonZeroUsize,
    /// Start from noise with this seed instead of from the photo.
    #[arg(long)]
    seed: Option<u64>,
}

fn weight(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(weight) if (0.0..f64::INFINITY).contains(&weight) => Ok(weight),
        _ => Err(format!("expected a number of 0 or more, found {text}")),
    }
}

fn main() -> ExitCode {
    let example = "PHOTO PICTURE --weights vgg16.pth --output out.png";
    cli::finish(run(cli::parse_needing(example)))
}

fn run(args: Args) -> Result<()> {
    let device = Default::default();
    let Some(path) = &args.weights else {
        return Err(format!(
            "--weights is needed: a file with the trained convolutions of {0}, such as torchvision's \
             (`--features hub --example classify -- PHOTO --model {0} --pretrained` downloads them)",
            args.model.table().name
        )
        .into());
    };
    let content = open(&args.content, args.size)?;
    let style = pixels(&open(&args.style, args.size)?);
    let weights = Weights::open(path)?;
    let painter = Painter::new(&args, &weights, pixels(&content), style)?;

    let start = match args.seed {
        None => pixels(&content),
        Some(seed) => {
            B::seed(&device, seed);
            let shape = [1, 3, content.height() as usize, content.width() as usize];
            Tensor::random(shape, Distribution::Normal(0.5, 0.1), &device)
        }
    };
    let picture = paint(&painter, start, &args)?;
    save(picture, &args.output)
}

/// Optimizes the pixels with L-BFGS, as the paper does: after the same number of steps, Adam's
/// picture is still grainy.
fn paint(painter: &Painter, start: Tensor<B, 4>, args: &Args) -> Result<Tensor<B, 4>> {
    let (steps, every) = (args.steps.get(), args.every.get());
    // A path that cannot be written to is reported now, not minutes later.
    save(start.clone(), &numbered(&args.output, 0))?;
    let progress = Progress::new(steps);
    let mut picture = Picture { pixels: Param::from_tensor(start) };
    let mut current = painter.loss_and_gradient(&picture)?;
    progress.at(0, current.loss);
    // The default tolerances would stop L-BFGS at the first step, because the losses are small
    // numbers.
    let optimizer = LBFGSConfig::new().with_tolerance_grad(0.0).with_tolerance_change(0.0);
    let mut optimizer = optimizer
        .with_history_size(20)
        .with_max_iter(every)
        .with_max_eval(Some(every + 2))
        .init::<B>();
    for first in (0..steps).step_by(every) {
        let (mut step, mut failed, mut has_moved) = (first, None, false);
        (picture, _) = optimizer.step(1.0, picture, |picture| {
            // The first call in each `step` repeats the picture whose loss is already known.
            if std::mem::replace(&mut has_moved, true) {
                step += 1;
                let next = if step < steps {
                    painter.loss_and_gradient(&picture)
                } else {
                    Ok(current.stopped())
                };
                current = next.unwrap_or_else(|error| {
                    failed.get_or_insert(error);
                    current.stopped()
                });
                progress.at(step, current.loss);
            }
            (current.loss, current.gradients(&picture))
        });
        if let Some(error) = failed {
            return Err(format!("step {step}: {error}").into());
        }
        if step < steps {
            save(picture.pixels.val(), &numbered(&args.output, step))?;
        }
    }
    Ok(picture.pixels.val())
}

/// The optimized pixels: `[1, 3, H, W]`, red, green and blue from 0 to 1.
#[derive(Module, Debug)]
struct Picture<B: Backend> {
    pixels: Param<Tensor<B, 4>>,
}

/// The loss of a picture, and its gradient.
struct LossAndGradient {
    loss: f64,
    /// `[1, 3, H, W]`, multiplied by the number of values: the loss hardly depends on a single value, and
    /// burn's L-BFGS takes a curvature below 1e-10 for zero.
    gradient: Tensor<Flex, 4>,
}

impl LossAndGradient {
    /// A zero gradient makes the optimizer stop.
    fn stopped(&self) -> Self {
        Self { loss: self.loss, gradient: self.gradient.zeros_like() }
    }

    fn gradients(&self, picture: &Picture<B>) -> GradientsParams {
        let mut gradients = GradientsParams::new();
        gradients.register(picture.pixels.id, self.gradient.clone());
        gradients
    }
}

/// The network, and what its layers should find in the picture.
struct Painter {
    network: Network<B>,
    preset: Preset,
    /// The style's layers, then the content's.
    layers: Vec<String>,
    style: Vec<Tensor<B, 3>>,
    content: Tensor<B, 4>,
    style_weight: f64,
    smoothness: f64,
}

impl Painter {
    fn new(
        args: &Args,
        weights: &Weights,
        content: Tensor<B, 4>,
        style: Tensor<B, 4>,
    ) -> Result<Self> {
        let architecture = args.model.architecture()?.without_classifier();
        let layers = [&args.style_layers[..], std::slice::from_ref(&args.content_layer)].concat();
        for layer in &layers {
            architecture.find(layer)?;
        }
        let device = content.device();
        let preset = args.preset.clone().or(weights.preset()?).unwrap_or_else(Preset::imagenet);
        let preset = preset.for_channels(3)?;
        let options = LoadOptions::features();
        let network = Network::from_weights(architecture, weights, options, &device)?.freeze();
        network.metadata().expect_preset(&preset, &network.architecture().name)?;
        let mut painter = Self {
            network,
            preset,
            layers,
            style: vec![],
            content: content.clone(),
            style_weight: args.style_weight,
            smoothness: args.smoothness,
        };
        painter.style = painter.style_and_content(style)?.0;
        painter.content = painter.style_and_content(content)?.1;
        Ok(painter)
    }

    /// The Gram matrices of the style's layers and the feature map of the content's, from one pass.
    fn style_and_content(
        &self,
        pixels: Tensor<B, 4>,
    ) -> Result<(Vec<Tensor<B, 3>>, Tensor<B, 4>), Error> {
        let taps = self.network.taps(self.normalized(pixels), &self.layers)?;
        let mut maps = taps.into_iter().filter_map(|tap| match tap {
            Tap::Map(map) => Some(map),
            // Only layers of the classifier return vectors.
            Tap::Vector(_) => None,
        });
        let grams = maps.by_ref().take(self.layers.len() - 1).map(gram).collect();
        Ok((grams, maps.next().unwrap_or_else(|| self.content.clone())))
    }

    /// The preset's normalization, on tensors.
    fn normalized(&self, pixels: Tensor<B, 4>) -> Tensor<B, 4> {
        let device = pixels.device();
        let by_channel =
            |values: [f32; 3]| Tensor::<B, 1>::from_floats(values, &device).reshape([1, 3, 1, 1]);
        let pixels = match self.preset.channels {
            // There are three channels, so it is not gray.
            Channels::Rgb | Channels::Gray => pixels,
            Channels::Bgr => pixels.flip([1]),
        };
        (pixels * self.preset.white - by_channel(self.preset.mean)) / by_channel(self.preset.std)
    }

    /// The paper's equation 7. The paper's losses depend on the scale of the network's features; here each is
    /// relative to its target, so that one --style-weight suits all weights and layers.
    fn loss(&self, pixels: Tensor<B, 4>) -> Result<Tensor<B, 1>, Error> {
        let (grams, content) = self.style_and_content(pixels.clone())?;
        let layers = grams.len().max(1) as f64;
        let mut loss = relative(content, &self.content);
        for (gram, target) in grams.into_iter().zip(&self.style) {
            loss = loss + relative(gram, target) * (self.style_weight / layers);
        }
        Ok(loss + variation(pixels.clone()) * self.smoothness + excess(pixels) * 10.0)
    }

    fn loss_and_gradient(&self, picture: &Picture<B>) -> Result<LossAndGradient> {
        let pixels = picture.pixels.val();
        let loss = self.loss(pixels.clone())?;
        let value = f64::from(loss.clone().into_scalar());
        let count = pixels.shape().num_elements() as f64;
        match pixels.grad(&(loss * count).backward()) {
            Some(gradient) if value.is_finite() => Ok(LossAndGradient { loss: value, gradient }),
            _ => {
                Err("the loss is not finite: the output of a layer is all zero, or overflows"
                    .into())
            }
        }
    }
}

/// The Gram matrix, `[1, C, H, W]` to `[1, C, C]`: which channels are active together, at whatever position.
fn gram(map: Tensor<B, 4>) -> Tensor<B, 3> {
    let [n, c, h, w] = map.dims();
    let rows = map.reshape([n, c, h * w]);
    rows.clone().matmul(rows.transpose()) / (h * w) as f64
}

/// The squared distance, divided by the squared norm of the target.
fn relative<const D: usize>(found: Tensor<B, D>, target: &Tensor<B, D>) -> Tensor<B, 1> {
    (found - target.clone()).square().sum() / target.clone().square().sum()
}

/// The mean squared difference of neighboring pixels.
fn variation(pixels: Tensor<B, 4>) -> Tensor<B, 1> {
    let along = |dim: usize| {
        let others = pixels.dims()[dim] - 1;
        let next = pixels.clone().narrow(dim, 1, others);
        (next - pixels.clone().narrow(dim, 0, others)).square().mean()
    };
    along(2) + along(3)
}

/// The mean squared distance of the values from 0..=1. Clamping the pixels instead would invalidate what L-BFGS
/// has learned about the loss.
fn excess(pixels: Tensor<B, 4>) -> Tensor<B, 1> {
    (pixels.clone() - pixels.clamp(0.0, 1.0)).square().mean()
}

/// A progress bar or, without a terminal, a line for every tenth step.
struct Progress(ProgressBar);

impl Progress {
    fn new(steps: usize) -> Self {
        let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} {eta} {msg}");
        let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
        Self(ProgressBar::new(steps as u64).with_style(style))
    }

    fn at(&self, step: usize, loss: f64) {
        self.0.set_position(step as u64);
        self.0.set_message(format!("loss {loss:.4}"));
        if self.0.is_hidden() && step.is_multiple_of(10) && step > 0 {
            cli::warn(format!("step {step}: loss {loss:.4}\n"));
        }
    }
}

/// A picture, resized so that its longer side is `size` pixels.
fn open(path: &Path, size: u32) -> Result<RgbImage, Error> {
    let photo = vision::decode_file(path)?;
    let (width, height) = photo.dimensions();
    let scale = f64::from(size) / f64::from(width.max(height));
    let [width, height] = [width, height].map(|side| (f64::from(side) * scale).round().max(1.0));
    Ok(imageops::resize(&photo, width as u32, height as u32, FilterType::Lanczos3))
}

fn pixels(picture: &RgbImage) -> Tensor<B, 4> {
    let shape = [1, 3, picture.height() as usize, picture.width() as usize];
    let channel = |c: usize| picture.pixels().map(move |pixel| f32::from(pixel[c]) / 255.0);
    let values: Vec<f32> = (0..3).flat_map(channel).collect();
    Tensor::from_data(TensorData::new(values, shape), &Default::default())
}

fn image(pixels: Tensor<B, 4>) -> Result<RgbImage> {
    let [_, _, height, width] = pixels.dims();
    let planes: Vec<f32> = alexnet_vgg::backend::read(pixels)?.iter().collect();
    // `as` saturates to 0..=255.
    let level = |at: usize, c: usize| (planes[c * height * width + at] * 255.0 + 0.5) as u8;
    Ok(RgbImage::from_fn(width as u32, height as u32, |x, y| {
        let at = y as usize * width + x as usize;
        image::Rgb([0, 1, 2].map(|c| level(at, c)))
    }))
}

fn save(pixels: Tensor<B, 4>, path: &Path) -> Result<()> {
    image(pixels)?.save(path).map_err(|error| format!("{}: {error}", path.display()).into())
}

/// `out.png` as `out-0025.png`.
fn numbered(path: &Path, step: usize) -> PathBuf {
    let mut name = path.file_stem().unwrap_or_default().to_os_string();
    name.push(format!("-{step:04}"));
    if let Some(extension) = path.extension() {
        name.push(".");
        name.push(extension);
    }
    path.with_file_name(name)
}
