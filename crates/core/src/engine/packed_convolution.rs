//! [`PackedConvolution`]: a convolution's weights, packed for every algorithm that a plan uses.
//!
//! The original weights are kept, with the scales of a folded batch norm. They are packed for an
//! algorithm when a plan first needs it: `[panel][product][inner][block][16]`, the order in which the
//! microkernel reads them.
#![allow(unsafe_code)]

use super::algorithm::Algorithm;
use super::buffer::Buffer;
use super::minimal_filtering::filter_transform;
use super::simd::{BLOCK, Isa, Simd, dispatch};
use crate::array::zeros;
use crate::error::Result;
use rayon::prelude::*;
use std::sync::{Arc, OnceLock};

/// The fewest channels per output for which tiles of seven or eight inputs are allowed. Their rounding
/// error is up to 1e-5 of the largest output where hundreds of channels average it out, and was measured
/// as 2e-5 with a dozen.
const MIN_CHANNELS_OF_LARGE_TILES: usize = 32;

/// Sides of the largest tile and of the largest kernel that Winograd's algorithms have here, and their squares.
const MAX_TILE: usize = 8;
const MAX_KERNEL: usize = 5;
const MAX_TAPS: usize = MAX_KERNEL * MAX_KERNEL;
const MAX_PRODUCTS: usize = MAX_TILE * MAX_TILE;

/// Blocks of output channels that the microkernel computes together.
#[derive(Clone, Copy, Debug)]
pub(super) struct Panel {
    /// Its first block, counted over all output channels.
    pub first_block: usize,
    pub blocks: usize,
    /// The group of the convolution that it belongs to.
    pub group: usize,
}

/// A convolution with its weights.
#[derive(Debug)]
pub(super) struct PackedConvolution {
    pub isa: Isa,
    pub inputs: usize,
    pub outputs: usize,
    pub kernel: usize,
    pub stride: usize,
    pub padding: usize,
    /// Input channels that each output sums over.
    channels_per_output: usize,
    /// Either one group, or groups of whole blocks of channels: smaller ones have been merged.
    pub groups: usize,
    /// Of the input: see [`FeatureMap`](super::feature_map::FeatureMap).
    pub channels_per_block: usize,
    /// `[outputs, inputs / groups, kernel, kernel]`, with merged groups.
    weight: Arc<Vec<f32>>,
    /// The scale of each output channel by a folded batch norm.
    scale: Option<Vec<f64>>,
    /// `[outputs]`, padded to whole blocks.
    pub bias: Buffer,
    packed: [OnceLock<Buffer>; Algorithm::ALL.len()],
}

/// A convolution as the architecture defines it.
#[derive(Clone)]
pub(super) struct ConvolutionSpec {
    pub inputs: usize,
    pub outputs: usize,
    pub kernel: usize,
    pub stride: usize,
    pub padding: usize,
    pub groups: usize,
    /// `[outputs, inputs / groups, kernel, kernel]`
    pub weight: Arc<Vec<f32>>,
    /// `[outputs]`
    pub bias: Vec<f32>,
    /// `[outputs]`: the scales of a folded batch norm.
    pub scale: Option<Vec<f64>>,
}

impl PackedConvolution {
    pub fn new(isa: Isa, spec: ConvolutionSpec, channels_per_block: usize) -> Result<Self> {
        let ConvolutionSpec {
            inputs,
            outputs,
            kernel,
            stride,
            padding,
            groups,
            weight,
            bias,
            scale,
        } = spec;
        let channels_per_output = inputs / groups;
        let merged = groups_to_merge([inputs, outputs], groups);
        let weight = match merged {
            1 => weight,
            _ => Arc::new(merge_groups(&weight, [inputs, outputs], kernel, groups, merged)?),
        };
        let groups = groups / merged;
        let mut padded_bias = Buffer::zeros(outputs.next_multiple_of(BLOCK))?;
        padded_bias.as_mut_slice()[..outputs].copy_from_slice(&bias);
        Ok(Self {
            isa,
            inputs,
            outputs,
            kernel,
            stride,
            padding,
            channels_per_output,
            groups,
            channels_per_block,
            weight,
            scale,
            bias: padded_bias,
            packed: Default::default(),
        })
    }

    /// Whether an algorithm can compute it accurately enough.
    pub fn allows(&self, algorithm: Algorithm) -> bool {
        match algorithm.tile_size() {
            None => true,
            Some(size) => {
                let is_accurate =
                    size.inputs <= 6 || self.channels_per_output >= MIN_CHANNELS_OF_LARGE_TILES;
                self.kernel == size.kernel
                    && self.stride == 1
                    && self.channels_per_block == BLOCK
                    && is_accurate
            }
        }
    }

