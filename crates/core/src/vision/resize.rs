//! Antialiased bilinear resizing, bit for bit as Pillow does it, of only the pixels that are needed.
//!
//! Pillow resizes horizontally and then vertically, both in fixed point, and rounds to whole levels in
//! between. The same weights in the same integer arithmetic give the same pixels. Only the order differs
//! here: a row is resized horizontally when the first output row needs it and discarded after the last one,
//! so that unneeded pixels are never computed and the others stay in the cache.

use crate::error::{Error, Result};
use image::RgbImage;
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// The most pixels of a resized image that are computed; 256 x 384 is a usual size.
const MAX_PIXELS: u64 = 1 << 24;
/// Fractional bits of a weight, as in Pillow: 255 times the sum of the weights fits in 31 bits.
const FRACTION_BITS: u32 = 32 - 8 - 2;

/// A rectangle of whole pixels in an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rectangle {
    /// Pixels to the left of the rectangle.
    pub left: u32,
    /// Pixels above the rectangle.
    pub top: u32,
    /// Width, in pixels.
    pub width: u32,
    /// Height, in pixels.
    pub height: u32,
}

impl Rectangle {
    /// All of an image of this size (width and height, in pixels).
    pub fn whole((width, height): (u32, u32)) -> Self {
        Self { left: 0, top: 0, width, height }
    }

    /// Width and height, in pixels.
    pub fn size(&self) -> (u32, u32) {
        (self.width, self.height)
    }

    /// The center square of an image, with a side of `side` pixels, at the position of torchvision's
    /// `CenterCrop`.
    ///
    /// # Errors
    /// [`Error::Picture`] if the image is smaller than the square.
    pub fn center((width, height): (u32, u32), side: u32) -> Result<Self> {
        let offset = |length: u32| half_to_even(length.saturating_sub(side));
        let square = Self { left: offset(width), top: offset(height), width: side, height: side };
        square.expect_within((width, height))?;
        Ok(square)
    }

    /// Checks that the rectangle has pixels and lies within an image of this size (width and height).
    pub(super) fn expect_within(&self, size: (u32, u32)) -> Result<()> {
        let fits = |start: u32, length: u32, whole: u32| {
            length > 0 && start.checked_add(length).is_some_and(|end| end <= whole)
        };
        if fits(self.left, self.width, size.0) && fits(self.top, self.height, size.1) {
            return Ok(());
        }
        Err(Error::Picture {
            place: "crop".into(),
            expected: format!(
                "an image that contains {}x{} pixels at ({}, {})",
                self.width, self.height, self.left, self.top
            ),
            found: format!("an image of {}x{}", size.0, size.1),
        })
    }
}

/// Half of a length, rounded half to even as by Python's `round`, which torchvision's center crop uses.
fn half_to_even(length: u32) -> u32 {
    let half = length / 2;
    half + (length % 2) * (half % 2)
}

/// The size of an image (width and height) after its short side becomes `short` and the long side stays in
/// proportion, rounded down as in torchvision.
pub(super) fn proportional((width, height): (u32, u32), short: u32) -> Result<(u32, u32)> {
    let (least, most) = (width.min(height), width.max(height));
    let long = (u64::from(short) * u64::from(most)).checked_div(least.into());
    match long.and_then(|long| u32::try_from(long).ok()) {
        Some(long) if width <= height => Ok((short, long)),
        Some(long) => Ok((long, short)),
        None => Err(too_narrow((width, height), short)),
    }
}

/// [`proportional`] for a photo, unless that is too many pixels to compute.
pub(super) fn resized_size(photo: &RgbImage, short: u32) -> Result<(u32, u32)> {
    let size = proportional(photo.dimensions(), short)?;
    if u64::from(size.0) * u64::from(size.1) > MAX_PIXELS {
        return Err(too_narrow(photo.dimensions(), short));
    }
    Ok(size)
}

/// Resizes the short side to `short` pixels and the long side in proportion.
pub(super) fn resize(photo: &RgbImage, short: u32) -> Result<RgbImage> {
    let size = resized_size(photo, short)?;
    resized_window(photo, Rectangle::whole(photo.dimensions()), size, Rectangle::whole(size))
}

