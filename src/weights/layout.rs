//! How a tensor's values lie in its storage: PyTorch's strides and offsets, checked.

use super::source::Wrong;
use std::ops::Range;

/// A view of a storage whose elements are all inside it, each at a place of its own.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Layout {
    pub shape: Vec<usize>,
    /// In elements.
    stride: Vec<usize>,
    /// Of the first element, in elements.
    offset: usize,
}

/// What to read at once.
pub(super) struct Block {
    /// Of its first element in the storage.
    pub start: usize,
    /// Elements in the storage, those between the tensor's own included.
    pub span: usize,
}

/// One dimension of what is read.
#[derive(Clone, Copy)]
struct Axis {
    length: usize,
    /// Distance in the storage.
    from: usize,
    /// Distance in the tensor.
    to: usize,
}

/// The largest block that is read at once, in elements.
const LARGEST_BLOCK: usize = 1 << 16;
pub(super) const MOST_DIMENSIONS: usize = 8;

impl Layout {
    /// One after the other, from the storage's start.
    pub fn contiguous(shape: &[usize]) -> Self {
        Self { shape: shape.to_vec(), stride: contiguous_stride(shape), offset: 0 }
    }

    /// Refuses what is not inside a storage of so many elements, and what reads an element twice (an
    /// expanded tensor: a file of kilobytes could ask for gigabytes).
    pub fn new(shape: &[i64], stride: &[i64], offset: i64, storage: u64) -> Result<Self, Wrong> {
        let found = || format!("shape {shape:?}, stride {stride:?}, offset {offset}");
        let wrong = |expected: &str| Wrong::new(expected, found());
        let sizes = |list: &[i64]| list.iter().map(|&size| usize::try_from(size).ok()).collect();
        let positive = "a shape, stride and offset of numbers from 0";
        let (Some(shape), Some(stride)): (Option<Vec<usize>>, Option<Vec<usize>>) =
            (sizes(shape), sizes(stride))
        else {
            return Err(wrong(positive));
        };
        let offset = usize::try_from(offset).map_err(|_| wrong(positive))?;
        if shape.len() != stride.len() || shape.len() > MOST_DIMENSIONS {
            return Err(wrong("at most 8 dimensions, each with its stride"));
        }
        let layout = Self { shape, stride, offset };
        if layout.shape.contains(&0) {
            return Err(wrong("a tensor with elements"));
        }
        let end = layout.end().ok_or_else(|| wrong("elements inside the storage"))?;
        if end as u64 > storage {
            return Err(wrong(&format!("elements inside the storage, which has {storage}")));
        }
        match layout.overlaps() {
            false => Ok(layout),
            true => Err(wrong("every element at a place of its own (save a contiguous copy)")),
        }
    }

    /// The first element's place in the storage.
    pub fn first(&self) -> usize {
        self.offset
    }

    /// One behind the last element; `None` if that is no number of this machine.
    fn end(&self) -> Option<usize> {
        let mut last = self.offset;
        for (&length, &stride) in self.shape.iter().zip(&self.stride) {
            last = last.checked_add((length - 1).checked_mul(stride)?)?;
        }
        last.checked_add(1)
    }

    /// Sorted by stride, every axis must step over all that the finer ones reach.
    fn overlaps(&self) -> bool {
        let mut axes: Vec<(usize, usize)> = (self.stride.iter().copied())
            .zip(self.shape.iter().copied())
            .filter(|&(_, length)| length > 1)
            .collect();
        axes.sort_unstable();
        let mut reach = 1;
        axes.into_iter().any(|(stride, length)| {
            let steps_over = stride >= reach;
            reach += (length - 1) * stride;
            !steps_over
        })
    }

    fn is_contiguous(&self) -> bool {
        (self.shape.iter().zip(&self.stride).zip(contiguous_stride(&self.shape)))
            .all(|((&length, &stride), expected)| length == 1 || stride == expected)
    }

    /// Where rows of the first dimension lie, if they are one run of elements.
    pub fn run(&self, rows: &Range<usize>) -> Option<Range<usize>> {
        if !self.is_contiguous() {
            return None;
        }
        let row: usize = self.shape.iter().skip(1).product();
        Some(self.offset + rows.start * row..self.offset + rows.end * row)
    }

