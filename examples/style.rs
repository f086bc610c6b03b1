//! Paints a photo in the style of another picture (Gatys, Ecker and Bethge 2016): the pixels are
//! optimized until a VGG's layers see the photo's content and the picture's style in them.
//!
//!     cargo run --release --features flex --example style -- photo.jpg painting.jpg --weights vgg16.safetensors --output out.png
#![recursion_limit = "256"]

mod cli;

use alexnet_vgg::Error;
use alexnet_vgg::backend::Flex;
use alexnet_vgg::models::{Network, NetworkConfig, Tap};
use alexnet_vgg::vision::{self, Channels, Preset, RgbImage};
use alexnet_vgg::weights::Weights;
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
#[command(about = "A photo painted in the style of another picture")]
struct Args {
    /// The photo whose content stays: JPEG, PNG, WebP, GIF, BMP, TIFF or PNM.
    content: PathBuf,
    /// The picture whose style is taken.
    style: PathBuf,
    #[arg(long, help = cli::networks("The network"), default_value = "vgg16", value_parser = NetworkConfig::by_name)]
    model: NetworkConfig,
    /// Its trained weights: safetensors or PyTorch (.pth); the convolutions are enough.
    #[arg(long)]
    weights: Option<PathBuf>,
    /// Preprocessing that the weights were trained with: imagenet or caffe. Default: what the weights
    /// file says, or imagenet.
    #[arg(long, value_parser = Preset::by_name)]
    preset: Option<Preset>,
    /// The picture to write: PNG, JPEG, ... by its name.
    #[arg(long)]
    output: PathBuf,
    /// The longer side of the result in pixels.
    #[arg(long, default_value_t = 192, value_parser = clap::value_parser!(u32).range(32..=2048))]
    size: u32,
    /// Steps of the optimizer.
    #[arg(long, default_value = "100")]
    steps: NonZeroUsize,
    /// How much the style counts where the content counts 1.
    #[arg(long, default_value = "10", value_parser = weight)]
    style_weight: f64,
    /// How much neighboring pixels are held together.
    #[arg(long, default_value = "1", value_parser = weight)]
    smoothness: f64,
    /// The layer that the content is compared in, by torchvision's or the papers' name.
    #[arg(long, default_value = "conv4_2")]
    content_layer: String,
    /// The layers that the style is compared in, separated by commas.
    #[arg(long, value_delimiter = ',', default_value = "conv1_1,conv2_1,conv3_1,conv4_1,conv5_1")]
    style_layers: Vec<String>,
    /// Also write the picture as it begins, and after every so many steps: out-0025.png beside out.png.
    #[arg(long, default_value = "25")]
    every: NonZeroUsize,
    /// Start from noise, drawn by this seed, and not from the photo.
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
    cli::finish(run(Args::parse()))
}