fn too_narrow((width, height): (u32, u32), short: u32) -> Error {
    Error::Picture {
        place: "resize".into(),
        expected: format!("at most {MAX_PIXELS} pixels after the short side becomes {short}"),
        found: format!("an image of {width}x{height}"),
    }
}

/// The pixels of `window` after `region` of the photo is resized to `size` (width and height). The result is
/// that of cropping to `region`, resizing and cropping to `window`, but no other pixels are computed.
pub(super) fn resized_window(
    photo: &RgbImage,
    region: Rectangle,
    size: (u32, u32),
    window: Rectangle,
) -> Result<RgbImage> {
    region.expect_within(photo.dimensions())?;
    window.expect_within(size)?;
    let too_large = || Error::Picture {
        place: "resize".into(),
        expected: format!("at most {MAX_PIXELS} pixels"),
        found: format!("{window:?} of {region:?} resized to {}x{}", size.0, size.1),
    };
    let (width, height) = (window.width as usize, window.height as usize);
    if (width as u64).saturating_mul(height as u64) > MAX_PIXELS {
        return Err(too_large());
    }
    let rows = Rows { photo, region };
    let pixels = if region.size() == size {
        rows.copied(window)
    } else {
        let horizontal = Weights::new(region.width, size.0, window.left, width);
        let vertical = Weights::new(region.height, size.1, window.top, height);
        if (width as u64).saturating_mul(vertical.taps as u64) > MAX_PIXELS {
            return Err(too_large());
        }
        rows.resized(&horizontal, &vertical)
    };
    RgbImage::from_raw(window.width, window.height, pixels).ok_or_else(too_large)
}

/// The rows of a region of a photo.
struct Rows<'a> {
    photo: &'a RgbImage,
    region: Rectangle,
}

impl Rows<'_> {
    fn row(&self, index: usize) -> &[[u8; 3]] {
        let (pixels, _) = self.photo.as_raw().as_chunks();
        let start = (self.region.top as usize + index) * self.photo.width() as usize
            + self.region.left as usize;
        &pixels[start..start + self.region.width as usize]
    }

    fn copied(&self, window: Rectangle) -> Vec<u8> {
        let columns = window.left as usize..(window.left + window.width) as usize;
        let lines = window.top as usize..(window.top + window.height) as usize;
        let mut pixels = Vec::with_capacity(3 * columns.len() * lines.len());
        for line in lines {
            pixels.extend_from_slice(self.row(line)[columns.clone()].as_flattened());
        }
        pixels
    }

    fn resized(&self, horizontal: &Weights, vertical: &Weights) -> Vec<u8> {
        let width = 3 * horizontal.first.len();
        let mut pixels = vec![0; width * vertical.first.len()];
        // The horizontally resized rows that one output row needs: row `i` is in slot `i % taps`.
        let mut ring = vec![0; width * vertical.taps];
        let mut sums = vec![0; width];
        let mut next = 0;
        for (output, (first, weights)) in pixels.chunks_exact_mut(width).zip(vertical.per_pixel()) {
            next = next.max(first);
            while next < first + vertical.taps {
                let slot = width * (next % vertical.taps);
                horizontal.apply(self.row(next), &mut ring[slot..slot + width]);
                next += 1;
            }
            sums.fill(HALF);
            for (row, &weight) in (first..).zip(weights) {
                let slot = width * (row % vertical.taps);
                for (sum, &level) in sums.iter_mut().zip(&ring[slot..slot + width]) {
                    *sum += i32::from(level) * weight;
                }
            }
            output.iter_mut().zip(&sums).for_each(|(level, &sum)| *level = rounded(sum));
        }
        pixels
    }
}

/// One half in fixed point: added before the fraction is cut off, it rounds to the nearest.
const HALF: i32 = 1 << (FRACTION_BITS - 1);

/// A fixed-point sum as a level. Rounded weights may sum to slightly more than 1.
fn rounded(sum: i32) -> u8 {
    (sum >> FRACTION_BITS).min(255) as u8
}

/// The weights of the input pixels for each output pixel, in one direction: the triangle filter, as wide as
/// the reduction, so that no input pixel is skipped.
struct Weights {
    /// The first input pixel for each output pixel.
    first: Vec<usize>,
    /// `taps` weights for each output pixel, in fixed point. All output pixels have the same number, padded
    /// with 0, so that loops over them can be unrolled.
    weights: Vec<i32>,
    taps: usize,
}

