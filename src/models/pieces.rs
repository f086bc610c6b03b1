//! The pieces in which a tensor is kept, read and written: one rule for the devices that hold it and
//! for the files it comes from and goes to.

use super::table::{Parameter, Role};
use std::ops::Range;

/// Bytes of the largest storage buffer that every wgpu adapter takes (WebGPU's
/// `maxStorageBufferBindingSize`).
const LARGEST_PIECE: u64 = 128 << 20;

impl Parameter {
    /// The row ranges, of its first dimension, in which [`Network`](super::Network) keeps this
    /// tensor: pieces of 128 MiB at most for the weight of a linear layer, all at once for the rest.
    /// Whoever asks for values in these ranges never holds more than one of them.
    pub fn pieces(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let rows = self.shape.first().copied().unwrap_or(1);
        let rows_of_each = match (self.role, self.shape.as_slice()) {
            (Role::Weight, &[rows, columns]) => rows_of_each(rows, columns),
            _ => rows,
        };
        let starts = (0..rows).step_by(rows_of_each.max(1));
        starts.map(move |start| start..(start + rows_of_each).min(rows))
    }
}

/// As few pieces as the limit allows, and of a size.
fn rows_of_each(rows: usize, columns: usize) -> usize {
    let row_bytes = (columns as u64).saturating_mul(size_of::<f32>() as u64).max(1);
    let most_rows = usize::try_from(LARGEST_PIECE / row_bytes).unwrap_or(rows).max(1);
    rows.div_ceil(rows.div_ceil(most_rows).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::Fill;

    fn pieces(shape: &[usize]) -> Vec<Range<usize>> {
        let (role, fill) = (Role::Weight, Fill::Constant(0.0));
        Parameter { key: "weight".into(), shape: shape.into(), role, fill }.pieces().collect()
    }

    #[test]
    fn pieces_are_all_rows_and_none_is_too_large() {
        for (rows, columns, count) in [
            (1000, 4096, 1),
            (4096, 4096, 1),
            (4096, 9216, 2),  // AlexNet's fc6
            (4096, 25088, 4), // VGG's fc6
            (16384, 6144, 4), // whole rows of 24,576 bytes do not fill three pieces
            (21845, 3072, 3),
            (3, 1 << 30, 3),
            (1, 1, 1),
        ] {
            let pieces = pieces(&[rows, columns]);
            assert_eq!(pieces.len(), count, "{rows}x{columns}");
            assert_eq!(
                pieces.iter().cloned().flatten().collect::<Vec<_>>(),
                (0..rows).collect::<Vec<_>>()
            );
            let largest = pieces.iter().map(|rows| rows.len()).max().unwrap_or(0);
            assert!(largest == 1 || (largest * columns * 4) as u64 <= LARGEST_PIECE);
        }
    }

    #[test]
    fn only_linear_weights_are_cut() {
        for shape in [&[1 << 20, 64, 3, 3][..], &[1 << 30]] {
            assert!(pieces(shape).into_iter().eq(std::iter::once(0..shape[0])), "{shape:?}");
        }
    }
}
