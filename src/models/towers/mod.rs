//! The network of 2012 as it was run: two halves on two devices, which talk only where they have to (AlexNet
//! paper, section 3.5 and figure 2). Any table can be run so.
//!
//! - `division`: the table cut in two; `half`: the layers of a device; `at_once`: both at work.
//! - `transfers`: the one place where tensors cross, which counts them.
//! - `weights`: by the names of the whole network.

mod at_once;
mod division;
mod half;
mod transfers;
mod weights;

pub(crate) use at_once::at_once;
pub use division::{Divided, Division, Exchange};
pub(crate) use half::Half;
#[cfg(feature = "train")]
pub(crate) use half::Thinning;
pub use transfers::{Traffic, Transfer};

use super::chain::{MapLayer, Values};
use super::network::{Network, Plan, join, not_a_number};
use super::table::{Architecture, Parameter};
use super::trained::is_trained;
use crate::error::Result;
use crate::vision::{Labels, Preset};
use burn::module::Module;
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;
use division::LOGITS;
use std::ops::Range;
use transfers::{Transfers, Way};

/// A network of any [`Architecture`] on two devices: each has half of every layer's channels or features, and
/// they exchange activations where a layer sees both. [`Architecture::divide`] says where that is.
///
/// The answers are those of a [`Network`] on one device, to rounding. The 2012 network is
/// [`AlexNetConfig::towers`](super::AlexNetConfig::towers): its halves meet before conv3 and before the linear
/// layers only.
///
/// On a CPU each half has a thread of its own; on GPUs, whose queues work on by themselves, one thread feeds
/// both. Tested on CPUs and with both halves on one adapter (Mesa's software driver); on two GPUs not yet.
///
/// ```
/// use alexnet_vgg::{backend::Cpu, models::{AlexNetConfig, Towers}};
/// use burn::tensor::Tensor;
///
/// let config = AlexNetConfig::towers().with_width(0.05).with_num_classes(10);
/// let towers = Towers::<Cpu>::new(config, &[Default::default(), Default::default()])?;
/// let logits = towers.forward(Tensor::zeros([2, 3, 224, 224], &Default::default()));
/// assert_eq!(logits.dims(), [2, 10]);
///
/// let transfers = towers.take_transfers();
/// let layers: Vec<&str> = transfers.iter().map(|transfer| transfer.layer.as_str()).collect();
/// assert_eq!(layers, ["conv3", "fc6", "fc7", "fc8", "logits"]);
/// // A map of 27 x 27 values of each image for each of conv3's input channels; two tensors.
/// assert_eq!(transfers[0].forward.calls, 2);
/// # Ok::<(), alexnet_vgg::Error>(())
/// ```
#[derive(Module, Debug)]
pub struct Towers<B: Backend> {
    pub(crate) halves: [Half<B>; 2],
    #[module(skip)]
    architecture: Architecture,
    #[module(skip)]
    preset: Option<Preset>,
    #[module(skip)]
    labels: Option<Labels>,
    #[module(skip)]
    transfers: Transfers,
}

impl<B: Backend> Towers<B> {
    /// A fresh network with random weights, as the table says to draw them, each device's from its own
    /// stream. Seed them by `B::seed(&device, seed)`.
    ///
    /// # Errors
    /// As for [`Network::new`], on either device, and for [`Architecture::divide`].
    pub fn new(architecture: impl Into<Architecture>, devices: &[B::Device; 2]) -> Result<Self> {
        Self::build(architecture.into(), devices, &mut |_, _| Ok(None))
    }

    /// A network whose values come from `values`: it is called with parameters of the whole network and
    /// ranges of rows of their first dimension, and returns these rows, flat, in PyTorch's order.
    /// [`values`](Self::values) is its mirror, and so is [`Network::values`].
    ///
    /// # Errors
    /// As for [`new`](Self::new), those of `values`, and [`Error::Setting`](crate::Error::Setting) if it
    /// returns a wrong number of values.
    pub fn from_values(
        architecture: impl Into<Architecture>,
        devices: &[B::Device; 2],
        mut values: impl FnMut(&Parameter, Range<usize>) -> Result<Vec<f32>>,
    ) -> Result<Self> {
        Self::build(architecture.into(), devices, &mut |parameter, rows| {
            values(parameter, rows).map(Some)
        })
    }

    /// A network of one device on two, with its preset and labels. [`whole`](Self::whole) is the way back, to
    /// the bit. What is frozen thaws on either way.
    ///
    /// # Errors
    /// As for [`new`](Self::new), and [`Error::Backend`](crate::Error::Backend) if a device failed.
    pub fn split(network: &Network<B>, devices: &[B::Device; 2]) -> Result<Self> {
        let architecture = network.architecture().clone();
        let towers = Self::from_values(architecture, devices, |p, rows| network.values(p, rows))?;
        Ok(Self { preset: network.preset().cloned(), labels: network.labels().cloned(), ..towers })
    }

