//! What the values of a tensor are multiplied by when they are read: the mask of a pruned layer, or the lengths of
//! weight normalization.

use super::checksum::HashedRanges;
use super::file_source::FileSource;
use super::tensor_entry::TensorEntry;
use crate::error::Result;
use std::ops::Range;
use std::sync::OnceLock;

/// Values that are read at once to compute the length of a tensor.
const VALUES_AT_ONCE: usize = 1 << 20;

/// What the values of a tensor are multiplied by.
#[derive(Clone, Debug)]
pub(super) enum Factor {
    /// By a number for each value: 0 for those that were pruned.
    Mask(TensorEntry),
    /// Each row is brought to a length of its own.
    RowLengths(TensorEntry),
    /// The whole tensor is brought to a length.
    Length(Length),
}

/// The length that a tensor is brought to.
#[derive(Clone, Debug)]
pub(super) struct Length {
    length: TensorEntry,
    /// The length divided by the tensor's own, which takes all of its values to compute.
    scale: OnceLock<f32>,
}

impl Length {
    pub fn new(length: TensorEntry) -> Self {
        Self { length, scale: OnceLock::new() }
    }

    fn scale(&self, base: &TensorEntry, source: &FileSource) -> Result<f32> {
        if let Some(scale) = self.scale.get() {
            return Ok(*scale);
        }
        let rows = base.shape().first().copied().unwrap_or(1);
        let row: usize = base.shape().iter().skip(1).product();
        let at_once = (VALUES_AT_ONCE / row.max(1)).max(1);
        // Those who read the rows verify the checksums.
        let mut hashed = HashedRanges::default();
        let mut squares = 0.0;
        for start in (0..rows).step_by(at_once) {
            let end = rows.min(start + at_once);
            squares += sum_of_squares(&base.stored_rows(source, start..end, &mut hashed)?);
        }
        let length = self.length.rows(source, 0..1, &mut hashed)?;
        let scale = length.first().copied().unwrap_or(0.0) / squares.sqrt() as f32;
        Ok(*self.scale.get_or_init(|| scale))
    }
}

impl Factor {
    pub fn tensor(&self) -> &TensorEntry {
        match self {
            Factor::Mask(tensor) | Factor::RowLengths(tensor) => tensor,
            Factor::Length(length) => &length.length,
        }
    }

    /// Multiplies some rows of a tensor by the factor.
    pub fn apply(
        &self,
        base: &TensorEntry,
        values: &mut [f32],
        source: &FileSource,
        rows: Range<usize>,
        hashed: &mut HashedRanges,
    ) -> Result<()> {
        match self {
            Factor::Mask(mask) => {
                let mask = mask.rows(source, rows, hashed)?;
                values.iter_mut().zip(mask).for_each(|(value, factor)| *value *= factor);
            }
            Factor::RowLengths(lengths) => {
                let lengths = lengths.rows(source, rows, hashed)?;
                let row = (values.len() / lengths.len().max(1)).max(1);
                for (row, length) in values.chunks_exact_mut(row).zip(lengths) {
                    let scale = length / sum_of_squares(row).sqrt() as f32;
                    row.iter_mut().for_each(|value| *value *= scale);
                }
            }
            Factor::Length(length) => {
                let scale = length.scale(base, source)?;
                values.iter_mut().for_each(|value| *value *= scale);
            }
        }
        Ok(())
    }
}

fn sum_of_squares(values: &[f32]) -> f64 {
    values.iter().map(|&value| f64::from(value) * f64::from(value)).sum()
}
