//! Tensors as views of storages: PyTorch's shape, strides and offset, checked.

use super::format_error::FormatError;
use super::limits::MAX_DIMENSIONS;
use std::ops::Range;

/// A view of a storage. All its elements are inside the storage, each at a position of its own.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct StridedView {
    pub shape: Vec<usize>,
    /// In elements.
    stride: Vec<usize>,
    /// The position of the first element, in elements.
    offset: usize,
}

/// A part of the storage that is read at once.
pub(super) struct Block {
    /// The position of its first element in the storage.
    pub start: usize,
    /// Its length in elements, including those that do not belong to the tensor.
    pub span: usize,
}

/// One dimension of the rows that are read.
#[derive(Clone, Copy)]
struct Axis {
    length: usize,
    /// The stride in the storage.
    from: usize,
    /// The stride in the result.
    to: usize,
}

/// The largest block that is read at once, in elements.
const MAX_BLOCK: usize = 1 << 16;

impl StridedView {
    /// A contiguous tensor at the start of its storage.
    pub fn contiguous(shape: &[usize]) -> Self {
        Self { shape: shape.to_vec(), stride: contiguous_strides(shape), offset: 0 }
    }

    /// Checks a view of a storage of `storage` elements. Elements outside the storage are an error, and so
    /// are elements that share a position (an expanded tensor): a file of kilobytes could ask for
    /// gigabytes.
    pub fn new(
        shape: &[i64],
        stride: &[i64],
        offset: i64,
        storage: u64,
    ) -> Result<Self, FormatError> {
        let found = || format!("shape {shape:?}, stride {stride:?}, offset {offset}");
        let error = |expected: &str| FormatError::new(expected, found());
        let sizes = |list: &[i64]| list.iter().map(|&size| usize::try_from(size).ok()).collect();
        let not_negative = "a shape, stride and offset of numbers from 0 on";
        let (Some(shape), Some(stride)): (Option<Vec<usize>>, Option<Vec<usize>>) =
            (sizes(shape), sizes(stride))
        else {
            return Err(error(not_negative));
        };
        let offset = usize::try_from(offset).map_err(|_| error(not_negative))?;
        if shape.len() != stride.len() || shape.len() > MAX_DIMENSIONS {
            return Err(error("at most 8 dimensions, each with a stride"));
        }
        let view = Self { shape, stride, offset };
        if view.shape.contains(&0) {
            return Err(error("one or more elements"));
        }
        let end = view.end().ok_or_else(|| error("elements inside the storage"))?;
        if end as u64 > storage {
            return Err(error(&format!("elements inside the storage, which has {storage}")));
        }
        if view.overlaps() {
            let expected = "every element at a position of its own (save a contiguous copy)";
            return Err(error(expected));
        }
        Ok(view)
    }

    /// The position of the first element in the storage, in elements.
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// The position after the last element; `None` if it overflows.
    fn end(&self) -> Option<usize> {
        let mut last = self.offset;
        for (&length, &stride) in self.shape.iter().zip(&self.stride) {
            last = last.checked_add((length - 1).checked_mul(stride)?)?;
        }
        last.checked_add(1)
    }

    /// Whether elements share a position. They do not if each axis, in the order of the strides, steps over
    /// the whole span of the axes before it.
    fn overlaps(&self) -> bool {
        let mut axes: Vec<(usize, usize)> = (self.stride.iter().copied())
            .zip(self.shape.iter().copied())
            .filter(|&(_, length)| length > 1)
            .collect();
        axes.sort_unstable();
        let mut span = 1;
        axes.into_iter().any(|(stride, length)| {
            let steps_over = stride >= span;
            span += (length - 1) * stride;
            !steps_over
        })
    }

    fn is_contiguous(&self) -> bool {
        (self.shape.iter().zip(&self.stride).zip(contiguous_strides(&self.shape)))
            .all(|((&length, &stride), expected)| length == 1 || stride == expected)
    }

    /// The range of the storage that rows of the first dimension are, if they are contiguous.
    pub fn contiguous_range(&self, rows: &Range<usize>) -> Option<Range<usize>> {
        if !self.is_contiguous() {
            return None;
        }
        let row: usize = self.shape.iter().skip(1).product();
        Some(self.offset + rows.start * row..self.offset + rows.end * row)
    }

