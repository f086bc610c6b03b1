//! Direct convolution, without an im2col matrix.
//!
//! The microkernel reads the feature map in place: for each block of channels and each row of the kernel,
//! all of the row's columns and channels are contiguous. This covers what Winograd's algorithm does not
//! suit: the first layer with its three channels, strides, and kernels of 1×1 and 11×11.
#![allow(unsafe_code)]

use super::algorithm::Algorithm;
use super::feature_map::FeatureMap;
use super::integer_microkernel::{IntegerOutput, IntegerProduct, Scaling, multiply_integers};
use super::integer_packing::IntegerWeights;
use super::microkernel::{OutputPanel, PanelWeights, StridedInput, multiply_panel, rows_in_time};
use super::packed_convolution::{PackedConvolution, Panel};
use super::quantized_images::pixel_len;
use super::simd::{BLOCK, CheckedPtr};
use super::stage::{Stage, Work};
use super::workspace::Workspace;
use std::ops::Range;
use std::sync::Arc;

/// The pixels that an item computes at least, while its weights stay in the cache, if there are few threads.
const PIXELS_PER_ITEM: usize = 112;

/// A convolution, with a fused ReLU if `relu` is set.
#[derive(Clone, Debug)]
pub(super) struct DirectConvolution {
    pub convolution: Arc<PackedConvolution>,
    pub input: FeatureMap,
    /// Index of the buffer of the images' scales, if the input is quantized images.
    pub scales: Option<usize>,
    pub output: FeatureMap,
    pub batch: usize,
    pub relu: bool,
    /// Rows of an item.
    pub rows: usize,
}

impl DirectConvolution {
    /// Rows of an item for few threads.
    pub fn most_rows(output: &FeatureMap) -> usize {
        PIXELS_PER_ITEM.div_ceil(output.width).min(output.height)
    }

    /// Items that the rows of an image are divided into.
    fn chunks(&self) -> usize {
        self.output.height.div_ceil(self.rows)
    }

    /// The panel of an item, its image, and its rows. Consecutive items share a panel: as many rows as
    /// possible use the same weights.
    fn part(&self, item: usize) -> (Panel, usize, Range<usize>) {
        let chunks = self.chunks();
        let (panel, rest) = (item / (self.batch * chunks), item % (self.batch * chunks));
        let (image, first) = (rest / chunks, rest % chunks * self.rows);
        let panel = self.convolution.panel(panel);
        (panel, image, first..(first + self.rows).min(self.output.height))
    }
}

impl Stage for DirectConvolution {
    fn items(&self) -> usize {
        self.convolution.panels() * self.batch * self.chunks()
    }

    fn work(&self, item: usize) -> Work {
        let (panel, _, rows) = self.part(item);
        let convolution = &self.convolution;
        let outputs = panel.blocks * BLOCK;
        let weights = (convolution.inner_len(Algorithm::Direct) * outputs) as f64;
        let pixels = rows.len() * rows_in_time(convolution.isa, self.output.width);
        let items_of_panel = (self.batch * self.chunks()) as f64;
        let share = outputs as f64 / convolution.outputs.next_multiple_of(BLOCK) as f64;
        let bytes = convolution.weight_bytes(Algorithm::Direct) as f64 * share;
        Work {
            multiply_adds: convolution.f32_multiply_adds(pixels as f64 * weights),
            new_bytes: bytes / items_of_panel,
            cached_bytes: bytes * (1.0 - 1.0 / items_of_panel),
            ..Work::default()
        }
    }

    fn run(&self, item: usize, _: usize, workspace: &Workspace) {
        let input = workspace.buffer(self.input.buffer);
        let output = workspace.buffer(self.output.buffer);
        // SAFETY: the plan chose an available instruction set, padded the input for this kernel and
        // stride, and packed the weights for this algorithm. No two items share a row of a panel. With
        // integers, the plan reserved a scale for each image.
        unsafe {
            if let Some(scales) = self.scales {
                let Ok(weights) = self.convolution.integers(Algorithm::Direct) else { return };
                convolve_integers(self, item, [input, workspace.buffer(scales)], weights, output);
            } else {
                let Ok(weights) = self.convolution.packed(Algorithm::Direct) else { return };
                convolve(self, item, input, weights.ptr(), output);
            }
        }
    }
}

/// # Safety
/// As for [`multiply_panel`], for the item's rows.
unsafe fn convolve(
    stage: &DirectConvolution,
    item: usize,
    input: CheckedPtr,
    weights: CheckedPtr,
    output: CheckedPtr,
) {
    let (from, to, conv) = (&stage.input, &stage.output, &*stage.convolution);
    let (panel, image, rows) = stage.part(item);
    let strides = StridedInput {
        blocks: conv.input_blocks(),
        block_stride: from.block_stride(),
        rows: conv.kernel,
        row_stride: from.row_stride(),
        row_len: conv.kernel * from.channels_per_block,
        pixel_stride: conv.stride * from.channels_per_block,
        blocks_of_sum: conv.input_blocks(),
    };
    let weights = weights.add(panel.first_block * BLOCK * strides.inner_len());
    let weights = PanelWeights::in_sequence(weights);
    let first_input_block = panel.group * conv.input_blocks();
    let bias = conv.bias.ptr().add(panel.first_block * BLOCK);
    for y in rows {
        let window = from.padded_offset(image, first_input_block, y * conv.stride, 0);
        let row = OutputPanel {
            ptr: output.add(to.offset(image, panel.first_block, y, 0)),
            block_stride: to.block_stride(),
            bias: Some(bias),
            relu: stage.relu,
        };
        // SAFETY: guaranteed by the caller.
        unsafe {
            let input = input.add(window);
            multiply_panel(conv.isa, to.width, panel.blocks, &strides, input, weights, row);
        }
    }
}

/// The same on quantized images and their scales.
///
/// # Safety
/// As for [`multiply_integers`], for the item's rows.
unsafe fn convolve_integers(
    stage: &DirectConvolution,
    item: usize,
    [input, scales]: [CheckedPtr; 2],
    weights: &IntegerWeights,
    output: CheckedPtr,
) {
    let (from, to, conv) = (&stage.input, &stage.output, &*stage.convolution);
    let (panel, image, rows) = stage.part(item);
    let product = IntegerProduct {
        rows: to.width,
        columns: panel.blocks,
        segments: conv.kernel,
        segment_stride: from.row_stride(),
        pairs: conv.row_pairs(),
        row_stride: conv.stride * pixel_len(conv.inputs, conv.stride) / 2,
    };
    let first = panel.first_block * BLOCK;
    // SAFETY: guaranteed by the caller.
    let scale = unsafe { scales.add(image).read() };
    let (units, bias) = (weights.units.ptr().add(first), conv.bias.ptr().add(first));
    let scaling = Scaling { units, scale, bias, relu: stage.relu };
    let weights = weights.weights.ptr().add(first * conv.pairs(Algorithm::Direct));
    let weights = PanelWeights::in_sequence(weights);
    for y in rows {
        let window = from.padded_offset(image, 0, y * conv.stride, 0);
        let ptr = output.add(to.offset(image, panel.first_block, y, 0));
        let row = IntegerOutput { ptr, block_stride: to.block_stride(), scaling: Some(scaling) };
        // SAFETY: guaranteed by the caller.
        unsafe { multiply_integers(conv.isa, product, input.add(window), weights, row) }
    }
}
