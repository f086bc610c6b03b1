//! The burn module of any table: it walks the table once to build its layers, and then its layers
//! to answer.

use super::capacity::Capacity;
use super::chain::{Builder, MapLayer, Values, VectorLayer};
use super::table::{Architecture, Parameter, Part, Shape, Step};
use super::trained::is_trained;
use crate::backend;
use crate::error::{Error, Result};
use crate::vision::{Labels, Preset};
use burn::module::Module;
use burn::nn::pool::{AdaptiveAvgPool2d, AdaptiveAvgPool2dConfig};
use burn::tensor::backend::Backend;
use burn::tensor::{Tensor, TensorData};
use std::ops::Range;

/// An AlexNet is a [`Network`] whose table [`AlexNetConfig`](super::AlexNetConfig) wrote.
pub type AlexNet<B> = Network<B>;

/// A VGG is a [`Network`] whose table [`VggConfig`](super::VggConfig) wrote.
pub type Vgg<B> = Network<B>;

/// A network of any [`Architecture`], on any burn backend. It infers, and on an autodiff backend it
/// trains.
///
/// ```
/// use alexnet_vgg::{backend::Cpu, models::{Vgg, VggConfig}};
/// use burn::tensor::Tensor;
///
/// let device = Default::default();
/// let config = VggConfig::vgg11().with_width(0.05).with_num_classes(10);
/// let vgg: Vgg<Cpu> = config.init(&device);
/// let images = Tensor::zeros([2, 3, 64, 64], &device);
///
/// let logits = vgg.forward(images.clone());
/// assert_eq!(logits.dims(), [2, 10]);
///
/// let taps = vgg.taps(images, &["conv3_1", "pool5", "fc7"])?;
/// assert_eq!(taps[1].dims(), [2, 26, 2, 2]);
/// # Ok::<(), alexnet_vgg::Error>(())
/// ```
#[derive(Module, Debug)]
pub struct Network<B: Backend> {
    pub(super) features: Vec<MapLayer<B>>,
    avgpool: AdaptiveAvgPool2d,
    pub(super) classifier: Vec<VectorLayer<B>>,
    #[module(skip)]
    architecture: Architecture,
    #[module(skip)]
    preset: Option<Preset>,
    #[module(skip)]
    labels: Option<Labels>,
}

/// The output of a layer inside the network.
#[derive(Clone, Debug)]
pub enum Tap<B: Backend> {
    /// Of the features or the pool, `[N, C, H, W]`.
    Map(Tensor<B, 4>),
    /// Of the classifier, `[N, features]`.
    Vector(Tensor<B, 2>),
}

impl<B: Backend> Tap<B> {
    /// The shape, batch first.
    pub fn dims(&self) -> Vec<usize> {
        match self {
            Tap::Map(tensor) => tensor.dims().to_vec(),
            Tap::Vector(tensor) => tensor.dims().to_vec(),
        }
    }

    /// The values, read from the device.
    ///
    /// # Errors
    /// [`Error::Backend`] if the device failed in what led to this tensor.
    pub fn into_data(self) -> Result<TensorData> {
        match self {
            Tap::Map(tensor) => backend::read(tensor),
            Tap::Vector(tensor) => backend::read(tensor),
        }
    }
}

impl<B: Backend> Network<B> {
    /// A fresh network with random weights, as the table says to draw them. Seed it by
    /// `B::seed(&device, seed)`.
    ///
    /// # Errors
    /// [`Error::Table`] if the table is contradictory, [`Error::Backend`] if the device is not there,
    /// one of the tensors is too large for it, or all of them are far beyond the machine's memory.
    pub fn new(architecture: impl Into<Architecture>, device: &B::Device) -> Result<Self> {
        Self::build(architecture.into(), device, &mut |_, _| Ok(None))
    }

    /// A network whose values come from `values`: it is called with each parameter and a range of
    /// rows of its first dimension, one of its [`pieces`](Parameter::pieces), and returns these rows,
    /// flat, in PyTorch's order. [`values`](Self::values) is its mirror.
    ///
    /// # Errors
    /// As for [`new`](Self::new), those of `values`, and [`Error::Setting`] if it returns a wrong
    /// number of values.
    pub fn from_values(
        architecture: impl Into<Architecture>,
        device: &B::Device,
        mut values: impl FnMut(&Parameter, Range<usize>) -> Result<Vec<f32>>,
    ) -> Result<Self> {
        Self::build(architecture.into(), device, &mut |parameter, rows| {
            values(parameter, rows).map(Some)
        })
    }

