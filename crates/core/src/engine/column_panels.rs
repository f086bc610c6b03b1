//! [`ColumnPanels`]: many vectors as the columns of a matrix, packed for the microkernel, and the stages
//! that fill it and read it.
#![allow(unsafe_code)]

use super::feature_map::FeatureMap;
use super::pooling::average_of_cell;
use super::simd::BLOCK;
use super::stage::{Stage, Work};
use super::workspace::Workspace;
use std::ops::Range;

/// The most columns that go through the classifier at once. Their part of [`batched_linear`] stays in the
/// L2 cache (128 KB) while all rows of an item are multiplied with it; with fewer columns, the weights
/// would be read too often.
///
/// [`batched_linear`]: super::batched_linear
pub(super) const MAX_COLUMNS: usize = 128;

/// Vectors as columns: `[panel][feature][block][16]`. A panel has as many columns as the microkernel
/// computes at once; the last one has fewer blocks, if that is enough.
#[derive(Clone, Copy, Debug)]
pub(super) struct ColumnPanels {
    /// Index of the buffer.
    pub buffer: usize,
    pub features: usize,
    /// Columns that there is space for.
    pub capacity: usize,
    /// Columns in use.
    pub count: usize,
    /// Blocks of sixteen columns in a panel.
    pub blocks_per_panel: usize,
}

impl ColumnPanels {
    /// Features, padded to whole blocks. The padding stays zero.
    fn padded_features(&self) -> usize {
        self.features.next_multiple_of(BLOCK)
    }

    /// Values of all panels.
    pub fn len(&self) -> usize {
        self.padded_features() * self.capacity.next_multiple_of(BLOCK)
    }

    /// Panels in use.
    pub fn panels(&self) -> usize {
        self.count.div_ceil(self.blocks_per_panel * BLOCK)
    }

    /// Columns of the panels in use, those that are empty included.
    pub fn panel_columns(&self) -> usize {
        let blocks = (self.panels() * self.blocks_per_panel).min(self.capacity.div_ceil(BLOCK));
        blocks * BLOCK
    }

    /// The offset of a panel, and its blocks of columns.
    pub fn panel(&self, panel: usize) -> (usize, usize) {
        let blocks = self.capacity.div_ceil(BLOCK) - panel * self.blocks_per_panel;
        let offset = panel * self.blocks_per_panel * BLOCK * self.padded_features();
        (offset, self.blocks_per_panel.min(blocks))
    }

    /// The offset of the first feature of a column, and the values from one feature to the next.
    fn column(&self, column: usize) -> (usize, usize) {
        let columns_per_panel = self.blocks_per_panel * BLOCK;
        let (offset, blocks) = self.panel(column / columns_per_panel);
        (offset + column % columns_per_panel, blocks * BLOCK)
    }

    /// The offset of a feature of a column.
    fn offset(&self, feature: usize, column: usize) -> usize {
        let (first, stride) = self.column(column);
        first + feature * stride
    }
}

/// The classifier's windows on a feature map to columns (im2col). Column 0 is window `first` of all
/// `(image, row, column)`. A map smaller than the window is first resized by the adaptive average pool.
#[derive(Debug)]
pub(super) struct WindowsToColumns {
    pub map: FeatureMap,
    /// Height and width of the window.
    pub window: [usize; 2],
    /// Positions of the window in an image: rows and columns.
    pub positions: [usize; 2],
    pub first: usize,
    pub columns: ColumnPanels,
    /// Columns of an item.
    pub columns_per_item: usize,
}

impl WindowsToColumns {
    /// The block of channels of an item, and its columns.
    fn part(&self, item: usize) -> (usize, Range<usize>) {
        let chunks = self.columns.count.div_ceil(self.columns_per_item);
        let first = item % chunks * self.columns_per_item;
        (item / chunks, first..(first + self.columns_per_item).min(self.columns.count))
    }
}

impl Stage for WindowsToColumns {
    fn items(&self) -> usize {
        self.map.blocks() * self.columns.count.div_ceil(self.columns_per_item)
    }

    /// Value by value, into memory that is apart.
    fn work(&self, item: usize) -> Work {
        let values = self.part(item).1.len() * self.window[0] * self.window[1] * BLOCK;
        Work::of_vectors(values / 4)
    }

