//! Paints a photo in the style of another picture (Gatys, Ecker and Bethge, 2016), with the features of
//! a VGG.
//!
//!     cargo run --release --features flex --example style -- photo.jpg painting.jpg --weights vgg16.safetensors --output out.png
#![recursion_limit = "256"]

mod cli;

use alexnet_vgg::backend::Flex;
use alexnet_vgg::models::{Network, NetworkConfig, Tap};
use alexnet_vgg::vision::{self, Channels, Preset, RgbImage};
use alexnet_vgg::weights::Weights;
use burn::backend::Autodiff;
use burn::module::{Module, Param};
use burn::optim::{AdamConfig, GradientsParams, LBFGSConfig, Optimizer};
use burn::tensor::backend::Backend;
use burn::tensor::{Distribution, Tensor, TensorData};
use clap::Parser;
use image::imageops::{self, FilterType};
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

type B = Autodiff<Flex>;

#[derive(Parser)]
struct Args {
    content: PathBuf,
    style: PathBuf,
    #[arg(long)]
    weights: PathBuf,
    #[arg(long)]
    output: PathBuf,
    #[arg(long, default_value = "vgg16", value_parser = NetworkConfig::by_name)]
    model: NetworkConfig,
    #[arg(long, value_parser = Preset::by_name)]
    preset: Option<Preset>,
    #[arg(long, default_value_t = 192)]
    size: u32,
    #[arg(long, default_value_t = 100)]
    steps: usize,
    #[arg(long, default_value_t = 10.0)]
    style_weight: f64,
    #[arg(long, default_value_t = 0.1)]
    smooth: f64,
    #[arg(long, default_value = "conv4_2")]
    content_layer: String,
    #[arg(long, value_delimiter = ',', default_values = ["conv1_1", "conv2_1", "conv3_1", "conv4_1", "conv5_1"])]
    style_layers: Vec<String>,
    #[arg(long, default_value_t = 50)]
    every: usize,
    #[arg(long)]
    seed: Option<u64>,
    #[arg(long)]
    adam: Option<f64>,
}

fn main() -> ExitCode {
    cli::finish(run(Args::parse()))
}

#[derive(Module, Debug)]
struct Picture<B: Backend> {
    pixels: Param<Tensor<B, 4>>,
}

fn open(path: &Path, size: u32) -> alexnet_vgg::Result<RgbImage> {
    let p = vision::decode_file(path)?;
    let s = f64::from(size) / f64::from(p.width().max(p.height()));
    let side = |x: u32| ((f64::from(x) * s).round() as u32).max(1);
    Ok(imageops::resize(&p, side(p.width()), side(p.height()), FilterType::Lanczos3))
}

fn pixels(p: &RgbImage) -> Tensor<B, 4> {
    let (w, h) = (p.width() as usize, p.height() as usize);
    let v: Vec<f32> =
        (0..3).flat_map(|c| p.pixels().map(move |x| f32::from(x[c]) / 255.0)).collect();
    Tensor::from_data(TensorData::new(v, [1, 3, h, w]), &Default::default())
}

fn image(t: Tensor<B, 4>) -> RgbImage {
    let [_, _, h, w] = t.dims();
    let v: Vec<f32> = t.into_data().iter::<f32>().collect();
    RgbImage::from_fn(w as u32, h as u32, |x, y| {
        image::Rgb(
            [0, 1, 2].map(|c| (v[c * h * w + y as usize * w + x as usize] * 255.0 + 0.5) as u8),
        )
    })
}

fn normalise(preset: &Preset, x: Tensor<B, 4>) -> Tensor<B, 4> {
    let x = match preset.channels {
        Channels::Rgb => x,
        Channels::Bgr => x.flip([1]),
    };
    let d = x.device();
    let c = |v: [f32; 3]| Tensor::<B, 1>::from_floats(v, &d).reshape([1, 3, 1, 1]);
    (x * preset.white - c(preset.mean)) / c(preset.std)
}

fn map(t: Tap<B>) -> Tensor<B, 4> {
    match t {
        Tap::Map(m) => m,
        _ => panic!(),
    }
}

