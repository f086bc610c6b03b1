//! Max pooling, and the adaptive average pool before the classifier.
#![allow(unsafe_code)]

use super::feature_map::{FeatureMap, RowPart};
use super::simd::{BLOCK, CheckedPtr, Isa, Simd, dispatch};
use super::stage::{Stage, Work};
use super::workspace::Workspace;
use std::ops::Range;

/// A max pool that is not fused into a convolution. An item is some rows of the output, or some blocks of
/// channels of one.
#[derive(Debug)]
pub(super) struct MaxPool {
    pub isa: Isa,
    pub kernel: usize,
    pub stride: usize,
    pub input: FeatureMap,
    pub output: FeatureMap,
    pub batch: usize,
    /// Rows of a block of channels of an item.
    pub block_rows_per_item: usize,
}

/// Rows of an item of [`MaxPool`] for few threads: one row would take as long as taking an item.
pub(super) const POOLED_ROWS_PER_ITEM: usize = 4;

impl MaxPool {
    /// Blocks of a row that an item computes.
    fn blocks_per_part(&self) -> usize {
        self.block_rows_per_item.min(self.output.blocks())
    }

    fn parts_per_item(&self) -> usize {
        self.block_rows_per_item / self.blocks_per_part()
    }

    /// Parts of rows of the whole batch.
    fn all_parts(&self) -> usize {
        self.output.row_parts(self.batch, self.blocks_per_part())
    }

    /// The parts of an item.
    fn parts(&self, item: usize) -> Range<usize> {
        let first = item * self.parts_per_item();
        first..(first + self.parts_per_item()).min(self.all_parts())
    }
}

impl Stage for MaxPool {
    fn items(&self) -> usize {
        self.all_parts().div_ceil(self.parts_per_item())
    }

    fn work(&self, item: usize) -> Work {
        let blocks_of = |part| self.output.row_part(part, self.blocks_per_part()).blocks.len();
        let blocks: usize = self.parts(item).map(blocks_of).sum();
        // Reading a value of the window takes a fraction of what a transform takes.
        Work::of_vectors((blocks * self.output.width * self.kernel * self.kernel).div_ceil(4))
    }

    fn run(&self, item: usize, _: usize, workspace: &Workspace) {
        let input = workspace.buffer(self.input.buffer);
        let output = workspace.buffer(self.output.buffer);
        // SAFETY: the plan chose an available instruction set and reserved both maps. No two items share
        // a row of a block of the output.
        unsafe {
            dispatch!(self.isa, max_pool_rows(
                stage: &MaxPool = self, item: usize = item,
                input: CheckedPtr = input, output: CheckedPtr = output,
            ))
        }
    }
}

/// # Safety
/// `S` must be available, both maps reserved, and no other thread may access the item's rows.
#[inline(always)]
unsafe fn max_pool_rows<S: Simd>(
    stage: &MaxPool,
    item: usize,
    input: CheckedPtr,
    output: CheckedPtr,
) {
    let (from, to, stride) = (&stage.input, &stage.output, stage.stride);
    for part in stage.parts(item) {
        let RowPart { image, y, blocks } = to.row_part(part, stage.blocks_per_part());
        for block in blocks {
            let row = output.add(to.offset(image, block, y, 0));
            for x in 0..to.width {
                let window = input.add(from.offset(image, block, y * stride, x * stride));
                // SAFETY: guaranteed by the caller.
                unsafe {
                    let value = max_of_window::<S>(stage.kernel, from.row_stride(), window);
                    row.add(x * BLOCK).store::<S>(value);
                }
            }
        }
    }
}

/// # Safety
/// `S` must be available, and the window inside the map.
#[inline(always)]
unsafe fn max_of_window<S: Simd>(
    kernel: usize,
    row_stride: usize,
    window: CheckedPtr,
) -> S::Vector {
    // SAFETY: guaranteed by the caller.
    unsafe {
        let mut max = window.load::<S>();
        for i in 0..kernel {
            for j in 0..kernel {
                max = S::max(max, window.add(i * row_stride + j * BLOCK).load::<S>());
            }
        }
        max
    }
}

