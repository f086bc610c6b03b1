//! The burn module of any table: it walks the table once to build its layers, and then its layers
//! to answer.

use super::layers::{Linear, Lrn};
use super::table::{Architecture, Fill, Layer, Parameter, Part, Step};
use crate::backend;
use crate::error::{Error, Result};
use burn::module::{Module, Param, RunningState};
use burn::nn::conv::Conv2d;
use burn::nn::pool::{AdaptiveAvgPool2d, AdaptiveAvgPool2dConfig, MaxPool2d, MaxPool2dConfig};
use burn::nn::{BatchNorm, Dropout, DropoutConfig, PaddingConfig2d, Relu, Tanh};
use burn::tensor::backend::Backend;
use burn::tensor::{Distribution, Tensor, TensorData};
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
    features: Vec<MapLayer<B>>,
    avgpool: AdaptiveAvgPool2d,
    classifier: Vec<VectorLayer<B>>,
    #[module(skip)]
    architecture: Architecture,
    /// Bytes of the largest tensor that the device takes, if it has such a limit.
    #[module(skip)]
    largest: Option<u64>,
}

/// Gives rows of a parameter, or `None` for fresh ones.
type Values<'a> = &'a mut dyn FnMut(&Parameter, Range<usize>) -> Result<Option<Vec<f32>>>;

/// A layer of the features: `[N, C, H, W]` to `[N, C', H', W']`.
#[derive(Module, Debug)]
enum MapLayer<B: Backend> {
    Conv(Conv2d<B>),
    BatchNorm(BatchNorm<B>),
    Lrn(Lrn),
    MaxPool(MaxPool2d),
    AvgPool(AdaptiveAvgPool2d),
    Pointwise(Pointwise),
}

/// A layer of the classifier: `[N, in]` to `[N, out]`.
#[derive(Module, Debug)]
enum VectorLayer<B: Backend> {
    Linear(Linear<B>),
    Pointwise(Pointwise),
}

/// A layer that treats every value alike, whatever the shape.
#[derive(Module, Clone, Debug)]
enum Pointwise {
    Relu(Relu),
    Tanh(Tanh),
    Dropout(Dropout),
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
    /// [`Error::Table`] if the table is contradictory, [`Error::Backend`] if the device is not there
    /// or one of the tensors is too large for it.
    pub fn new(architecture: impl Into<Architecture>, device: &B::Device) -> Result<Self> {
        Self::build(architecture.into(), device, &mut |_, _| Ok(None))
    }

