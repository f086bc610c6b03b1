//! burn's layers for the rows of a table: what they are, how they are built, and their forward passes.

use super::batch_norm;
use super::capacity::Capacity;
#[cfg(any(feature = "flex", feature = "ndarray"))]
use super::kernels;
use super::{Fill, Layer, Linear, Lrn, Parameter, Step};
use crate::{Error, Result};
use burn::module::{Module, ModuleVisitor, Param, RunningState};
use burn::nn::conv::Conv2d;
use burn::nn::pool::{MaxPool2d, MaxPool2dConfig};
use burn::nn::{BatchNorm, Dropout, DropoutConfig, PaddingConfig2d, Relu, Tanh};
use burn::tensor::backend::Backend;
use burn::tensor::{Distribution, Tensor, TensorData};
use std::ops::Range;

/// Returns rows of a parameter, or `None` for fresh ones.
pub(crate) type ParameterValues<'a> =
    &'a mut dyn FnMut(&Parameter, Range<usize>) -> Result<Option<Vec<f32>>>;

/// A layer of the features: `[N, C, H, W]` to `[N, C', H', W']`.
#[derive(Module, Debug)]
pub(crate) enum MapLayer<B: Backend> {
    Conv(Conv2d<B>),
    BatchNorm(BatchNorm<B>),
    Lrn(Lrn),
    MaxPool(MaxPool2d),
    Pointwise(Pointwise),
    /// Uses its running statistics on every backend. Last, because burn's binary records number variants.
    FrozenBatchNorm(BatchNorm<B>),
}

/// A layer of the classifier: `[N, in]` to `[N, out]`.
#[derive(Module, Debug)]
pub(crate) enum VectorLayer<B: Backend> {
    Linear(Linear<B>),
    Pointwise(Pointwise),
}

/// Whether any of its parameters requires a gradient.
pub(crate) fn is_trained<B: Backend>(module: &impl Module<B>) -> bool {
    struct Any(bool);
    impl<B: Backend> ModuleVisitor<B> for Any {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
            self.0 |= param.is_require_grad();
        }
    }
    let mut any = Any(false);
    module.visit(&mut any);
    any.0
}

/// A layer that maps every value by itself, whatever the shape.
#[derive(Module, Clone, Debug)]
pub(crate) enum Pointwise {
    Relu(Relu),
    Tanh(Tanh),
    Dropout(Dropout),
}

impl<B: Backend> MapLayer<B> {
    /// Whether it uses the statistics of the batch in training.
    pub fn normalizes(&self) -> bool {
        matches!(self, Self::BatchNorm(_))
    }

    pub fn forward(&self, x: Tensor<B, 4>) -> Tensor<B, 4> {
        match self {
            MapLayer::Conv(conv) => convolve(conv, x),
            MapLayer::BatchNorm(norm) if B::ad_enabled(&x.device()) => {
                batch_norm::of_batch(norm, x)
            }
            MapLayer::BatchNorm(norm) | MapLayer::FrozenBatchNorm(norm) => {
                batch_norm::by_running(norm, x)
            }
            MapLayer::Lrn(lrn) => lrn.forward(x),
            MapLayer::MaxPool(pool) => max_pool(pool, x),
            MapLayer::Pointwise(pointwise) => pointwise.forward(x),
        }
    }
}

impl<B: Backend> VectorLayer<B> {
    pub fn forward(&self, x: Tensor<B, 2>) -> Tensor<B, 2> {
        match self {
            VectorLayer::Linear(linear) => linear.forward(x),
            VectorLayer::Pointwise(pointwise) => pointwise.forward(x),
        }
    }
}

impl Pointwise {
    fn forward<B: Backend, const D: usize>(&self, x: Tensor<B, D>) -> Tensor<B, D> {
        match self {
            Pointwise::Relu(relu) => apply_relu(relu, x),
            Pointwise::Tanh(tanh) => tanh.forward(x),
            Pointwise::Dropout(dropout) => dropout.forward(x),
        }
    }
}

/// On the engine's kernels where they apply, as [`max_pool`] and [`apply_relu`].
fn convolve<B: Backend>(conv: &Conv2d<B>, x: Tensor<B, 4>) -> Tensor<B, 4> {
    #[cfg(any(feature = "flex", feature = "ndarray"))]
    let x = match kernels::convolve(conv, x) {
        Ok(y) => return y,
        Err(x) => x,
    };
    conv.forward(x)
}

fn max_pool<B: Backend>(pool: &MaxPool2d, x: Tensor<B, 4>) -> Tensor<B, 4> {
    #[cfg(feature = "flex")]
    let x = match kernels::max_pool(pool, x) {
        Ok(y) => return y,
        Err(x) => x,
    };
    pool.forward(x)
}

fn apply_relu<B: Backend, const D: usize>(relu: &Relu, x: Tensor<B, D>) -> Tensor<B, D> {
    #[cfg(feature = "flex")]
    let x = match kernels::relu(x) {
        Ok(y) => return y,
        Err(x) => x,
    };
    relu.forward(x)
}

/// Makes burn's layers from the steps of a table.
pub(super) struct LayerBuilder<'a, B: Backend> {
    pub device: &'a B::Device,
    pub values: ParameterValues<'a>,
    pub capacity: Capacity<'a>,
}

impl<B: Backend> LayerBuilder<'_, B> {
    pub fn map_layer(&mut self, step: &Step) -> Result<MapLayer<B>> {
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
            Layer::Lrn { size, alpha, beta, k, groups } => {
                MapLayer::Lrn(Lrn::new(size, alpha, beta, k).with_groups(groups))
            }
            Layer::MaxPool { kernel, stride } => MapLayer::MaxPool(
                MaxPool2dConfig::new([kernel; 2]).with_strides([stride; 2]).init(),
            ),
            other => MapLayer::Pointwise(pointwise(step, other)?),
        })
    }

    pub fn vector_layer(&mut self, step: &Step) -> Result<VectorLayer<B>> {
        Ok(match step.layer {
            Layer::Linear { .. } => {
                let bias = self.param(&step.parameters[1])?;
                let weight = &step.parameters[0];
                VectorLayer::Linear(Linear::new(weight, bias, |rows| self.rows(weight, rows))?)
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
        self.capacity.expect_tensor(&parameter.key, elements as u64)?;
        match (self.values)(parameter, rows)? {
            Some(values) if values.len() == elements => {
                Ok(Tensor::from_data(TensorData::new(values, shape), self.device))
            }
            Some(values) => Err(Error::ValueCount {
                place: parameter.key.clone(),
                expected: elements,
                found: values.len(),
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
        // A valid table has no others; a kind of layer that is new to the table would end up here.
        other => Err(Error::Table {
            place: step.key.clone(),
            expected: "a layer that the burn module knows".into(),
            found: format!("{other:?}"),
        }),
    }
}
