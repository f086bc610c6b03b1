//! Two passes timed in turn, pair by pair, because the machine's moods change more from one minute to
//! the next than what is to be seen here: what the module costs over burn's own layers with nothing
//! around them, as one would write a chain by hand; what LRN costs the 2012 network; and, on the engine,
//! what dense evaluation of 512×512 pixels and twenty passes with dropout cost over one plain pass.

use super::{BATCHES, compile, images};
use alexnet_vgg::backend;
use alexnet_vgg::engine::Precision;
use alexnet_vgg::models::{AlexNetConfig, Architecture, Layer, Network, NetworkConfig};
use alexnet_vgg::predict::McDropout;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::pool::{MaxPool2d, MaxPool2dConfig};
use burn::nn::{Linear, LinearConfig, PaddingConfig2d};
use burn::tensor::Tensor;
use burn::tensor::activation::relu;
use burn::tensor::backend::Backend;
use std::time::{Duration, Instant};

/// One AlexNet and one VGG.
const NETWORKS: [&str; 2] = ["alexnet", "vgg16"];
const WARM_UP: usize = 2;
const PAIRS: usize = 9;
/// A pair takes 50 ms to 12 s: at least [`PAIRS`] of them, and more where time allows.
const TIME: Duration = Duration::from_secs(12);

/// Runs the comparisons that the filter on the command line selects.
pub fn in_turn<B: Backend>(backend: &str, device: &B::Device) {
    let table = |name| NetworkConfig::by_name(name).expect("a known network").architecture();
    let network = |table| Network::<B>::new(table, device).expect("a device for it");
    for batch in BATCHES {
        for name in NETWORKS {
            compare::<B, _, _>(
                &format!("overhead/{name}/{backend}/{batch}"),
                batch,
                device,
                || {
                    let (module, bare) =
                        (network(table(name)), Bare::<B>::new(&table(name), device));
                    (move |x| module.forward(x), move |x| bare.forward(x))
                },
            );
        }
        compare::<B, _, _>(&format!("lrn/alexnet_paper/{backend}/{batch}"), batch, device, || {
            let without = network(AlexNetConfig::paper().with_lrn(false).into());
            let with = network(AlexNetConfig::paper().into());
            (move |x| with.forward(x), move |x| without.forward(x))
        });
    }
}

/// Prints the median of the first's time over the second's.
fn compare<B: Backend, F, G>(
    id: &str,
    batch: usize,
    device: &B::Device,
    make: impl FnOnce() -> (F, G),
) where
    F: Fn(Tensor<B, 4>) -> Tensor<B, 2>,
    G: Fn(Tensor<B, 4>) -> Tensor<B, 2>,
{
    if !is_selected(id) {
        return;
    }
    let (first, second) = make();
    let images = images::<B>(batch, device);
    let pass = |pass: &dyn Fn(Tensor<B, 4>) -> Tensor<B, 2>| {
        backend::read(pass(images.clone())).expect("a device that works");
    };
    time(id, || pass(&first), || pass(&second));
}

/// The engine against itself.
pub fn engine() {
    const PLAIN: [usize; 4] = [1, 3, 224, 224];
    const LARGE: [usize; 4] = [1, 3, 512, 512];
    let (image, large) = (vec![0.5; PLAIN.iter().product()], vec![0.5; LARGE.iter().product()]);
    let mut logits = vec![0.0; 1000];
    for name in NETWORKS {
        let id = format!("dense/{name}/512x512/1");
        if is_selected(&id) {
            let network = compile(name, Precision::F32);
            // Of pixels there are 5.22 times as many.
            time(
                &id,
                || drop(network.score_maps(&large, LARGE).expect("scores")),
                || network.run(&image, PLAIN, &mut logits).expect("logits"),
            );
        }
        let id = format!("dropout/{name}/20/1");
        if is_selected(&id) {
            let network = compile(name, Precision::F32);
            let dropout = McDropout { passes: 20, seed: 0 };
            time(
                &id,
                || drop(dropout.logits(&network, &image, PLAIN).expect("logits")),
                || network.run(&image, PLAIN, &mut logits).expect("logits"),
            );
        }
    }
}

fn time(id: &str, mut first: impl FnMut(), mut second: impl FnMut()) {
    let seconds = |pass: &mut dyn FnMut()| {
        let start = Instant::now();
        pass();
        start.elapsed().as_secs_f64()
    };
    let mut pair = || [seconds(&mut first), seconds(&mut second)];
    for _ in 0..WARM_UP {
        pair();
    }
    let start = Instant::now();
    let mut pairs = Vec::new();
    while pairs.len() < PAIRS || start.elapsed() < TIME {
        pairs.push(pair());
    }
    let median = |value: fn(&[f64; 2]) -> f64| {
        let mut values: Vec<f64> = pairs.iter().map(value).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    println!(
        "{id:<32}{:.1} ms over {:.1} ms, ratio {:.3} (medians of {} pairs)",
        median(|pair| pair[0]) * 1e3,
        median(|pair| pair[1]) * 1e3,
        median(|pair| pair[0] / pair[1]),
        pairs.len()
    );
}

fn is_selected(id: &str) -> bool {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let is_benchmark = arguments.iter().any(|argument| argument == "--bench");
    let filter = arguments.iter().find(|argument| !argument.starts_with('-'));
    is_benchmark && filter.is_none_or(|filter| id.contains(filter.as_str()))
}

/// The chain by hand.
struct Bare<B: Backend> {
    features: Vec<BareLayer<B>>,
    classifier: Vec<Linear<B>>,
}

enum BareLayer<B: Backend> {
    ConvRelu(Box<Conv2d<B>>),
    Pool(MaxPool2d),
}

impl<B: Backend> Bare<B> {
    fn new(table: &Architecture, device: &B::Device) -> Self {
        let (mut features, mut classifier) = (Vec::new(), Vec::new());
        for step in table.steps().expect("a valid table") {
            let inputs = step.input.dims()[0];
            match step.layer {
                Layer::Conv { out, kernel, stride, padding, .. } => {
                    let conv = Conv2dConfig::new([inputs, out], [kernel; 2])
                        .with_stride([stride; 2])
                        .with_padding(PaddingConfig2d::Explicit(
                            padding, padding, padding, padding,
                        ));
                    features.push(BareLayer::ConvRelu(Box::new(conv.init(device))));
                }
                Layer::MaxPool { kernel, stride } => {
                    let pool = MaxPool2dConfig::new([kernel; 2]).with_strides([stride; 2]);
                    features.push(BareLayer::Pool(pool.init()));
                }
                Layer::Linear { out, .. } => {
                    classifier.push(LinearConfig::new(inputs, out).init(device));
                }
                _ => {}
            }
        }
        Self { features, classifier }
    }

    fn forward(&self, images: Tensor<B, 4>) -> Tensor<B, 2> {
        let maps = self.features.iter().fold(images, |x, layer| match layer {
            BareLayer::ConvRelu(conv) => relu(conv.forward(x)),
            BareLayer::Pool(pool) => pool.forward(x),
        });
        let [fc6, fc7, fc8] = self.classifier.as_slice() else { unreachable!("three of them") };
        let x = relu(fc6.forward(maps.flatten(1, 3)));
        fc8.forward(relu(fc7.forward(x)))
    }
}