    fn run(&self, item: usize, _: usize, workspace: &Workspace) {
        let (map, [height, width]) = (&self.map, self.window);
        let (block, item_columns) = self.part(item);
        let (from, to) = (workspace.buffer(map.buffer), workspace.buffer(self.columns.buffer));
        let [rows, columns] = self.positions;
        let size = [rows + height - 1, columns + width - 1];
        let has_size = size == [map.height, map.width];
        let channels = map.channels_per_block.min(map.channels - block * map.channels_per_block);
        for column in item_columns {
            let position = self.first + column;
            let image = position / (rows * columns);
            let (y, x) = (position / columns % rows, position % columns);
            let (first, stride) = self.columns.column(column);
            for i in 0..height * width {
                let cell = [y + i / width, x + i % width];
                let pixel = from.add(map.offset(image, block, cell[0], cell[1]));
                let mut values = [0.0; BLOCK];
                // SAFETY: inside the map, which this stage only reads.
                unsafe {
                    if has_size {
                        for (lane, value) in values.iter_mut().enumerate().take(channels) {
                            *value = pixel.add(lane).read();
                        }
                    } else {
                        values = average_of_cell(map, from, [image, block], cell, size);
                    }
                }
                for (lane, &value) in values.iter().enumerate().take(channels) {
                    let feature = (block * map.channels_per_block + lane) * height * width + i;
                    // SAFETY: inside the columns, and only this item accesses this channel of
                    // these columns.
                    unsafe { to.add(first + feature * stride).write(value) }
                }
            }
        }
    }
}

/// Features of an item of [`VectorsToColumns`] for few threads.
pub(super) const FEATURES_PER_ITEM: usize = 512;

/// Vectors, each starting at a multiple of [`BLOCK`], to columns.
#[derive(Debug)]
pub(super) struct VectorsToColumns {
    /// Index of the buffer of the vectors.
    pub vectors: usize,
    pub columns: ColumnPanels,
    /// Features of an item.
    pub features_per_item: usize,
}

impl Stage for VectorsToColumns {
    fn items(&self) -> usize {
        self.columns.features.div_ceil(self.features_per_item)
    }

    fn work(&self, item: usize) -> Work {
        let first = item * self.features_per_item;
        let features = self.features_per_item.min(self.columns.features - first);
        Work::of_vectors(features * self.columns.count / 4)
    }

    fn run(&self, item: usize, _: usize, workspace: &Workspace) {
        let columns = &self.columns;
        let (from, to) = (workspace.buffer(self.vectors), workspace.buffer(columns.buffer));
        let end = columns.features.min((item + 1) * self.features_per_item);
        for feature in item * self.features_per_item..end {
            for column in 0..columns.count {
                let at = column * columns.padded_features() + feature;
                // SAFETY: inside both buffers, and only this item accesses these features.
                unsafe { to.add(columns.offset(feature, column)).write(from.add(at).read()) }
            }
        }
    }
}

/// Columns to `[N, features, positions]`, where each image starts at a multiple of [`BLOCK`]. Column 0 is
/// position `first` of all `(image, position)`.
#[derive(Debug)]
pub(super) struct ColumnsToVectors {
    pub columns: ColumnPanels,
    pub first: usize,
    /// Positions in an image, which are consecutive columns.
    pub positions: usize,
    /// Index of the output's buffer.
    pub output: usize,
}

impl Stage for ColumnsToVectors {
    fn items(&self) -> usize {
        self.columns.features.div_ceil(BLOCK)
    }

    fn work(&self, _: usize) -> Work {
        Work::of_vectors(BLOCK * self.columns.count / 4)
    }

    fn run(&self, item: usize, _: usize, workspace: &Workspace) {
        let (from, to) = (workspace.buffer(self.columns.buffer), workspace.buffer(self.output));
        let features = self.columns.features;
        let stride = (features * self.positions).next_multiple_of(BLOCK);
        for feature in item * BLOCK..features.min((item + 1) * BLOCK) {
            for column in 0..self.columns.count {
                let position = self.first + column;
                let (image, position) = (position / self.positions, position % self.positions);
                let at = image * stride + feature * self.positions + position;
                // SAFETY: inside both buffers, and only this item accesses these features.
                unsafe { to.add(at).write(from.add(self.columns.offset(feature, column)).read()) }
            }
        }
    }
}
