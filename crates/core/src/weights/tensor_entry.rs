//! A tensor in a file: its name, type and position, and the reading of its values.

use super::checksum::{HashedRange, HashedRanges};
use super::file_source::FileSource;
use super::strided_view::StridedView;
use super::tensor_factor::Factor;
use crate::error::{Error, Result, expect_finite};
use crc32fast::Hasher;
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use rayon::prelude::*;
use safetensors::tensor::Dtype;
use std::ops::Range;

/// Values that are converted at once: enough to keep a thread busy, few enough to stay in its cache.
const CHUNK: usize = 1 << 16;

/// The counters of batch norms, and of PyTorch's `AveragedModel`.
const COUNTERS: [&str; 2] = ["num_batches_tracked", "n_averaged"];

/// What a file states about one of its tensors.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TensorInfo<'a> {
    /// The name as it is in the file, with any prefixes.
    pub name: &'a str,
    /// The type of the values.
    pub dtype: Dtype,
    /// The shape.
    pub shape: &'a [usize],
}

impl TensorInfo<'_> {
    /// The size of the values in bytes.
    pub fn bytes(&self) -> u64 {
        let elements: u64 = self.shape.iter().map(|&dim| dim as u64).product();
        elements * self.dtype.bitsize() as u64 / 8
    }
}

/// A tensor in a file. Its elements are known to be inside the file, each at a position of its own.
#[derive(Clone, Debug)]
pub(super) struct TensorEntry {
    pub name: String,
    pub dtype: Dtype,
    /// The tensor as a view of its storage.
    pub view: StridedView,
    /// The first byte of its storage in the file.
    pub storage_start: u64,
    /// What its values are multiplied by when they are read.
    pub factor: Option<Box<Factor>>,
}

/// Whether values of this type can be read as f32.
pub(super) fn is_float(dtype: Dtype) -> bool {
    matches!(dtype, Dtype::F32 | Dtype::F16 | Dtype::BF16 | Dtype::F64)
}

impl TensorEntry {
    /// A tensor whose values are those in the file.
    pub fn new(name: String, dtype: Dtype, view: StridedView, storage_start: u64) -> Self {
        Self { name, dtype, view, storage_start, factor: None }
    }

    /// The tensors in the file that its values are computed from.
    pub fn sources(&self) -> impl Iterator<Item = &TensorEntry> {
        std::iter::once(self).chain(self.factor.as_deref().map(Factor::tensor))
    }

    pub fn shape(&self) -> &[usize] {
        &self.view.shape
    }