    /// A network whose values come from `values`: it is called with each parameter and a range of
    /// rows (of its first dimension; all of them but for linear layers too large for the device) and
    /// returns these rows, flat, in PyTorch's order.
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
        let mut builder =
            Builder::<B> { device, values, largest: backend::largest_tensor(device)? };
        let mut features = Vec::new();
        let mut classifier = Vec::new();
        for step in steps {
            match step.part {
                Part::Features => features.push(builder.map_layer(&step)?),
                Part::AvgPool => {}
                Part::Classifier => classifier.push(builder.vector_layer(&step)?),
            }
        }
        let largest = builder.largest;
        Ok(Self {
            features,
            avgpool: AdaptiveAvgPool2dConfig::new(architecture.pool).init(),
            classifier,
            architecture,
            largest,
        })
    }

    /// The table that this network was built from.
    pub fn architecture(&self) -> &Architecture {
        &self.architecture
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
    /// [`Error::InputShape`] for a wrong number of channels or an empty batch,
    /// [`Error::InputTooSmall`] for images that the pools reduce to nothing, [`Error::Backend`] for
    /// images too large for the device. All of them are found before the first kernel runs.
    pub fn try_forward(&self, images: Tensor<B, 4>) -> Result<Tensor<B, 2>> {
        let parts = self.split(images)?.into_iter().map(|part| self.classify(part));
        Ok(join(parts.collect()))
    }

    /// The output of the last feature layer, `[N, C, H, W]`, for transfer learning and the like.
    ///
    /// # Errors
    /// As for [`try_forward`](Self::try_forward).
    pub fn features(&self, images: Tensor<B, 4>) -> Result<Tensor<B, 4>> {
        let parts = self.split(images)?.into_iter().map(|part| {
            let not_a_number = not_a_number(&part).unsqueeze_dims(&[2, 3]);
            (self.features.iter()).fold(part, |x, layer| layer.forward(x)) + not_a_number
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
        let wanted = (names.iter())
            .map(|name| self.architecture.find(name.as_ref()))
            .collect::<Result<Vec<usize>>>()?;
        let [n, _, height, width] = images.dims();
        let parts = self.split(images)?;
        let steps = self.architecture.walk([height, width])?;
        for step in wanted.iter().map(|&index| &steps[index]) {
            self.expect_fits(&step.key, n as u64 * step.output.elements())?;
        }
        let parts = parts.into_iter().map(|part| self.tapped(part, &wanted));
        let parts: Vec<Vec<Tap<B>>> = parts.collect();
        Ok((0..wanted.len())
            .map(|i| join_taps(parts.iter().map(|part| part[i].clone()).collect()))
            .collect())
    }

    fn classify(&self, images: Tensor<B, 4>) -> Tensor<B, 2> {
        let not_a_number = not_a_number(&images);
        let maps = self.features.iter().fold(images, |x, layer| layer.forward(x));
        let vectors = self.pool(maps).flatten(1, 3);
        let logits = self.classifier.iter().fold(vectors, |x, layer| layer.forward(x));
        logits + not_a_number
    }

    /// Averaging over windows of one pixel is the identity: no pass over the memory for that.
    fn pool(&self, maps: Tensor<B, 4>) -> Tensor<B, 4> {
        let [_, _, h, w] = maps.dims();
        match [h, w] == self.avgpool.output_size {
            true => maps,
            false => self.avgpool.forward(maps),
        }
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

    /// What is put together from parts must fit the device as well.
    fn expect_fits(&self, what: &str, elements: u64) -> Result<()> {
        let bytes = elements.saturating_mul(size_of::<f32>() as u64);
        match self.largest {
            Some(largest) if largest < bytes => {
                Err(too_large(&self.architecture.name, what, "a tensor", bytes, largest))
            }
            _ => Ok(()),
        }
    }

    /// Checks a batch and cuts it into parts whose largest activation fits the device.
    fn split(&self, images: Tensor<B, 4>) -> Result<Vec<Tensor<B, 4>>> {
        let dims = images.dims();
        let [n, channels, height, width] = dims;
        if n == 0 || channels != self.architecture.input[0] {
            return Err(Error::InputShape {
                network: self.architecture.name.clone(),
                expected: format!("[N >= 1, {}, H, W]", self.architecture.input[0]),
                found: dims.to_vec(),
            });
        }
        let steps = self.architecture.walk([height, width])?;
        let at_once = match self.largest {
            None => n,
            Some(largest) => {
                self.expect_fits("the input", dims.iter().map(|&dim| dim as u64).product())?;
                images_at_once(&self.architecture.name, &steps, largest)?.min(n)
            }
        };
        let normalises = self.architecture.features.contains(&Layer::BatchNorm);
        if at_once < n && normalises && B::ad_enabled(&images.device()) {
            return Err(Error::Backend {
                backend: "wgpu".into(),
                reason: format!(
                    "{}: batch norm trains on a whole batch, and this device takes {at_once} of {n} images at once",
                    self.architecture.name
                ),
            });
        }
        Ok(match at_once == n {
            true => vec![images],
            false => images.split(at_once, 0),
        })
    }
}

/// `[N, 1]`: 0 for an image of numbers, NaN for one with a NaN or an infinity in it. Added to what
/// comes out, because burn's ReLU and max pool turn NaN into numbers that look like an answer;
/// PyTorch's pass it on.
fn not_a_number<B: Backend>(images: &Tensor<B, 4>) -> Tensor<B, 2> {
    let pixels: Tensor<B, 2> = images.clone().detach().flatten(1, 3);
    pixels.sum_dim(1) * 0.0
}

/// How many images fit through a device whose tensors have at most `largest` bytes.
fn images_at_once(network: &str, steps: &[Step], largest: u64) -> Result<usize> {
    let bytes =
        |step: &Step| step.input.elements().max(step.output.elements()) * size_of::<f32>() as u64;
    // Of equals the last is taken, so that the first layer to blame is named.
    let widest = steps.iter().rev().max_by_key(|step| bytes(step));
    let (key, needed) = widest.map_or(("", 1), |step| (step.key.as_str(), bytes(step)));
    match largest / needed {
        0 => Err(too_large(network, key, "an activation", needed, largest)),
        images => Ok(images as usize),
    }
}

fn too_large(network: &str, layer: &str, what: &str, needed: u64, largest: u64) -> Error {
    Error::Backend {
        backend: "wgpu".into(),
        reason: format!(
            "{network} {layer} needs {what} of {needed} bytes, but a tensor of this device has at most {largest}"
        ),
    }
}

fn join<B: Backend, const D: usize>(mut parts: Vec<Tensor<B, D>>) -> Tensor<B, D> {
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

impl<B: Backend> MapLayer<B> {
    fn forward(&self, x: Tensor<B, 4>) -> Tensor<B, 4> {
        match self {
            MapLayer::Conv(conv) => conv.forward(x),
            MapLayer::BatchNorm(norm) => norm.forward(x),
            MapLayer::Lrn(lrn) => lrn.forward(x),
            MapLayer::MaxPool(pool) => pool.forward(x),
            MapLayer::AvgPool(pool) => pool.forward(x),
            MapLayer::Pointwise(pointwise) => pointwise.forward(x),
        }
    }
}

impl<B: Backend> VectorLayer<B> {
    fn forward(&self, x: Tensor<B, 2>) -> Tensor<B, 2> {
        match self {
            VectorLayer::Linear(linear) => linear.forward(x),
            VectorLayer::Pointwise(pointwise) => pointwise.forward(x),
        }
    }
}

impl Pointwise {
    fn forward<B: Backend, const D: usize>(&self, x: Tensor<B, D>) -> Tensor<B, D> {
        match self {
            Pointwise::Relu(relu) => relu.forward(x),
            Pointwise::Tanh(tanh) => tanh.forward(x),
            Pointwise::Dropout(dropout) => dropout.forward(x),
        }
    }
}

/// Makes burn's layers from the steps of a table.
struct Builder<'a, B: Backend> {
    device: &'a B::Device,
    values: Values<'a>,
    largest: Option<u64>,
}

impl<B: Backend> Builder<'_, B> {
    fn map_layer(&mut self, step: &Step) -> Result<MapLayer<B>> {
        Ok(match step.layer {
            Layer::Conv { kernel, stride, padding, groups, .. } => MapLayer::Conv(Conv2d {
                weight: self.param(&step.parameters[0])?,
                bias: Some(self.param(&step.parameters[1])?),
                stride: [stride; 2],
                kernel_size: [kernel; 2],
                dilation: [1; 2],
                groups,
                padding: PaddingConfig2d::Explicit(padding, padding, padding, padding),
            }),
            Layer::BatchNorm => MapLayer::BatchNorm(BatchNorm {
                gamma: self.param(&step.parameters[0])?,
                beta: self.param(&step.parameters[1])?,
                running_mean: RunningState::new(self.tensor(&step.parameters[2])?),
                running_var: RunningState::new(self.tensor(&step.parameters[3])?),
                momentum: 0.1,
                epsilon: 1e-5,
            }),
            Layer::Lrn { size, alpha, beta, k } => MapLayer::Lrn(Lrn::new(size, alpha, beta, k)),
            Layer::MaxPool { kernel, stride } => MapLayer::MaxPool(
                MaxPool2dConfig::new([kernel; 2]).with_strides([stride; 2]).init(),
            ),
            Layer::AdaptiveAvgPool { size } => {
                MapLayer::AvgPool(AdaptiveAvgPool2dConfig::new(size).init())
            }
            other => MapLayer::Pointwise(pointwise(step, other)?),
        })
    }

    fn vector_layer(&mut self, step: &Step) -> Result<VectorLayer<B>> {
        Ok(match step.layer {
            Layer::Linear { .. } => {
                let bias = self.param(&step.parameters[1])?;
                let weight = &step.parameters[0];
                let largest = self.largest;
                VectorLayer::Linear(Linear::new(weight, bias, largest, |weight, rows| {
                    self.rows(weight, rows)
                })?)
            }
            other => VectorLayer::Pointwise(pointwise(step, other)?),
        })
    }

    fn param<const D: usize>(&mut self, parameter: &Parameter) -> Result<Param<Tensor<B, D>>> {
        self.rows(parameter, 0..parameter.shape[0])
    }

    fn rows<const D: usize>(
        &mut self,
        parameter: &Parameter,
        rows: Range<usize>,
    ) -> Result<Param<Tensor<B, D>>> {
        Ok(Param::from_tensor(self.tensor_rows(parameter, rows)?))
    }

    fn tensor<const D: usize>(&mut self, parameter: &Parameter) -> Result<Tensor<B, D>> {
        self.tensor_rows(parameter, 0..parameter.shape[0])
    }

    fn tensor_rows<const D: usize>(
        &mut self,
        parameter: &Parameter,
        rows: Range<usize>,
    ) -> Result<Tensor<B, D>> {
        let mut shape = [0; D];
        shape.copy_from_slice(&parameter.shape);
        shape[0] = rows.len();
        let elements: usize = shape.iter().product();
        let bytes = elements as u64 * size_of::<f32>() as u64;
        if let Some(largest) = self.largest.filter(|&largest| largest < bytes) {
            return Err(too_large("", &parameter.key, "a tensor", bytes, largest));
        }
        match (self.values)(parameter, rows)? {
            Some(values) if values.len() == elements => {
                Ok(Tensor::from_data(TensorData::new(values, shape), self.device))
            }
            Some(values) => Err(Error::Setting {
                place: parameter.key.clone(),
                expected: format!("{elements} values"),
                found: values.len().to_string(),
            }),
            None => Ok(match parameter.fill {
                Fill::Constant(value) => Tensor::full(shape, value, self.device),
                Fill::Normal { std } => {
                    Tensor::random(shape, Distribution::Normal(0.0, std), self.device)
                }
                Fill::Uniform { bound } => {
                    Tensor::random(shape, Distribution::Uniform(-bound, bound), self.device)
                }
            }),
        }
    }
}

fn pointwise(step: &Step, layer: Layer) -> Result<Pointwise> {
    match layer {
        Layer::Relu => Ok(Pointwise::Relu(Relu::new())),
        Layer::Tanh => Ok(Pointwise::Tanh(Tanh::new())),
        Layer::Dropout { p } => Ok(Pointwise::Dropout(DropoutConfig::new(p).init())),
        // The walk has refused these already; a layer kind that is new to the table lands here.
        other => Err(Error::Table {
            place: step.key.clone(),
            expected: "a layer that the burn module knows".into(),
            found: format!("{other:?}"),
        }),
    }
}
