//! The adaptive average pool, which ONNX does not have: where the windows of
//! [`Layer::AdaptiveAvgPool`](crate::models::Layer) lie for one size of map.

use crate::error::{Error, Result};
use std::ops::Range;

/// `count` windows along one side of a map that is `length` long.
#[derive(Clone, Copy)]
pub(super) struct Windows {
    pub length: usize,
    pub count: usize,
}

/// Most weights of windows along a side: more than any network's, and few enough to be in memory.
const LARGEST: usize = 1 << 24;

impl Windows {
    /// # Errors
    /// [`Error::Setting`] for a pool or a map so large that the weights of its windows are too many.
    pub fn new(place: &str, length: usize, count: usize) -> Result<Self> {
        match length.checked_mul(count) {
            Some(weights) if weights <= LARGEST => Ok(Self { length, count }),
            _ => Err(Error::Setting {
                place: format!("ONNX: {place}"),
                expected: format!("a map and a pool of at most {LARGEST} in product"),
                found: format!("{length} to {count}"),
            }),
        }
    }

    fn window(self, index: usize) -> Range<usize> {
        let start = index * self.length / self.count;
        start..((index + 1) * self.length).div_ceil(self.count)
    }

    /// Kernel and stride of the plain pool that has the same windows, if there is one.
    pub fn uniform(self) -> Option<[usize; 2]> {
        let kernel = self.window(0).len();
        let stride = if self.count == 1 { 1 } else { self.window(1).start };
        let plain = |index| index * stride..index * stride + kernel;
        let same = stride > 0 && (0..self.count).all(|index| self.window(index) == plain(index));
        same.then_some([kernel, stride])
    }

    /// What position `position` counts for in window `index`: any window's average is the product
    /// with a matrix of these.
    pub fn weight(self, index: usize, position: usize) -> f32 {
        let window = self.window(index);
        if window.contains(&position) { 1.0 / window.len() as f32 } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::Windows;

    #[test]
    fn plain_pools_are_recognized() {
        for (length, count, uniform) in [
            (7, 7, Some([1, 1])),
            (14, 7, Some([2, 2])),
            (7, 6, Some([2, 1])),
            (5, 1, Some([5, 1])),
            (1, 1, Some([1, 1])),
            (10, 7, None),
            (8, 6, None),
            (3, 6, None),
            (1, 7, None),
        ] {
            assert_eq!(Windows { length, count }.uniform(), uniform, "{length} to {count}");
        }
    }

    #[test]
    fn every_window_is_an_average() {
        for (length, count) in [(10, 7), (3, 6), (1, 7), (7, 7)] {
            let windows = Windows { length, count };
            for index in 0..count {
                let sum: f32 = (0..length).map(|position| windows.weight(index, position)).sum();
                assert!((sum - 1.0).abs() < 1e-6, "{length} to {count}: {sum}");
            }
        }
    }
}
