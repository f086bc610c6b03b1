//! The burn module of any table: it walks the table once to build its layers, and then runs them.

use super::batch_plan::{BatchPlan, join};
use super::capacity::Capacity;
use super::last_compiled::LastCompiled;
use super::layer_modules::{LayerBuilder, MapLayer, ParameterValues, VectorLayer, is_trained};
use super::tap::{Tap, join_taps};
use super::{Architecture, IntoArchitecture, Parameter, Section, Shape, Step, Table};
use crate::backend;
use crate::engine::ForwardTensors;
use crate::{Error, Metadata, Result};
use burn::backend::Autodiff;
use burn::module::{AutodiffModule, Module};
use burn::nn::pool::{AdaptiveAvgPool2d, AdaptiveAvgPool2dConfig};
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;
use std::ops::Range;

/// An AlexNet is a [`Network`] whose table [`AlexNetConfig`](super::AlexNetConfig) wrote.
pub type AlexNet<B> = Network<B>;

/// A VGG is a [`Network`] whose table [`VggConfig`](super::VggConfig) wrote.
pub type Vgg<B> = Network<B>;

/// A network of any [`Architecture`], on any burn backend: for inference, and on an autodiff backend for
/// training.
///
/// ```
/// use alexnet_vgg::{backend::Cpu, models::{InitNetwork, Vgg, VggConfig}};
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
    pub(crate) features: Vec<MapLayer<B>>,
    avgpool: AdaptiveAvgPool2d,
    pub(crate) classifier: Vec<VectorLayer<B>>,
    #[module(skip)]
    architecture: Architecture,
    #[module(skip)]
    metadata: Metadata,
    #[module(skip)]
    pub(super) last_compiled: LastCompiled,
}

impl<B: Backend> Network<B> {
    /// A fresh network with random weights, drawn as the table says. Seed the draw with
    /// `B::seed(&device, seed)`.
    ///
    /// # Errors
    /// [`Error::Table`] if the table is not valid; [`Error::Backend`] if the device does not exist, one of
    /// the tensors is too large for it, or all of them are far beyond the machine's memory.
    pub fn new(architecture: impl IntoArchitecture, device: &B::Device) -> Result<Self> {
        Self::build(architecture.into_architecture()?, device, &mut |_, _| Ok(None))
    }

    /// A network whose parameters come from `values`. It is called with each parameter and a range of rows
    /// of its first dimension, one of its [chunks](Parameter::row_chunks), and returns these rows, flat, in
    /// PyTorch's order. [`values`](Self::values) is the inverse.
    ///
    /// # Errors
    /// As for [`new`](Self::new), those of `values`, and [`Error::ValueCount`] if it returns the
    /// wrong number of values.
    pub fn from_values(
        architecture: impl IntoArchitecture,
        device: &B::Device,
        mut values: impl FnMut(&Parameter, Range<usize>) -> Result<Vec<f32>>,
    ) -> Result<Self> {
        Self::build(architecture.into_architecture()?, device, &mut |parameter, rows| {
            values(parameter, rows).map(Some)
        })
    }

    /// All constructors end here; `None` from `values` means fresh rows.
    pub(crate) fn build(
        architecture: Architecture,
        device: &B::Device,
        values: ParameterValues,
    ) -> Result<Self> {
        let capacity = Capacity::new::<B>(&architecture.name, device)?;
        capacity.expect_weights(architecture.steps())?;
        let mut builder = LayerBuilder::<B> { device, values, capacity };
        let mut features = Vec::new();
        let mut classifier = Vec::new();
        for step in architecture.steps() {
            match step.section {
                Section::Features => features.push(builder.map_layer(step)?),
                Section::AvgPool => {}
                Section::Classifier => classifier.push(builder.vector_layer(step)?),
            }
        }
        Ok(Self {
            features,
            avgpool: AdaptiveAvgPool2dConfig::new(architecture.pool).init(),
            classifier,
            architecture,
            metadata: Metadata::default(),
            last_compiled: LastCompiled::default(),
        })
    }

    /// The table that this network was built from.
    pub fn architecture(&self) -> &Architecture {
        &self.architecture
    }

    /// Moves the network out, so that its weights can be updated in place; a network without layers
    /// stays behind.
    #[cfg(feature = "train")]
    pub(crate) fn take(&mut self) -> Self {
        let hollow = Self {
            features: Vec::new(),
            avgpool: self.avgpool.clone(),
            classifier: Vec::new(),
            architecture: self.architecture.clone(),
            metadata: Metadata::default(),
            last_compiled: LastCompiled::default(),
        };
        std::mem::replace(self, hollow)
    }

    /// The same network on the autodiff backend, for gradients; its weights are shared.
    pub(super) fn with_gradients(&self) -> Network<Autodiff<B>> {
        Network::from_inner(self.clone())
    }

    /// The device of its parameters.
    pub(crate) fn device(&self) -> B::Device {
        self.devices().into_iter().next().unwrap_or_default()
    }

