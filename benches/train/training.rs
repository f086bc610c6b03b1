//! A network in training.

use alexnet_vgg::Result;
use alexnet_vgg::models::{Network, NetworkConfig};
use alexnet_vgg::train::{Batch, Sgd, SgdConfig, UpdateRule};
use alexnet_vgg::vision::augment::Sample;
use burn::optim::Optimizer;
use burn::tensor::backend::AutodiffBackend;
use burn::tensor::{Distribution, ElementConversion, Tensor};
use burn::train::TrainStep;
use std::collections::HashMap;

/// Small, so that the weights of a fresh network stay finite over any number of steps.
const LEARNING_RATE: f64 = 1e-6;
const SGD: SgdConfig = SgdConfig { rule: UpdateRule::Pytorch, momentum: 0.9, weight_decay: 5e-4 };

pub struct Training<B: AutodiffBackend> {
    /// `None` during a step.
    network: Option<Network<B>>,
    sgd: Sgd<B::InnerBackend>,
    batch: Batch<B>,
}

impl<B: AutodiffBackend> Training<B> {
    /// Fresh weights, random images, and a class for each of them.
    ///
    /// # Errors
    /// For an unknown network, and a device that does not hold it.
    pub fn new(name: &str, batch: usize, device: &B::Device) -> Result<Self> {
        let shape = [batch, 3, 224, 224];
        let sample = |index| Sample { seed: 0, epoch: 0, index };
        Ok(Self {
            network: Some(Network::new(NetworkConfig::by_name(name)?, device)?),
            sgd: Sgd::new(SGD, HashMap::new()),
            batch: Batch {
                images: Tensor::random(shape, Distribution::Normal(0.0, 1.0), device),
                classes: Tensor::arange(0..batch as i64, device),
                samples: (0..batch as u64).map(sample).collect(),
                share: 1.0,
                label_smoothing: 0.0,
                mixed: None,
            },
        })
    }

    /// Takes one step, and returns the loss before it. Reading the loss waits for the device.
    pub fn step(&mut self) -> f64 {
        let network = self.network.take().expect("no step panicked");
        let output = TrainStep::step(&network, self.batch.clone());
        self.network = Some(self.sgd.step(LEARNING_RATE, network, output.grads));
        output.item.loss.into_scalar().elem()
    }
}