fn run(args: Args) -> Result<()> {
    let device = Default::default();
    let Some(path) = &args.weights else {
        return Err(format!(
            "--weights is needed: a file with the trained convolutions of {0}, such as torchvision's \
             (`--features hub --example classify -- PHOTO --model {0} --pretrained` fetches them)",
            args.model.architecture().name
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

/// Optimizes the pixels by L-BFGS, as the paper does: after as many steps, Adam's picture is grainy
/// still.
fn paint(painter: &Painter, start: Tensor<B, 4>, args: &Args) -> Result<Tensor<B, 4>> {
    let (steps, every) = (args.steps.get(), args.every.get());
    // A place that cannot be written to is found now, and not minutes later.
    save(start.clone(), &numbered(&args.output, 0))?;
    let progress = Progress::new(steps);
    let mut picture = Picture { pixels: Param::from_tensor(start) };
    let mut slope = painter.slope(&picture)?;
    progress.at(0, slope.loss);
    // The tolerances would end what has not begun: losses are small numbers.
    let optimizer = LBFGSConfig::new().with_tolerance_grad(0.0).with_tolerance_change(0.0);
    let mut optimizer = optimizer
        .with_history_size(20)
        .with_max_iter(every)
        .with_max_eval(Some(every + 2))
        .init::<B>();
    for first in (0..steps).step_by(every) {
        let (mut step, mut failed, mut has_moved) = (first, None, false);
        (picture, _) = optimizer.step(1.0, picture, |picture| {
            // The optimizer begins by asking what it was told last.
            if std::mem::replace(&mut has_moved, true) {
                step += 1;
                let next = if step < steps { painter.slope(&picture) } else { Ok(slope.end()) };
                // Where there is no slope, the optimizer stops.
                slope = next.unwrap_or_else(|error| {
                    failed.get_or_insert(error);
                    slope.end()
                });
                progress.at(step, slope.loss);
            }
            (slope.loss, slope.gradients(&picture))
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

/// What is optimized: `[1, 3, H, W]`, red, green and blue from 0 to 1.
#[derive(Module, Debug)]
struct Picture<B: Backend> {
    pixels: Param<Tensor<B, 4>>,
}

/// The loss of a picture, and where it rises.
struct Slope {
    loss: f64,
    /// `[1, 3, H, W]`, times their number: of a picture's single values the loss hardly depends, and
    /// burn's L-BFGS takes a curvature below 1e-10 for none.
    gradient: Tensor<Flex, 4>,
}

impl Slope {
    fn end(&self) -> Self {
        Self { loss: self.loss, gradient: self.gradient.zeros_like() }
    }

    fn gradients(&self, picture: &Picture<B>) -> GradientsParams {
        let mut gradients = GradientsParams::new();
        gradients.register(picture.pixels.id, self.gradient.clone());
        gradients
    }
}

/// What the layers shall see, and how much of it counts.
struct Painter {
    network: Network<B>,
    preset: Preset,
    /// Those of the style, and then the content's.
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
        let table = args.model.architecture().without_classifier();
        let layers = [&args.style_layers[..], std::slice::from_ref(&args.content_layer)].concat();
        for layer in &layers {
            table.find(layer)?;
        }
        let device = content.device();
        let preset = args.preset.clone().or(weights.preset()?).unwrap_or_else(Preset::imagenet);
        let mut painter = Self {
            network: Network::features_from_weights(table, weights, &device)?.frozen(),
            preset,
            layers,
            style: vec![],
            content: content.clone(),
            style_weight: args.style_weight,
            smoothness: args.smoothness,
        };
        painter.network.expect_preset(&painter.preset)?;
        painter.style = painter.seen(style)?.0;
        painter.content = painter.seen(content)?.1;
        Ok(painter)
    }

    /// The Gram matrices of the style's layers, and the map of the content's. One pass.
    fn seen(&self, pixels: Tensor<B, 4>) -> Result<(Vec<Tensor<B, 3>>, Tensor<B, 4>), Error> {
        let taps = self.network.taps(self.normalized(pixels), &self.layers)?;
        let mut maps = taps.into_iter().filter_map(|tap| match tap {
            Tap::Map(map) => Some(map),
            // There is no classifier.
            Tap::Vector(_) => None,
        });
        let grams = maps.by_ref().take(self.layers.len() - 1).map(gram).collect();
        Ok((grams, maps.next().unwrap_or_else(|| self.content.clone())))
    }

    /// As [`Preset::batch`] does it, on tensors.
    fn normalized(&self, pixels: Tensor<B, 4>) -> Tensor<B, 4> {
        let device = pixels.device();
        let by_channel =
            |values: [f32; 3]| Tensor::<B, 1>::from_floats(values, &device).reshape([1, 3, 1, 1]);
        let pixels = match self.preset.channels {
            Channels::Rgb => pixels,
            Channels::Bgr => pixels.flip([1]),
        };
        (pixels * self.preset.white - by_channel(self.preset.mean)) / by_channel(self.preset.std)
    }

    /// The paper's equation 7. Its losses are in units of the network's own; here each is divided by
    /// what it is compared with, so that one `--style-weight` fits all weights and layers.
    fn loss(&self, pixels: Tensor<B, 4>) -> Result<Tensor<B, 1>, Error> {
        let (grams, content) = self.seen(pixels.clone())?;
        let layers = grams.len().max(1) as f64;
        let mut loss = relative(content, &self.content);
        for (gram, wanted) in grams.into_iter().zip(&self.style) {
            loss = loss + relative(gram, wanted) * (self.style_weight / layers);
        }
        Ok(loss + roughness(pixels.clone()) * self.smoothness + invalid(pixels) * 10.0)
    }

    fn slope(&self, picture: &Picture<B>) -> Result<Slope> {
        let pixels = picture.pixels.val();
        let loss = self.loss(pixels.clone())?;
        let value = f64::from(loss.clone().into_scalar());
        let count = pixels.shape().num_elements() as f64;
        match pixels.grad(&(loss * count).backward()) {
            Some(gradient) if value.is_finite() => Ok(Slope { loss: value, gradient }),
            _ => Err("the loss is not a number: a layer sees nothing, or overflows".into()),
        }
    }
}

/// `[1, C, H, W]` to `[1, C, C]`: which channels answer together, wherever that is.
fn gram(map: Tensor<B, 4>) -> Tensor<B, 3> {
    let [n, c, h, w] = map.dims();
    let rows = map.reshape([n, c, h * w]);
    rows.clone().matmul(rows.transpose()) / (h * w) as f64
}

/// The squared distance, of the squared length of what is wanted.
fn relative<const D: usize>(found: Tensor<B, D>, wanted: &Tensor<B, D>) -> Tensor<B, 1> {
    (found - wanted.clone()).square().sum() / wanted.clone().square().sum()
}

/// The mean squared difference of neighbors.
fn roughness(pixels: Tensor<B, 4>) -> Tensor<B, 1> {
    let along = |dim: usize| {
        let others = pixels.dims()[dim] - 1;
        let next = pixels.clone().narrow(dim, 1, others);
        (next - pixels.clone().narrow(dim, 0, others)).square().mean()
    };
    along(2) + along(3)
}

/// How far the values are beyond what a color can be. A bound in one go would spoil what L-BFGS has
/// learned of the loss.
fn invalid(pixels: Tensor<B, 4>) -> Tensor<B, 1> {
    (pixels.clone() - pixels.clamp(0.0, 1.0)).square().mean()
}

/// A bar, or where there is no terminal a line for every tenth step.
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
            cli::complain(format!("step {step}: loss {loss:.4}\n"));
        }
    }
}

/// A picture whose longer side is `size`.
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
    // The conversion saturates to 0..=255.
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