    /// The network on one device, with its preset and labels.
    ///
    /// # Errors
    /// As for [`Network::new`], and [`Error::Backend`](crate::Error::Backend) if a device failed.
    pub fn whole(&self, device: &B::Device) -> Result<Network<B>> {
        let values = |parameter: &Parameter, rows| self.values(parameter, rows);
        let network = Network::from_values(self.architecture.clone(), device, values)?;
        Ok(network.with_preset(self.preset.clone()).with_labels(self.labels.clone()))
    }

    fn build(architecture: Architecture, devices: &[B::Device; 2], values: Values) -> Result<Self> {
        let division = architecture.divide([architecture.input[1], architecture.input[2]])?;
        let first = Half::build(&architecture, &division, 0, &devices[0], values)?;
        let second = Half::build(&architecture, &division, 1, &devices[1], values)?;
        Ok(Self {
            halves: [first, second],
            architecture,
            preset: None,
            labels: None,
            transfers: Transfers::default(),
        })
    }

    /// The table of the whole network.
    pub fn architecture(&self) -> &Architecture {
        &self.architecture
    }

    /// At the size that the network was designed for.
    fn division(&self) -> Result<Division> {
        let [_, height, width] = self.architecture.input;
        self.architecture.divide([height, width])
    }

    /// Moves the network out, so that its weights can be worked on in place; a network of no layers
    /// stays behind.
    #[cfg(feature = "train")]
    pub(crate) fn take(&mut self) -> Self {
        let hollow = Self {
            halves: self.halves.each_ref().map(Half::hollow),
            architecture: self.architecture.clone(),
            preset: None,
            labels: None,
            transfers: self.transfers.clone(),
        };
        std::mem::replace(self, hollow)
    }

    /// The first device: where the logits are, and images should be.
    pub(crate) fn device(&self) -> B::Device {
        self.halves[0].device()
    }

    /// Where the halves are.
    pub fn devices_of_halves(&self) -> [B::Device; 2] {
        self.halves.each_ref().map(Half::device)
    }

    /// The preprocessing that the weights want, if the file that they came from says so.
    pub fn preset(&self) -> Option<&Preset> {
        self.preset.as_ref()
    }

    /// The same network, and what its images must be preprocessed by.
    pub fn with_preset(self, preset: impl Into<Option<Preset>>) -> Self {
        Self { preset: preset.into(), ..self }
    }

    /// The names of the classes, if the file that the weights came from says them.
    pub fn labels(&self) -> Option<&Labels> {
        self.labels.as_ref()
    }

    /// The same network, and what its classes are called: as many names as there are logits.
    pub fn with_labels(self, labels: impl Into<Option<Labels>>) -> Self {
        Self { labels: labels.into(), ..self }
    }

    /// The same network with the preset and the labels of another one.
    #[cfg(feature = "train")]
    pub(crate) fn stating<C: Backend>(self, like: &Towers<C>) -> Self {
        self.with_preset(like.preset.clone()).with_labels(like.labels.clone())
    }

    /// What crossed between the devices since the last time that this was asked, by layer in forward order.
    /// Clones of a network count together.
    pub fn take_transfers(&self) -> Vec<Transfer> {
        self.transfers.take()
    }

    /// The logits, on the first device: `[N, C, H, W]` to `[N, num_classes]`.
    ///
    /// # Panics
    /// Where [`try_forward`](Self::try_forward) has an error, with its message.
    pub fn forward(&self, images: Tensor<B, 4>) -> Tensor<B, 2> {
        self.try_forward(images).unwrap_or_else(|error| panic!("{error}"))
    }

    /// The logits, on the first device: `[N, C, H, W]` to `[N, num_classes]`.
    ///
    /// The second device is given the images too, as in 2012; that is not counted among the
    /// [transfers](Self::take_transfers). Batches are parted, and NaN is passed on, as
    /// [`Network::try_forward`] does.
    ///
    /// # Errors
    /// As for [`check`](Self::check): all of them are found before the first kernel runs.
    pub fn try_forward(&self, images: Tensor<B, 4>) -> Result<Tensor<B, 2>> {
        let division = self.architecture.divide(size(&images))?;
        let parts = self.parts(images)?.into_iter().map(|part| self.classify(&division, part));
        Ok(join(parts.collect()))
    }

    /// Whether the network takes a batch of `shape` that is on `device`: to ask before the batch exists.
    ///
    /// # Errors
    /// As for [`Network::check`], on that device or on the halves'; as for [`Architecture::divide`].
    pub fn check(&self, shape: [usize; 4], device: &B::Device) -> Result<()> {
        self.plan(shape, device)?;
        self.architecture.divide([shape[2], shape[3]]).map(|_| ())
    }

