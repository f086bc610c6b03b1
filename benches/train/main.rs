//! One step of training: forward, cross-entropy, backward, and the update by SGD with momentum and weight
//! decay.
//!
//!     cargo bench --bench train --features train
//!     cargo bench --bench train --features train -- alexnet/flex
//!     cargo bench --bench train --features train -- --help
//!     ALEXNET_VGG_PEER=python3 cargo bench --bench train --features train
//!
//! IDs: `train/<network>/<backend>/<batch>`, images of 224×224; wgpu (feature `wgpu`) runs where there is
//! an adapter. With the last command, steps on the CPU are measured in pairs instead: one of ours, and one
//! by PyTorch in that Python, in its fastest way, on the same network and batch.
#![recursion_limit = "256"]

mod against_pytorch;
#[path = "../paired/mod.rs"]
mod paired;
mod training;

use alexnet_vgg::backend;
use burn::backend::Autodiff;
use burn::tensor::backend::AutodiffBackend;
use criterion::{BenchmarkId, Criterion, SamplingMode};
use std::time::Duration;
use training::Training;

const NETWORKS: [&str; 6] = ["alexnet", "alexnet_paper", "vgg11", "vgg16", "vgg16_bn", "vgg19"];
const BATCHES: [usize; 2] = [8, 32];

fn main() {
    if let Some(python) = std::env::var_os("ALEXNET_VGG_PEER") {
        let mut criterion = paired::criterion(Duration::from_secs(20));
        against_pytorch::measure(&mut criterion, python.as_ref());
        return criterion.final_summary();
    }
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(10))
        .configure_from_args();
    train::<Autodiff<backend::Flex>>(&mut criterion, "flex", &Default::default());
    #[cfg(feature = "wgpu")]
    match backend::gpu() {
        Ok(gpu) => train::<Autodiff<backend::Wgpu>>(&mut criterion, "wgpu", &gpu),
        Err(error) => eprintln!("wgpu is left out: {error}"),
    }
    criterion.final_summary();
}

fn cases() -> impl Iterator<Item = (&'static str, usize)> {
    NETWORKS.into_iter().flat_map(|name| BATCHES.map(|batch| (name, batch)))
}

/// The networks on a backend of burn.
fn train<B: AutodiffBackend>(criterion: &mut Criterion, backend: &str, device: &B::Device) {
    let mut group = criterion.benchmark_group("train");
    group.sampling_mode(SamplingMode::Flat);
    for (name, batch) in cases() {
        let id = BenchmarkId::new(format!("{name}/{backend}"), batch);
        group.bench_function(id, |bencher| {
            let training = Training::<B>::new(name, batch, device);
            let mut training = training.expect("a known network, and a device for it");
            bencher.iter(|| training.step());
        });
    }
}
