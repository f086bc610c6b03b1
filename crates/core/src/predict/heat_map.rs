//! Heat maps: values at positions of an image, such as the scores of a class or a Grad-CAM.

use crate::architecture::{Architecture, ReceptiveField};
use crate::error::{Error, Result, expect_finite};

/// A map of finite values, `[rows, columns]`, and the positions of its cells in an image.
///
/// ```
/// use alexnet_vgg_core::{architecture::VggConfig, predict::HeatMap, vision::RgbImage};
///
/// // pool5 of a 64x64 image has 2 x 2 cells.
/// let vgg16 = VggConfig::vgg16().architecture()?;
/// let map = HeatMap::from_layer(&vgg16, "pool5", &[0.0, 3.0, 0.0, 0.0], [2, 2], [64, 64])?;
/// let found = map.localize(0.5);
/// assert!(found.left > 0.4 && found.right == 1.0 && found.top == 0.0 && found.bottom < 0.6);
///
/// let [smallest, largest] = map.range(); // violet and yellow in the picture
/// map.draw(&RgbImage::new(320, 320))?.save(std::env::temp_dir().join("map.png"))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct HeatMap {
    values: Vec<f32>,
    /// Rows and columns. All pairs here are in this order: vertical, then horizontal.
    size: [usize; 2],
    /// Center of the first cell, in pixels from the top left corner of the input.
    first_center: [f64; 2],
    /// Pixels between the centers of neighboring cells.
    stride: [f64; 2],
    /// Height and width of the input, in pixels.
    input: [usize; 2],
    threshold: f32,
}

impl HeatMap {
    /// The default threshold of the box that [`draw`](Self::draw) shows: 0.2, as in class activation mapping
    /// (Zhou et al. 2016, section 3.2).
    pub const THRESHOLD: f32 = 0.2;

    /// A map of `[rows, columns]` values, row by row, of an input of `[height, width]` pixels.
    /// `first_center` is the center of the first cell, in pixels down and to the right from the input's top
    /// left corner, and `stride` the distance to the centers of its neighbors.
    ///
    /// # Errors
    /// [`Error::Setting`] if there are no cells, the number of values is not `rows * columns`, the input has
    /// no pixels, a center is not finite, or a stride is not above 0; [`Error::NotFinite`] for a value that
    /// is NaN or infinite.
    pub fn new(
        values: impl Into<Vec<f32>>,
        [rows, columns]: [usize; 2],
        first_center: [f64; 2],
        stride: [f64; 2],
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
        let is_stride = |stride: &f64| stride.is_finite() && *stride > 0.0;
        let is_valid =
            stride.iter().all(is_stride) && first_center.iter().all(|center| center.is_finite());
        if !is_valid || input.contains(&0) {
            return wrong(
                "a finite center, strides above 0, and an input of at least one pixel",
                format!("first center {first_center:?}, stride {stride:?}, input {input:?}"),
            );
        }
        expect_finite("heat map", &values)?;
        Ok(Self {
            values,
            size: [rows, columns],
            first_center,
            stride,
            input,
            threshold: Self::THRESHOLD,
        })
    }

    /// A map over the cells of a layer of the convolutional part, such as one channel of its output. `size` is
    /// its rows and columns, `input` the height and width of the network's input.
    ///
    /// # Errors
    /// As for [`new`](Self::new) and [`Architecture::receptive_field`].
    pub fn from_layer(
        architecture: &Architecture,
        layer: &str,
        values: &[f32],
        size: [usize; 2],
        input: [usize; 2],
    ) -> Result<Self> {
        let field = architecture.receptive_field(layer)?;
        Self::new(values, size, [field.first_center; 2], [field.stride as f64; 2], input)
    }

