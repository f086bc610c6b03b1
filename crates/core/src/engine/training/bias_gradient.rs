//! The gradient of a convolution's bias: the sum of each channel's gradients.

use rayon::prelude::*;

/// Values that are added in f32 before their sum is added in f64.
const CHUNK: usize = 256;

/// Sums gradients, `[N, C, plane]`, into `bias`, `[C]`.
pub fn bias_gradient(gradient: &[f32], plane: usize, bias: &mut [f32]) {
    let channels = bias.len();
    bias.par_iter_mut().enumerate().for_each(|(channel, bias)| {
        let planes = gradient.chunks(plane).skip(channel).step_by(channels);
        *bias = planes.flat_map(|plane| plane.chunks(CHUNK)).map(sum_chunk).sum::<f64>() as f32;
    });
}

/// In sixteen lanes, which the compiler vectorizes.
fn sum_chunk(values: &[f32]) -> f64 {
    let (whole, rest) = values.as_chunks::<16>();
    let mut lanes = [0.0f32; 16];
    for values in whole {
        for (lane, value) in lanes.iter_mut().zip(values) {
            *lane += value;
        }
    }
    lanes.iter().chain(rest).map(|&value| f64::from(value)).sum()
}
