//! Antialiased bilinear resizing, to the bit as Pillow does it, of no more than what is wanted.
//!
//! Pillow resizes the rows and then the columns, each in fixed point, and rounds to whole levels in
//! between. The same weights in the same integers give the same pixels. What is done otherwise here
//! is the order: a row is resized when the first column needs it and forgotten after the last, so
//! that what no wanted pixel depends on is never computed, and the rest stays in the cache.

use crate::error::{Error, Result};
use image::RgbImage;
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// Pixels that are computed of a resized picture, where 256 x 384 is usual.
const MOST_PIXELS: u64 = 1 << 24;
/// Fractional bits of a weight: Pillow's, so that 255 times their sum fits in 31 bits.
const FRACTION: u32 = 32 - 8 - 2;

/// A rectangle of whole pixels in a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rectangle {
    /// Pixels to the left of it.
    pub left: u32,
    /// Pixels above it.
    pub top: u32,
    /// Its width, in pixels.
    pub width: u32,
    /// Its height, in pixels.
    pub height: u32,
}

impl Rectangle {
    /// All of a picture of `size`: width and height, in pixels.
    pub fn whole((width, height): (u32, u32)) -> Self {
        Self { left: 0, top: 0, width, height }
    }

    /// Width and height, in pixels.
    pub fn size(&self) -> (u32, u32) {
        (self.width, self.height)
    }

    /// The square of `side` in the middle of a picture; where a pixel is left over, its place is that
    /// of torchvision's center crop.
    ///
    /// # Errors
    /// [`Error::Picture`] if the picture is smaller.
    pub fn center((width, height): (u32, u32), side: u32) -> Result<Self> {
        let offset = |length: u32| half_to_even(length.saturating_sub(side));
        let square = Self { left: offset(width), top: offset(height), width: side, height: side };
        square.expect_within((width, height))?;
        Ok(square)
    }

    /// `Ok` if it has pixels, and all of them are in a picture of `size`.
    pub(super) fn expect_within(&self, size: (u32, u32)) -> Result<()> {
        let ends = |start: u32, length: u32, whole: u32| {
            length > 0 && start.checked_add(length).is_some_and(|end| end <= whole)
        };
        if ends(self.left, self.width, size.0) && ends(self.top, self.height, size.1) {
            return Ok(());
        }
        Err(Error::Picture {
            place: "crop".into(),
            expected: format!(
                "one with {}x{} pixels at ({}, {})",
                self.width, self.height, self.left, self.top
            ),
            found: format!("a picture of {}x{}", size.0, size.1),
        })
    }
}

/// Half of it, where a half pixel rounds to the even side: Python's `round`, and so torchvision's
/// center crop.
fn half_to_even(length: u32) -> u32 {
    let half = length / 2;
    half + (length % 2) * (half % 2)
}

/// The size of a picture whose short side becomes `short`: the long side in proportion, rounded down
/// as in torchvision.
pub(super) fn proportional((width, height): (u32, u32), short: u32) -> Result<(u32, u32)> {
    let (least, most) = (width.min(height), width.max(height));
    let long = (u64::from(short) * u64::from(most)).checked_div(least.into());
    match long.and_then(|long| u32::try_from(long).ok()) {
        Some(long) if width <= height => Ok((short, long)),
        Some(long) => Ok((long, short)),
        None => Err(too_narrow((width, height), short)),
    }
}

/// Short side to `short`, the long side in proportion.
pub(super) fn resize(photo: &RgbImage, short: u32) -> Result<RgbImage> {
    let size = proportional(photo.dimensions(), short)?;
    if u64::from(size.0) * u64::from(size.1) > MOST_PIXELS {
        return Err(too_narrow(photo.dimensions(), short));
    }
    resized_window(photo, Rectangle::whole(photo.dimensions()), size, Rectangle::whole(size))
}

fn too_narrow((width, height): (u32, u32), short: u32) -> Error {
    Error::Picture {
        place: "resize".into(),
        expected: format!("at most {MOST_PIXELS} pixels once the short side is {short}"),
        found: format!("a picture of {width}x{height}"),
    }
}

