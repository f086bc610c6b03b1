//! A tensor in a file: its name, type and place, and its values once they are asked for.

use super::TensorInfo;
use super::checksum::{Run, Seen};
use super::layout::Layout;
use super::source::Source;
use crate::error::{Error, Result};
use crate::predict::expect_finite;
use crc32fast::Hasher;
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

/// Whether values of this type are read.
pub(super) fn is_read(dtype: Dtype) -> bool {
    matches!(dtype, Dtype::F32 | Dtype::F16 | Dtype::BF16 | Dtype::F64)
}

impl Stored {
    pub fn shape(&self) -> &[usize] {
        &self.layout.shape
    }

    /// What the file says of it. Its elements are inside the file, each at a place of its own.
    pub fn info(&self) -> TensorInfo<'_> {
        TensorInfo { name: &self.name, dtype: self.dtype, shape: self.shape() }
    }

    /// Where its first element is in the file.
    pub fn first_byte(&self) -> u64 {
        let width = (self.dtype.bitsize() / 8) as u64;
        self.start + self.layout.first() as u64 * width
    }

    /// A whole number that is alone in its tensor; 0 if that has no whole number, or is of a type that
    /// counters do not have.
    pub fn count(&self, source: &Source) -> Result<i64> {
        let mut bytes = [0; 8];
        let width = self.dtype.bitsize() / 8;
        source.read_into(self.first_byte(), &mut bytes[..width])?;
        let [a, b, c, d, ..] = bytes;
        let value = match self.dtype {
            Dtype::I64 => return Ok(i64::from_le_bytes(bytes)),
            Dtype::I32 => return Ok(i32::from_le_bytes([a, b, c, d]).into()),
            Dtype::F64 => f64::from_le_bytes(bytes),
            Dtype::F32 => f32::from_le_bytes([a, b, c, d]).into(),
            Dtype::F16 => f16::from_le_bytes([a, b]).into(),
            Dtype::BF16 => bf16::from_le_bytes([a, b]).into(),
            _ => 0.0,
        };
        let is_whole = value.is_finite() && value.fract() == 0.0;
        Ok(if is_whole { value as i64 } else { 0 })
    }

    /// Rows of the first dimension, flat, as f32. Values that are not numbers (of a training that
    /// diverged, say) are an error: layers behind them can hide it.
    pub fn rows(&self, source: &Source, rows: Range<usize>, seen: &mut Seen) -> Result<Vec<f32>> {
        let (values, are_finite) = match self.layout.run(&rows) {
            Some(run) => self.run(source, run, seen)?,
            None => {
                let gathered = self.layout.gather(&rows, |block| {
                    let mut values = vec![0.0; block.span];
                    self.read(source, block.start, &mut values, None)?;
                    Ok::<_, Error>(values)
                })?;
                let are_finite = are_finite(&gathered);
                (gathered, are_finite)
            }
        };
        if !are_finite {
            let place = format!("{} {}", source.place().display(), self.name);
            expect_finite(&place, &values)?;
        }
        Ok(values)
    }

    /// Elements that follow each other, and whether all are numbers. Each chunk is read, checked and
    /// hashed while it is in the cache, several at once.
    fn run(&self, source: &Source, run: Range<usize>, seen: &mut Seen) -> Result<(Vec<f32>, bool)> {
        let mut values = vec![0.0; run.len()];
        let chunks = values.par_chunks_mut(CHUNK).enumerate().map(|(i, chunk)| {
            let mut hasher = Hasher::new();
            self.read(source, run.start + i * CHUNK, chunk, Some(&mut hasher))?;
            Ok((are_finite(chunk), hasher))
        });
        let chunks: Vec<(bool, Hasher)> = chunks.collect::<Result<_>>()?;
        let mut whole = Hasher::new();
        chunks.iter().for_each(|(_, hasher)| whole.combine(hasher));
        let width = (self.dtype.bitsize() / 8) as u64;
        seen.add(Run {
            start: self.start + run.start as u64 * width,
            length: run.len() as u64 * width,
            hasher: whole,
        });
        Ok((values, chunks.iter().all(|(are_finite, _)| *are_finite)))
    }

    /// Elements from the one at `start` in the storage on; their bytes go through `hasher`, too.
    fn read(
        &self,
        source: &Source,
        start: usize,
        values: &mut [f32],
        hasher: Option<&mut Hasher>,
    ) -> Result<()> {
        let width = self.dtype.bitsize() / 8;
        let at = self.start + (start * width) as u64;
        let hash = |bytes: &[u8]| hasher.into_iter().for_each(|hasher| hasher.update(bytes));
        if self.dtype == Dtype::F32 {
            let bytes = bytemuck::cast_slice_mut(values);
            source.read_into(at, bytes)?;
            hash(bytes);
            values.iter_mut().for_each(|value| *value = f32::from_bits(value.to_bits().to_le()));
            return Ok(());
        }
        let bytes = source.read(at, values.len() * width)?;
        hash(&bytes);
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

/// The largest exponent is that of infinity and NaN. Written so that the compiler vectorizes it.
fn are_finite(values: &[f32]) -> bool {
    const INFINITY: u32 = f32::INFINITY.to_bits();
    values.iter().fold(0, |largest, value| largest.max(value.to_bits() & INFINITY)) < INFINITY
}
