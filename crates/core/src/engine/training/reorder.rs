//! Between planar images, `[N, C, H, W]`, and the blocked layout of a [`FeatureMap`].
#![allow(unsafe_code)]

use super::run_items::run_items;
use crate::engine::feature_map::FeatureMap;
use crate::engine::simd::CheckedPtr;

/// Pixels that are reordered together: their cache lines are written while they are in the cache.
const PIXELS: usize = 16;

/// Reads planar images into a map, with zeros around them and in the channels that its last block lacks.
pub fn to_blocked(planar: &[f32], map: &FeatureMap, batch: usize, blocked: CheckedPtr) {
    assert_eq!(planar.len(), batch * map.channels * map.height * map.width, "planar images");
    let (blocks, rows) = (map.blocks(), map.padded_height);
    run_items(batch * blocks * rows, |item, _| {
        let (image, block, row) = (item / (blocks * rows), item / rows % blocks, item % rows);
        let to = blocked.add(map.padded_offset(image, block, row, 0));
        // SAFETY: inside the map, and only this item accesses the row of the block.
        unsafe {
            if !(map.padding..map.padding + map.height).contains(&row) {
                return fill_zeros(to, map.row_stride());
            }
            let per_block = map.channels_per_block;
            fill_zeros(to, map.padding * per_block);
            let right = map.padding + map.width;
            fill_zeros(to.add(right * per_block), (map.padded_width - right) * per_block);
            let to = to.add(map.padding * per_block);
            let lanes = lanes(map, block);
            if lanes < per_block {
                fill_zeros(to, map.width * per_block);
            }
            let first = image * map.channels + block * per_block;
            for start in (0..map.width).step_by(PIXELS) {
                let end = map.width.min(start + PIXELS);
                for lane in 0..lanes {
                    let row = ((first + lane) * map.height + row - map.padding) * map.width;
                    for (x, value) in (start..end).zip(&planar[row + start..row + end]) {
                        to.add(x * per_block + lane).write(*value);
                    }
                }
            }
        }
    });
}

/// # Safety
/// `len` values from `to` on must be inside the buffer, and no other thread may access them.
unsafe fn fill_zeros(to: CheckedPtr, len: usize) {
    for at in 0..len {
        // SAFETY: guaranteed by the caller.
        unsafe { to.add(at).write(0.0) }
    }
}

/// Reads a map into planar images.
pub fn to_planar(blocked: CheckedPtr, map: &FeatureMap, batch: usize, planar: &mut [f32]) {
    assert_eq!(planar.len(), batch * map.channels * map.height * map.width, "planar images");
    let blocks = map.blocks();
    let planar = CheckedPtr::new(planar.as_mut_ptr(), planar.len());
    run_items(batch * blocks * map.height, |item, _| {
        let (image, block, y) =
            (item / (blocks * map.height), item / map.height % blocks, item % map.height);
        let lanes = lanes(map, block);
        let first = image * map.channels + block * map.channels_per_block;
        let from = blocked.add(map.offset(image, block, y, 0));
        for start in (0..map.width).step_by(PIXELS) {
            let end = map.width.min(start + PIXELS);
            for lane in 0..lanes {
                let row = planar.add(((first + lane) * map.height + y) * map.width);
                for x in start..end {
                    // SAFETY: both are inside their buffers, and only this item accesses the row of the planes.
                    unsafe { row.add(x).write(from.add(x * map.channels_per_block + lane).read()) }
                }
            }
        }
    });
}

/// Channels of a block that exist.
fn lanes(map: &FeatureMap, block: usize) -> usize {
    map.channels_per_block.min(map.channels - block * map.channels_per_block)
}