    /// Height or width of the output, for that of the input.
    pub fn output_side(&self, side: usize) -> usize {
        (side + 2 * self.padding - self.kernel) / self.stride + 1
    }

    /// Rows and columns of the padded input that an algorithm reads for `[height, width]` outputs: whole tiles,
    /// with Winograd's algorithms.
    pub fn inputs_read(&self, algorithm: Algorithm, [height, width]: [usize; 2]) -> [usize; 2] {
        let tiles = algorithm.tiles([height, width]);
        let read = |outputs: usize, tiles: usize| match algorithm.tile_size() {
            None => (outputs - 1) * self.stride + self.kernel,
            Some(size) => tiles * size.outputs + size.kernel - 1,
        };
        [read(height, tiles[0]), read(width, tiles[1])]
    }

    /// Blocks of input channels of a group.
    pub fn input_blocks(&self) -> usize {
        (self.inputs / self.groups).div_ceil(self.channels_per_block)
    }

    /// Blocks of output channels of a group.
    fn output_blocks(&self) -> usize {
        (self.outputs / self.groups).div_ceil(BLOCK)
    }

    fn panels_per_group(&self) -> usize {
        self.output_blocks().div_ceil(self.isa.nr_blocks())
    }

    pub fn panels(&self) -> usize {
        self.groups * self.panels_per_group()
    }

    pub fn panel(&self, index: usize) -> Panel {
        let blocks = self.isa.nr_blocks();
        let (group, panel) = (index / self.panels_per_group(), index % self.panels_per_group());
        let first = panel * blocks;
        let blocks = blocks.min(self.output_blocks() - first);
        Panel { first_block: group * self.output_blocks() + first, blocks, group }
    }

    /// The inner dimension of each matrix product (K in BLAS): packed weights of an output channel.
    pub fn inner_len(&self, algorithm: Algorithm) -> usize {
        match algorithm {
            Algorithm::Direct => {
                self.input_blocks() * self.kernel * self.kernel * self.channels_per_block
            }
            _ => self.input_blocks() * BLOCK,
        }
    }

    /// Bytes of the packed weights.
    pub fn weight_bytes(&self, algorithm: Algorithm) -> usize {
        4 * algorithm.products()
            * self.inner_len(algorithm)
            * self.groups
            * self.output_blocks()
            * BLOCK
    }

    /// The packed weights: `[panel][product][inner][block][16]`. Packs them on the first call.
    ///
    /// # Errors
    /// As for [`Buffer::zeros`].
    pub fn packed(&self, algorithm: Algorithm) -> Result<&Buffer> {
        let slot = &self.packed[algorithm as usize];
        if slot.get().is_none() {
            let packed = self.pack(algorithm)?;
            // Another thread may have packed the same weights meanwhile.
            let _ = slot.set(packed);
        }
        Ok(slot.get_or_init(|| unreachable!("the slot was set above")))
    }

    fn pack(&self, algorithm: Algorithm) -> Result<Buffer> {
        let mut buffer = Buffer::zeros(self.weight_bytes(algorithm) / 4)?;
        let block_len = algorithm.products() * self.inner_len(algorithm) * BLOCK;
        let g = filter_transform(algorithm);
        let mut rest = buffer.as_mut_slice();
        let mut panels = Vec::with_capacity(self.panels());
        for index in 0..self.panels() {
            let panel = self.panel(index);
            let (packed, after) = rest.split_at_mut(panel.blocks * block_len);
            panels.push((panel, packed));
            rest = after;
        }
        panels.into_par_iter().for_each(|(panel, packed)| {
            // SAFETY: the instruction set is one that this machine has.
            unsafe {
                dispatch!(self.isa, pack_panel(
                    convolution: &PackedConvolution = self, panel: Panel = panel,
                    algorithm: Algorithm = algorithm, g: &[Vec<f64>] = &g, packed: &mut [f32] = packed,
                ))
            }
        });
        Ok(buffer)
    }
}

/// A number for each of the output channels of a block.
type Lanes = [f64; BLOCK];

