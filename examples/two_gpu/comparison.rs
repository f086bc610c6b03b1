//! Measures a network on one device and split between two.

use crate::cli;
use alexnet_vgg::backend::{self, Devices};
use alexnet_vgg::models::{Architecture, Network, TwoGpuNetwork};
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

pub struct Comparison {
    pub architecture: Architecture,
    pub batch: usize,
    pub input: [usize; 2],
    pub devices: Devices,
}

/// Logits, and the time that the pass or step took.
type Run = (Vec<f32>, Duration);

impl backend::Job for Comparison {
    type Output = Result<(), Box<dyn Error>>;

    fn run<B: Backend>(self, device: &B::Device) -> alexnet_vgg::Result<Self::Output> {
        let devices = self.devices.pair::<B>(device)?;
        Ok(self.on::<B>(&devices))
    }
}

impl Comparison {
    #[cfg(not(feature = "train"))]
    fn on<B: Backend>(self, devices: &[B::Device; 2]) -> Result<(), Box<dyn Error>> {
        let whole = Network::<B>::new(self.architecture.clone(), &devices[0])?;
        let split = TwoGpuNetwork::split(&whole, devices)?;
        self.compare_forward(&whole, &split)?;
        cli::print("to measure a training step, too, add --features train\n")
    }

    #[cfg(feature = "train")]
    fn on<B: Backend>(self, devices: &[B::Device; 2]) -> Result<(), Box<dyn Error>> {
        let whole = Network::<Autodiff<B>>::new(self.architecture.clone(), &devices[0])?;
        let split = TwoGpuNetwork::split(&whole, devices)?;
        self.compare_forward(&whole.valid(), &split.valid())?;
        let batch = self.batch::<Autodiff<B>>(&split)?;
        let on_one = fastest(|| Ok(TrainStep::step(&whole, batch.clone()).item.output))?;
        let on_two = fastest(|| Ok(TrainStep::step(&split, batch.clone()).item.output))?;
        report("training step", &on_one, &on_two, &split)
    }

    fn compare_forward<B: Backend>(
        &self,
        whole: &Network<B>,
        split: &TwoGpuNetwork<B>,
    ) -> Result<(), Box<dyn Error>> {
        let images = self.images(split)?;
        let on_one = fastest(|| whole.try_forward(images.clone()))?;
        let on_two = fastest(|| split.try_forward(images.clone()))?;
        report("forward", &on_one, &on_two, split)
    }

    /// Random images, on the first device.
    fn images<B: Backend>(&self, split: &TwoGpuNetwork<B>) -> alexnet_vgg::Result<Tensor<B, 4>> {
        let [first, _] = split.devices_of_halves();
        let shape = [self.batch, self.architecture.input[0], self.input[0], self.input[1]];
        split.check(shape, &first)?;
        Ok(Tensor::random(shape, Distribution::Normal(0.0, 1.0), &first))
    }

    #[cfg(feature = "train")]
    fn batch<B: Backend>(&self, split: &TwoGpuNetwork<B>) -> alexnet_vgg::Result<Batch<B>> {
        let images = self.images(split)?;
        let sample = |index| Sample { seed: 0, epoch: 0, index };
        Ok(Batch {
            classes: Tensor::zeros([self.batch], &images.device()),
            images,
            samples: (0..self.batch as u64).map(sample).collect(),
            share: 1.0,
            label_smoothing: 0.0,
            mixed: None,
        })
    }
}

/// The time includes reading the logits, which waits for the device. The first run, which allocates memory, is
/// not timed.
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
    (expected, time_on_one): &Run,
    (found, time_on_two): &Run,
    split: &TwoGpuNetwork<B>,
) -> Result<(), Box<dyn Error>> {
    let largest = expected.iter().fold(1e-30f32, |largest, value| largest.max(value.abs()));
    let differences = found.iter().zip(expected).map(|(a, b)| (a - b).abs() / largest);
    let difference = differences.fold(0f32, f32::max);
    let transfers = split.take_transfers().into_iter();
    let bytes: u64 = transfers.map(|it| it.forward.bytes + it.backward.bytes).sum();
    let [on_one, on_two] = [time_on_one, time_on_two].map(|time| 1e3 * time.as_secs_f64());
    let (speedup, megabytes) = (on_one / on_two, bytes as f64 / (RUNS + 1) as f64 / 1e6);
    cli::print(format!(
        "{what}: one device {on_one:.1} ms, two devices {on_two:.1} ms ({speedup:.2} times as fast); logits differ \
         by at most {difference:.1e} of the largest; {megabytes:.3} MB crossed\n"
    ))
}