    pub fn info(&self) -> TensorInfo<'_> {
        TensorInfo { name: &self.name, dtype: self.dtype, shape: self.shape() }
    }

    /// Whether no network could need it: it is empty, or a counter. (A batch counter may have any type, because
    /// scripts that convert all tensors to f16 convert it, too. Other single numbers may be a scale.)
    pub fn is_negligible(&self) -> bool {
        let is_single = matches!(self.shape(), [] | [1]);
        let is_counter = || COUNTERS.iter().any(|counter| self.name.ends_with(counter));
        self.shape().contains(&0) || (is_single && (!is_float(self.dtype) || is_counter()))
    }

    /// Bytes of an element.
    fn width(&self) -> usize {
        self.dtype.bitsize() / 8
    }

    /// The position of the first element in the file.
    pub fn first_byte(&self) -> u64 {
        self.storage_start + self.view.offset() as u64 * self.width() as u64
    }

    /// The value of a counter, a tensor of a single whole number; 0 if the value is not whole, or the type
    /// is not one that counters have.
    pub fn counter_value(&self, source: &FileSource) -> Result<i64> {
        let mut bytes = [0; 8];
        source.read_into(self.first_byte(), &mut bytes[..self.width()])?;
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

    /// Rows of the first dimension, flat, as f32. NaN and infinity (from a training that diverged, for
    /// example) are an error, because later layers could hide them.
    pub fn rows(
        &self,
        source: &FileSource,
        rows: Range<usize>,
        hashed: &mut HashedRanges,
    ) -> Result<Vec<f32>> {
        let mut values = self.stored_rows(source, rows.clone(), hashed)?;
        if let Some(factor) = &self.factor {
            factor.apply(self, &mut values, source, rows, hashed)?;
            expect_finite(&self.place(source), &values)?;
        }
        Ok(values)
    }

    /// [`rows`](Self::rows) without the factor.
    pub fn stored_rows(
        &self,
        source: &FileSource,
        rows: Range<usize>,
        hashed: &mut HashedRanges,
    ) -> Result<Vec<f32>> {
        let (values, are_finite) = match self.view.contiguous_range(&rows) {
            Some(range) => self.read_contiguous(source, range, hashed)?,
            None => {
                let gathered = self.view.gather(&rows, |block| {
                    let mut values = vec![0.0; block.span];
                    self.read_elements(source, block.start, &mut values, None)?;
                    Ok::<_, Error>(values)
                })?;
                let are_finite = are_finite(&gathered);
                (gathered, are_finite)
            }
        };
        if !are_finite {
            expect_finite(&self.place(source), &values)?;
        }
        Ok(values)
    }

    fn place(&self, source: &FileSource) -> String {
        format!("{} {}", source.path().display(), self.name)
    }

    /// A range of elements of the storage, and whether all of them are finite. Chunks are read in
    /// parallel (a single one by this thread, because waking another takes longer); each is hashed and checked
    /// while it is in the cache.
    fn read_contiguous(
        &self,
        source: &FileSource,
        range: Range<usize>,
        hashed: &mut HashedRanges,
    ) -> Result<(Vec<f32>, bool)> {
        let mut values = vec![0.0; range.len()];
        let read = |(i, chunk): (usize, &mut [f32])| {
            let mut hasher = Hasher::new();
            self.read_elements(source, range.start + i * CHUNK, chunk, Some(&mut hasher))?;
            Ok::<_, Error>((are_finite(chunk), hasher))
        };
        let chunks: Vec<(bool, Hasher)> = if values.len() <= CHUNK {
            vec![read((0, &mut values))?]
        } else {
            values.par_chunks_mut(CHUNK).enumerate().map(read).collect::<Result<_>>()?
        };
        let mut combined = Hasher::new();
        chunks.iter().for_each(|(_, hasher)| combined.combine(hasher));
        let width = self.width() as u64;
        hashed.add(HashedRange {
            start: self.storage_start + range.start as u64 * width,
            length: range.len() as u64 * width,
            hasher: combined,
        });
        Ok((values, chunks.iter().all(|(are_finite, _)| *are_finite)))
    }

    /// Fills `values` with the elements of the storage from `start` on, and adds their bytes to `hasher`.
    fn read_elements(
        &self,
        source: &FileSource,
        start: usize,
        values: &mut [f32],
        hasher: Option<&mut Hasher>,
    ) -> Result<()> {
        let position = self.storage_start + (start * self.width()) as u64;
        let hash = |bytes: &[u8]| hasher.into_iter().for_each(|hasher| hasher.update(bytes));
        if self.dtype == Dtype::F32 {
            let bytes = bytemuck::cast_slice_mut(values);
            source.read_into(position, bytes)?;
            hash(bytes);
            values.iter_mut().for_each(|value| *value = f32::from_bits(value.to_bits().to_le()));
            return Ok(());
        }
        let bytes = source.read(position, values.len() * self.width())?;
        hash(&bytes);
        match self.dtype {
            Dtype::F16 => halves(&bytes, f16::from_le_bytes).convert_to_f32_slice(values),
            Dtype::BF16 => halves(&bytes, bf16::from_le_bytes).convert_to_f32_slice(values),
            // Masks.
            Dtype::BOOL => {
                values.iter_mut().zip(bytes).for_each(|(value, byte)| *value = f32::from(byte != 0))
            }
            Dtype::U8 => {
                values.iter_mut().zip(bytes).for_each(|(value, byte)| *value = byte.into())
            }
            _ => (values.iter_mut().zip(bytes.as_chunks().0))
                .for_each(|(value, &bytes)| *value = f64::from_le_bytes(bytes) as f32),
        }
        Ok(())
    }
}

fn halves<T>(bytes: &[u8], value: impl Fn([u8; 2]) -> T) -> Vec<T> {
    bytes.as_chunks().0.iter().map(|&bytes| value(bytes)).collect()
}

/// NaN and infinity have the largest exponent. Written so that the compiler vectorizes it.
fn are_finite(values: &[f32]) -> bool {
    const INFINITY: u32 = f32::INFINITY.to_bits();
    values.iter().fold(0, |largest, value| largest.max(value.to_bits() & INFINITY)) < INFINITY
}
