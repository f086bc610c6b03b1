//! The windows of [`Layer::AdaptiveAvgPool`](super::Layer::AdaptiveAvgPool) for one size of map. ONNX does not have
//! this layer, only pools with a kernel and a stride, and matrix products.

use std::ops::Range;

/// The `count` windows along one dimension of a map, which has the size `length`.
#[derive(Clone, Copy)]
pub(crate) struct PoolWindows {
    pub length: usize,
    pub count: usize,
}

impl PoolWindows {
    fn window(self, index: usize) -> Range<usize> {
        let start = index * self.length / self.count;
        start..((index + 1) * self.length).div_ceil(self.count)
    }

    /// The kernel and stride of an ordinary pool with the same windows, if there is one.
    pub fn uniform(self) -> Option<[usize; 2]> {
        let kernel = self.window(0).len();
        let stride = if self.count == 1 { 1 } else { self.window(1).start };
        let ordinary = |index| index * stride..index * stride + kernel;
        let same = stride > 0 && (0..self.count).all(|index| self.window(index) == ordinary(index));
        same.then_some([kernel, stride])
    }

    /// The weight of a position in the average over the window `index`. The product with the matrix of all
    /// weights is the pool.
    pub fn weight(self, index: usize, position: usize) -> f32 {
        let window = self.window(index);
        if window.contains(&position) { 1.0 / window.len() as f32 } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::PoolWindows;

    #[test]
    fn ordinary_pools_are_recognized() {
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
            assert_eq!(PoolWindows { length, count }.uniform(), uniform, "{length} to {count}");
        }
    }

    #[test]
    fn the_weights_of_a_window_sum_to_one() {
        for (length, count) in [(10, 7), (3, 6), (1, 7), (7, 7)] {
            let windows = PoolWindows { length, count };
            for index in 0..count {
                let sum: f32 = (0..length).map(|position| windows.weight(index, position)).sum();
                assert!((sum - 1.0).abs() < 1e-6, "{length} to {count}: {sum}");
            }
        }
    }
}
