//! The forward pass of the networks on the backends that are compiled in.
//!
//!     cargo bench --bench forward --features flex
//!     cargo bench --bench forward --features flex -- vgg16/flex/1
//!
//! Ids: `forward/<network>/<backend>/<batch>`, and `bare/...` for the same layers of burn written
//! down by hand, so that what the module costs on top can be read off the same run;
//! `without_lrn/...` is the 2012 network without its normalisation. Images are 224×224; wgpu runs
//! where there is an adapter.
#![recursion_limit = "256"]

use alexnet_vgg::backend;
use alexnet_vgg::models::{AlexNetConfig, Architecture, Layer, Network, NetworkConfig};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::pool::{MaxPool2d, MaxPool2dConfig};
use burn::nn::{Linear, LinearConfig, PaddingConfig2d};
use burn::tensor::activation::relu;
use burn::tensor::backend::Backend;
use burn::tensor::{Distribution, Tensor};
use criterion::{BenchmarkId, Criterion, SamplingMode, criterion_group, criterion_main};
use std::cell::OnceCell;
use std::time::Duration;

const NETWORKS: [&str; 5] = ["alexnet", "alexnet_paper", "vgg11", "vgg16", "vgg19"];
const BATCHES: [usize; 2] = [1, 8];

fn forward(criterion: &mut Criterion) {
    #[cfg(feature = "ndarray")]
    each_network::<backend::NdArray>(criterion, "ndarray", &Default::default());
    #[cfg(feature = "flex")]
    each_network::<backend::Flex>(criterion, "flex", &Default::default());
    #[cfg(feature = "wgpu")]
    match backend::gpu() {
        Ok(device) => each_network::<backend::Wgpu>(criterion, "wgpu", &device),
        Err(error) => eprintln!("wgpu is left out: {error}"),
    }
}

fn each_network<B: Backend>(criterion: &mut Criterion, backend: &str, device: &B::Device) {
    for name in NETWORKS {
        let table = NetworkConfig::by_name(name).expect("a known network").architecture();
        bench_network::<B>(criterion, "forward", &format!("{name}/{backend}"), device, &table);
        if name == "alexnet_paper" {
            let table: Architecture = AlexNetConfig::paper().with_lrn(false).into();
            let id = format!("{name}/{backend}");
            bench_network::<B>(criterion, "without_lrn", &id, device, &table);
        }
        // One AlexNet and one VGG show what the module costs.
        if !["alexnet", "vgg16"].contains(&name) || backend == "wgpu" {
            continue;
        }
        let bare = OnceCell::new();
        let by_hand = |images| bare.get_or_init(|| Bare::<B>::new(&table, device)).forward(images);
        bench::<B>(criterion, "bare", &format!("{name}/{backend}"), device, by_hand);
    }
}

/// Builds the network only if the filter on the command line selects one of its benches.
fn bench_network<B: Backend>(
    criterion: &mut Criterion,
    group: &str,
    name: &str,
    device: &B::Device,
    table: &Architecture,
) {
    let network = OnceCell::new();
    let build = || Network::<B>::new(table.clone(), device).expect("a device for it");
    bench::<B>(criterion, group, name, device, |images| network.get_or_init(build).forward(images));
}

fn bench<B: Backend>(
    criterion: &mut Criterion,
    group: &str,
    name: &str,
    device: &B::Device,
    pass: impl Fn(Tensor<B, 4>) -> Tensor<B, 2>,
) {
    let mut group = criterion.benchmark_group(group);
    group.sample_size(10).sampling_mode(SamplingMode::Flat);
    group.warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(3));
    for batch in BATCHES {
        let shape = [batch, 3, 224, 224];
        let images = Tensor::random(shape, Distribution::Normal(0.0, 1.0), device);
        group.bench_function(BenchmarkId::new(name, batch), |bencher| {
            bencher.iter(|| backend::read(pass(images.clone())).expect("a device that works"));
        });
    }
}

/// burn's own layers with nothing around them, as one would write a chain by hand.
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

criterion_group!(benches, forward);
criterion_main!(benches);