    /// Rows of a layout that is not one run, in blocks in the storage's order: `read` gets each
    /// block and gives its span of elements, which are put to their places in the tensor.
    pub fn gather<E>(
        &self,
        rows: &Range<usize>,
        mut read: impl FnMut(&Block) -> Result<Vec<f32>, E>,
    ) -> Result<Vec<f32>, E> {
        let (axes, elements) = self.axes(rows);
        let (outer, inner) = axes.split_at(whole_axes(&axes));
        let start = self.offset + rows.start * self.stride.first().unwrap_or(&0);
        let mut values = vec![0.0; elements];
        for (from, to) in places(outer) {
            for (first, inner) in cut(inner) {
                let span =
                    inner.iter().map(|axis| (axis.length - 1) * axis.from).sum::<usize>() + 1;
                let finest = inner.last().map_or((0, 0), |axis| (axis.from, axis.to));
                let block = Block { start: start + from + first * finest.0, span };
                let read = read(&block)?;
                scatter(&read, &inner, &mut values[to + first * finest.1..]);
            }
        }
        Ok(values)
    }

    /// The axes of some rows, that of the largest stride first, and the number of elements.
    fn axes(&self, rows: &Range<usize>) -> (Vec<Axis>, usize) {
        let mut shape = self.shape.clone();
        if let Some(first) = shape.first_mut() {
            *first = rows.len();
        }
        let mut axes: Vec<Axis> = (shape.iter().zip(&self.stride).zip(contiguous_stride(&shape)))
            .map(|((&length, &from), to)| Axis { length, from, to })
            .collect();
        axes.sort_by_key(|axis| std::cmp::Reverse(axis.from));
        (axes, shape.iter().product())
    }
}

/// How many of the axes are walked from outside, so that what the rest reach fits a block. The finest
/// is never one of them: see [`cut`].
fn whole_axes(axes: &[Axis]) -> usize {
    let mut span = 1;
    let fits = axes.iter().rev().take_while(|axis| {
        span += (axis.length - 1) * axis.from;
        span <= LARGEST_BLOCK
    });
    axes.len() - fits.count().max(1).min(axes.len())
}

