//! ReLU and its gradient.

use rayon::prelude::*;

/// Values that a thread takes at once.
const CHUNK: usize = 1 << 15;

/// Sets negative values to 0. NaN stays NaN, as in PyTorch.
///
/// # Panics
/// If the slices have different lengths.
pub fn relu(input: &[f32], output: &mut [f32]) {
    assert_eq!(input.len(), output.len(), "values of ReLU");
    output.par_chunks_mut(CHUNK).zip(input.par_chunks(CHUNK)).for_each(|(output, input)| {
        for (output, &value) in output.iter_mut().zip(input) {
            *output = if value < 0.0 { 0.0 } else { value };
        }
    });
}

/// The gradient of the input of [`relu`], in place of its output: that of the output, where the output is above 0 or
/// NaN.
///
/// # Panics
/// If the slices have different lengths.
pub fn relu_gradient(output_gradient: &[f32], output: &mut [f32]) {
    assert_eq!(output.len(), output_gradient.len(), "gradients of ReLU");
    let from = output_gradient.par_chunks(CHUNK);
    output.par_chunks_mut(CHUNK).zip(from).for_each(|(output, gradient)| {
        for (value, &gradient) in output.iter_mut().zip(gradient) {
            *value = if *value <= 0.0 { 0.0 } else { gradient };
        }
    });
}