fn gram(m: Tensor<B, 4>) -> Tensor<B, 3> {
    let [n, c, h, w] = m.dims();
    let m = m.reshape([n, c, h * w]);
    m.clone().matmul(m.transpose()) / (h * w) as f64
}

fn run(args: Args) -> Result<(), Box<dyn Error>> {
    let device = Default::default();
    let table = args.model.architecture().without_classifier();
    let w = Weights::open(&args.weights)?;
    let preset = args.preset.clone().or(w.preset()?).unwrap_or_else(Preset::imagenet);
    let net = Network::<B>::features_from_weights(table, &w, &device)?.frozen();
    let content = pixels(&open(&args.content, args.size)?);
    let style = pixels(&open(&args.style, args.size)?);
    let mut names = args.style_layers.clone();
    names.push(args.content_layer.clone());
    let feats = |x: Tensor<B, 4>| -> alexnet_vgg::Result<(Vec<Tensor<B, 3>>, Tensor<B, 4>)> {
        let mut t = net.taps(normalise(&preset, x), &names)?;
        let c = map(t.pop().unwrap());
        Ok((t.into_iter().map(|t| gram(map(t))).collect(), c))
    };
    let (want_style, _) = feats(style)?;
    let (_, want_content) = feats(content.clone())?;
    let start = match args.seed {
        None => content,
        Some(s) => {
            B::seed(&device, s);
            Tensor::random(content.dims(), Distribution::Normal(0.5, 0.15), &device)
        }
    };
    let mut picture = Picture { pixels: Param::from_tensor(start) };
    let t0 = Instant::now();
    let mut evals = 0;
    let mut closure = |p: Picture<B>| {
        let x = p.pixels.val();
        let (g, c) = feats(x.clone()).unwrap();
        let content = (c - want_content.clone()).powi_scalar(2).mean()
            / want_content.clone().powi_scalar(2).mean();
        let n = g.len() as f64;
        let style = g
            .into_iter()
            .zip(&want_style)
            .map(|(g, w)| (g - w.clone()).powi_scalar(2).sum() / w.clone().powi_scalar(2).sum())
            .reduce(|a, b| a + b)
            .unwrap()
            / n;
        let out = (x.clone() - x.clone().clamp(0.0, 1.0)).powi_scalar(2).mean();
        let [_, _, h, w] = x.dims();
        let dy =
            (x.clone().narrow(2, 1, h - 1) - x.clone().narrow(2, 0, h - 1)).powi_scalar(2).mean();
        let dx =
            (x.clone().narrow(3, 1, w - 1) - x.clone().narrow(3, 0, w - 1)).powi_scalar(2).mean();
        let tv = dx + dy;
        let parts = Tensor::cat(vec![content.clone(), style.clone(), tv.clone()], 0).into_data();
        let loss = content + style * args.style_weight + tv * args.smooth + out * 10.0;
        let l = loss.clone().into_scalar();
        let grads = GradientsParams::from_grads(loss.backward(), &p);
        evals += 1;
        if evals % 10 == 1 {
            eprintln!("{evals} {:.1}s loss {l:.4} {parts}", t0.elapsed().as_secs_f64());
        }
        (f64::from(l), grads)
    };
    if let Some(lr) = args.adam {
        let mut o = AdamConfig::new().init();
        for i in 0..args.steps {
            let (_, g) = closure(picture.clone());
            picture = o.step(lr, picture, g);
            if (i + 1) % args.every == 0 {
                image(picture.pixels.val())
                    .save(args.output.with_extension(format!("{:04}.png", i + 1)))?;
            }
        }
    } else {
        let mut o = LBFGSConfig::new()
            .with_max_iter(args.every)
            .with_tolerance_change(0.0)
            .with_tolerance_grad(0.0)
            .with_history_size(20)
            .init();
        for i in 0..args.steps / args.every {
            (picture, _) = o.step(1.0, picture, &mut closure);
            image(picture.pixels.val())
                .save(args.output.with_extension(format!("{:04}.png", (i + 1) * args.every)))?;
        }
    }
    image(picture.pixels.val()).save(&args.output)?;
    Ok(())
}
