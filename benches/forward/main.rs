//! The forward pass of the networks on the backends that are compiled in.
//!
//!     cargo bench --bench forward --features flex
//!     cargo bench --bench forward --features flex -- vgg16/flex/1
//!
//! Ids: `forward/<network>/<backend>/<batch>`, where `compiled-f32` and `compiled-bf16` are the engine
//! with all of the machine's threads; `growth/<network>/<batch>x<height>x<width>`, the engine's pixels a
//! second; and timed in turn, `overhead/...`: the module over
//! burn's own layers written down by hand, `lrn/...`: the 2012 network over itself without its
//! normalization, and, of the engine, `dense/...` and `dropout/...` over a plain pass. Images are 224×224; wgpu runs where there is an adapter.
#![recursion_limit = "256"]

mod in_turn;

use alexnet_vgg::backend;
use alexnet_vgg::engine::{Compiled, Precision};
use alexnet_vgg::models::{Architecture, Network, NetworkConfig, Parameter};
use burn::tensor::backend::Backend;
use burn::tensor::{Distribution, Tensor};
use criterion::measurement::WallTime;
use criterion::{
    BenchmarkGroup, BenchmarkId, Criterion, SamplingMode, Throughput, criterion_group,
};
use std::cell::OnceCell;
use std::ops::Range;
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
        bench_network::<B>(criterion, &format!("{name}/{backend}"), device, &table);
    }
}

/// Builds the network only if the filter on the command line selects one of its benches.
fn bench_network<B: Backend>(
    criterion: &mut Criterion,
    name: &str,
    device: &B::Device,
    table: &Architecture,
) {
    let network = OnceCell::new();
    let build = || Network::<B>::new(table.clone(), device).expect("a device for it");
    let mut group = criterion.benchmark_group("forward");
    group.sample_size(10).sampling_mode(SamplingMode::Flat);
    group.warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(3));
    for batch in BATCHES {
        let images = images::<B>(batch, device);
        let logits = || network.get_or_init(build).forward(images.clone());
        group.bench_function(BenchmarkId::new(name, batch), |bencher| {
            bencher.iter(|| backend::read(logits()).expect("a device that works"));
        });
    }
}

fn images<B: Backend>(batch: usize, device: &B::Device) -> Tensor<B, 4> {
    Tensor::random([batch, 3, 224, 224], Distribution::Normal(0.0, 1.0), device)
}

fn compile(name: &str, precision: Precision) -> Compiled {
    // The time does not depend on what the weights are, as long as they are ordinary numbers.
    let small = |parameter: &Parameter, rows: Range<usize>| {
        Ok(vec![0.01; rows.len() * parameter.shape[1..].iter().product::<usize>()])
    };
    let table = NetworkConfig::by_name(name).expect("a known network").architecture();
    Compiled::from_values(table, precision, small).expect("memory")
}

fn compiled(criterion: &mut Criterion) {
    for name in NETWORKS {
        for precision in [Precision::F32, Precision::Bf16] {
            let engine = OnceCell::new();
            let mut group = criterion.benchmark_group("forward");
            for batch in BATCHES {
                let id = BenchmarkId::new(format!("{name}/compiled-{precision}"), batch);
                let build = || compile(name, precision);
                bench_engine(&mut group, id, &engine, build, [batch, 3, 224, 224]);
            }
        }
    }
}

/// Nearly as many pixels a second whatever the batch, and however large the images; but one image alone
/// waits for the weights of the linear layers, in AlexNet half of its time.
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
            bench_engine(&mut group, id, &engine, || compile(name, Precision::F32), shape);
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
    group.sample_size(10).sampling_mode(SamplingMode::Flat);
    group.warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(3));
    let images = vec![0.5; shape.iter().product()];
    let mut logits = vec![0.0; shape[0] * 1000];
    group.bench_function(id, |bencher| {
        let engine = engine.get_or_init(&build);
        bencher.iter(|| engine.run(&images, shape, &mut logits).expect("logits"));
    });
}

criterion_group!(benches, forward, compiled, growth);

fn main() {
    benches();
    #[cfg(feature = "ndarray")]
    in_turn::in_turn::<backend::NdArray>("ndarray", &Default::default());
    #[cfg(feature = "flex")]
    in_turn::in_turn::<backend::Flex>("flex", &Default::default());
    in_turn::engine();
    Criterion::default().configure_from_args().final_summary();
}