    /// Rows of the first dimension, contiguous or not, block by block in the order of the storage: `read`
    /// returns all elements of a block, of which those of the tensor go into the result.
    pub fn gather<E>(
        &self,
        rows: &Range<usize>,
        mut read: impl FnMut(&Block) -> Result<Vec<f32>, E>,
    ) -> Result<Vec<f32>, E> {
        let (axes, elements) = self.axes(rows);
        let (outer, inner) = axes.split_at(outer_axes(&axes));
        let start = self.offset + rows.start * self.stride.first().unwrap_or(&0);
        let mut values = vec![0.0; elements];
        for (from, to) in positions(outer) {
            for (first, inner) in split_into_blocks(inner) {
                let span =
                    inner.iter().map(|axis| (axis.length - 1) * axis.from).sum::<usize>() + 1;
                let finest = inner.last().map_or((0, 0), |axis| (axis.from, axis.to));
                let block = Block { start: start + from + first * finest.0, span };
                let elements = read(&block)?;
                scatter(&elements, &inner, &mut values[to + first * finest.1..]);
            }
        }
        Ok(values)
    }

    /// The axes of some rows, the one with the largest stride first, and the number of elements.
    fn axes(&self, rows: &Range<usize>) -> (Vec<Axis>, usize) {
        let mut shape = self.shape.clone();
        if let Some(first) = shape.first_mut() {
            *first = rows.len();
        }
        let mut axes: Vec<Axis> = (shape.iter().zip(&self.stride).zip(contiguous_strides(&shape)))
            .map(|((&length, &from), to)| Axis { length, from, to })
            .collect();
        axes.sort_by_key(|axis| std::cmp::Reverse(axis.from));
        (axes, shape.iter().product())
    }
}

/// How many of the axes are iterated over so that the span of the others fits in a block. The finest axis
/// is never one of them: [`split_into_blocks`] splits it.
fn outer_axes(axes: &[Axis]) -> usize {
    let mut span = 1;
    let fits = axes.iter().rev().take_while(|axis| {
        span += (axis.length - 1) * axis.from;
        span <= MAX_BLOCK
    });
    axes.len() - fits.count().max(1).min(axes.len())
}

/// The axes of each block, and the first index of the finest of them. Only a single axis can be too long
/// for a block, and is split.
fn split_into_blocks(axes: &[Axis]) -> impl Iterator<Item = (usize, Vec<Axis>)> {
    let piece = match axes {
        [axis] => (MAX_BLOCK / axis.from.max(1)).max(1),
        _ => usize::MAX,
    };
    let length = axes.last().map_or(1, |axis| axis.length);
    (0..length).step_by(piece).map(move |first| {
        let mut axes = axes.to_vec();
        if let [axis] = axes.as_mut_slice() {
            axis.length = piece.min(length - first);
        }
        (first, axes)
    })
}

/// The position in the storage and in the result of each combination of the axes' indices.
fn positions(axes: &[Axis]) -> impl Iterator<Item = (usize, usize)> {
    let count: usize = axes.iter().map(|axis| axis.length).product();
    (0..count).map(move |mut index| {
        let (mut from, mut to) = (0, 0);
        for axis in axes.iter().rev() {
            from += index % axis.length * axis.from;
            to += index % axis.length * axis.to;
            index /= axis.length;
        }
        (from, to)
    })
}

/// Copies the tensor's elements of a block to their positions.
fn scatter(block: &[f32], axes: &[Axis], values: &mut [f32]) {
    let Some((finest, coarser)) = axes.split_last() else {
        values[0] = block[0];
        return;
    };
    for (from, to) in positions(coarser) {
        for i in 0..finest.length {
            values[to + i * finest.to] = block[from + i * finest.from];
        }
    }
}