/// The pixels of `window`, once `region` of the photo is resized to `size`: those of cropping,
/// resizing and cropping one after the other, and no others are computed.
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
        expected: format!("at most {MOST_PIXELS} pixels"),
        found: format!("{region:?} that becomes {}x{}, of which {window:?}", size.0, size.1),
    };
    let (width, height) = (window.width as usize, window.height as usize);
    if (width as u64).saturating_mul(height as u64) > MOST_PIXELS {
        return Err(too_large());
    }
    let rows = Rows { photo, region };
    let pixels = match region.size() == size {
        true => rows.copied(window),
        false => {
            let columns = Weights::new(region.width, size.0, window.left, width);
            let lines = Weights::new(region.height, size.1, window.top, height);
            if (width as u64).saturating_mul(lines.taps as u64) > MOST_PIXELS {
                return Err(too_large());
            }
            rows.resized(&columns, &lines)
        }
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

    fn resized(&self, columns: &Weights, lines: &Weights) -> Vec<u8> {
        let width = 3 * columns.first.len();
        let mut pixels = vec![0; width * lines.first.len()];
        // As many resized rows as one line of the output needs: row `i` is in slot `i % taps`.
        let mut ring = vec![0; width * lines.taps];
        let mut sums = vec![0; width];
        let mut next = 0;
        for (line, (first, weights)) in pixels.chunks_exact_mut(width).zip(lines.each()) {
            next = next.max(first);
            while next < first + lines.taps {
                let slot = width * (next % lines.taps);
                columns.apply(self.row(next), &mut ring[slot..slot + width]);
                next += 1;
            }
            sums.fill(HALF);
            for (row, &weight) in (first..).zip(weights) {
                let slot = width * (row % lines.taps);
                for (sum, &level) in sums.iter_mut().zip(&ring[slot..slot + width]) {
                    *sum += i32::from(level) * weight;
                }
            }
            line.iter_mut().zip(&sums).for_each(|(level, &sum)| *level = rounded(sum));
        }
        pixels
    }
}

/// What rounds to the nearest, once the fraction is cut off.
const HALF: i32 = 1 << (FRACTION - 1);

/// The weights are not negative, but the rounded ones may sum to more than 1.
fn rounded(sum: i32) -> u8 {
    (sum >> FRACTION).min(255) as u8
}

/// What each pixel of the output is made of, in one direction: the triangle filter, as wide as the
/// reduction, so that no pixel is skipped.
struct Weights {
    /// The first pixel of the input, for each of the output.
    first: Vec<usize>,
    /// `taps` for each pixel of the output, in fixed point. Those that the filter does not reach are
    /// 0: all have the same number, so that loops over them can be unrolled.
    weights: Vec<i32>,
    taps: usize,
}

impl Weights {
    /// For `count` pixels from `start` on, once `from` pixels become `to`.
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
            weights.extend((start..start + taps).map(|tap| match reach.contains(&tap) {
                true => (filter.weight(pixel, tap) / sum * f64::from(1 << FRACTION) + 0.5) as i32,
                false => 0,
            }));
        }
        Self { first, weights, taps }
    }

    fn each(&self) -> impl Iterator<Item = (usize, &[i32])> {
        self.first.iter().copied().zip(self.weights.chunks_exact(self.taps))
    }

    /// One row, RGB after RGB.
    fn apply(&self, row: &[[u8; 3]], resized: &mut [u8]) {
        match self.taps {
            2 => self.apply_taps::<2>(row, resized),
            3 => self.apply_taps::<3>(row, resized),
            4 => self.apply_taps::<4>(row, resized),
            5 => self.apply_taps::<5>(row, resized),
            _ => self.apply_any(row, resized),
        }
    }

    /// A known number of taps is unrolled: a resize takes three quarters of the time.
    fn apply_taps<const TAPS: usize>(&self, row: &[[u8; 3]], resized: &mut [u8]) {
        let (resized, _) = resized.as_chunks_mut::<3>();
        let (weights, _) = self.weights.as_chunks::<TAPS>();
        for ((rgb, &first), weights) in resized.iter_mut().zip(&self.first).zip(weights) {
            *rgb = weighted(&row[first..first + TAPS], weights);
        }
    }

    fn apply_any(&self, row: &[[u8; 3]], resized: &mut [u8]) {
        let (resized, _) = resized.as_chunks_mut::<3>();
        for (rgb, (first, weights)) in resized.iter_mut().zip(self.each()) {
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

/// The filter of one direction, in pixels of the input, as Pillow places it.
struct Triangle {
    length: usize,
    scale: f64,
    /// Half of its width.
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

    /// The pixels of the input below it. Conversions to an integer cut off, and negative becomes 0.
    fn reach(&self, pixel: usize) -> Range<usize> {
        let center = self.center(pixel);
        let end = (center + self.support + 0.5) as usize;
        (center - self.support + 0.5) as usize..end.min(self.length)
    }

    fn weight(&self, pixel: usize, tap: usize) -> f64 {
        // Multiplied by the inverse, as in Pillow: a division would round otherwise.
        let distance = (tap as f64 - self.center(pixel) + 0.5) * (1.0 / self.support);
        (1.0 - distance.abs()).max(0.0)
    }
}