    /// The metadata of the weights: the preprocessing that they need and the names of their
    /// classes, if the file that they came from states them.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// The same network with other metadata, which must have a label for each class (two for a single logit).
    /// [`save`](Self::save) writes it to the file.
    pub fn with_metadata(self, metadata: Metadata) -> Self {
        Self { metadata, ..self }
    }

    /// The logits: `[N, C, H, W]` to `[N, num_classes]`.
    ///
    /// # Panics
    /// If [`try_forward`](Self::try_forward) returns an error, with its message.
    pub fn forward(&self, images: Tensor<B, 4>) -> Tensor<B, 2> {
        self.try_forward(images).unwrap_or_else(|error| panic!("{error}"))
    }

    /// The logits: `[N, C, H, W]` to `[N, num_classes]`.
    ///
    /// On burn's CPU backends, without autodiff and with weights in f32, this is the compiled engine's pass. The first
    /// [compiles](Self::compile) the network, which takes as long as a few passes and about as much memory as the
    /// weights have; later ones use it again, as long as the weights are the same. So do those of clones and, on an
    /// autodiff backend, of [`valid()`](burn::module::AutodiffModule::valid). The last bits of an image's logits may
    /// differ between batch sizes.
    ///
    /// Where the device limits the size of a tensor, the batch goes through in as many parts as needed.
    /// An image that contains NaN or infinity gets NaN logits (on a GPU, if its driver keeps NaN).
    ///
    /// # Errors
    /// As for [`check`](Self::check), all found before the first kernel runs.
    pub fn try_forward(&self, images: Tensor<B, 4>) -> Result<Tensor<B, 2>> {
        let [batch, ..] = images.dims();
        let plan = self.plan(images.dims(), &images.device())?;
        plan.expect_logits(batch)?;
        if let Some(compiled) = self.compiled_for(&images) {
            return compiled.try_forward(images);
        }
        Ok(join(plan.split(images).map(|part| self.classify(part)).collect()))
    }

    /// Checks that the network takes a batch of `shape` on `device`. This can be called before the
    /// batch exists.
    ///
    /// # Errors
    /// [`Error::InputShape`] for a wrong number of channels or an empty batch,
    /// [`Error::InputTooSmall`] for images that the pools reduce to nothing, [`Error::Backend`] for
    /// images or logits too large for the device, or a batch that is far beyond the memory (on a
    /// CPU, what the allocator refuses; the free memory of a GPU is not known). On an autodiff
    /// backend, it is also returned for maps so large that the device's driver would cut the sum of
    /// a gradient short, and for a batch that would have to go in parts through a batch norm in
    /// training.
    pub fn check(&self, shape: [usize; 4], device: &B::Device) -> Result<()> {
        let plan = self.plan(shape, device)?;
        plan.expect_logits(shape[0])
    }

    /// The output of the last feature layer, `[N, C, H, W]`, as for transfer learning.
    ///
    /// # Errors
    /// As for [`try_forward`](Self::try_forward).
    pub fn features(&self, images: Tensor<B, 4>) -> Result<Tensor<B, 4>> {
        let plan = self.plan(images.dims(), &images.device())?;
        let last = plan.steps.iter().rfind(|step| step.section == Section::Features);
        plan.expect_whole(last, images.dims()[0])?;
        if let Some(maps) = last.and_then(|last| self.compiled_taps(&images, &[&last.key])) {
            return backend::to_tensor(maps?.remove(0), &images.device());
        }
        let parts = plan.split(images).map(|part| {
            let nan_marker = nan_marker(&part).unsqueeze_dims(&[2, 3]);
            self.features.iter().fold(part, |x, layer| layer.forward(x)) + nan_marker
        });
        Ok(join(parts.collect()))
    }

    /// The outputs of the named layers, in the order of the names: torchvision's (`features.3`,
    /// `avgpool`, `classifier.0`) or the papers' (`conv3_1`, `pool5`, `fc7`). A single pass, which stops
    /// at the last layer asked for.
    ///
    /// # Errors
    /// [`Error::UnknownLayer`] for a name that the network does not have, and as for
    /// [`try_forward`](Self::try_forward).
    pub fn taps<S: AsRef<str>>(&self, images: Tensor<B, 4>, names: &[S]) -> Result<Vec<Tap<B>>> {
        let plan = self.plan(images.dims(), &images.device())?;
        let wanted = (names.iter())
            .map(|name| self.architecture.find(name.as_ref()))
            .collect::<Result<Vec<usize>>>()?;
        let tapped = wanted.iter().map(|&index| &plan.steps[index]);
        plan.expect_whole(tapped, images.dims()[0])?;
        if let Some(taps) = self.compiled_taps(&images, names) {
            let tap = |values| Tap::from_array(values, &images.device());
            return Ok(taps?.into_iter().map(tap).collect());
        }
        let parts: Vec<_> = plan.split(images).map(|part| self.tapped(part, &wanted)).collect();
        Ok((0..wanted.len())
            .map(|i| join_taps(parts.iter().map(|part| part[i].clone()).collect()))
            .collect())
    }

