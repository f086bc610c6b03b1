//! [`Filters`]: a convolution's weights, where they lie.
#![allow(unsafe_code)]

use super::simd::{BLOCK, Simd};

/// Weights, `[outputs, inputs / groups, k, k]`, of a convolution or of the one from its output's gradient to its
/// input's, which has rotated kernels, and the channels of the input as outputs.
#[derive(Clone, Copy)]
pub(super) struct Filters<'a> {
    values: &'a [f32],
    /// Output channels of a group, of the convolution that these are the filters of.
    outputs: usize,
    /// Taps of a kernel.
    taps: usize,
    /// Values from one group, output channel of a group, and input channel to the next.
    strides: [usize; 3],
    is_rotated: bool,
}

impl<'a> Filters<'a> {
    /// The weights of a convolution of `[inputs, outputs]` channels a group.
    pub fn new(values: &'a [f32], [inputs, outputs]: [usize; 2], taps: usize) -> Self {
        let strides = [outputs * inputs * taps, inputs * taps, taps];
        Self { values, outputs, taps, strides, is_rotated: false }
    }

    /// From the output's gradient to the input's.
    pub fn rotated(values: &'a [f32], [inputs, outputs]: [usize; 2], taps: usize) -> Self {
        let strides = [outputs * inputs * taps, taps, inputs * taps];
        Self { values, outputs: inputs, taps, strides, is_rotated: true }
    }

    /// Calls `visit` with each tap, from an input channel of a group to the sixteen output channels from `first` on,
    /// which are counted over all groups. Channels beyond the group are anything.
    ///
    /// # Safety
    /// `S` must be available.
    #[inline(always)]
    pub unsafe fn for_each_tap<S: Simd>(
        &self,
        first: usize,
        input: usize,
        mut visit: impl FnMut(usize, S::Vector),
    ) {
        let (group, output) = (first / self.outputs, first % self.outputs);
        let [group_stride, output_stride, input_stride] = self.strides;
        let at = group * group_stride + output * output_stride + input * input_stride;
        let lanes = BLOCK.min(self.outputs - output);
        for start in (0..self.taps).step_by(BLOCK) {
            let count = BLOCK.min(self.taps - start);
            let mut padded = [0.0; BLOCK];
            // SAFETY: guaranteed by the caller; sixteen values from each row's start on are inside the slices.
            let columns = unsafe {
                let mut rows = [S::splat(0.0); BLOCK];
                for (lane, row) in rows.iter_mut().enumerate().take(lanes) {
                    let values = &self.values[at + start + lane * output_stride..];
                    *row = if values.len() >= BLOCK {
                        S::load(values.as_ptr())
                    } else {
                        padded[..values.len()].copy_from_slice(values);
                        S::load(padded.as_ptr())
                    };
                }
                S::transpose(rows)
            };
            for (tap, column) in (start..).zip(columns).take(count) {
                visit(if self.is_rotated { self.taps - 1 - tap } else { tap }, column);
            }
        }
    }
}
