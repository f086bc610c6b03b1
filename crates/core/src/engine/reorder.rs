//! Reorders between planar images, `[N, C, H, W]`, and the blocked layout of a [`FeatureMap`].
#![allow(unsafe_code)]

use super::feature_map::FeatureMap;
use super::patches::Patches;
use super::stage::{Stage, Work};
use super::workspace::Workspace;
use std::ops::Range;

/// Planar images to a feature map of their patches.
#[derive(Debug)]
pub(super) struct PlanarToBlocked {
    /// Index of the buffer of the planar images.
    pub planar: usize,
    /// `[C, H, W]` of an image.
    pub shape: [usize; 3],
    pub patches: Patches,
    pub map: FeatureMap,
    pub batch: usize,
    /// Rows of an item.
    pub rows_per_item: usize,
}

/// Rows of an item of [`PlanarToBlocked`] for few threads: one row would take as long as taking an item.
pub(super) const ROWS_PER_ITEM: usize = 8;

impl PlanarToBlocked {
    /// Items that an image is divided into.
    fn chunks(&self) -> usize {
        self.map.height.div_ceil(self.rows_per_item)
    }

    /// The rows of an item.
    fn rows(&self, item: usize) -> Range<usize> {
        let first = item % self.chunks() * self.rows_per_item;
        first..(first + self.rows_per_item).min(self.map.height)
    }
}

impl Stage for PlanarToBlocked {
    fn items(&self) -> usize {
        self.batch * self.chunks()
    }

    /// Value by value.
    fn work(&self, item: usize) -> Work {
        Work::of_vectors(self.rows(item).len() * (self.map.width * self.map.channels).div_ceil(4))
    }

    fn run(&self, item: usize, _: usize, workspace: &Workspace) {
        let (map, [channels, height, width]) = (&self.map, self.shape);
        let Patches { side, padding } = self.patches;
        let (from, to) = (workspace.buffer(self.planar), workspace.buffer(map.buffer));
        let image = item / self.chunks();
        for channel in 0..map.channels {
            let (block, lane) =
                (channel / map.channels_per_block, channel % map.channels_per_block);
            let [plane, i, j] = self.patches.pixel(channel);
            // The patches whose pixel is inside the image. Nothing is ever written to others: they stay zero.
            let inside = |length: usize, at: usize, patches: Range<usize>| {
                let first = padding.saturating_sub(at).div_ceil(side);
                let end = (length + padding).saturating_sub(at).div_ceil(side);
                patches.start.max(first)..patches.end.min(end)
            };
            let columns = inside(width, j, 0..map.width);
            for y in inside(height, i, self.rows(item)) {
                let row = (image * channels + plane) * height + y * side + i - padding;
                let row = from.add(row * width);
                let pixels = to.add(map.offset(image, block, y, 0) + lane);
                for x in columns.clone() {
                    // SAFETY: both pointers are inside their buffers, and only this item accesses the rows.
                    unsafe {
                        let pixel = row.add(x * side + j - padding).read();
                        pixels.add(x * map.channels_per_block).write(pixel);
                    }
                }
            }
        }
    }
}

/// A feature map to planar images: the output of a tapped layer.
#[derive(Debug)]
pub(super) struct BlockedToPlanar {
    pub map: FeatureMap,
    /// Index of the buffer of the planar images.
    pub planar: usize,
    pub batch: usize,
}

impl Stage for BlockedToPlanar {
    fn items(&self) -> usize {
        self.batch * self.map.channels
    }

    /// Value by value.
    fn work(&self, _: usize) -> Work {
        Work::of_vectors((self.map.height * self.map.width).div_ceil(4))
    }

    fn run(&self, item: usize, _: usize, workspace: &Workspace) {
        let map = &self.map;
        let (from, to) = (workspace.buffer(map.buffer), workspace.buffer(self.planar));
        let (image, channel) = (item / map.channels, item % map.channels);
        let (block, lane) = (channel / map.channels_per_block, channel % map.channels_per_block);
        for y in 0..map.height {
            let pixels = from.add(map.offset(image, block, y, 0) + lane);
            for x in 0..map.width {
                let at = (item * map.height + y) * map.width + x;
                // SAFETY: both pointers are inside their buffers, and only this item accesses the plane.
                unsafe { to.add(at).write(pixels.add(x * map.channels_per_block).read()) }
            }
        }
    }
}
