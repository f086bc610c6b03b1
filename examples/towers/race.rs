//! The network on one device against its halves on two, for real.

use crate::cli;
use alexnet_vgg::backend::{self, Devices};
use alexnet_vgg::models::{Architecture, Network, Towers};
#[cfg(feature = "train")]
use alexnet_vgg::train::Batch;
#[cfg(feature = "train")]
use alexnet_vgg::vision::augment::Sample;
#[cfg(feature = "train")]
use burn::backend::Autodiff;
#[cfg(feature = "train")]
use burn::module::AutodiffModule;
use burn::tensor::backend::Backend;
use burn::tensor::{Distribution, Tensor};
#[cfg(feature = "train")]
use burn::train::TrainStep;
use std::error::Error;
use std::time::{Duration, Instant};

/// Runs of each; the fastest counts.
const RUNS: usize = 3;

pub struct Race {
    pub table: Architecture,
    pub batch: usize,
    pub input: [usize; 2],
    pub devices: Devices,
}

/// Logits, and how long they or a step took.
type Run = (Vec<f32>, Duration);

impl backend::Job for Race {
    type Output = Result<(), Box<dyn Error>>;

    fn run<B: Backend>(self, device: &B::Device) -> alexnet_vgg::Result<Self::Output> {
        let devices = self.devices.pair::<B>(device)?;
        Ok(self.on::<B>(&devices))
    }
}

impl Race {
    #[cfg(not(feature = "train"))]
    fn on<B: Backend>(self, devices: &[B::Device; 2]) -> Result<(), Box<dyn Error>> {
        let network = Network::<B>::new(self.table.clone(), &devices[0])?;
        let towers = Towers::split(&network, devices)?;
        self.forward(&network, &towers)?;
        cli::print("a step of training needs the feature train\n")
    }

    #[cfg(feature = "train")]
    fn on<B: Backend>(self, devices: &[B::Device; 2]) -> Result<(), Box<dyn Error>> {
        let network = Network::<Autodiff<B>>::new(self.table.clone(), &devices[0])?;
        let towers = Towers::split(&network, devices)?;
        self.forward(&network.valid(), &towers.valid())?;
        let batch = self.batch::<Autodiff<B>>(&towers)?;
        let whole = fastest(|| Ok(TrainStep::step(&network, batch.clone()).item.output))?;
        let halves = fastest(|| Ok(TrainStep::step(&towers, batch.clone()).item.output))?;
        report("a step of training", &whole, &halves, &towers)
    }

    fn forward<B: Backend>(
        &self,
        network: &Network<B>,
        towers: &Towers<B>,
    ) -> Result<(), Box<dyn Error>> {
        let images = self.images(towers)?;
        let whole = fastest(|| network.try_forward(images.clone()))?;
        let halves = fastest(|| towers.try_forward(images.clone()))?;
        report("forward", &whole, &halves, towers)
    }

    /// Noise; the network is as fresh.
    fn images<B: Backend>(&self, towers: &Towers<B>) -> alexnet_vgg::Result<Tensor<B, 4>> {
        let [first, _] = towers.devices_of_halves();
        let shape = [self.batch, self.table.input[0], self.input[0], self.input[1]];
        towers.check(shape, &first)?;
        Ok(Tensor::random(shape, Distribution::Normal(0.0, 1.0), &first))
    }

    #[cfg(feature = "train")]
    fn batch<B: Backend>(&self, towers: &Towers<B>) -> alexnet_vgg::Result<Batch<B>> {
        let images = self.images(towers)?;
        let sample = |index| Sample { seed: 0, epoch: 0, index };
        Ok(Batch {
            classes: Tensor::zeros([self.batch], &images.device()),
            images,
            samples: (0..self.batch as u64).map(sample).collect(),
            share: 1.0,
            smoothing: 0.0,
        })
    }
}

/// Reading the logits waits for the device. The first run, which finds its memory, is not timed.
fn fastest<B: Backend>(
    mut run: impl FnMut() -> alexnet_vgg::Result<Tensor<B, 2>>,
) -> alexnet_vgg::Result<Run> {
    let mut logits = backend::read(run()?)?;
    let mut fastest = Duration::MAX;
    for _ in 0..RUNS {
        let start = Instant::now();
        logits = backend::read(run()?)?;
        fastest = fastest.min(start.elapsed());
    }
    Ok((logits.iter().collect(), fastest))
}

fn report<B: Backend>(
    what: &str,
    (theirs, on_one): &Run,
    (ours, on_two): &Run,
    towers: &Towers<B>,
) -> Result<(), Box<dyn Error>> {
    let largest = theirs.iter().fold(1e-30f32, |largest, value| largest.max(value.abs()));
    let apart = ours.iter().zip(theirs).map(|(a, b)| (a - b).abs() / largest);
    let apart = apart.fold(0f32, f32::max);
    let moved = towers.take_transfers().into_iter();
    let bytes: u64 = moved.map(|it| it.forward.bytes + it.backward.bytes).sum();
    let ms = |time: &Duration| 1e3 * time.as_secs_f64();
    cli::print(format!(
        "{what}: one device {:.1} ms, two halves {:.1} ms ({:.2} times as fast); logits apart by {apart:.1e} \
         of the largest; {:.3} MB crossed\n",
        ms(on_one),
        ms(on_two),
        ms(on_one) / ms(on_two),
        bytes as f64 / (RUNS + 1) as f64 / 1e6,
    ))
}