    /// Every constructor ends here.
    pub(crate) fn build(
        architecture: Architecture,
        device: &B::Device,
        values: Values,
    ) -> Result<Self> {
        let steps = architecture.steps()?;
        let capacity = Capacity::new::<B>(&architecture.name, device)?;
        capacity.expect_weights(&steps)?;
        let mut builder = Builder::<B> { device, values, capacity };
        let mut features = Vec::new();
        let mut classifier = Vec::new();
        for step in steps {
            match step.part {
                Part::Features => features.push(builder.map_layer(&step)?),
                Part::AvgPool => {}
                Part::Classifier => classifier.push(builder.vector_layer(&step)?),
            }
        }
        Ok(Self {
            features,
            avgpool: AdaptiveAvgPool2dConfig::new(architecture.pool).init(),
            classifier,
            architecture,
            preset: None,
            labels: None,
        })
    }

    /// The table that this network was built from.
    pub fn architecture(&self) -> &Architecture {
        &self.architecture
    }

    /// Moves the network out, so that its weights can be worked on in place; a network of no layers
    /// stays behind.
    #[cfg(feature = "train")]
    pub(crate) fn take(&mut self) -> Self {
        let hollow = Self {
            features: Vec::new(),
            avgpool: self.avgpool.clone(),
            classifier: Vec::new(),
            architecture: self.architecture.clone(),
            preset: None,
            labels: None,
        };
        std::mem::replace(self, hollow)
    }

    /// Where it is.
    pub(crate) fn device(&self) -> B::Device {
        self.devices().into_iter().next().unwrap_or_default()
    }

    /// The preprocessing that the weights want, if the file that they came from says so.
    pub fn preset(&self) -> Option<&Preset> {
        self.preset.as_ref()
    }

    /// The same network, and what its images must be preprocessed by. [`save`](Self::save) writes it
    /// into the file.
    pub fn with_preset(self, preset: impl Into<Option<Preset>>) -> Self {
        Self { preset: preset.into(), ..self }
    }

    /// The names of the classes, if the file that the weights came from says them.
    pub fn labels(&self) -> Option<&Labels> {
        self.labels.as_ref()
    }

    /// The same network, and what its classes are called: as many names as there are logits.
    /// [`save`](Self::save) writes them into the file.
    pub fn with_labels(self, labels: impl Into<Option<Labels>>) -> Self {
        Self { labels: labels.into(), ..self }
    }

    /// The same network with the preset and the labels of another one.
    #[cfg(feature = "train")]
    pub(crate) fn stating<C: Backend>(self, like: &Network<C>) -> Self {
        self.with_preset(like.preset.clone()).with_labels(like.labels.clone())
    }

    /// `Ok` if images preprocessed by `preset` are what the weights want, or if nobody knows.
    ///
    /// # Errors
    /// [`Error::Setting`] if they want another: the answers would be wrong, without a sign of it.
    pub fn expect_preset(&self, preset: &Preset) -> Result<()> {
        preset.expect_is(self.preset.as_ref(), &self.architecture.name)
    }

    /// The logits: `[N, C, H, W]` to `[N, num_classes]`.
    ///
    /// # Panics
    /// Where [`try_forward`](Self::try_forward) has an error, with its message.
    pub fn forward(&self, images: Tensor<B, 4>) -> Tensor<B, 2> {
        self.try_forward(images).unwrap_or_else(|error| panic!("{error}"))
    }

    /// The logits: `[N, C, H, W]` to `[N, num_classes]`.
    ///
    /// Where the device limits the size of a tensor, the batch is passed in as many parts as it
    /// takes. An image with a NaN or an infinity in it gets NaN logits (on a GPU, if its driver keeps
    /// NaN).
    ///
    /// # Errors
    /// As for [`check`](Self::check): all of them are found before the first kernel runs.
    pub fn try_forward(&self, images: Tensor<B, 4>) -> Result<Tensor<B, 2>> {
        let [batch, ..] = images.dims();
        let plan = self.plan(images.dims(), &images.device())?;
        plan.expect_logits(batch)?;
        Ok(join(plan.split(images).map(|part| self.classify(part)).collect()))
    }