/// The axes of a block; a single one in pieces that fit a block, each with its first index.
fn cut(axes: &[Axis]) -> impl Iterator<Item = (usize, Vec<Axis>)> {
    let piece = match axes {
        [axis] => (LARGEST_BLOCK / axis.from.max(1)).max(1),
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

/// Where each combination of the axes' indices lies, in the storage and in the tensor.
fn places(axes: &[Axis]) -> impl Iterator<Item = (usize, usize)> {
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

fn scatter(read: &[f32], axes: &[Axis], values: &mut [f32]) {
    let Some((finest, coarser)) = axes.split_last() else {
        values[0] = read[0];
        return;
    };
    for (from, to) in places(coarser) {
        for i in 0..finest.length {
            values[to + i * finest.to] = read[from + i * finest.from];
        }
    }
}

/// The distance between neighbors along each axis, in elements, of a tensor without gaps.
pub(super) fn contiguous_stride(shape: &[usize]) -> Vec<usize> {
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

    /// The obvious way: every index, one element at a time.
    fn by_index(layout: &Layout, rows: &Range<usize>, storage: &[f32]) -> Vec<f32> {
        let mut shape = layout.shape.clone();
        shape[0] = rows.len();
        (0..shape.iter().product())
            .map(|mut index: usize| {
                let mut place = layout.offset + rows.start * layout.stride[0];
                for axis in (0..shape.len()).rev() {
                    place += index % shape[axis] * layout.stride[axis];
                    index /= shape[axis];
                }
                storage[place]
            })
            .collect()
    }

    proptest! {
        #[test]
        fn every_element_comes_from_its_place(
            lengths in prop::collection::vec(1usize..7, 1..5),
            gaps in prop::collection::vec(1usize..4, 5),
            order in Just([0, 1, 2, 3, 4]).prop_shuffle(),
            offset in 0usize..9,
            row in 0usize..6,
        ) {
            // Strides in a shuffled order of the axes, each with a gap behind what it steps over.
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
            let layout = Layout::new(&shape, &stride, offset as i64, storage.len() as u64).unwrap();
            let rows = row.min(lengths[0] - 1)..lengths[0];
            let read = |range: Range<usize>| storage[range].to_vec();
            let gathered: Vec<f32> = layout
                .gather::<()>(&rows, |block| Ok(read(block.start..block.start + block.span)))
                .unwrap();
            prop_assert_eq!(&gathered, &by_index(&layout, &rows, &storage));
            if let Some(run) = layout.run(&rows) {
                prop_assert_eq!(&gathered, &read(run));
            }
            // One element less, and the last is outside.
            prop_assert!(Layout::new(&shape, &stride, offset as i64, storage.len() as u64 - 1).is_err());
        }

        #[test]
        fn whatever_a_file_says_is_refused_or_inside(
            shape in prop::collection::vec(any::<i64>(), 0..5),
            stride in prop::collection::vec(any::<i64>(), 0..5),
            offset in any::<i64>(),
            storage in any::<u64>(),
        ) {
            if let Ok(layout) = Layout::new(&shape, &stride, offset, storage) {
                prop_assert!(layout.shape.iter().product::<usize>() as u64 <= storage);
            }
        }
    }

    #[test]
    fn what_reads_elements_twice_or_outside_is_refused() {
        for (shape, stride, offset, storage) in [
            (vec![4], vec![0], 0, 4),                                // expanded
            (vec![3, 3], vec![1, 1], 0, 9),                          // overlapping
            (vec![2, 2], vec![-2, 1], 2, 4),                         // backwards
            (vec![2, 2], vec![2, 1], -1, 4),                         // before the start
            (vec![2, 2], vec![2, 1], 1, 4),                          // past the end
            (vec![1 << 40], vec![1], 0, 4),                          // absurd
            (vec![1 << 32, 1 << 32], vec![1 << 32, 1], 0, u64::MAX), // overflow
            (vec![2, 0], vec![1, 1], 0, 4),                          // nothing
            (vec![2], vec![1, 1], 0, 4),                             // a stride too many
            (vec![1; 9], vec![1; 9], 0, 4),                          // nine dimensions
        ] {
            assert!(Layout::new(&shape, &stride, offset, storage).is_err(), "{shape:?} {stride:?}");
        }
    }

    #[test]
    fn large_blocks_are_split() {
        // A transposed matrix beyond the largest block, some of its rows.
        let (rows, columns) = (300, 400);
        let storage: Vec<f32> = (0..rows * columns).map(|i| i as f32).collect();
        let layout =
            Layout::new(&[rows as i64, columns as i64], &[1, rows as i64], 0, 120_000).unwrap();
        let mut largest = 0;
        let gathered = layout.gather::<()>(&(10..290), |block| {
            largest = largest.max(block.span);
            Ok(storage[block.start..block.start + block.span].to_vec())
        });
        assert_eq!(gathered.unwrap(), by_index(&layout, &(10..290), &storage));
        assert!(largest <= LARGEST_BLOCK);

        // Rows that are longer than a block, with a gap behind each; and elements that are far apart.
        let long = LARGEST_BLOCK as i64 * 2 + 3;
        let storage: Vec<f32> = (0..2 * long + 1).map(|i| i as f32).collect();
        for (shape, stride, most) in [([2, long], [long + 1, 1], 6), ([3, 2], [1, long], 6)] {
            let layout = Layout::new(&shape, &stride, 0, storage.len() as u64).unwrap();
            let mut blocks = 0;
            let gathered = layout.gather::<()>(&(0..layout.shape[0]), |block| {
                blocks += 1;
                assert!(block.span <= LARGEST_BLOCK);
                Ok(storage[block.start..block.start + block.span].to_vec())
            });
            assert!(gathered.unwrap() == by_index(&layout, &(0..layout.shape[0]), &storage));
            assert!(blocks <= most, "{blocks} blocks");
        }
    }
}
