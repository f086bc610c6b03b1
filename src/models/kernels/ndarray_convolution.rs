//! A convolution on burn's backend NdArray.

use super::supported_convolution::Kernels;
use burn::tensor::TensorData;
use burn_ndarray::NdArrayTensor;

/// The output; `None` for tensors that are not contiguous or not f32, or without memory.
pub fn forward(
    kernels: &Kernels,
    x: &NdArrayTensor,
    weight: &NdArrayTensor,
    bias: &NdArrayTensor,
) -> Option<NdArrayTensor> {
    let (NdArrayTensor::F32(x), NdArrayTensor::F32(weight), NdArrayTensor::F32(bias)) =
        (x, weight, bias)
    else {
        return None;
    };
    let (x, weight, bias) = (x.view(), weight.view(), bias.view());
    let mut output = vec![0.0; kernels.output.iter().product()];
    kernels
        .convolution
        .forward(x.as_slice()?, weight.as_slice()?, bias.as_slice()?, &mut output)
        .ok()?;
    Some(NdArrayTensor::from_data(TensorData::new(output, kernels.output)))
}
