//! A network of two halves.

use super::concurrent_halves::run_both_halves;
use super::half_network::Half;
use super::transfers::{Transfer, Transfers};
use crate::models::batch_plan::{BatchPlan, join};
use crate::models::layer_modules::{MapLayer, ParameterValues, is_trained};
use crate::models::network::{Network, nan_marker};
use crate::models::{Architecture, IntoArchitecture, Parameter, TwoGpuSplit};
use crate::{Metadata, Result};
use burn::module::Module;
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;
use std::ops::Range;

/// A network of any [`Architecture`] on two devices. Each device has half of every layer's channels or features,
/// and they exchange activations before the layers that see both halves: see [`Architecture::two_gpu_split`].
///
/// The logits are those of a [`Network`] on one device, up to rounding. The 2012 network is
/// [`AlexNetConfig::two_gpu`](crate::models::AlexNetConfig::two_gpu), whose halves exchange activations only before
/// conv3 and before the linear layers.
///
/// On a CPU each half runs in its own thread; on GPUs, whose queues are asynchronous, one thread feeds both. This
/// is tested on CPUs and with both halves on one adapter (Mesa's software driver), but not yet on two GPUs.
///
/// ```
/// use alexnet_vgg::{backend::Cpu, models::{AlexNetConfig, TwoGpuNetwork}};
/// use burn::tensor::Tensor;
///
/// let config = AlexNetConfig::two_gpu().with_width(0.05).with_num_classes(10);
/// let network = TwoGpuNetwork::<Cpu>::new(config, &[Default::default(), Default::default()])?;
/// let logits = network.forward(Tensor::zeros([2, 3, 224, 224], &Default::default()));
/// assert_eq!(logits.dims(), [2, 10]);
///
/// let transfers = network.take_transfers();
/// let layers: Vec<&str> = transfers.iter().map(|transfer| transfer.layer.as_str()).collect();
/// assert_eq!(layers, ["conv3", "fc6", "fc7", "fc8", "logits"]);
/// // A map of 27 x 27 values of each image for each of conv3's input channels; two tensors.
/// assert_eq!(transfers[0].forward.calls, 2);
/// # Ok::<(), alexnet_vgg::Error>(())
/// ```
#[derive(Module, Debug)]
pub struct TwoGpuNetwork<B: Backend> {
    pub(crate) halves: [Half<B>; 2],
    #[module(skip)]
    pub(super) architecture: Architecture,
    /// At the input size that the network was designed for.
    #[module(skip)]
    pub(super) split: TwoGpuSplit,
    #[module(skip)]
    metadata: Metadata,
    #[module(skip)]
    pub(super) transfers: Transfers,
}

impl<B: Backend> TwoGpuNetwork<B> {
    /// A new network with random weights from the architecture's initialization, each half's drawn from the
    /// random numbers of its device. Seed them with `B::seed(&device, seed)`.
    ///
    /// # Errors
    /// As for [`Network::new`], on either device, and for [`Architecture::two_gpu_split`].
    pub fn new(architecture: impl IntoArchitecture, devices: &[B::Device; 2]) -> Result<Self> {
        Self::build(architecture.into_architecture()?, devices, &mut |_, _| Ok(None))
    }

    /// A network whose values come from `values`: it is called with parameters of the whole network and
    /// ranges of rows of their first dimension, and returns these rows, flat, in PyTorch's order. The reverse is
    /// [`values`](Self::values), or [`Network::values`] of the network on one device.
    ///
    /// # Errors
    /// As for [`new`](Self::new), those of `values`, and
    /// [`Error::ValueCount`](crate::Error::ValueCount) if it returns a wrong number of values.
    pub fn from_values(
        architecture: impl IntoArchitecture,
        devices: &[B::Device; 2],
        mut values: impl FnMut(&Parameter, Range<usize>) -> Result<Vec<f32>>,
    ) -> Result<Self> {
        Self::build(architecture.into_architecture()?, devices, &mut |parameter, rows| {
            values(parameter, rows).map(Some)
        })
    }

    /// Splits a network, with its metadata, across two devices. [`merge`](Self::merge) is the
    /// reverse, exact to the bit. Both return a network in which nothing is frozen.
    ///
    /// # Errors
    /// As for [`new`](Self::new), and [`Error::Backend`](crate::Error::Backend) if a device failed.
    pub fn split(network: &Network<B>, devices: &[B::Device; 2]) -> Result<Self> {
        let architecture = network.architecture().clone();
        let halves = Self::from_values(architecture, devices, |p, rows| network.values(p, rows))?;
        Ok(halves.with_metadata(network.metadata().clone()))
    }

    /// Merges the halves, with the metadata, into a network on one device.
    ///
    /// # Errors
    /// As for [`Network::new`], and [`Error::Backend`](crate::Error::Backend) if a device failed.
    pub fn merge(&self, device: &B::Device) -> Result<Network<B>> {
        let values = |parameter: &Parameter, rows| self.values(parameter, rows);
        let network = Network::from_values(self.architecture.clone(), device, values)?;
        Ok(network.with_metadata(self.metadata.clone()))
    }