/// The adaptive average pool from a feature map to `[N, C, height, width]`, the vectors that the
/// classifier takes. Each vector starts at a multiple of [`BLOCK`].
#[derive(Debug)]
pub(super) struct AdaptiveAvgPool {
    pub map: FeatureMap,
    /// Height and width of the output.
    pub size: [usize; 2],
    /// Index of the buffer of the vectors.
    pub vectors: usize,
    pub batch: usize,
    /// Cells of the output that an item computes, of a block of channels.
    pub cells_per_item: usize,
}

impl AdaptiveAvgPool {
    /// Items that the cells of a block are divided into.
    fn chunks(&self) -> usize {
        (self.size[0] * self.size[1]).div_ceil(self.cells_per_item)
    }

    /// The cells of an item.
    fn cells(&self, item: usize) -> Range<usize> {
        let first = item % self.chunks() * self.cells_per_item;
        first..(first + self.cells_per_item).min(self.size[0] * self.size[1])
    }
}

impl Stage for AdaptiveAvgPool {
    fn items(&self) -> usize {
        self.batch * self.map.blocks() * self.chunks()
    }

    /// The sums are in `f64`, and the values are written one by one, each to a vector of its own.
    fn work(&self, item: usize) -> Work {
        let cells = self.size[0] * self.size[1];
        let pixels_per_cell = (self.map.height * self.map.width).div_ceil(cells);
        Work::of_vectors(self.cells(item).len() * (pixels_per_cell + 3))
    }

    fn run(&self, item: usize, _: usize, workspace: &Workspace) {
        let map = &self.map;
        let (from, to) = (workspace.buffer(map.buffer), workspace.buffer(self.vectors));
        let part = item / self.chunks();
        let (image, block) = (part / map.blocks(), part % map.blocks());
        let [height, width] = self.size;
        let vector_stride = (map.channels * height * width).next_multiple_of(BLOCK);
        let channels = map.channels_per_block.min(map.channels - block * map.channels_per_block);
        for i in self.cells(item) {
            // SAFETY: inside the map, which this stage only reads.
            let values = unsafe {
                average_of_cell(map, from, [image, block], [i / width, i % width], self.size)
            };
            for (lane, &value) in values.iter().enumerate().take(channels) {
                let channel = block * map.channels_per_block + lane;
                let at = image * vector_stride + channel * height * width + i;
                // SAFETY: inside the vectors, and only this item accesses this cell of the
                // channel.
                unsafe { to.add(at).write(value) }
            }
        }
    }
}

/// The values of a block's channels in cell `[y, x]` of the adaptive average pool to `size`.
///
/// # Safety
/// The image, block and cell must be inside the map, and no other thread may be writing to it.
pub(super) unsafe fn average_of_cell(
    map: &FeatureMap,
    from: CheckedPtr,
    [image, block]: [usize; 2],
    [y, x]: [usize; 2],
    [height, width]: [usize; 2],
) -> [f32; BLOCK] {
    let window =
        |i: usize, cells: usize, len: usize| i * len / cells..((i + 1) * len).div_ceil(cells);
    let (rows, columns) = (window(y, height, map.height), window(x, width, map.width));
    let count = (rows.len() * columns.len()) as f64;
    let channels = map.channels_per_block.min(map.channels - block * map.channels_per_block);
    let mut sums = [0.0f64; BLOCK];
    for y in rows {
        for x in columns.clone() {
            let pixel = from.add(map.offset(image, block, y, x));
            for (lane, sum) in sums.iter_mut().enumerate().take(channels) {
                // SAFETY: guaranteed by the caller.
                *sum += f64::from(unsafe { pixel.add(lane).read() });
            }
        }
    }
    sums.map(|sum| (sum / count) as f32)
}
