//! Between planar images, `[N, C, H, W]`, and the blocked layout of a [`FeatureMap`].
#![allow(unsafe_code)]

use super::run_items::run_items;
use crate::engine::feature_map::FeatureMap;
use crate::engine::simd::{BLOCK, CheckedPtr, Isa, Simd, dispatch};
use std::ops::Range;

/// Pixels of a block of channels that an item reorders: enough that taking an item costs little in comparison.
const PIXELS_PER_ITEM: usize = 4096;

/// Reads planar images into a map, with zeros around them and in the channels that its last block lacks.
pub fn to_blocked(isa: Isa, planar: &[f32], map: &FeatureMap, batch: usize, blocked: CheckedPtr) {
    assert_eq!(planar.len(), batch * map.channels * map.height * map.width, "planar images");
    let rows_per_item = (PIXELS_PER_ITEM / map.padded_width).max(1);
    let (blocks, parts) = (map.blocks(), map.padded_height.div_ceil(rows_per_item));
    run_items(batch * blocks * parts, |item, _| {
        let (image, block, first) =
            (item / (blocks * parts), item / parts % blocks, item % parts * rows_per_item);
        let rows = first..map.padded_height.min(first + rows_per_item);
        // SAFETY: the instruction set is one that this machine has; only this item accesses the rows of the block.
        unsafe {
            dispatch!(isa, rows_to_blocked(
                planar: &[f32] = planar, map: &FeatureMap = map, at: [usize; 2] = [image, block],
                rows: Range<usize> = rows, blocked: CheckedPtr = blocked,
            ))
        }
    });
}

/// Reads rows of a block, counted from the corner of the padding.
///
/// # Safety
/// `S` must be available, and no other thread may access the rows.
#[inline(always)]
unsafe fn rows_to_blocked<S: Simd>(
    planar: &[f32],
    map: &FeatureMap,
    [image, block]: [usize; 2],
    rows: Range<usize>,
    blocked: CheckedPtr,
) {
    let (per_block, plane) = (map.channels_per_block, map.height * map.width);
    let first = image * map.channels + block * per_block;
    let right = map.padding + map.width;
    for row in rows {
        let to = blocked.add(map.padded_offset(image, block, row, 0));
        // SAFETY: inside the map, and guaranteed by the caller.
        unsafe {
            if !(map.padding..map.padding + map.height).contains(&row) {
                fill_zeros(to, map.row_stride());
                continue;
            }
            fill_zeros(to, map.padding * per_block);
            fill_zeros(to.add(right * per_block), (map.padded_width - right) * per_block);
            let to = to.add(map.padding * per_block);
            let from = first * plane + (row - map.padding) * map.width;
            let lanes = lanes(map, block);
            for start in (0..map.width).step_by(BLOCK) {
                let pixels = BLOCK.min(map.width - start);
                let (from, to) = (from + start, to.add(start * per_block));
                // The last tile of a row reads into the next one, unless there is none.
                if per_block == BLOCK && from + (lanes - 1) * plane + BLOCK <= planar.len() {
                    tile_to_blocked::<S>(&planar[from..], plane, lanes, pixels, to);
                } else {
                    pixels_to_blocked(&planar[from..], plane, lanes, [pixels, per_block], to);
                }
            }
        }
    }
}

/// Reads up to sixteen pixels of the channels of a block; sixteen values of each are readable.
///
/// # Safety
/// `S` must be available, and the pixels of the block must be inside the map, where no other thread may access them.
#[inline(always)]
unsafe fn tile_to_blocked<S: Simd>(
    planes: &[f32],
    plane: usize,
    lanes: usize,
    pixels: usize,
    to: CheckedPtr,
) {
    // SAFETY: guaranteed by the caller.
    unsafe {
        let mut rows = [S::splat(0.0); BLOCK];
        for (lane, row) in rows.iter_mut().enumerate().take(lanes) {
            *row = S::load(planes[lane * plane..][..BLOCK].as_ptr());
        }
        for (pixel, vector) in S::transpose(rows).into_iter().enumerate().take(pixels) {
            to.add(pixel * BLOCK).store::<S>(vector);
        }
    }
}

