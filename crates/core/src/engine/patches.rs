//! A first convolution with a stride, as one with stride 1 on patches (space to depth).
//!
//! AlexNet's first layer, 11×11 with stride 4, moves by whole patches of 4×4 pixels. With the pixels of a patch as
//! channels, it is a 3×3 convolution with stride 1 of 48 channels, whose twelfth row and column of taps are zero, and
//! Winograd's algorithm computes it with a quarter of the multiplications.

use super::packed_convolution::ConvolutionSpec;
use crate::array::zeros;
use crate::error::Result;
use std::sync::Arc;

/// The kernels that Winograd's algorithms have: see [`Algorithm`](super::algorithm::Algorithm).
const WINOGRAD_KERNELS: [usize; 2] = [3, 5];

/// The most channels of a patch: those of images of four channels in AlexNet. With more, 16-bit integers were not exact
/// enough for maps of a few pixels.
const MAX_CHANNELS: usize = 64;

/// The fewest output channels: narrow networks do not average rounding errors out. For an AlexNet an eighth as wide as the
/// paper's, 1.1e-5 of the largest logit was measured.
const MIN_OUTPUTS: usize = 32;

/// How an image is cut into patches: of `side` × `side` pixels, the first of which begins `padding` pixels above and to
/// the left of the image.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Patches {
    pub side: usize,
    pub padding: usize,
}

impl Patches {
    /// Each pixel is a patch.
    pub const PIXELS: Self = Self { side: 1, padding: 0 };

    /// The channel, row and column of a pixel in the image that a channel of the patches contains.
    pub fn pixel(self, channel: usize) -> [usize; 3] {
        let Self { side, .. } = self;
        [channel / (side * side), channel / side % side, channel % side]
    }
}

/// The same convolution on patches, if Winograd's algorithms can compute it then, and accurately enough.
///
/// # Errors
/// [`Error::OutOfMemory`](crate::Error::OutOfMemory) if memory runs out.
pub(super) fn on_patches(spec: &ConvolutionSpec) -> Result<Option<(ConvolutionSpec, Patches)>> {
    let &ConvolutionSpec { inputs, outputs, kernel, stride, padding, groups, .. } = spec;
    let taps = kernel.div_ceil(stride);
    // Saturates: a stride may be as large as a number can be.
    let channels = inputs.saturating_mul(stride).saturating_mul(stride);
    let is_faster = stride > 1 && groups == 1 && WINOGRAD_KERNELS.contains(&taps);
    if !is_faster || channels > MAX_CHANNELS || outputs < MIN_OUTPUTS {
        return Ok(None);
    }
    let patches = Patches { side: stride, padding };
    let mut weight = zeros(&[outputs, channels, taps, taps])?;
    for (row, weight) in weight.chunks_exact_mut(taps * taps).enumerate() {
        let (output, channel) = (row / channels, row % channels);
        let [input, y, x] = patches.pixel(channel);
        let kernels = &spec.weight[(output * inputs + input) * kernel * kernel..];
        for (tap, weight) in weight.iter_mut().enumerate() {
            let [y, x] = [tap / taps * stride + y, tap % taps * stride + x];
            if y < kernel && x < kernel {
                *weight = kernels[y * kernel + x];
            }
        }
    }
    let spec = ConvolutionSpec {
        inputs: channels,
        kernel: taps,
        stride: 1,
        padding: 0,
        weight: Arc::new(weight),
        bias: spec.bias.clone(),
        scale: spec.scale.clone(),
        ..*spec
    };
    Ok(Some((spec, patches)))
}