/// Packs the weights of a panel.
///
/// # Safety
/// `S` must be available.
#[inline(always)]
unsafe fn pack_panel<S: Simd>(
    convolution: &PackedConvolution,
    panel: Panel,
    algorithm: Algorithm,
    g: &[Vec<f64>],
    packed: &mut [f32],
) {
    let (kernel, inputs) = (convolution.kernel, convolution.inputs / convolution.groups);
    let per_block = convolution.channels_per_block;
    let columns = panel.blocks * BLOCK;
    let product_len = convolution.inner_len(algorithm) * columns;
    let mut taps = [[0.0; BLOCK]; MAX_TAPS];
    let mut products = [[0.0; BLOCK]; MAX_PRODUCTS];
    for block in 0..panel.blocks {
        let first = (panel.first_block + block) * BLOCK;
        for input in 0..inputs {
            if algorithm == Algorithm::Direct {
                for tap in 0..kernel * kernel {
                    let inner =
                        (input / per_block * kernel * kernel + tap) * per_block + input % per_block;
                    let values = convolution.taps(first, input, tap);
                    store(values, &mut packed[inner * columns + block * BLOCK..]);
                }
            } else {
                for (tap, values) in taps.iter_mut().enumerate().take(kernel * kernel) {
                    *values = convolution.taps(first, input, tap);
                }
                transform_filters(g, &taps, &mut products);
                for (product, values) in products.iter().enumerate().take(algorithm.products()) {
                    let at = product * product_len + input * columns + block * BLOCK;
                    store(*values, &mut packed[at..]);
                }
            }
        }
    }
}

impl PackedConvolution {
    /// One tap of the kernels from an input channel to a block of output channels, scaled; 0 for channels that do not
    /// exist.
    #[inline(always)]
    fn taps(&self, first: usize, input: usize, tap: usize) -> Lanes {
        let (taps, inputs) = (self.kernel * self.kernel, self.inputs / self.groups);
        std::array::from_fn(|lane| {
            let output = first + lane;
            if output >= self.outputs {
                return 0.0;
            }
            let scale = self.scale.as_ref().map_or(1.0, |scale| scale[output]);
            f64::from(self.weight[(output * inputs + input) * taps + tap]) * scale
        })
    }
}

#[inline(always)]
fn store(values: Lanes, to: &mut [f32]) {
    for (to, value) in to.iter_mut().zip(values) {
        *to = value as f32;
    }
}

/// `G w Gᵀ` of the filters of a block: `r * r` taps to `n * n` products.
#[inline(always)]
fn transform_filters(
    g: &[Vec<f64>],
    taps: &[Lanes; MAX_TAPS],
    products: &mut [Lanes; MAX_PRODUCTS],
) {
    let (n, r) = (g.len(), g[0].len());
    // `G w`
    let mut columns = [[[0.0; BLOCK]; MAX_KERNEL]; MAX_TILE];
    for (columns, row) in columns.iter_mut().zip(g) {
        for (x, column) in columns.iter_mut().enumerate().take(r) {
            *column = weighted_sum(row, |y| &taps[y * r + x]);
        }
    }
    for (i, columns) in columns.iter().enumerate().take(n) {
        for (j, row) in g.iter().enumerate() {
            products[i * n + j] = weighted_sum(row, |x| &columns[x]);
        }
    }
}

#[inline(always)]
fn weighted_sum<'a>(weights: &[f64], values: impl Fn(usize) -> &'a Lanes) -> Lanes {
    let mut sum = [0.0; BLOCK];
    for (index, weight) in weights.iter().enumerate() {
        for (sum, value) in sum.iter_mut().zip(values(index)) {
            *sum += weight * value;
        }
    }
    sum
}

/// How many groups to merge into one, so that every group has whole blocks of channels.
fn groups_to_merge(channels: [usize; 2], groups: usize) -> usize {
    let gives_whole_blocks = |merged: usize| {
        groups.is_multiple_of(merged)
            && channels.iter().all(|c| (c / groups * merged).is_multiple_of(BLOCK))
    };
    let fits =
        [1, 2, 4, 8, BLOCK].into_iter().find(|&merged| groups == 1 || gives_whole_blocks(merged));
    fits.unwrap_or(groups)
}

/// The weights with every `merged` groups as one. Between channels of different groups they are zero.
fn merge_groups(
    weight: &[f32],
    [inputs, outputs]: [usize; 2],
    kernel: usize,
    groups: usize,
    merged: usize,
) -> Result<Vec<f32>> {
    let (group_inputs, taps) = (inputs / groups, kernel * kernel);
    let shape = [outputs, group_inputs * merged, kernel, kernel];
    let mut result = zeros(&shape)?;
    for output in 0..outputs {
        let group = output / (outputs / groups);
        let row = &weight[output * group_inputs * taps..][..group_inputs * taps];
        let at = (output * merged + group % merged) * group_inputs * taps;
        result[at..][..row.len()].copy_from_slice(row);
    }
    Ok(result)
}