    /// Whether the network takes a batch of `shape` on `device`: to ask before the batch exists.
    ///
    /// # Errors
    /// [`Error::InputShape`] for a wrong number of channels or an empty batch,
    /// [`Error::InputTooSmall`] for images that the pools reduce to nothing, [`Error::Backend`] for
    /// images or logits too large for the device, or a batch that is far beyond the memory (on a CPU
    /// that is what the allocator refuses; how much of a GPU's memory is free, nobody can ask); on a backend that
    /// differentiates, also for maps over which the device's driver does not add up a gradient to its end, or a batch
    /// that would have to go in parts through a batch norm that learns.
    pub fn check(&self, shape: [usize; 4], device: &B::Device) -> Result<()> {
        let plan = self.plan(shape, device)?;
        plan.expect_logits(shape[0])
    }

    /// The output of the last feature layer, `[N, C, H, W]`, for transfer learning and the like.
    ///
    /// # Errors
    /// As for [`try_forward`](Self::try_forward).
    pub fn features(&self, images: Tensor<B, 4>) -> Result<Tensor<B, 4>> {
        let plan = self.plan(images.dims(), &images.device())?;
        let last = plan.steps.iter().rfind(|step| step.part == Part::Features);
        plan.expect_whole(last, images.dims()[0])?;
        let parts = plan.split(images).map(|part| {
            let not_a_number = not_a_number(&part).unsqueeze_dims(&[2, 3]);
            self.features.iter().fold(part, |x, layer| layer.forward(x)) + not_a_number
        });
        Ok(join(parts.collect()))
    }

    /// The outputs of the named layers, in the order of the names: torchvision's (`features.3`,
    /// `avgpool`, `classifier.0`) or the papers' (`conv3_1`, `pool5`, `fc7`). One pass, that stops
    /// at the last layer asked for.
    ///
    /// # Errors
    /// [`Error::UnknownLayer`] for a name that the network does not have, and as for
    /// [`try_forward`](Self::try_forward).
    pub fn taps<S: AsRef<str>>(&self, images: Tensor<B, 4>, names: &[S]) -> Result<Vec<Tap<B>>> {
        let plan = self.plan(images.dims(), &images.device())?;
        let wanted = (names.iter())
            .map(|name| self.architecture.find_in(&plan.steps, name.as_ref()))
            .collect::<Result<Vec<usize>>>()?;
        let tapped = wanted.iter().map(|&index| &plan.steps[index]);
        plan.expect_whole(tapped, images.dims()[0])?;
        let parts: Vec<_> = plan.split(images).map(|part| self.tapped(part, &wanted)).collect();
        Ok((0..wanted.len())
            .map(|i| join_taps(parts.iter().map(|part| part[i].clone()).collect()))
            .collect())
    }

    /// The logits, `[N, num_classes]`, from the output of `layer` on, as [`taps`](Self::taps) gives it
    /// or as it might have been: what becomes of another map, and by gradients which part of this one
    /// the answer comes from.
    ///
    /// # Errors
    /// [`Error::UnknownLayer`]; [`Error::InputShape`] if `output` is not of the kind that the layer
    /// gives, has another number of channels or features, or is too small for what follows;
    /// [`Error::Backend`] for more than the device holds at once.
    pub fn resume(&self, layer: &str, output: Tap<B>) -> Result<Tensor<B, 2>> {
        let steps = self.architecture.steps()?;
        let index = self.architecture.find_in(&steps, layer)?;
        self.expect_output(&steps[index], index, &output)?;
        let (vectors, next) = match output {
            Tap::Map(maps) => {
                let not_a_number = not_a_number(&maps);
                let rest = self.features.iter().skip(index + 1);
                let maps = rest.fold(maps, |x, layer| layer.forward(x));
                (self.pool(maps).flatten(1, 3) + not_a_number, 0)
            }
            Tap::Vector(vectors) => (vectors, index - self.features.len()),
        };
        let not_a_number = (vectors.clone().detach() * 0.0).sum_dim(1);
        let rest = self.classifier.iter().skip(next);
        Ok(rest.fold(vectors, |x, layer| layer.forward(x)) + not_a_number)
    }

