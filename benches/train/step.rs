//! A network in training.

use alexnet_vgg::models::{Network, NetworkConfig};
use alexnet_vgg::train::{Batch, Sgd, SgdConfig, UpdateRule};
use alexnet_vgg::vision::augment::Sample;
use burn::optim::Optimizer;
use burn::tensor::backend::AutodiffBackend;
use burn::tensor::{Distribution, ElementConversion, Tensor};
use burn::train::TrainStep;
use std::collections::HashMap;

/// The rate is small, so that a fresh network stays finite however many steps are timed.
const RATE: f64 = 1e-6;
const SGD: SgdConfig = SgdConfig { rule: UpdateRule::Pytorch, momentum: 0.9, weight_decay: 5e-4 };

pub struct Training<B: AutodiffBackend> {
    /// `None` while a step changes it.
    network: Option<Network<B>>,
    sgd: Sgd<B::InnerBackend>,
    batch: Batch<B>,
}

impl<B: AutodiffBackend> Training<B> {
    pub fn new(name: &str, batch: usize, device: &B::Device) -> Self {
        let table = NetworkConfig::by_name(name).expect("a known network").architecture();
        let shape = [batch, 3, 224, 224];
        let sample = |index| Sample { seed: 0, epoch: 0, index };
        Self {
            network: Some(Network::new(table, device).expect("a device for it")),
            sgd: Sgd::new(SGD, HashMap::new()),
            batch: Batch {
                images: Tensor::random(shape, Distribution::Normal(0.0, 1.0), device),
                classes: Tensor::arange(0..batch as i64, device),
                samples: (0..batch as u64).map(sample).collect(),
                share: 1.0,
                smoothing: 0.0,
            },
        }
    }

    /// One step, and the loss before it, read: so the device has done what came before.
    pub fn step(&mut self) -> f64 {
        let network = self.network.take().expect("no step failed");
        let output = TrainStep::step(&network, self.batch.clone());
        self.network = Some(self.sgd.step(RATE, network, output.grads));
        output.item.loss.into_scalar().elem()
    }
}
