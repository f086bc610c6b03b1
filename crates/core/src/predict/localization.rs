//! Localization: from a heat map to a bounding box.

use super::heat_map::HeatMap;
use serde::{Deserialize, Serialize};

/// A bounding box in an image, in fractions of the image's width and height: 0 is the left or top edge, 1
/// the right or bottom edge.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct BoundingBox {
    /// Left edge.
    pub left: f64,
    /// Top edge.
    pub top: f64,
    /// Right edge, greater than `left`.
    pub right: f64,
    /// Bottom edge, greater than `top`.
    pub bottom: f64,
}

impl BoundingBox {
    /// `[left, top, right, bottom]` in the pixels of an image of this width and height; `right` and `bottom`
    /// are exclusive. The box has at least one pixel.
    pub fn to_pixels(&self, width: u32, height: u32) -> [u32; 4] {
        let round = |fraction: f64, side: u32| (fraction * f64::from(side)).round() as u32;
        let start = |fraction, side: u32| round(fraction, side).min(side.saturating_sub(1));
        let (left, top) = (start(self.left, width), start(self.top, height));
        let end = |fraction, side: u32, start: u32| round(fraction, side).min(side).max(start + 1);
        [left, top, end(self.right, width, left), end(self.bottom, height, top)]
    }
}

impl HeatMap {
    /// The box around the region that contains the map's maximum and lies above a threshold, given as a
    /// fraction of the map's range from 0 (the minimum) to 1 (the maximum).
    ///
    /// Zhou et al. 2016 (section 3.2) use a threshold of 20% of the maximum and the largest connected
    /// region, which is the same region unless a weaker one is larger. The box is the whole image for a
    /// constant map, and for a threshold that is 0, negative or NaN.
    pub fn localize(&self, threshold: f32) -> BoundingBox {
        /// The most points per side at which the map is sampled.
        const MAX_POINTS: usize = 256;
        let [height, width] = self.input_size().map(|side| side.min(MAX_POINTS));
        let map = self.interpolate(height, width);
        let values: Vec<f64> = (0..height)
            .flat_map(|y| (0..width).map(move |x| (y, x)))
            .map(|(y, x)| map.at(y, x))
            .collect();
        let best = (0..values.len()).fold(0, |a, b| if values[b] > values[a] { b } else { a });
        let smallest = values.iter().copied().fold(f64::INFINITY, f64::min);
        let fraction = if threshold.is_nan() { 0.0 } else { f64::from(threshold.clamp(0.0, 1.0)) };
        let threshold = smallest + fraction * (values[best] - smallest);
        let [left, top, right, bottom] = connected_region(&values, width, best, threshold);
        let (width, height) = (width as f64, height as f64);
        BoundingBox {
            left: left as f64 / width,
            top: top as f64 / height,
            right: (right + 1) as f64 / width,
            bottom: (bottom + 1) as f64 / height,
        }
    }
}

/// `[left, top, right, bottom]` (inclusive) of the points that are at least `threshold` and connected to the
/// point at `start`.
fn connected_region(values: &[f64], width: usize, start: usize, threshold: f64) -> [usize; 4] {
    let mut visited = vec![false; values.len()];
    let mut stack = vec![start];
    let [mut left, mut top, mut right, mut bottom] = [usize::MAX, usize::MAX, 0, 0];
    while let Some(point) = stack.pop() {
        if std::mem::replace(&mut visited[point], true) {
            continue;
        }
        let (y, x) = (point / width, point % width);
        (left, top, right, bottom) = (left.min(x), top.min(y), right.max(x), bottom.max(y));
        let neighbors = [
            (x > 0).then(|| point - 1),
            (x + 1 < width).then(|| point + 1),
            point.checked_sub(width),
            Some(point + width),
        ];
        let above = |next: &usize| values.get(*next).is_some_and(|value| *value >= threshold);
        stack.extend(neighbors.into_iter().flatten().filter(above));
    }
    [left, top, right, bottom]
}