    /// Whether the layers after the one at `index` take `output`: they are a table of their own.
    fn expect_output(&self, step: &Step, index: usize, output: &Tap<B>) -> Result<()> {
        let found = output.dims();
        let channels = step.output.channels();
        let fits = found[0] > 0 && found[1] == channels;
        let wrong = |expected: String| Error::InputShape {
            network: format!("{} from {} on", self.architecture.name, step.name),
            expected,
            found: found.clone(),
        };
        match (output, step.output) {
            (Tap::Map(maps), Shape::Map(_)) if fits => {
                let [batch, _, height, width] = maps.dims();
                let rest = Architecture {
                    input: [channels, height, width],
                    features: self.architecture.features.iter().skip(index + 1).copied().collect(),
                    ..self.architecture.clone()
                };
                let too_small =
                    |_| wrong(format!("[N, {channels}, H, W], large enough for what follows"));
                let steps = rest.steps().map_err(too_small)?;
                let device = maps.device();
                let capacity = Capacity::new::<B>(&self.architecture.name, &device)?;
                let trained = self.features.iter().skip(index + 1).map(is_trained);
                match capacity.images_at_once::<B>(batch, &steps, trained, &device)? < batch {
                    true => Err(capacity.refuse(format!("{batch} maps are too many at once"))),
                    false => Ok(()),
                }
            }
            (Tap::Vector(_), Shape::Vector(_)) if fits => Ok(()),
            (_, Shape::Map(_)) => Err(wrong(format!("[N >= 1, {channels}, H, W]"))),
            (_, Shape::Vector(_)) => Err(wrong(format!("[N >= 1, {channels}]"))),
        }
    }

    fn classify(&self, images: Tensor<B, 4>) -> Tensor<B, 2> {
        let not_a_number = not_a_number(&images);
        let maps = self.features.iter().fold(images, |x, layer| layer.forward(x));
        let vectors = self.pool(maps).flatten(1, 3);
        let logits = self.classifier.iter().fold(vectors, |x, layer| layer.forward(x));
        logits + not_a_number
    }

    pub(super) fn pool(&self, maps: Tensor<B, 4>) -> Tensor<B, 4> {
        pooled(&self.avgpool, maps)
    }

    fn tapped(&self, images: Tensor<B, 4>, wanted: &[usize]) -> Vec<Tap<B>> {
        let not_a_number = not_a_number(&images);
        let last = wanted.iter().max().copied();
        let avgpool = self.features.len();
        let mut found = vec![None; wanted.len()];
        let mut x = Tap::Map(images);
        for index in 0..last.map_or(0, |last| last + 1) {
            x = match x {
                Tap::Map(maps) if index < avgpool => Tap::Map(self.features[index].forward(maps)),
                Tap::Map(maps) if index == avgpool => Tap::Map(self.pool(maps)),
                Tap::Map(maps) => Tap::Vector(self.classifier[0].forward(maps.flatten(1, 3))),
                Tap::Vector(vectors) => {
                    Tap::Vector(self.classifier[index - avgpool - 1].forward(vectors))
                }
            };
            for (slot, _) in found.iter_mut().zip(wanted).filter(|(_, wanted)| **wanted == index) {
                *slot = Some(match x.clone() {
                    Tap::Map(maps) => Tap::Map(maps + not_a_number.clone().unsqueeze_dims(&[2, 3])),
                    Tap::Vector(vectors) => Tap::Vector(vectors + not_a_number.clone()),
                });
            }
        }
        found.into_iter().flatten().collect()
    }

    pub(super) fn plan(&self, shape: [usize; 4], device: &B::Device) -> Result<Plan<'_>> {
        let trained = self.features.iter().map(is_trained);
        let normalizes = self.features.iter().any(MapLayer::normalizes);
        Plan::new::<B>(&self.architecture, shape, trained, normalizes, device)
    }
}