    /// The map of one class's scores in dense evaluation (VGG paper, section 3.2), where the classifier's
    /// window, of [`Table::pool`](crate::architecture::Table::pool) cells, slides over the last feature map
    /// one cell at a time. `size` is the rows and columns of the scores, `input` the height and width of the
    /// network's input.
    ///
    /// # Errors
    /// As for [`new`](Self::new).
    pub fn from_scores(
        architecture: &Architecture,
        scores: &[f32],
        size: [usize; 2],
        input: [usize; 2],
    ) -> Result<Self> {
        let cells = architecture.features.iter().fold(ReceptiveField::INPUT, ReceptiveField::after);
        let first_center = architecture.pool.map(|side| cells.windows(side).first_center);
        Self::new(scores, size, first_center, [cells.stride as f64; 2], input)
    }

    /// The same map with another threshold than [`THRESHOLD`](Self::THRESHOLD) for the box in its
    /// [drawing](Self::draw); see [`localize`](Self::localize).
    pub fn with_threshold(self, threshold: f32) -> Self {
        Self { threshold, ..self }
    }

    /// Rows and columns.
    pub fn size(&self) -> [usize; 2] {
        self.size
    }

    /// The values, row by row.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// The smallest and the largest value: the ends of the color map of its [drawing](Self::draw).
    pub fn range(&self) -> [f32; 2] {
        let smallest = self.values.iter().copied().fold(f32::INFINITY, f32::min);
        let largest = self.values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        [smallest, largest]
    }

    /// Position of the largest value (the first one of equal values): the center of its cell, down and to
    /// the right, in fractions of the image's height and width.
    pub fn peak(&self) -> [f64; 2] {
        let best = (self.values.iter().enumerate())
            .fold(0, |best, (i, value)| if *value > self.values[best] { i } else { best });
        let cell = [best / self.size[1], best % self.size[1]];
        std::array::from_fn(|axis| {
            let center = self.first_center[axis] + cell[axis] as f64 * self.stride[axis];
            (center / self.input[axis] as f64).clamp(0.0, 1.0)
        })
    }

    pub(super) fn threshold(&self) -> f32 {
        self.threshold
    }

    /// Height and width of the input, in pixels.
    pub(super) fn input_size(&self) -> [usize; 2] {
        self.input
    }

    /// The map for an image of `height` and `width` pixels that shows the same part of the photo as the
    /// input.
    pub(super) fn interpolate(&self, height: usize, width: usize) -> Interpolated<'_> {
        Interpolated {
            map: self,
            rows: self.axis_positions(0, height),
            columns: self.axis_positions(1, width),
        }
    }

    /// For each of `pixels` along an axis, the cell before it and how far it is on the way to the next cell,
    /// 0 to 1.
    fn axis_positions(&self, axis: usize, pixels: usize) -> Vec<(usize, f64)> {
        let last = self.size[axis] - 1;
        let scale = self.input[axis] as f64 / pixels as f64;
        (0..pixels)
            .map(|pixel| {
                let center = (pixel as f64 + 0.5) * scale;
                let cell = (center - self.first_center[axis]) / self.stride[axis];
                let cell = cell.clamp(0.0, last as f64);
                let before = (cell as usize).min(last.saturating_sub(1));
                (before, cell - before as f64)
            })
            .collect()
    }
}

/// A map, bilinearly interpolated between the centers of its cells, and constant beyond the outermost ones.
pub(super) struct Interpolated<'a> {
    map: &'a HeatMap,
    rows: Vec<(usize, f64)>,
    columns: Vec<(usize, f64)>,
}

impl Interpolated<'_> {
    /// The value at a pixel.
    pub fn at(&self, y: usize, x: usize) -> f64 {
        let ((row, down), (column, right)) = (self.rows[y], self.columns[x]);
        let [_, columns] = self.map.size;
        let value = |index: usize| f64::from(self.map.values.get(index).copied().unwrap_or(0.0));
        let lerp = |a: f64, b: f64, t: f64| if t == 0.0 { a } else { a + (b - a) * t };
        let in_row = |row: usize| {
            let left = row * columns + column;
            lerp(value(left), value(left + 1), right)
        };
        lerp(in_row(row), in_row(row + 1), down)
    }
}
