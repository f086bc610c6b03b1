//! The size of score maps in dense evaluation (VGG paper, section 3.2).

use super::checked_table::Architecture;
use super::step::{Section, Shape};
use crate::error::Result;

impl Architecture {
    /// Rows and columns of the score map of dense evaluation for an input of `[height, width]` pixels: the
    /// positions of the classifier's window, of [`pool`](super::Table::pool) cells, on the last feature map;
    /// 1 where that map is not larger than the window.
    ///
    /// # Errors
    /// [`Error::InputTooSmall`](crate::Error::InputTooSmall) and [`Error::Table`](crate::Error::Table), as
    /// for [`walk`](super::Table::walk).
    pub fn score_map(&self, size: [usize; 2]) -> Result<[usize; 2]> {
        let steps = self.walk(size)?;
        let pool = steps.iter().find(|step| step.section == Section::AvgPool);
        match pool.map(|step| step.input) {
            Some(Shape::Map([_, height, width])) => {
                Ok(window_positions([height, width], self.pool))
            }
            // Unreachable: every network has the pool, on a map.
            _ => Ok([1, 1]),
        }
    }
}

/// Rows and columns of the positions of a window on a feature map of `[height, width]` cells; 1 where the map
/// is smaller than the window.
pub fn window_positions(cells: [usize; 2], window: [usize; 2]) -> [usize; 2] {
    std::array::from_fn(|axis| cells[axis].max(window[axis]) - window[axis] + 1)
}
