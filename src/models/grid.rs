//! Where the cells of a layer's map lie in the input: the receptive arithmetic forwards.

use super::table::{Architecture, Layer, Part};
use crate::error::{Error, Result};
use serde::Serialize;

/// The squares of input pixels that the cells of a map see, borders included. Rows and columns are
/// alike, as kernels, strides and paddings are.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Grid {
    /// Side of the square that a cell sees, in pixels: the receptive field.
    pub field: u64,
    /// Pixels between the centers of two neighbors.
    pub step: u64,
    /// Center of cell 0, in pixels from the input's edge; that of pixel 0 is 0.5. Padding moves it
    /// toward the edge.
    pub first: f64,
}

impl Grid {
    /// The pixels themselves.
    pub const INPUT: Self = Self { field: 1, step: 1, first: 0.5 };

    /// The cells that `layer` makes of these.
    pub fn after(self, layer: &Layer) -> Self {
        let Some((kernel, stride, padding)) = layer.window() else { return self };
        let padded = self.first - padding as f64 * self.step as f64;
        Self {
            step: self.step.saturating_mul(stride as u64),
            ..Self { first: padded, ..self }.windows(kernel)
        }
    }

    /// Windows of `side` cells, each one cell from the next.
    pub fn windows(self, side: usize) -> Self {
        let beside = side.saturating_sub(1) as u64;
        Self {
            field: self.field.saturating_add(beside.saturating_mul(self.step)),
            step: self.step,
            first: self.first + beside as f64 / 2.0 * self.step as f64,
        }
    }
}

impl Architecture {
    /// Where the cells of a layer of the features lie in the input.
    ///
    /// ```
    /// use alexnet_vgg::models::{Grid, VggConfig};
    ///
    /// // Cell 0 of 7 stands for the first 32 of 224 pixels, and sees far beyond them.
    /// let grid = VggConfig::vgg16().architecture().grid_of("pool5")?;
    /// assert_eq!(grid, Grid { field: 212, step: 32, first: 16.0 });
    /// # Ok::<(), alexnet_vgg::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::UnknownLayer`]; [`Error::Setting`] for a layer after the features, which sees
    /// everything; and as for [`walk`](Self::walk).
    pub fn grid_of(&self, layer: &str) -> Result<Grid> {
        let steps = self.steps()?;
        let index = self.find_in(&steps, layer)?;
        match steps[index].part {
            Part::Features => Ok(self.features[..=index].iter().fold(Grid::INPUT, Grid::after)),
            part => Err(Error::Setting {
                place: format!("{} {layer}", self.name),
                expected: "a layer of the features, whose output is a map of the input".into(),
                found: format!("one of the {part}"),
            }),
        }
    }
}
