//! What the module costs over burn's own layers with nothing around them, as one would write a chain
//! by hand. The two are timed in turn, pair by pair: the machine's moods change more from one minute
//! to the next than what is to be seen here.

use super::{BATCHES, images};
use alexnet_vgg::backend;
use alexnet_vgg::models::{Architecture, Layer, Network, NetworkConfig};
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

/// Prints the median of time of the module over time by hand, for the benches that the filter on the
/// command line selects.
pub fn in_turn<B: Backend>(backend: &str, device: &B::Device) {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let is_benchmark = arguments.iter().any(|argument| argument == "--bench");
    let mut filters = arguments.iter().filter(|argument| !argument.starts_with('-'));
    let filter = filters.next().map_or("", String::as_str);
    for name in NETWORKS {
        let table = NetworkConfig::by_name(name).expect("a known network").architecture();
        for batch in BATCHES {
            let id = format!("overhead/{name}/{backend}/{batch}");
            if is_benchmark && id.contains(filter) {
                println!("{id:<32}{}", compare::<B>(&table, batch, device));
            }
        }
    }
}

fn compare<B: Backend>(table: &Architecture, batch: usize, device: &B::Device) -> String {
    let network = Network::<B>::new(table.clone(), device).expect("a device for it");
    let bare = Bare::<B>::new(table, device);
    let images = images::<B>(batch, device);
    let seconds = |pass: &dyn Fn(Tensor<B, 4>) -> Tensor<B, 2>| {
        let start = Instant::now();
        backend::read(pass(images.clone())).expect("a device that works");
        start.elapsed().as_secs_f64()
    };
    let pair = || [seconds(&|x| network.forward(x)), seconds(&|x| bare.forward(x))];
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
    format!(
        "module {:.1} ms, by hand {:.1} ms, ratio {:.3} (medians of {} pairs)",
        median(|pair| pair[0]) * 1e3,
        median(|pair| pair[1]) * 1e3,
        median(|pair| pair[0] / pair[1]),
        pairs.len()
    )
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
