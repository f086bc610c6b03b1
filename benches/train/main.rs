//! One step of training: forward, cross-entropy, backward, and the update by SGD with momentum and weight
//! decay.
//!
//!     cargo bench --bench train --features train
//!     cargo bench --bench train --features train -- alexnet/flex
//!     ALEXNET_VGG_PEER=python3 cargo bench --bench train --features train
//!
//! Ids: `train/<network>/<backend>/<batch>`, images of 224×224; wgpu (feature `wgpu`) runs where there is
//! an adapter. With the third command, in place of all that, steps on the CPU in turn with PyTorch's on the
//! same network and batch, because the machine's moods change more from one minute to the next than what is
//! to be seen here.
#![recursion_limit = "256"]

mod peer;
mod step;

use alexnet_vgg::backend;
use burn::backend::Autodiff;
use burn::tensor::backend::AutodiffBackend;
use criterion::{BenchmarkId, Criterion, SamplingMode};
use std::time::Duration;
use step::Training;

const NETWORKS: [&str; 4] = ["alexnet", "alexnet_paper", "vgg11", "vgg16"];
const BATCH: usize = 8;

fn each_network<B: AutodiffBackend>(criterion: &mut Criterion, backend: &str, device: &B::Device) {
    let mut group = criterion.benchmark_group("train");
    group.sample_size(10).sampling_mode(SamplingMode::Flat);
    group.warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(10));
    for name in NETWORKS {
        group.bench_function(BenchmarkId::new(format!("{name}/{backend}"), BATCH), |bencher| {
            let mut training = Training::<B>::new(name, BATCH, device);
            bencher.iter(|| training.step());
        });
    }
}

fn main() {
    match std::env::var("ALEXNET_VGG_PEER") {
        Ok(python) => peer::in_turn(&python).expect("a Python with torch and torchvision"),
        Err(_) => {
            let mut criterion = Criterion::default().configure_from_args();
            type Cpu = Autodiff<backend::Flex>;
            each_network::<Cpu>(&mut criterion, "flex", &Default::default());
            #[cfg(feature = "wgpu")]
            match backend::gpu() {
                Ok(gpu) => each_network::<Autodiff<backend::Wgpu>>(&mut criterion, "wgpu", &gpu),
                Err(error) => eprintln!("wgpu is left out: {error}"),
            }
            criterion.final_summary();
        }
    }
}
