//! [`PackedConvolution`]: a convolution's weights, packed for every algorithm that a plan uses.
//!
//! The original weights are kept, with the scales of a folded batch norm. They are packed for an
//! algorithm when a plan first needs it.

use super::algorithm::{Algorithm, TileSize};
use super::buffer::Buffer;
use super::compile_options::ConvolutionArithmetic;
use super::integer_packing::IntegerWeights;
use super::patches::Patches;
use super::quantized_images::pixel_len;
use super::simd::{BLOCK, Isa};
use crate::array::zeros;
use crate::error::Result;
use std::sync::{Arc, OnceLock};

/// The fewest channels per output for which tiles of seven or eight inputs are allowed. Their rounding
/// error is up to 1e-5 of the largest output where hundreds of channels average it out, and was measured
/// as 2e-5 with a dozen.
const MIN_CHANNELS_OF_LARGE_TILES: usize = 32;
/// The same for tiles of nine inputs: their transforms enlarge rounding errors 2.4 times as much as those of eight.
const MIN_CHANNELS_OF_LARGEST_TILES: usize = 256;

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
    /// Input channels that each output sums over; of the image, if it is on patches.
    channels_per_output: usize,
    /// Either one group, or groups of whole blocks of channels: smaller ones have been merged.
    pub groups: usize,
    pub layout: InputLayout,
    /// `[outputs, inputs / groups, kernel, kernel]`, with merged groups.
    pub weight: Arc<Vec<f32>>,
    /// The scale of each output channel by a folded batch norm.
    pub scale: Option<Vec<f64>>,
    /// `[outputs]`, padded to whole blocks.
    pub bias: Buffer,
    pub arithmetic: ConvolutionArithmetic,
    /// By `filter_packing`, when an algorithm first needs them.
    pub packed: [OnceLock<Buffer>; Algorithm::ALL.len()],
    /// By `integer_packing`, when an algorithm first needs them.
    pub integers: [OnceLock<IntegerWeights>; Algorithm::ALL.len()],
}

/// How the input of a convolution lies in memory.
#[derive(Clone, Copy, Debug)]
pub(super) struct InputLayout {
    /// See [`FeatureMap`](super::feature_map::FeatureMap).
    pub channels_per_block: usize,
    /// Of the image, if it is the first convolution.
    pub patches: Patches,
}

impl InputLayout {
    /// That of all convolutions but the first.
    pub const BLOCKS: Self = Self { channels_per_block: BLOCK, patches: Patches::PIXELS };
}