    /// The logits, `[N, num_classes]`, computed from the output of `layer` onward. `output` may be
    /// what [`taps`](Self::taps) returned, or a modified version of it: to see what the prediction
    /// depends on or, with gradients (Grad-CAM), which part of the image it comes from.
    ///
    /// # Errors
    /// [`Error::UnknownLayer`]; [`Error::InputShape`] if `output` is a map where the layer gives vectors (or
    /// the reverse), has another number of channels or features, or is too small for what follows;
    /// [`Error::Backend`] for more than the device holds at once.
    pub fn forward_from(&self, layer: &str, output: Tap<B>) -> Result<Tensor<B, 2>> {
        let index = self.architecture.find(layer)?;
        self.expect_output(&self.architecture.steps()[index], index, &output)?;
        let (vectors, next) = match output {
            Tap::Map(maps) => {
                let nan_marker = nan_marker(&maps);
                let rest = self.features.iter().skip(index + 1);
                let maps = rest.fold(maps, |x, layer| layer.forward(x));
                (self.pool(maps).flatten(1, 3) + nan_marker, 0)
            }
            Tap::Vector(vectors) => (vectors, index - self.features.len()),
        };
        let nan_marker = (vectors.clone().detach() * 0.0).sum_dim(1);
        let rest = self.classifier.iter().skip(next);
        Ok(rest.fold(vectors, |x, layer| layer.forward(x)) + nan_marker)
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
                let rest = Table {
                    input: [channels, height, width],
                    features: self.architecture.features.iter().skip(index + 1).copied().collect(),
                    ..self.architecture.table().clone()
                };
                let too_small =
                    |_| wrong(format!("[N, {channels}, H, W], large enough for what follows"));
                let steps = rest.walk([height, width]).map_err(too_small)?;
                let device = maps.device();
                let capacity = Capacity::new::<B>(&self.architecture.name, &device)?;
                let trained = self.features.iter().skip(index + 1).map(is_trained);
                if capacity.images_at_once::<B>(batch, &steps, trained, &device)? < batch {
                    return Err(capacity.refuse(format!("{batch} maps are too many at once")));
                }
                Ok(())
            }
            (Tap::Vector(_), Shape::Vector(_)) if fits => Ok(()),
            (_, Shape::Map(_)) => Err(wrong(format!("[N >= 1, {channels}, H, W]"))),
            (_, Shape::Vector(_)) => Err(wrong(format!("[N >= 1, {channels}]"))),
        }
    }

    fn classify(&self, images: Tensor<B, 4>) -> Tensor<B, 2> {
        let nan_marker = nan_marker(&images);
        let maps = self.features.iter().fold(images, |x, layer| layer.forward(x));
        let vectors = self.pool(maps).flatten(1, 3);
        let logits = self.classifier.iter().fold(vectors, |x, layer| layer.forward(x));
        logits + nan_marker
    }

    pub(crate) fn pool(&self, maps: Tensor<B, 4>) -> Tensor<B, 4> {
        pooled(&self.avgpool, maps)
    }

    fn tapped(&self, images: Tensor<B, 4>, wanted: &[usize]) -> Vec<Tap<B>> {
        let nan_marker = nan_marker(&images);
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
                    Tap::Map(maps) => Tap::Map(maps + nan_marker.clone().unsqueeze_dims(&[2, 3])),
                    Tap::Vector(vectors) => Tap::Vector(vectors + nan_marker.clone()),
                });
            }
        }
        found.into_iter().flatten().collect()
    }

    pub(crate) fn plan(&self, shape: [usize; 4], device: &B::Device) -> Result<BatchPlan<'_>> {
        let trained = self.features.iter().map(is_trained);
        let normalizes = self.features.iter().any(MapLayer::normalizes);
        BatchPlan::new::<B>(&self.architecture, shape, trained, normalizes, device)
    }
}

/// Averaging over windows of one pixel is the identity, which needs no pass over the memory.
pub(super) fn pooled<B: Backend>(pool: &AdaptiveAvgPool2d, maps: Tensor<B, 4>) -> Tensor<B, 4> {
    let [_, _, h, w] = maps.dims();
    if [h, w] == pool.output_size { maps } else { pool.forward(maps) }
}

/// `[N, 1]`: 0 for a finite image, NaN for one that contains NaN or infinity. Added to the output, because
/// burn's ReLU and max pool turn NaN into finite values that look like an answer; PyTorch's pass it on.
pub(crate) fn nan_marker<B: Backend>(images: &Tensor<B, 4>) -> Tensor<B, 2> {
    let pixels: Tensor<B, 2> = images.clone().detach().flatten(1, 3);
    // Zeros first: a sum of pixels could overflow, above all in f16.
    (pixels * 0.0).sum_dim(1)
}