    fn build(
        architecture: Architecture,
        devices: &[B::Device; 2],
        values: ParameterValues,
    ) -> Result<Self> {
        let split = architecture.two_gpu_split([architecture.input[1], architecture.input[2]])?;
        let first = Half::build(&architecture, &split, 0, &devices[0], values)?;
        let second = Half::build(&architecture, &split, 1, &devices[1], values)?;
        Ok(Self {
            halves: [first, second],
            architecture,
            split,
            metadata: Metadata::default(),
            transfers: Transfers::default(),
        })
    }

    /// The architecture of the whole network.
    pub fn architecture(&self) -> &Architecture {
        &self.architecture
    }

    /// Moves the network out, so that its weights can be updated in place, and leaves one without layers.
    #[cfg(feature = "train")]
    pub(crate) fn take(&mut self) -> Self {
        let empty = Self {
            halves: self.halves.each_ref().map(Half::without_layers),
            architecture: self.architecture.clone(),
            split: self.split.clone(),
            metadata: Metadata::default(),
            transfers: self.transfers.clone(),
        };
        std::mem::replace(self, empty)
    }

    /// The first device, which has the logits and should have the images.
    pub(crate) fn device(&self) -> B::Device {
        self.halves[0].device()
    }

    /// The devices of the two halves.
    pub fn devices_of_halves(&self) -> [B::Device; 2] {
        self.halves.each_ref().map(Half::device)
    }

    /// The preprocessing that the weights were trained with, and the names of the classes.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// The same network with other metadata, which must have a label for each class (two for a single logit).
    pub fn with_metadata(self, metadata: Metadata) -> Self {
        Self { metadata, ..self }
    }

    /// The transfers between the devices since the last call, by layer in forward order. Clones of a network
    /// share one count.
    pub fn take_transfers(&self) -> Vec<Transfer> {
        self.transfers.take()
    }

    /// The logits, on the first device: `[N, C, H, W]` to `[N, num_classes]`.
    ///
    /// # Panics
    /// If [`try_forward`](Self::try_forward) returns an error, with its message.
    pub fn forward(&self, images: Tensor<B, 4>) -> Tensor<B, 2> {
        self.try_forward(images).unwrap_or_else(|error| panic!("{error}"))
    }

    /// The logits, on the first device: `[N, C, H, W]` to `[N, num_classes]`.
    ///
    /// The images are copied to the second device as well, as in 2012; this copy does not count as one of the
    /// [transfers](Self::take_transfers). Large batches are split, and NaN propagates, as in
    /// [`Network::try_forward`].
    ///
    /// # Errors
    /// As for [`check`](Self::check), before the first kernel runs.
    pub fn try_forward(&self, images: Tensor<B, 4>) -> Result<Tensor<B, 2>> {
        let split = self.architecture.two_gpu_split(height_and_width(&images))?;
        let chunks = self.chunks(images)?.into_iter();
        Ok(join(chunks.map(|chunk| self.forward_chunk(&split, chunk)).collect()))
    }

    /// Checks that the network takes a batch of `shape`, `[N, C, H, W]`, that is on `device`.
    ///
    /// # Errors
    /// As for [`Network::check`], on that device and on those of the halves, and for
    /// [`Architecture::two_gpu_split`].
    pub fn check(&self, shape: [usize; 4], device: &B::Device) -> Result<()> {
        self.plan(shape, device)?;
        self.architecture.two_gpu_split([shape[2], shape[3]]).map(|_| ())
    }

    /// The plan for the whole network. Each half needs less memory, so a device that can run the network can run
    /// its half.
    fn plan(&self, shape: [usize; 4], device: &B::Device) -> Result<BatchPlan<'_>> {
        let [first, second] =
            self.halves.each_ref().map(|half| half.features.iter().map(is_trained));
        let trained = first.zip(second).map(|(first, second)| first || second);
        let mut layers = self.halves.iter().flat_map(|half| &half.features);
        let normalizes = layers.any(MapLayer::normalizes);
        let plan_on = |device: &B::Device| {
            BatchPlan::new::<B>(&self.architecture, shape, trained.clone(), normalizes, device)
        };
        let mut plan = plan_on(device)?;
        for device in self.devices_of_halves() {
            plan = plan.or_smaller(plan_on(&device)?);
        }
        plan.expect_logits(shape[0])?;
        Ok(plan)
    }

    /// The batch in chunks that the devices have memory for.
    pub(crate) fn chunks(&self, images: Tensor<B, 4>) -> Result<Vec<Tensor<B, 4>>> {
        let plan = self.plan(images.dims(), &images.device())?;
        Ok(plan.split(images).collect())
    }

    fn forward_chunk(&self, split: &TwoGpuSplit, images: Tensor<B, 4>) -> Tensor<B, 2> {
        let device = self.device();
        let nan_marker = nan_marker(&images).to_device(&device);
        let mut halves = self.scatter_images(split, images);
        for segment in split.segments() {
            let inputs = self.exchange(split, segment.start, halves);
            halves = run_both_halves::<B, _, _>(&device, inputs, |side, x| {
                self.halves[side].run(split, segment.clone(), side, x, None)
            });
        }
        self.gather_logits(halves) + nan_marker
    }
}

/// Height and width of `[N, C, H, W]`.
pub(crate) fn height_and_width<B: Backend>(images: &Tensor<B, 4>) -> [usize; 2] {
    let [_, _, height, width] = images.dims();
    [height, width]
}
