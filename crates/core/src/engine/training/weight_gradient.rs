//! The gradient of a convolution's weights, directly: every product of an input and a gradient.
//!
//! Positions are summed in bands of rows that fit the cache, and bands in parts of the batch: `parts` sums of the
//! whole gradient, which are added at the end. Bands and parts follow from the shape alone, so that the bits do not
//! depend on the threads, and many short sums are more exact than a long one.
#![allow(unsafe_code)]

use super::gradient_microkernel::{Positions, add_outer_products};
use super::run_items::run_items;
use crate::engine::feature_map::FeatureMap;
use crate::engine::simd::{BLOCK, CheckedPtr, Isa};

/// Values of the input and the gradients of a panel in a band: half of a usual L2 cache.
const BAND_VALUES: usize = 128 << 10;
/// The most blocks in a panel, of any instruction set: bands and parts do not depend on which it is.
const WIDEST_PANEL: usize = 2;
/// The fewest items, so that many threads have work.
const MIN_ITEMS: usize = 32;

#[derive(Clone, Copy, Debug)]
pub struct WeightGradient {
    pub isa: Isa,
    /// The input with its border.
    pub input: FeatureMap,
    /// The output's gradient, without a border.
    pub gradient: FeatureMap,
    pub batch: usize,
    pub kernel: usize,
    pub stride: usize,
    /// One, or groups of whole blocks of channels.
    pub groups: usize,
}

impl WeightGradient {
    /// Blocks of input channels of a group.
    fn input_blocks(&self) -> usize {
        self.input.blocks() / self.groups
    }

    /// Blocks of output channels of a group.
    fn output_blocks(&self) -> usize {
        self.gradient.blocks() / self.groups
    }

    fn panels_per_group(&self) -> usize {
        self.output_blocks().div_ceil(self.isa.nr_blocks())
    }

    /// Rows of positions in a band.
    fn band_rows(&self) -> usize {
        let inputs = self.input_blocks() * self.input.row_stride() * self.stride;
        let gradients = self.output_blocks().min(WIDEST_PANEL) * self.gradient.row_stride();
        (BAND_VALUES / (inputs + gradients)).clamp(1, self.gradient.height)
    }

    fn bands(&self) -> usize {
        self.gradient.height.div_ceil(self.band_rows())
    }

    /// Sums of the whole gradient that are computed side by side.
    fn parts(&self) -> usize {
        let panels = self.groups * self.output_blocks().div_ceil(WIDEST_PANEL);
        MIN_ITEMS.div_ceil(panels).min(self.batch * self.bands())
    }

    /// Contiguous inputs under a row of the kernel, in one block of channels.
    fn row_values(&self) -> usize {
        self.kernel * self.input.channels_per_block
    }

    /// Values of the sums of one block of output channels: `[block of inputs][row of the kernel][value][16]`.
    fn block_len(&self) -> usize {
        self.input_blocks() * self.kernel * self.row_values() * BLOCK
    }

    /// Values of one part.
    fn part_len(&self) -> usize {
        self.gradient.blocks() * self.block_len()
    }

    /// Values of memory that [`compute`](Self::compute) needs for sums.
    pub fn sums_len(&self) -> usize {
        self.parts() * self.part_len()
    }

    /// Computes the gradient, `[outputs, inputs / groups, kernel, kernel]`.
    pub fn compute(
        &self,
        input: CheckedPtr,
        gradient: CheckedPtr,
        sums: CheckedPtr,
        weight: &mut [f32],
    ) {
        let panels = self.groups * self.panels_per_group();
        run_items(self.parts() * panels, |item, _| {
            self.sum_panel(item / panels, item % panels, input, gradient, sums);
        });
        let (outputs, inputs) = (self.gradient.channels, self.input.channels / self.groups);
        let output_len = inputs * self.kernel * self.kernel;
        assert_eq!(weight.len(), outputs * output_len, "weights");
        let weight = CheckedPtr::new(weight.as_mut_ptr(), weight.len());
        run_items(outputs, |output, _| {
            self.add_parts(output, sums, weight.add(output * output_len))
        });
    }

    /// Sums the gradient of a panel of output channels over a part of the batch.
    fn sum_panel(
        &self,
        part: usize,
        panel: usize,
        input: CheckedPtr,
        gradient: CheckedPtr,
        sums: CheckedPtr,
    ) {
        let nr_blocks = self.isa.nr_blocks();
        let (group, panel) = (panel / self.panels_per_group(), panel % self.panels_per_group());
        let blocks = nr_blocks.min(self.output_blocks() - panel * nr_blocks);
        let first_block = group * self.output_blocks() + panel * nr_blocks;
        let sums = sums.add(part * self.part_len() + first_block * self.block_len());
        let units = self.batch * self.bands();
        let start = |part: usize| part * units / self.parts();
        // SAFETY: the shapes are those that the memory was reserved for, and only this item accesses its sums.
        unsafe {
            for unit in start(part)..start(part + 1) {
                let (image, band) = (unit / self.bands(), unit % self.bands());
                let y = band * self.band_rows();
                let positions = Positions {
                    rows: self.band_rows().min(self.gradient.height - y),
                    columns: self.gradient.width,
                    input_step: self.stride * self.input.channels_per_block,
                    input_row_stride: self.stride * self.input.row_stride(),
                    gradient_row_stride: self.gradient.row_stride(),
                    gradient_block_stride: self.gradient.block_stride(),
                    sums_block_stride: self.block_len(),
                    is_first: unit == start(part),
                };
                let gradient = gradient.add(self.gradient.offset(image, first_block, y, 0));
                for block in 0..self.input_blocks() {
                    for row in 0..self.kernel {
                        let input_block = group * self.input_blocks() + block;
                        let from = y * self.stride + row;
                        let input =
                            input.add(self.input.padded_offset(image, input_block, from, 0));
                        let sums =
                            sums.add((block * self.kernel + row) * self.row_values() * BLOCK);
                        let values = self.row_values();
                        add_outer_products(
                            self.isa, values, blocks, &positions, input, gradient, sums,
                        );
                    }
                }
            }
        }
    }

    /// Adds the parts of an output channel's gradient, `[inputs / groups, kernel, kernel]`.
    fn add_parts(&self, output: usize, sums: CheckedPtr, weight: CheckedPtr) {
        let (block, lane) = (output / BLOCK, output % BLOCK);
        let per_block = self.input.channels_per_block;
        let inputs = self.input.channels / self.groups;
        let sums = sums.add(block * self.block_len() + lane);
        for input in 0..inputs {
            let (input_block, channel) = (input / per_block, input % per_block);
            for row in 0..self.kernel {
                for column in 0..self.kernel {
                    let value = (input_block * self.kernel + row) * self.row_values()
                        + column * per_block
                        + channel;
                    let at = sums.add(value * BLOCK);
                    let mut sum = 0.0;
                    for part in 0..self.parts() {
                        // SAFETY: inside the sums, which no thread writes any more.
                        sum += unsafe { at.add(part * self.part_len()).read() };
                    }
                    let to = weight.add((input * self.kernel + row) * self.kernel + column);
                    // SAFETY: inside the weights, and only this item accesses the output channel.
                    unsafe { to.write(sum) }
                }
            }
        }
    }
}