impl Weights {
    /// The weights of `count` output pixels from `start` on, when `from` pixels become `to`.
    fn new(from: u32, to: u32, start: u32, count: usize) -> Self {
        let filter = Triangle::new(from, to);
        let wanted = start as usize..start as usize + count;
        let taps = wanted.clone().map(|pixel| filter.reach(pixel).len()).max().unwrap_or(1);
        let mut first = Vec::with_capacity(count);
        let mut weights = Vec::with_capacity(count * taps);
        for pixel in wanted {
            let reach = filter.reach(pixel);
            let sum: f64 = reach.clone().map(|tap| filter.weight(pixel, tap)).sum();
            let start = reach.start.min(from as usize - taps);
            first.push(start);
            weights.extend((start..start + taps).map(|tap| {
                if reach.contains(&tap) {
                    let weight = filter.weight(pixel, tap) / sum;
                    (weight * f64::from(1 << FRACTION_BITS) + 0.5) as i32
                } else {
                    0
                }
            }));
        }
        Self { first, weights, taps }
    }

    /// First input pixel and weights of each output pixel.
    fn per_pixel(&self) -> impl Iterator<Item = (usize, &[i32])> {
        self.first.iter().copied().zip(self.weights.chunks_exact(self.taps))
    }

    /// Resizes one row of RGB pixels.
    fn apply(&self, row: &[[u8; 3]], resized: &mut [u8]) {
        match self.taps {
            2 => self.apply_taps::<2>(row, resized),
            3 => self.apply_taps::<3>(row, resized),
            4 => self.apply_taps::<4>(row, resized),
            5 => self.apply_taps::<5>(row, resized),
            _ => self.apply_any(row, resized),
        }
    }

    /// A constant number of taps lets the loop be unrolled, which saves a quarter of the time.
    fn apply_taps<const TAPS: usize>(&self, row: &[[u8; 3]], resized: &mut [u8]) {
        let (resized, _) = resized.as_chunks_mut::<3>();
        let (weights, _) = self.weights.as_chunks::<TAPS>();
        for ((rgb, &first), weights) in resized.iter_mut().zip(&self.first).zip(weights) {
            *rgb = weighted(&row[first..first + TAPS], weights);
        }
    }

    fn apply_any(&self, row: &[[u8; 3]], resized: &mut [u8]) {
        let (resized, _) = resized.as_chunks_mut::<3>();
        for (rgb, (first, weights)) in resized.iter_mut().zip(self.per_pixel()) {
            *rgb = weighted(&row[first..first + self.taps], weights);
        }
    }
}

#[inline(always)]
fn weighted(pixels: &[[u8; 3]], weights: &[i32]) -> [u8; 3] {
    let mut sums = [HALF; 3];
    for (rgb, weight) in pixels.iter().zip(weights) {
        for (sum, &level) in sums.iter_mut().zip(rgb) {
            *sum += i32::from(level) * weight;
        }
    }
    sums.map(rounded)
}

/// The triangle filter of one direction, in input pixels, positioned as in Pillow.
struct Triangle {
    length: usize,
    scale: f64,
    /// Half of the filter's width.
    support: f64,
}

impl Triangle {
    fn new(from: u32, to: u32) -> Self {
        let scale = f64::from(from) / f64::from(to);
        Self { length: from as usize, scale, support: scale.max(1.0) }
    }

    fn center(&self, pixel: usize) -> f64 {
        (pixel as f64 + 0.5) * self.scale
    }

    /// The input pixels under the filter. The conversions to integers truncate, and negative becomes 0.
    fn reach(&self, pixel: usize) -> Range<usize> {
        let center = self.center(pixel);
        let end = (center + self.support + 0.5) as usize;
        (center - self.support + 0.5) as usize..end.min(self.length)
    }

    fn weight(&self, pixel: usize, tap: usize) -> f64 {
        // Multiplied by the reciprocal, as in Pillow: a division would round differently.
        let distance = (tap as f64 - self.center(pixel) + 0.5) * (1.0 / self.support);
        (1.0 - distance.abs()).max(0.0)
    }
}