/// Averaging over windows of one pixel is the identity: no pass over the memory for that.
pub(super) fn pooled<B: Backend>(pool: &AdaptiveAvgPool2d, maps: Tensor<B, 4>) -> Tensor<B, 4> {
    let [_, _, h, w] = maps.dims();
    match [h, w] == pool.output_size {
        true => maps,
        false => pool.forward(maps),
    }
}

/// How a batch goes through the network: whole, or in parts whose largest activation, and in training whose longest
/// sum, fits the device.
pub(super) struct Plan<'a> {
    steps: Vec<Step>,
    at_once: usize,
    pub capacity: Capacity<'a>,
}

impl<'a> Plan<'a> {
    /// `trained` says of each layer of the features whether it asks for gradients, `normalizes` whether one of them
    /// takes statistics of the batch in training.
    pub fn new<B: Backend>(
        architecture: &'a Architecture,
        shape: [usize; 4],
        trained: impl Iterator<Item = bool>,
        normalizes: bool,
        device: &B::Device,
    ) -> Result<Self> {
        let [batch, channels, height, width] = shape;
        if batch == 0 || channels != architecture.input[0] {
            return Err(Error::InputShape {
                network: architecture.name.clone(),
                expected: format!("[N >= 1, {}, H, W]", architecture.input[0]),
                found: shape.to_vec(),
            });
        }
        let steps = architecture.walk([height, width])?;
        let capacity = Capacity::new::<B>(&architecture.name, device)?;
        let at_once = capacity.images_at_once::<B>(batch, &steps, trained, device)?;
        match at_once < batch && normalizes && B::ad_enabled(device) {
            false => Ok(Plan { steps, at_once, capacity }),
            true => Err(capacity.refuse(format!(
                "batch norm trains on a whole batch, and this device takes {at_once} of {batch} images at once"
            ))),
        }
    }

    /// Of two devices that do the same, the one that takes fewer images at once.
    pub fn or_smaller(self, other: Self) -> Self {
        match other.at_once < self.at_once {
            true => other,
            false => self,
        }
    }

    pub fn expect_logits(&self, batch: usize) -> Result<()> {
        self.expect_whole(self.steps.last(), batch)
    }

    pub fn split<B: Backend>(&self, images: Tensor<B, 4>) -> impl Iterator<Item = Tensor<B, 4>> {
        let parts = match self.at_once < images.dims()[0] {
            true => images.split(self.at_once, 0),
            false => vec![images],
        };
        parts.into_iter()
    }

    /// What is put together from parts must fit the device as well.
    fn expect_whole<'s>(
        &self,
        outputs: impl IntoIterator<Item = &'s Step>,
        batch: usize,
    ) -> Result<()> {
        outputs.into_iter().try_for_each(|step| {
            let elements = step.output.elements().saturating_mul(batch as u64);
            self.capacity.expect_tensor(&step.key, elements)
        })
    }
}

/// `[N, 1]`: 0 for an image of numbers, NaN for one with a NaN or an infinity in it. Added to what
/// comes out, because burn's ReLU and max pool turn NaN into numbers that look like an answer;
/// PyTorch's pass it on.
pub(crate) fn not_a_number<B: Backend>(images: &Tensor<B, 4>) -> Tensor<B, 2> {
    let pixels: Tensor<B, 2> = images.clone().detach().flatten(1, 3);
    // Zeros first: a sum of pixels could overflow, above all in f16.
    (pixels * 0.0).sum_dim(1)
}

pub(crate) fn join<B: Backend, const D: usize>(mut parts: Vec<Tensor<B, D>>) -> Tensor<B, D> {
    match parts.len() {
        1 => parts.remove(0),
        _ => Tensor::cat(parts, 0),
    }
}

fn join_taps<B: Backend>(parts: Vec<Tap<B>>) -> Tap<B> {
    let (mut maps, mut vectors) = (Vec::new(), Vec::new());
    for part in parts {
        match part {
            Tap::Map(map) => maps.push(map),
            Tap::Vector(vector) => vectors.push(vector),
        }
    }
    match maps.is_empty() {
        true => Tap::Vector(join(vectors)),
        false => Tap::Map(join(maps)),
    }
}
