//! The forward pass of the networks: on burn's backends that are compiled in, and on the engine.
//!
//!     cargo bench --bench forward
//!     cargo bench --bench forward --features ndarray -- vgg16/ndarray/1
//!     cargo bench --bench forward -- --measurement-time 3 overhead
//!     cargo bench --bench forward -- --help
//!
//! IDs:
//!
//! - `forward/<network>/<backend>/<batch>`: images of 224×224. The backends `compiled-int20` and
//!   `compiled-int16` are the engine with all of the machine's threads. wgpu runs where there is an adapter.
//! - `growth/<network>/<batch>x<height>x<width>`: the engine's pixels per second.
//! - In pairs, `overhead/...`: the module and burn's own layers, called by hand; `module/...`: the module
//!   and the engine; `lrn/...`: the 2012 network with and without its normalization; and, on the engine,
//!   `dense/...` and `dropout/...`: dense evaluation and Monte Carlo dropout against a plain pass.
#![recursion_limit = "256"]

mod bare_network;
#[path = "../paired/mod.rs"]
mod paired;
mod relative_cost;

use alexnet_vgg::backend;
use alexnet_vgg::engine::{Compiled, LinearWeights};
use alexnet_vgg::models::{Architecture, Network, NetworkConfig, Parameter};
use burn::tensor::backend::Backend;
use burn::tensor::{Distribution, Tensor};
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, SamplingMode, Throughput};
use std::cell::OnceCell;
use std::ops::Range;
use std::time::Duration;

const NETWORKS: [&str; 5] = ["alexnet", "alexnet_paper", "vgg11", "vgg16", "vgg19"];
const BATCHES: [usize; 2] = [1, 8];

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(3))
        .configure_from_args();
    let mut pairs = paired::criterion(Duration::from_secs(12));
    #[cfg(feature = "ndarray")]
    forward::<backend::NdArray>(&mut criterion, "ndarray", &Default::default());
    #[cfg(feature = "flex")]
    forward::<backend::Flex>(&mut criterion, "flex", &Default::default());
    #[cfg(feature = "wgpu")]
    match backend::gpu() {
        Ok(device) => forward::<backend::Wgpu>(&mut criterion, "wgpu", &device),
        Err(error) => eprintln!("wgpu is left out: {error}"),
    }
    engine(&mut criterion);
    growth(&mut criterion);
    #[cfg(feature = "ndarray")]
    relative_cost::backend::<backend::NdArray>(&mut pairs, "ndarray", &Default::default());
    #[cfg(feature = "flex")]
    relative_cost::backend::<backend::Flex>(&mut pairs, "flex", &Default::default());
    relative_cost::engine(&mut pairs);
    criterion.final_summary();
}

/// The networks on a backend of burn.
fn forward<B: Backend>(criterion: &mut Criterion, backend: &str, device: &B::Device) {
    for name in NETWORKS {
        // Built only if the command line selects one of the benches.
        let network = OnceCell::new();
        let build = || Network::<B>::new(architecture(name), device).expect("a device for it");
        let mut group = criterion.benchmark_group("forward");
        group.sampling_mode(SamplingMode::Flat);
        for batch in BATCHES {
            let images = images::<B>(batch, device);
            let logits = || network.get_or_init(build).forward(images.clone());
            let id = BenchmarkId::new(format!("{name}/{backend}"), batch);
            group.bench_function(id, |bencher| {
                bencher.iter(|| backend::read(logits()).expect("a device that works"));
            });
        }
    }
}

fn architecture(name: &str) -> Architecture {
    let config = NetworkConfig::by_name(name).expect("a known network");
    config.architecture().expect("a valid table")
}

fn images<B: Backend>(batch: usize, device: &B::Device) -> Tensor<B, 4> {
    Tensor::random([batch, 3, 224, 224], Distribution::Normal(0.0, 1.0), device)
}

fn compile(name: &str, linear_weights: LinearWeights) -> Compiled {
    // The time does not depend on the weights, as long as they are ordinary numbers.
    let values = |parameter: &Parameter, rows: Range<usize>| {
        Ok(vec![0.01; rows.len() * parameter.shape[1..].iter().product::<usize>()])
    };
    Compiled::from_values(architecture(name), linear_weights, values).expect("memory")
}

/// The networks on the engine.
fn engine(criterion: &mut Criterion) {
    for name in NETWORKS {
        for linear_weights in [LinearWeights::Int20, LinearWeights::Int16] {
            let engine = OnceCell::new();
            let mut group = criterion.benchmark_group("forward");
            for batch in BATCHES {
                let id = BenchmarkId::new(format!("{name}/compiled-{linear_weights}"), batch);
                let build = || compile(name, linear_weights);
                bench_engine(&mut group, id, &engine, build, [batch, 3, 224, 224]);
            }
        }
    }
}

/// Pixels per second are nearly the same for all batches and all sizes of images; only a single image waits
/// for the weights of the linear layers, in AlexNet half of its time.
fn growth(criterion: &mut Criterion) {
    let batches = [1, 2, 3, 4, 8, 9, 16, 32].map(|batch| [batch, 3, 224, 224]);
    let sizes = [[256, 320], [384, 384], [512, 512], [1024, 768]].map(|[h, w]| [1, 3, h, w]);
    for name in ["alexnet", "vgg16"] {
        let engine = OnceCell::new();
        let mut group = criterion.benchmark_group("growth");
        for shape in batches.into_iter().chain(sizes) {
            let [batch, _, height, width] = shape;
            group.throughput(Throughput::Elements((batch * height * width) as u64));
            let id = BenchmarkId::new(name, format!("{batch}x{height}x{width}"));
            bench_engine(&mut group, id, &engine, || compile(name, LinearWeights::Int20), shape);
        }
    }
}

fn bench_engine(
    group: &mut BenchmarkGroup<WallTime>,
    id: BenchmarkId,
    engine: &OnceCell<Compiled>,
    build: impl Fn() -> Compiled,
    shape: [usize; 4],
) {
    group.sampling_mode(SamplingMode::Flat);
    let images = vec![0.5; shape.iter().product()];
    let mut logits = vec![0.0; shape[0] * 1000];
    group.bench_function(id, |bencher| {
        let engine = engine.get_or_init(&build);
        bencher.iter(|| engine.run(&images, shape, &mut logits).expect("logits"));
    });
}
