//! The chunks in which a tensor is stored, read and written: the same on devices and in files.

use super::step::{Parameter, Role};
use std::ops::Range;

/// Bytes of the largest storage buffer that every wgpu adapter supports (the default of WebGPU's
/// `maxStorageBufferBindingSize`).
const MAX_CHUNK_BYTES: u64 = 128 << 20;

impl Parameter {
    /// The chunks in which this tensor is stored, as ranges of rows of its first dimension: chunks of at most
    /// 128 MiB for the weight of a linear layer, and a single chunk for everything else. Code that reads or
    /// writes a tensor in these ranges needs memory for only one of them.
    pub fn row_chunks(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let rows = self.shape.first().copied().unwrap_or(1);
        let rows_per_chunk = match (self.role, self.shape.as_slice()) {
            (Role::Weight, &[rows, columns]) => rows_per_chunk(rows, columns),
            _ => rows,
        };
        let starts = (0..rows).step_by(rows_per_chunk.max(1));
        starts.map(move |start| start..(start + rows_per_chunk).min(rows))
    }
}

/// As few chunks as the limit allows, of about equal size.
fn rows_per_chunk(rows: usize, columns: usize) -> usize {
    let row_bytes = (columns as u64).saturating_mul(size_of::<f32>() as u64).max(1);
    let max_rows = usize::try_from(MAX_CHUNK_BYTES / row_bytes).unwrap_or(rows).max(1);
    rows.div_ceil(rows.div_ceil(max_rows).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::architecture::Fill;

    fn chunks(shape: &[usize]) -> Vec<Range<usize>> {
        let (role, fill) = (Role::Weight, Fill::Constant(0.0));
        Parameter { key: "weight".into(), shape: shape.into(), role, fill }.row_chunks().collect()
    }

    #[test]
    fn chunks_cover_all_rows_and_none_is_too_large() {
        for (rows, columns, count) in [
            (1000, 4096, 1),
            (4096, 4096, 1),
            (4096, 9216, 2),  // AlexNet's fc6
            (4096, 25088, 4), // VGG's fc6
            (16384, 6144, 4), // three chunks of whole rows of 24,576 bytes are not enough
            (21845, 3072, 3),
            (3, 1 << 30, 3),
            (1, 1, 1),
        ] {
            let chunks = chunks(&[rows, columns]);
            assert_eq!(chunks.len(), count, "{rows}x{columns}");
            assert_eq!(
                chunks.iter().cloned().flatten().collect::<Vec<_>>(),
                (0..rows).collect::<Vec<_>>()
            );
            let largest = chunks.iter().map(|rows| rows.len()).max().unwrap_or(0);
            assert!(largest == 1 || (largest * columns * 4) as u64 <= MAX_CHUNK_BYTES);
        }
    }

    #[test]
    fn only_linear_weights_are_split() {
        for shape in [&[1 << 20, 64, 3, 3][..], &[1 << 30]] {
            assert!(chunks(shape).into_iter().eq(std::iter::once(0..shape[0])), "{shape:?}");
        }
    }
}
