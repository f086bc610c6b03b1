//! [`Histogram`]: how often a value was in which range.

/// Counts of values by range, such as Prometheus' histograms.
///
/// ```
/// use alexnet_vgg_core::predict::Histogram;
///
/// let mut sizes = Histogram::new(&[1.0, 2.0, 4.0]);
/// [1.0, 3.0, 4.0, 100.0].into_iter().for_each(|size| sizes.add(size));
/// assert_eq!(sizes.counts(), [1, 0, 2, 1]); // the last one is of values above 4
/// assert_eq!((sizes.count(), sizes.sum()), (4, 108.0));
/// assert_eq!(sizes.quantile(0.5), 4.0);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Histogram {
    bounds: &'static [f64],
    counts: Vec<u64>,
    sum: f64,
}

impl Histogram {
    /// Bounds for times in seconds: half a millisecond to a minute.
    pub const SECONDS: &'static [f64] = &[
        0.0005, 0.001, 0.002, 0.004, 0.008, 0.015, 0.03, 0.06, 0.12, 0.25, 0.5, 1.0, 2.0, 5.0,
        10.0, 30.0, 60.0,
    ];

    /// An empty histogram. Each of the `bounds`, which must rise, is the largest value of its range.
    pub fn new(bounds: &'static [f64]) -> Self {
        Self { bounds, counts: vec![0; bounds.len() + 1], sum: 0.0 }
    }

    /// Counts a value.
    pub fn add(&mut self, value: f64) {
        let range = self.bounds.partition_point(|&bound| bound < value);
        self.counts[range] += 1;
        self.sum += value;
    }

    /// The largest value of each range but the last, which has none.
    pub fn bounds(&self) -> &'static [f64] {
        self.bounds
    }

    /// How many values were in each range: one more than there are [bounds](Self::bounds).
    pub fn counts(&self) -> &[u64] {
        &self.counts
    }

    /// How many values there were.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The sum of all values.
    pub fn sum(&self) -> f64 {
        self.sum
    }

    /// The bound of the range that has the value below which a fraction of all values lie: infinity for the last
    /// range, and 0 if there are no values.
    pub fn quantile(&self, fraction: f64) -> f64 {
        let rank = (fraction * self.count() as f64).ceil().max(1.0) as u64;
        let mut below = 0;
        for (range, count) in self.counts.iter().enumerate() {
            below += count;
            if below >= rank {
                return self.bounds.get(range).copied().unwrap_or(f64::INFINITY);
            }
        }
        0.0
    }
}
