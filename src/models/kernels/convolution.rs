//! Convolution, on the backends that have an operation of ours.

#[cfg(feature = "flex")]
use super::flex_convolution::{forward, tracked};
#[cfg(feature = "ndarray")]
use super::ndarray_convolution;
#[cfg(feature = "flex")]
use super::supported_convolution::Kernels;
use super::supported_convolution::kernels_for;
use crate::backend::cast;
#[cfg(feature = "flex")]
use burn::backend::Autodiff;
#[cfg(feature = "flex")]
use burn::backend::autodiff::checkpoint::strategy::{BalancedCheckpointing, NoCheckpointing};
use burn::nn::conv::Conv2d;
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;
use burn::tensor::ops::FloatTensor;
#[cfg(feature = "flex")]
use burn_flex::Flex;
#[cfg(feature = "ndarray")]
use burn_ndarray::NdArray;

/// Convolves on Flex and on NdArray, or returns the input where burn has to.
pub fn convolve<B: Backend>(
    conv: &Conv2d<B>,
    x: Tensor<B, 4>,
) -> Result<Tensor<B, 4>, Tensor<B, 4>> {
    let Some(bias) = &conv.bias else { return Err(x) };
    let Some(convolution) = kernels_for(conv, x.dims()) else { return Err(x) };
    let parameters = (conv.weight.val(), bias.val());
    #[cfg(feature = "flex")]
    let x = match convolve_on_flex(&convolution, x, &parameters) {
        Ok(y) => return Ok(y),
        Err(x) => x,
    };
    #[cfg(feature = "ndarray")]
    let x = match on::<B, NdArray>(x, &parameters, |x, weight, bias| {
        ndarray_convolution::forward(&convolution, &x, &weight, &bias)
    }) {
        Ok(y) => return Ok(y),
        Err(x) => x,
    };
    Err(x)
}

#[cfg(feature = "flex")]
fn convolve_on_flex<B: Backend>(
    convolution: &Kernels,
    x: Tensor<B, 4>,
    parameters: &(Tensor<B, 4>, Tensor<B, 1>),
) -> Result<Tensor<B, 4>, Tensor<B, 4>> {
    on::<B, Flex>(x, parameters, |x, weight, bias| forward(convolution, &x, &weight, &bias))
        .or_else(|x| {
            on::<B, Autodiff<Flex, NoCheckpointing>>(x, parameters, |x, weight, bias| {
                tracked::<NoCheckpointing>(convolution, x, weight, bias)
            })
        })
        .or_else(|x| {
            on::<B, Autodiff<Flex, BalancedCheckpointing>>(x, parameters, |x, weight, bias| {
                tracked::<BalancedCheckpointing>(convolution, x, weight, bias)
            })
        })
}

/// Computes with the tensors of backend `T` if `B` is the same; else, or if `compute` has no result, returns the input.
fn on<B: Backend, T: Backend>(
    x: Tensor<B, 4>,
    (weight, bias): &(Tensor<B, 4>, Tensor<B, 1>),
    compute: impl FnOnce(FloatTensor<T>, FloatTensor<T>, FloatTensor<T>) -> Option<FloatTensor<T>>,
) -> Result<Tensor<B, 4>, Tensor<B, 4>> {
    let (Some(input), Some(weight), Some(bias)) =
        (cast::to::<B, T, 4>(&x), cast::to::<B, T, 4>(weight), cast::to::<B, T, 1>(bias))
    else {
        return Err(x);
    };
    compute(input, weight, bias).and_then(cast::from::<B, T, 4>).ok_or(x)
}