    /// Each half has less than the network: what takes the network takes the half.
    fn plan(&self, shape: [usize; 4], device: &B::Device) -> Result<Plan<'_>> {
        let [first, second] =
            self.halves.each_ref().map(|half| half.features.iter().map(is_trained));
        let trained = first.zip(second).map(|(first, second)| first || second);
        let mut layers = self.halves.iter().flat_map(|half| &half.features);
        let normalizes = layers.any(MapLayer::normalizes);
        let plan_on = |device: &B::Device| {
            Plan::new::<B>(&self.architecture, shape, trained.clone(), normalizes, device)
        };
        let mut plan = plan_on(device)?;
        for device in self.devices_of_halves() {
            plan = plan.or_smaller(plan_on(&device)?);
        }
        plan.expect_logits(shape[0])?;
        Ok(plan)
    }

    /// A batch as it goes through: whole, or in parts.
    pub(crate) fn parts(&self, images: Tensor<B, 4>) -> Result<Vec<Tensor<B, 4>>> {
        let plan = self.plan(images.dims(), &images.device())?;
        Ok(plan.split(images).collect())
    }

    fn classify(&self, division: &Division, images: Tensor<B, 4>) -> Tensor<B, 2> {
        let device = self.device();
        let not_a_number = not_a_number(&images).to_device(&device);
        let mut halves = self.given(division, images);
        for stretch in division.stretches() {
            let inputs = self.meet(division, stretch.start, halves);
            halves = at_once::<B, _, _>(&device, inputs, |side, x| {
                self.halves[side].run(division, stretch.clone(), side, x, None)
            });
        }
        self.logits(halves) + not_a_number
    }

    /// What each device begins with, flat: the images, or its own channels where the first layer sees no
    /// others.
    pub(crate) fn given<C: Backend<Device = B::Device>>(
        &self,
        division: &Division,
        images: Tensor<C, 4>,
    ) -> [Tensor<C, 2>; 2] {
        let devices = self.devices_of_halves();
        let sees_all = division.layers.first().is_some_and(|first| first.sees_both);
        let [_, channels, ..] = images.dims();
        let half = channels.div_ceil(2);
        let own = [0..half, half..channels];
        std::array::from_fn(|side| {
            let images = match sees_all {
                true => images.clone(),
                false => images.clone().narrow(1, own[side].start, own[side].len()),
            };
            images.to_device(&devices[side]).flatten(1, 3)
        })
    }

    /// What each device goes on with at a layer: its own half, or both where the layer sees both.
    pub(crate) fn meet<C: Backend<Device = B::Device>>(
        &self,
        division: &Division,
        index: usize,
        halves: [Tensor<C, 2>; 2],
    ) -> [Tensor<C, 2>; 2] {
        let Some(layer) = division.layers.get(index).filter(|layer| layer.meets()) else {
            return halves;
        };
        let [first, second] = halves;
        let (here, there) = (first.device(), second.device());
        let hand_over =
            |half, to| self.transfers.hand_over(&layer.whole.name, Way::Forward, half, to);
        let [to_second, to_first] =
            [hand_over(first.clone(), &there), hand_over(second.clone(), &here)];
        [Tensor::cat(vec![first, to_first], 1), Tensor::cat(vec![to_second, second], 1)]
    }

    /// Both halves' last outputs, on the first device.
    pub(crate) fn logits<C: Backend<Device = B::Device>>(
        &self,
        [first, second]: [Tensor<C, 2>; 2],
    ) -> Tensor<C, 2> {
        let here = first.device();
        let second = self.transfers.hand_over(LOGITS, Way::Forward, second, &here);
        Tensor::cat(vec![first, second], 1)
    }
}

/// The way back: what came together is parted, and each device is handed what is its own.
#[cfg(feature = "train")]
impl<B: Backend> Towers<B> {
    /// From the gradients of what each device went on with at a layer to those of the halves before it.
    pub(crate) fn part<C: Backend<Device = B::Device>>(
        &self,
        division: &Division,
        index: usize,
        gradients: [Tensor<C, 2>; 2],
    ) -> [Tensor<C, 2>; 2] {
        let Some(layer) = division.layers.get(index).filter(|layer| layer.meets()) else {
            return gradients;
        };
        let first = layer.handed_over[0] as usize;
        let devices = gradients.each_ref().map(Tensor::device);
        let [[own_first, to_second], [to_first, own_second]] =
            gradients.map(|both| cut(both, first));
        let hand_over =
            |half, to| self.transfers.hand_over(&layer.whole.name, Way::Backward, half, to);
        [
            own_first + hand_over(to_first, &devices[0]),
            own_second + hand_over(to_second, &devices[1]),
        ]
    }

    /// From the gradient of the logits to those of both halves' last outputs.
    pub(crate) fn part_logits<C: Backend<Device = B::Device>>(
        &self,
        division: &Division,
        gradient: Tensor<C, 2>,
    ) -> [Tensor<C, 2>; 2] {
        let last = division.layers.last();
        let own = last.map_or(0, |last| last.halves[0].output.elements() as usize);
        let [first, second] = cut(gradient, own);
        let there = self.halves[1].device();
        [first, self.transfers.hand_over(LOGITS, Way::Backward, second, &there)]
    }
}

/// `[N, both]` to `[N, first]` and `[N, second]`.
#[cfg(feature = "train")]
fn cut<B: Backend>(both: Tensor<B, 2>, first: usize) -> [Tensor<B, 2>; 2] {
    let second = both.dims()[1] - first;
    [both.clone().narrow(1, 0, first), both.narrow(1, first, second)]
}

/// Height and width.
pub(crate) fn size<B: Backend>(images: &Tensor<B, 4>) -> [usize; 2] {
    let [_, _, height, width] = images.dims();
    [height, width]
}