/// A convolution as the architecture defines it, or on patches.
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
    pub fn new(isa: Isa, spec: ConvolutionSpec, layout: InputLayout) -> Result<Self> {
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
        // Those of patches are few taps of few channels, which hardly average rounding errors out.
        let channels_per_output = inputs / groups / layout.patches.side.pow(2);
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
            layout,
            weight,
            scale,
            bias: padded_bias,
            arithmetic: ConvolutionArithmetic::F32,
            packed: Default::default(),
            integers: Default::default(),
        })
    }

    /// The same with another arithmetic, if an algorithm can compute it accurately enough. Where AVX-512
    /// has no products of integers, it stays in `f32`, which is faster then.
    pub fn with_arithmetic(self, arithmetic: ConvolutionArithmetic) -> Self {
        let changed = Self { arithmetic, ..self };
        let is_possible = Algorithm::ALL.iter().any(|&algorithm| changed.allows(algorithm))
            && changed.isa.with_integers() == changed.isa;
        let arithmetic = if is_possible { arithmetic } else { ConvolutionArithmetic::F32 };
        Self { arithmetic, ..changed }
    }

    /// Whether its products are of 16-bit integers.
    pub fn is_integer(&self) -> bool {
        self.arithmetic == ConvolutionArithmetic::Int16
    }

    /// Whether it is computed directly, on integers. Only a first convolution is, on images with fewer channels than a
    /// block.
    pub fn reads_quantized_images(&self) -> bool {
        self.is_integer() && self.layout.channels_per_block < BLOCK
    }

    /// Multiply-adds in `f32` that take as long as these: AVX-512's instruction for integers does twice as many, others
    /// need two.
    pub fn f32_multiply_adds(&self, multiply_adds: f64) -> f64 {
        let is_twice_as_fast = self.is_integer() && self.isa == Isa::Avx512;
        if is_twice_as_fast { multiply_adds / 2.0 } else { multiply_adds }
    }

    /// Whether an algorithm can compute it accurately enough, with its arithmetic.
    pub fn allows(&self, algorithm: Algorithm) -> bool {
        let Some(size) = algorithm.tile_size() else {
            return !self.is_integer() || self.reads_quantized_images();
        };
        let channels = self.channels_per_output;
        let min_channels = match size.inputs {
            ..=6 => 0,
            7 | 8 => MIN_CHANNELS_OF_LARGE_TILES,
            _ => MIN_CHANNELS_OF_LARGEST_TILES,
        };
        let is_accurate = channels >= min_channels
            && (!self.is_integer() || channels <= max_integer_channels(size));
        self.kernel == size.kernel
            && self.stride == 1
            && self.layout.channels_per_block == BLOCK
            && is_accurate
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
        (self.inputs / self.groups).div_ceil(self.layout.channels_per_block)
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

    /// Divides memory among the panels, with `block_len` values for each block of output channels.
    pub fn split_into_panels<'a>(
        &self,
        mut values: &'a mut [f32],
        block_len: usize,
    ) -> Vec<(Panel, &'a mut [f32])> {
        let mut parts = Vec::with_capacity(self.panels());
        for index in 0..self.panels() {
            let panel = self.panel(index);
            let (of_panel, rest) = values.split_at_mut(panel.blocks * block_len);
            parts.push((panel, of_panel));
            values = rest;
        }
        parts
    }

    /// The inner dimension of each matrix product (K in BLAS): packed weights of an output channel.
    pub fn inner_len(&self, algorithm: Algorithm) -> usize {
        match algorithm {
            Algorithm::Direct => {
                self.input_blocks() * self.kernel * self.kernel * self.layout.channels_per_block
            }
            _ => self.input_blocks() * BLOCK,
        }
    }

    /// Pairs of 16-bit integers that each output of a matrix product sums over: of input channels, or with direct
    /// convolution, of the values in each row of the kernel.
    pub fn pairs(&self, algorithm: Algorithm) -> usize {
        match algorithm {
            Algorithm::Direct => self.kernel * self.row_pairs(),
            _ => self.inner_len(algorithm) / 2,
        }
    }

    /// Pairs of integers in a row of the kernel, on quantized images.
    pub fn row_pairs(&self) -> usize {
        (self.kernel * pixel_len(self.inputs, self.stride)).div_ceil(2)
    }

    /// Packs the weights for an algorithm, unless they are.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`](crate::Error::OutOfMemory) if memory runs out.
    pub fn prepare(&self, algorithm: Algorithm) -> Result<()> {
        if self.is_integer() {
            self.integers(algorithm).map(drop)
        } else {
            self.packed(algorithm).map(drop)
        }
    }

    /// Bytes of the packed weights.
    pub fn weight_bytes(&self, algorithm: Algorithm) -> usize {
        let inner =
            if self.is_integer() { self.pairs(algorithm) } else { self.inner_len(algorithm) };
        4 * algorithm.products() * inner * self.groups * self.output_blocks() * BLOCK
    }
}

/// The most channels per output for which a tile is accurate enough with integers: the more channels, the fewer bits
/// there are for each weight, and the larger a tile, the more its outputs amplify rounding errors.
fn max_integer_channels(size: TileSize) -> usize {
    match (size.kernel, size.inputs) {
        (3, 9) => 0,
        (3, 8) => 128,
        (3, 7) => 384,
        (5, _) => 128,
        _ => usize::MAX,
    }
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
