//! A map of numbers over a picture: class scores from place to place, or what Grad-CAM makes of a
//! layer; where it is largest, and where the thing is that it speaks of.

use super::expect_finite;
use crate::error::{Error, Result};
use crate::models::{Architecture, Grid};
use serde::{Deserialize, Serialize};

/// Numbers over a picture, `[rows, columns]`, and where in the picture they stand. All are finite.
///
/// ```
/// use alexnet_vgg::{models::VggConfig, predict::HeatMap, vision::RgbImage};
///
/// // pool5 of a 64x64 picture has 2 x 2 cells.
/// let vgg16 = VggConfig::vgg16().architecture();
/// let map = HeatMap::of_layer(&vgg16, "pool5", &[0.0, 3.0, 0.0, 0.0], [2, 2], [64, 64])?;
/// let found = map.localize(0.5);
/// assert!(found.left > 0.4 && found.right == 1.0 && found.top == 0.0 && found.bottom < 0.6);
///
/// let picture = map.with_title("upper right").draw(&RgbImage::new(320, 320))?;
/// assert!(picture.height() > 320); // a line above, a legend below
/// # Ok::<(), alexnet_vgg::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct HeatMap {
    values: Vec<f32>,
    /// Rows and columns: all pairs here are in this order, down and then to the right.
    pub(super) size: [usize; 2],
    first: [f64; 2],
    step: [f64; 2],
    input: [usize; 2],
    pub(super) title: String,
    pub(super) share: f32,
}

/// A box in a picture, as fractions of its width and height: 0 is the left or upper edge, 1 the right
/// or lower one.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct BoundingBox {
    /// Left edge.
    pub left: f64,
    /// Upper edge.
    pub top: f64,
    /// Right edge, greater than `left`.
    pub right: f64,
    /// Lower edge, greater than `top`.
    pub bottom: f64,
}

impl BoundingBox {
    /// Left, top, right and bottom in the pixels of a picture of this width and height; the last two
    /// are the first pixels outside.
    pub fn on(&self, width: u32, height: u32) -> [u32; 4] {
        let at = |fraction: f64, side: u32| (fraction * f64::from(side)).round() as u32;
        let low = |fraction, side: u32| at(fraction, side).min(side.saturating_sub(1));
        let (left, top) = (low(self.left, width), low(self.top, height));
        let high = |fraction, side: u32, low: u32| at(fraction, side).min(side).max(low + 1);
        [left, top, high(self.right, width, left), high(self.bottom, height, top)]
    }
}

impl HeatMap {
    /// The share of the range that [`localize`](Self::localize) is usually asked for: 0.2, as in the
    /// papers of class activation maps (Zhou et al. 2016, section 3.2).
    pub const SHARE: f32 = 0.2;

    /// A map of `[rows, columns]`, row by row. The center of the first cell lies `first` pixels, down
    /// and to the right, from the corner of an input of `[height, width]`, and its neighbors' `step`
    /// pixels further on.
    ///
    /// # Errors
    /// [`Error::Setting`] for no cells, another number of values, an input without pixels, and for
    /// places and steps that are none; [`Error::NotFinite`] if a value is NaN or infinite.
    pub fn new(
        values: impl Into<Vec<f32>>,
        [rows, columns]: [usize; 2],
        first: [f64; 2],
        step: [f64; 2],
        input: [usize; 2],
    ) -> Result<Self> {
        let values = values.into();
        let wrong = |expected: &str, found: String| {
            let (place, expected) = ("heat map".into(), expected.into());
            Err(Error::Setting { place, expected, found })
        };
        if values.is_empty() || rows.checked_mul(columns) != Some(values.len()) {
            return wrong(
                "as many values as rows times columns, at least one",
                format!("{} values for {rows} x {columns}", values.len()),
            );
        }
        let stepping = step.iter().all(|&step| step.is_finite() && step > 0.0);
        if !stepping || !first.iter().all(|first| first.is_finite()) || input.contains(&0) {
            return wrong(
                "a finite place, steps above 0, and an input of at least one pixel",
                format!("first {first:?}, step {step:?}, input {input:?}"),
            );
        }
        expect_finite("heat map", &values)?;
        let size = [rows, columns];
        Ok(Self { values, size, first, step, input, title: String::new(), share: Self::SHARE })
    }

    /// A map over the cells of a layer of the features, such as one of its channels.
    ///
    /// # Errors
    /// As for [`new`](Self::new) and [`Architecture::grid_of`].
    pub fn of_layer(
        architecture: &Architecture,
        layer: &str,
        values: &[f32],
        size: [usize; 2],
        input: [usize; 2],
    ) -> Result<Self> {
        let grid = architecture.grid_of(layer)?;
        Self::new(values, size, [grid.first; 2], [grid.step as f64; 2], input)
    }

    /// A map of one class's scores where the classifier is slid over the last map of the features, one
    /// cell at a time (VGG paper, section 3.2): it sees a window of [`Architecture::pool`].
    ///
    /// # Errors
    /// As for [`new`](Self::new).
    pub fn of_scores(
        architecture: &Architecture,
        scores: &[f32],
        size: [usize; 2],
        input: [usize; 2],
    ) -> Result<Self> {
        let cells = architecture.features.iter().fold(Grid::INPUT, Grid::after);
        let first = architecture.pool.map(|side| cells.windows(side).first);
        Self::new(scores, size, first, [cells.step as f64; 2], input)
    }

