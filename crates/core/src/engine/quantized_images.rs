//! Images as 16-bit integers, for a first convolution that computes with them.
//!
//! All pixels of an image share a scale: its largest magnitude.
#![allow(unsafe_code)]

use super::feature_map::FeatureMap;
use super::simd::{BLOCK, CheckedPtr, IntegerSimd, Isa, dispatch_integers, scale_of_values};
use super::stage::{Stage, Work};
use super::workspace::Workspace;
use std::ops::Range;

/// Values of a pixel: its channels, and another that is zero where pixels would otherwise not be whole pairs apart.
pub(super) fn pixel_len(channels: usize, stride: usize) -> usize {
    channels + (stride * channels) % 2
}

/// Planar images to integers, `[image][row][column][channel]`. Rows start where those of the feature map do, but take
/// half the space.
#[derive(Debug)]
pub(super) struct QuantizeImages {
    pub isa: Isa,
    /// Index of the buffer of the planar images.
    pub planar: usize,
    pub map: FeatureMap,
    /// Index of the buffer of the images' scales.
    pub scales: usize,
    pub batch: usize,
    pub pixel_len: usize,
    /// The largest magnitude of the integers.
    pub limit: f32,
    /// Rows of an item.
    pub rows_per_item: usize,
}

impl QuantizeImages {
    /// Items that an image is divided into.
    fn chunks(&self) -> usize {
        self.map.height.div_ceil(self.rows_per_item)
    }

    /// The image of an item, and its rows.
    fn part(&self, item: usize) -> (usize, Range<usize>) {
        let (image, first) = (item / self.chunks(), item % self.chunks() * self.rows_per_item);
        (image, first..(first + self.rows_per_item).min(self.map.height))
    }

    fn image_len(&self) -> usize {
        self.map.channels * self.map.height * self.map.width
    }
}

impl Stage for QuantizeImages {
    fn items(&self) -> usize {
        self.batch * self.chunks()
    }

    /// Each item looks for the scale, vector by vector, and converts its rows, value by value.
    fn work(&self, item: usize) -> Work {
        let (_, rows) = self.part(item);
        let converted = rows.len() * self.map.width * self.map.channels;
        Work::of_vectors(self.image_len() / (4 * BLOCK) + converted.div_ceil(4))
    }

    fn run(&self, item: usize, _: usize, workspace: &Workspace) {
        let (image, rows) = self.part(item);
        let planar = workspace.buffer(self.planar).add(image * self.image_len());
        let values = workspace.buffer(self.map.buffer);
        // SAFETY: the plan chose an available instruction set, and reserved buffers of these lengths; no two items
        // share a row.
        let scale = unsafe {
            dispatch_integers!(self.isa, quantize_rows(
                stage: &QuantizeImages = self, image: usize = image, rows: Range<usize> = rows.clone(),
                planar: CheckedPtr = planar, values: CheckedPtr = values,
            ) -> f32)
        };
        if rows.start == 0 {
            // SAFETY: the buffer has a scale for each image, which no other item writes.
            unsafe { workspace.buffer(self.scales).add(image).write(scale) }
        }
    }
}

/// Returns the image's scale.
///
/// Three channels, the usual case, are written as four: the fourth is the next pixel's first, which comes next, or
/// beyond the row, which takes half its space.
///
/// # Safety
/// `S` must be available, the image and its rows inside their buffers, and no other thread may access the rows.
#[inline(always)]
unsafe fn quantize_rows<S: IntegerSimd>(
    stage: &QuantizeImages,
    image: usize,
    rows: Range<usize>,
    planar: CheckedPtr,
    values: CheckedPtr,
) -> f32 {
    let map = &stage.map;
    // SAFETY: guaranteed by the caller.
    unsafe {
        let scale = scale_of_values::<S>(planar, stage.image_len());
        let inverse = S::splat(stage.limit / scale);
        for y in rows {
            let pixels = values.add(map.padded_offset(image, 0, y + map.padding, 0));
            for first in (0..map.width).step_by(BLOCK) {
                let count = BLOCK.min(map.width - first);
                let mut integers = [[0i16; BLOCK]; BLOCK];
                for (channel, integers) in integers.iter_mut().enumerate().take(map.channels) {
                    let from = planar.add((channel * map.height + y) * map.width + first);
                    let scaled = S::mul(from.load_some::<S>(count), inverse);
                    S::store_i16(integers.as_mut_ptr(), scaled);
                }
                for x in 0..count {
                    let to = (map.padding + first + x) * stage.pixel_len;
                    if let ([red, green, blue, ..], 3) = (&integers, map.channels) {
                        pixels.write_i16_quad(to, [red[x], green[x], blue[x], 0]);
                        continue;
                    }
                    for (channel, integers) in integers.iter().enumerate().take(map.channels) {
                        pixels.write_i16(to + channel, integers[x]);
                    }
                }
            }
        }
        scale
    }
}
