//! A tensor in a file: its name, type and place, and its values once they are asked for.

use super::layout::Layout;
use super::source::Source;
use crate::error::{Error, Result};
use crate::predict::expect_finite;
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use rayon::prelude::*;
use safetensors::tensor::Dtype;
use std::ops::Range;

/// Enough for the processor to be busy, little enough to stay in its cache.
const CHUNK: usize = 1 << 16;

/// A tensor whose place in the file has been checked.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    pub name: String,
    pub dtype: Dtype,
    pub layout: Layout,
    /// Where its storage starts in the file.
    pub start: u64,
}

impl Stored {
    pub fn shape(&self) -> &[usize] {
        &self.layout.shape
    }

    /// Where its first element is in the file.
    pub fn first_byte(&self) -> u64 {
        let width = (self.dtype.bitsize() / 8) as u64;
        self.start + self.layout.first() as u64 * width
    }

    /// Rows of the first dimension, flat, as f32. Values that are not numbers (of a training that
    /// diverged, say) are an error: layers behind them can hide it.
    pub fn rows(&self, source: &Source, rows: Range<usize>) -> Result<Vec<f32>> {
        let values = match self.layout.run(&rows) {
            Some(run) => {
                let mut values = vec![0.0; run.len()];
                self.read_parallel(source, run.start, &mut values)?;
                values
            }
            None => self.layout.gather(&rows, |block| {
                let mut values = vec![0.0; block.span];
                self.read(source, block.start, &mut values)?;
                Ok::<_, Error>(values)
            })?,
        };
        match values.par_chunks(CHUNK).all(are_finite) {
            true => Ok(values),
            false => {
                let place = format!("{} {}", source.place().display(), self.name);
                expect_finite(&place, &values).map(|()| values)
            }
        }
    }

    fn read_parallel(&self, source: &Source, start: usize, values: &mut [f32]) -> Result<()> {
        (values.par_chunks_mut(CHUNK).enumerate())
            .try_for_each(|(i, chunk)| self.read(source, start + i * CHUNK, chunk))
    }

    /// Elements from the one at `start` in the storage on.
    fn read(&self, source: &Source, start: usize, values: &mut [f32]) -> Result<()> {
        let width = self.dtype.bitsize() / 8;
        let at = self.start + (start * width) as u64;
        if self.dtype == Dtype::F32 {
            source.read_into(at, bytemuck::cast_slice_mut(values))?;
            values.iter_mut().for_each(|value| *value = f32::from_bits(value.to_bits().to_le()));
            return Ok(());
        }
        let bytes = source.read(at, values.len() * width)?;
        match self.dtype {
            Dtype::F16 => halves(&bytes, f16::from_le_bytes).convert_to_f32_slice(values),
            Dtype::BF16 => halves(&bytes, bf16::from_le_bytes).convert_to_f32_slice(values),
            _ => (values.iter_mut().zip(bytes.as_chunks().0))
                .for_each(|(value, &bytes)| *value = f64::from_le_bytes(bytes) as f32),
        }
        Ok(())
    }
}

fn halves<T>(bytes: &[u8], value: impl Fn([u8; 2]) -> T) -> Vec<T> {
    bytes.as_chunks().0.iter().map(|&bytes| value(bytes)).collect()
}

/// The largest exponent is that of infinity and NaN. Written so that the compiler vectorises it.
fn are_finite(values: &[f32]) -> bool {
    const INFINITY: u32 = f32::INFINITY.to_bits();
    values.iter().fold(0, |largest, value| largest.max(value.to_bits() & INFINITY)) < INFINITY
}