/// The same one by one, for blocks of any number of channels.
///
/// # Safety
/// The pixels of the block must be inside the map, and no other thread may access them.
unsafe fn pixels_to_blocked(
    planes: &[f32],
    plane: usize,
    lanes: usize,
    [pixels, per_block]: [usize; 2],
    to: CheckedPtr,
) {
    for lane in 0..per_block {
        for pixel in 0..pixels {
            let value = if lane < lanes { planes[lane * plane + pixel] } else { 0.0 };
            // SAFETY: guaranteed by the caller.
            unsafe { to.add(pixel * per_block + lane).write(value) }
        }
    }
}

/// # Safety
/// `len` values from `to` on must be inside the buffer, and no other thread may access them.
unsafe fn fill_zeros(to: CheckedPtr, len: usize) {
    for at in 0..len {
        // SAFETY: guaranteed by the caller.
        unsafe { to.add(at).write(0.0) }
    }
}

/// Reads a map, of blocks of sixteen channels and without padding, into planar images.
pub fn to_planar(
    isa: Isa,
    blocked: CheckedPtr,
    map: &FeatureMap,
    batch: usize,
    planar: &mut [f32],
) {
    let plane = map.height * map.width;
    assert_eq!(planar.len(), batch * map.channels * plane, "planar images");
    assert_eq!(map.block_stride(), plane * BLOCK, "a map without padding");
    let (blocks, parts) = (map.blocks(), (plane / PIXELS_PER_ITEM).max(1));
    let planar = CheckedPtr::new(planar.as_mut_ptr(), planar.len());
    run_items(batch * blocks * parts, |item, _| {
        let (image, block, part) = (item / (blocks * parts), item / parts % blocks, item % parts);
        // The last part has the rest.
        let end = if part + 1 == parts { plane } else { (part + 1) * PIXELS_PER_ITEM };
        let pixels = part * PIXELS_PER_ITEM..end;
        let from = blocked.add(map.offset(image, block, 0, 0));
        let to = planar.add((image * map.channels + block * BLOCK) * plane);
        // SAFETY: the instruction set is one that this machine has; both are inside their buffers, and only this item
        // accesses the pixels of the planes.
        unsafe {
            dispatch!(isa, pixels_to_planar(
                from: CheckedPtr = from, pixels: Range<usize> = pixels, lanes: usize = lanes(map, block),
                plane: usize = plane, to: CheckedPtr = to,
            ))
        }
    });
}

/// Reads pixels of a block into the planes of its channels.
///
/// # Safety
/// `S` must be available, the pixels inside the map, and no other thread may access them in the planes.
#[inline(always)]
unsafe fn pixels_to_planar<S: Simd>(
    from: CheckedPtr,
    pixels: Range<usize>,
    lanes: usize,
    plane: usize,
    to: CheckedPtr,
) {
    // SAFETY: guaranteed by the caller.
    unsafe {
        if pixels.len() < BLOCK {
            for (pixel, lane) in pixels.flat_map(|pixel| (0..lanes).map(move |lane| (pixel, lane)))
            {
                to.add(lane * plane + pixel).write(from.add(pixel * BLOCK + lane).read());
            }
            return;
        }
        for start in pixels.clone().step_by(BLOCK) {
            // The last tile overlaps the one before it.
            let start = start.min(pixels.end - BLOCK);
            let mut rows = [S::splat(0.0); BLOCK];
            for (pixel, row) in rows.iter_mut().enumerate() {
                *row = from.add((start + pixel) * BLOCK).load::<S>();
            }
            for (lane, row) in S::transpose(rows).into_iter().enumerate().take(lanes) {
                to.add(lane * plane + start).store::<S>(row);
            }
        }
    }
}

/// Channels of a block that exist.
fn lanes(map: &FeatureMap, block: usize) -> usize {
    map.channels_per_block.min(map.channels - block * map.channels_per_block)
}