    /// The same map with a line to be written above it: a label and its probability, say.
    pub fn with_title(self, title: impl Into<String>) -> Self {
        Self { title: title.into(), ..self }
    }

    /// The same map, whose [drawing](Self::draw) marks the box of another share than
    /// [`SHARE`](Self::SHARE).
    pub fn with_share(self, share: f32) -> Self {
        Self { share, ..self }
    }

    /// Rows and columns.
    pub fn size(&self) -> [usize; 2] {
        self.size
    }

    /// The numbers, row by row.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// The smallest and the largest number.
    pub fn range(&self) -> [f32; 2] {
        let smallest = self.values.iter().copied().fold(f32::INFINITY, f32::min);
        let largest = self.values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        [smallest, largest]
    }

    /// Where the largest number is, the first of equals: the center of its cell, down and to the
    /// right, as fractions of the picture.
    pub fn peak(&self) -> [f64; 2] {
        let best = (self.values.iter().enumerate())
            .fold(0, |best, (i, value)| if *value > self.values[best] { i } else { best });
        let cell = [best / self.size[1], best % self.size[1]];
        std::array::from_fn(|axis| {
            let center = self.first[axis] + cell[axis] as f64 * self.step[axis];
            (center / self.input[axis] as f64).clamp(0.0, 1.0)
        })
    }

    /// The box around what is above a share of the map's range, 0 to 1, and connected with its
    /// maximum. Zhou et al. 2016 (section 3.2) take a share of 0.2, of a maximum above 0, and the
    /// largest connected part, which is this one unless a weaker thing is larger. A flat map gives the whole picture, and so
    /// does a share of 0 or below, or NaN.
    pub fn localize(&self, share: f32) -> BoundingBox {
        /// Points a side that the map is looked at.
        const MOST: usize = 256;
        let [height, width] = self.input.map(|side| side.min(MOST));
        let map = self.over(height, width);
        let values: Vec<f64> = (0..height)
            .flat_map(|y| (0..width).map(move |x| (y, x)))
            .map(|(y, x)| map.at(y, x))
            .collect();
        let best = (0..values.len()).fold(0, |a, b| if values[b] > values[a] { b } else { a });
        let smallest = values.iter().copied().fold(f64::INFINITY, f64::min);
        let share = if share.is_nan() { 0.0 } else { f64::from(share.clamp(0.0, 1.0)) };
        let threshold = smallest + share * (values[best] - smallest);
        let [left, top, right, bottom] = connected(&values, width, best, threshold);
        let (width, height) = (width as f64, height as f64);
        BoundingBox {
            left: left as f64 / width,
            top: top as f64 / height,
            right: (right + 1) as f64 / width,
            bottom: (bottom + 1) as f64 / height,
        }
    }

    /// The map over a picture of `height` and `width` pixels, which shows what the input shows.
    pub(super) fn over(&self, height: usize, width: usize) -> Interpolated<'_> {
        Interpolated { map: self, rows: self.between(0, height), columns: self.between(1, width) }
    }

    /// For each of `pixels` along an axis the cell before it, and how far it is on its way to the next.
    fn between(&self, axis: usize, pixels: usize) -> Vec<(usize, f64)> {
        let last = self.size[axis] - 1;
        let scale = self.input[axis] as f64 / pixels as f64;
        (0..pixels)
            .map(|pixel| {
                let place = (pixel as f64 + 0.5) * scale;
                let cell = ((place - self.first[axis]) / self.step[axis]).clamp(0.0, last as f64);
                let before = (cell as usize).min(last.saturating_sub(1));
                (before, cell - before as f64)
            })
            .collect()
    }
}

/// A map between its cells: linear from one to the next in both directions, and beyond the outermost
/// centers as there.
pub(super) struct Interpolated<'a> {
    map: &'a HeatMap,
    rows: Vec<(usize, f64)>,
    columns: Vec<(usize, f64)>,
}

impl Interpolated<'_> {
    pub fn at(&self, y: usize, x: usize) -> f64 {
        let ((row, down), (column, right)) = (self.rows[y], self.columns[x]);
        let [_, columns] = self.map.size;
        let value = |index: usize| f64::from(self.map.values.get(index).copied().unwrap_or(0.0));
        let mix = |a: f64, b: f64, share: f64| if share == 0.0 { a } else { a + (b - a) * share };
        let in_row = |row: usize| {
            let left = row * columns + column;
            mix(value(left), value(left + 1), right)
        };
        mix(in_row(row), in_row(row + 1), down)
    }
}

/// Left, top, right and bottom (inclusive) of the points that are at least `threshold` and connected
/// with the one at `start`.
fn connected(values: &[f64], width: usize, start: usize, threshold: f64) -> [usize; 4] {
    let mut seen = vec![false; values.len()];
    let mut waiting = vec![start];
    let [mut left, mut top, mut right, mut bottom] = [usize::MAX, usize::MAX, 0, 0];
    while let Some(point) = waiting.pop() {
        if std::mem::replace(&mut seen[point], true) {
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
        waiting.extend(neighbors.into_iter().flatten().filter(above));
    }
    [left, top, right, bottom]
}