/// The strides of a contiguous (row-major) tensor, in elements.
pub(super) fn contiguous_strides(shape: &[usize]) -> Vec<usize> {
    let mut stride = vec![1usize; shape.len()];
    for i in (1..shape.len()).rev() {
        stride[i - 1] = stride[i].saturating_mul(shape[i]);
    }
    stride
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The reference: one element at a time, by its index.
    fn by_index(view: &StridedView, rows: &Range<usize>, storage: &[f32]) -> Vec<f32> {
        let mut shape = view.shape.clone();
        shape[0] = rows.len();
        (0..shape.iter().product())
            .map(|mut index: usize| {
                let mut position = view.offset + rows.start * view.stride[0];
                for axis in (0..shape.len()).rev() {
                    position += index % shape[axis] * view.stride[axis];
                    index /= shape[axis];
                }
                storage[position]
            })
            .collect()
    }

    proptest! {
        #[test]
        fn every_element_is_read_from_its_position(
            lengths in prop::collection::vec(1usize..7, 1..5),
            gaps in prop::collection::vec(1usize..4, 5),
            order in Just([0, 1, 2, 3, 4]).prop_shuffle(),
            offset in 0usize..9,
            row in 0usize..6,
        ) {
            // Strides in a shuffled order of the axes, each with a gap after the span that it steps over.
            let mut axes: Vec<usize> = (0..lengths.len()).collect();
            axes.sort_by_key(|&axis| order[axis]);
            let mut stride = vec![0i64; lengths.len()];
            let mut reach = 1;
            for &axis in &axes {
                stride[axis] = (reach + gaps[axis] - 1) as i64;
                reach += (lengths[axis] - 1) * stride[axis] as usize;
            }
            let shape: Vec<i64> = lengths.iter().map(|&length| length as i64).collect();
            let storage: Vec<f32> = (0..offset + reach).map(|i| i as f32).collect();
            let view = StridedView::new(&shape, &stride, offset as i64, storage.len() as u64).unwrap();
            let rows = row.min(lengths[0] - 1)..lengths[0];
            let read = |range: Range<usize>| storage[range].to_vec();
            let gathered: Vec<f32> = view
                .gather::<()>(&rows, |block| Ok(read(block.start..block.start + block.span)))
                .unwrap();
            prop_assert_eq!(&gathered, &by_index(&view, &rows, &storage));
            if let Some(range) = view.contiguous_range(&rows) {
                prop_assert_eq!(&gathered, &read(range));
            }
            // In a storage of one element less, the last is outside.
            prop_assert!(StridedView::new(&shape, &stride, offset as i64, storage.len() as u64 - 1).is_err());
        }

        #[test]
        fn every_view_is_refused_or_inside_its_storage(
            shape in prop::collection::vec(any::<i64>(), 0..5),
            stride in prop::collection::vec(any::<i64>(), 0..5),
            offset in any::<i64>(),
            storage in any::<u64>(),
        ) {
            if let Ok(view) = StridedView::new(&shape, &stride, offset, storage) {
                prop_assert!(view.shape.iter().product::<usize>() as u64 <= storage);
            }
        }
    }

    #[test]
    fn views_that_overlap_or_leave_the_storage_are_refused() {
        for (shape, stride, offset, storage) in [
            (vec![4], vec![0], 0, 4),                                // expanded
            (vec![3, 3], vec![1, 1], 0, 9),                          // overlapping
            (vec![2, 2], vec![-2, 1], 2, 4),                         // backwards
            (vec![2, 2], vec![2, 1], -1, 4),                         // before the start
            (vec![2, 2], vec![2, 1], 1, 4),                          // past the end
            (vec![1 << 40], vec![1], 0, 4),                          // absurd
            (vec![1 << 32, 1 << 32], vec![1 << 32, 1], 0, u64::MAX), // overflow
            (vec![2, 0], vec![1, 1], 0, 4),                          // no elements
            (vec![2], vec![1, 1], 0, 4),                             // one stride too many
            (vec![1; 9], vec![1; 9], 0, 4),                          // nine dimensions
        ] {
            assert!(
                StridedView::new(&shape, &stride, offset, storage).is_err(),
                "{shape:?} {stride:?}"
            );
        }
    }

    #[test]
    fn large_blocks_are_split() {
        // A transposed matrix beyond the largest block, some of its rows.
        let (rows, columns) = (300, 400);
        let storage: Vec<f32> = (0..rows * columns).map(|i| i as f32).collect();
        let view = StridedView::new(&[rows as i64, columns as i64], &[1, rows as i64], 0, 120_000)
            .unwrap();
        let mut largest = 0;
        let gathered = view.gather::<()>(&(10..290), |block| {
            largest = largest.max(block.span);
            Ok(storage[block.start..block.start + block.span].to_vec())
        });
        assert_eq!(gathered.unwrap(), by_index(&view, &(10..290), &storage));
        assert!(largest <= MAX_BLOCK);

        // Rows that are longer than a block, with a gap after each; and elements that are far apart.
        let long = MAX_BLOCK as i64 * 2 + 3;
        let storage: Vec<f32> = (0..2 * long + 1).map(|i| i as f32).collect();
        for (shape, stride, most) in [([2, long], [long + 1, 1], 6), ([3, 2], [1, long], 6)] {
            let view = StridedView::new(&shape, &stride, 0, storage.len() as u64).unwrap();
            let mut blocks = 0;
            let gathered = view.gather::<()>(&(0..view.shape[0]), |block| {
                blocks += 1;
                assert!(block.span <= MAX_BLOCK);
                Ok(storage[block.start..block.start + block.span].to_vec())
            });
            assert!(gathered.unwrap() == by_index(&view, &(0..view.shape[0]), &storage));
            assert!(blocks <= most, "{blocks} blocks");
        }
    }
}
