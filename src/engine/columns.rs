//! Linear layers for many vectors at once: dense evaluation, where a vector is what the classifier's
//! window sees at one place, and repeated passes with dropout.
//!
//! With a few vectors a linear layer waits for its weights, and `linear` reads them once. With many it
//! is a product of matrices, and this is one: vectors are columns, sixteen side by side in a register,
//! and each weight of a row is multiplied with all of them by the same microkernel as Winograd's
//! products. The weights are those of `linear`, in 24 or 16 bits; a run of a few rows becomes `f32` in
//! the cache, once for all columns.
#![allow(unsafe_code)]

use super::linear::{Activation, Bits, RUN, Run, Weights};
use super::map::Map;
use super::maps::average;
use super::product::{Target, Walk, product};
use super::simd::{BLOCK, Isa, Place, Simd, dispatch};
use super::stage::{Memory, Stage};
use std::sync::Arc;

/// Columns that go through the classifier at once. A part of so many stays in the second cache (128 KB)
/// while all rows of an item are multiplied with it; for fewer, the weights would be read too often.
pub(super) const COLUMNS_AT_ONCE: usize = 128;

/// Numbers of a column that are multiplied before they are added to the rest, a whole part of a run: so
/// many of a group (32 KB) are near while the rows go by.
const PART: usize = 256;

/// Rows of weights of an item: whole tiles of the microkernel on every instruction set.
const ROWS: usize = 84;

/// Vectors as columns: `[group][feature][width][16]`, with groups of as many columns as the microkernel
/// takes; the last group has fewer blocks of sixteen, if that is enough.
#[derive(Clone, Copy, Debug)]
pub(super) struct Columns {
    pub buffer: usize,
    pub features: usize,
    /// Columns that there is room for.
    pub room: usize,
    /// Columns that are there.
    pub count: usize,
    /// Blocks of sixteen columns in a group.
    pub width: usize,
}

impl Columns {
    /// Features in whole blocks; those that do not exist stay zero.
    fn rows(&self) -> usize {
        self.features.next_multiple_of(BLOCK)
    }

    pub fn numbers(&self) -> usize {
        self.rows() * self.room.next_multiple_of(BLOCK)
    }

    fn groups(&self) -> usize {
        self.count.div_ceil(self.width * BLOCK)
    }

    /// Where a group begins, and its blocks.
    fn group(&self, group: usize) -> (usize, usize) {
        let blocks = self.room.div_ceil(BLOCK) - group * self.width;
        (group * self.width * BLOCK * self.rows(), self.width.min(blocks))
    }

    /// Where the first feature of a column lies, and the numbers from one to the next.
    fn of_column(&self, column: usize) -> (usize, usize) {
        let of_a_group = self.width * BLOCK;
        let (start, width) = self.group(column / of_a_group);
        (start + column % of_a_group, width * BLOCK)
    }

    /// Where a feature of a column lies.
    fn at(&self, feature: usize, column: usize) -> usize {
        let (first, step) = self.of_column(column);
        first + feature * step
    }
}

/// A map's windows into columns: window `(image, row, column)` of all, from `first` on. A map smaller
/// than the window becomes as large by the adaptive average pool first.
#[derive(Debug)]
pub(super) struct Windows {
    pub map: Map,
    pub window: [usize; 2],
    /// Places of the window: rows and columns.
    pub places: [usize; 2],
    pub first: usize,
    pub columns: Columns,
}

impl Stage for Windows {
    fn items(&self) -> usize {
        self.map.blocks()
    }

    fn run(&self, item: usize, _: usize, memory: &Memory) {
        let (map, [height, width]) = (&self.map, self.window);
        let (from, to) = (memory.place(map.buffer), memory.place(self.columns.buffer));
        let [rows, columns] = self.places;
        let size = [rows + height - 1, columns + width - 1];
        let is_as_large = size == [map.height, map.width];
        let channels = map.interleave.min(map.channels - item * map.interleave);
        for column in 0..self.columns.count {
            let place = self.first + column;
            let (image, y, x) = (place / (rows * columns), place / columns % rows, place % columns);
            let (first, step) = self.columns.of_column(column);
            for i in 0..height * width {
                let cell = [y + i / width, x + i % width];
                let pixel = from.add(map.at(image, item, cell[0], cell[1]));
                let mut values = [0.0; BLOCK];
                // SAFETY: inside the map, which this stage only reads.
                unsafe {
                    match is_as_large {
                        true => {
                            for (lane, value) in values.iter_mut().enumerate().take(channels) {
                                *value = pixel.add(lane).get();
                            }
                        }
                        false => values = average(map, from, [image, item], cell, size),
                    }
                }
                for (lane, &value) in values.iter().enumerate().take(channels) {
                    let feature = (item * map.interleave + lane) * height * width + i;
                    // SAFETY: inside the columns, and this channel is this item's.
                    unsafe { to.add(first + feature * step).set(value) }
                }
            }
        }
    }
}

/// Vectors, each from a whole block on, into columns.
#[derive(Debug)]
pub(super) struct Turn {
    pub vectors: usize,
    pub columns: Columns,
}

impl Stage for Turn {
    fn items(&self) -> usize {
        self.columns.features.div_ceil(RUN)
    }

    fn run(&self, item: usize, _: usize, memory: &Memory) {
        let (from, to) = (memory.place(self.vectors), memory.place(self.columns.buffer));
        for feature in item * RUN..self.columns.features.min((item + 1) * RUN) {
            for column in 0..self.columns.count {
                let at = column * self.columns.rows() + feature;
                // SAFETY: inside both, and these features are this item's.
                unsafe { to.add(self.columns.at(feature, column)).set(from.add(at).get()) }
            }
        }
    }
}

/// Columns back into `[N, features, places]`, each image from a whole block on; from column `first` of all.
#[derive(Debug)]
pub(super) struct Back {
    pub columns: Columns,
    pub first: usize,
    /// Places of an image: columns that follow each other.
    pub places: usize,
    pub output: usize,
}

impl Stage for Back {
    fn items(&self) -> usize {
        self.columns.features.div_ceil(BLOCK)
    }

    fn run(&self, item: usize, _: usize, memory: &Memory) {
        let (from, to) = (memory.place(self.columns.buffer), memory.place(self.output));
        let features = self.columns.features;
        let stride = (features * self.places).next_multiple_of(BLOCK);
        for feature in item * BLOCK..features.min((item + 1) * BLOCK) {
            for column in 0..self.columns.count {
                let (image, place) =
                    ((self.first + column) / self.places, (self.first + column) % self.places);
                let at = image * stride + feature * self.places + place;
                // SAFETY: inside both, and these features are this item's.
                unsafe { to.add(at).set(from.add(self.columns.at(feature, column)).get()) }
            }
        }
    }
}

/// A linear layer, columns to columns.
#[derive(Debug)]
pub(super) struct LinearColumns {
    pub weights: Arc<Weights>,
    pub input: Columns,
    pub output: Columns,
    pub activation: Activation,
}

impl LinearColumns {
    /// The result of one run: `[width][row][16]`.
    fn products(isa: Isa) -> usize {
        ROWS * isa.width() * BLOCK
    }
}

impl Stage for LinearColumns {
    fn items(&self) -> usize {
        self.weights.outputs.div_ceil(ROWS)
    }

    fn own(&self) -> usize {
        ROWS * PART + Self::products(self.weights.isa)
    }

    fn run(&self, item: usize, worker: usize, memory: &Memory) {
        let places = [memory.place(self.input.buffer), memory.place(self.output.buffer)];
        let own = memory.own(worker);
        // SAFETY: the plan chose an instruction set that is there, and buffers of these lengths; the
        // rows are this item's, and the worker's own memory its own.
        unsafe {
            dispatch!(self.weights.isa, multiply(
                stage: &LinearColumns = self, item: usize = item, places: [Place; 2] = places, own: Place = own,
            ))
        }
    }
}

/// # Safety
/// `S` must be available, and all places as long as the layer says.
#[inline(always)]
unsafe fn multiply<S: Simd>(stage: &LinearColumns, item: usize, places: [Place; 2], own: Place) {
    let w = &*stage.weights;
    let first = item * ROWS;
    let rows = ROWS.min(w.outputs - first);
    let row = w.inputs.next_multiple_of(BLOCK);
    let (decoded, products) = (own, own.add(ROWS * PART));
    let mut start = 0;
    while start < row {
        let length = PART.min(row - start);
        // SAFETY: the caller's.
        unsafe { decode::<S>(w, [first, rows], [start, length], decoded) };
        for group in 0..stage.input.groups() {
            let (at, width) = stage.input.group(group);
            let x = places[0].add(at + start * width * BLOCK);
            let walk = Walk {
                blocks: length / BLOCK,
                block_stride: rows * BLOCK,
                rows: 1,
                row_stride: 0,
                length: BLOCK,
                step: BLOCK,
            };
            let (bias, relu) = (None, false);
            let target = Target { at: products, block_stride: rows * BLOCK, bias, relu };
            let (at, _) = stage.output.group(group);
            let sums = places[1].add(at + first * width * BLOCK);
            // SAFETY: the caller's.
            unsafe {
                product::<S>(rows, width, &walk, decoded, x, target);
                add::<S>(stage, [first, rows, width], [start, length], products, sums);
            }
        }
        start += length;
    }
}

/// A part of some rows as `f32`, as the microkernel walks it: `[part / 16][row][16]`.
///
/// # Safety
/// As for [`multiply`].
#[inline(always)]
unsafe fn decode<S: Simd>(
    w: &Weights,
    [first, rows]: [usize; 2],
    [start, length]: [usize; 2],
    decoded: Place,
) {
    for r in 0..rows {
        let run = Run { row: first + r, start, length };
        let row = decoded.add(r * BLOCK);
        // SAFETY: the caller's.
        unsafe {
            let scale = run.scale::<S>(w, 0);
            // Asked once for a row, not for each vector. Memory is not to wait for arithmetic: the next
            // part of the row comes meanwhile.
            match w.bits {
                Bits::Sixteen => {
                    for i in (0..length).step_by(BLOCK) {
                        let integers = run.place(w, 0, i).load_i16::<S>();
                        row.add(i * rows).store::<S>(S::mul(integers, scale));
                        run.place(w, 0, length + i).prefetch::<S>();
                    }
                }
                Bits::TwentyFour => {
                    for i in (0..length).step_by(BLOCK) {
                        let integers = run.place(w, 0, i).load_i24::<S>();
                        row.add(i * rows).store::<S>(S::mul(integers, scale));
                        run.place(w, 0, length + i).prefetch::<S>();
                    }
                }
            }
        }
    }
}

/// Adds the products of a run to the sums; the first to the bias, and the last finishes them.
///
/// # Safety
/// As for [`multiply`].
#[inline(always)]
unsafe fn add<S: Simd>(
    stage: &LinearColumns,
    [first, rows, width]: [usize; 3],
    [start, length]: [usize; 2],
    products: Place,
    sums: Place,
) {
    let w = &*stage.weights;
    let is_last = start + length >= w.inputs;
    // SAFETY: the caller's.
    unsafe {
        for r in 0..rows {
            for j in 0..width {
                let at = sums.add((r * width + j) * BLOCK);
                let before = match start {
                    0 => S::splat(w.bias[first + r]),
                    _ => at.load::<S>(),
                };
                let product = products.add((j * rows + r) * BLOCK).load::<S>();
                let mut sum = S::add(before, product);
                if is_last {
                    sum = match stage.activation {
                        Activation::None => sum,
                        Activation::Relu => S::max(S::splat(0.0), sum),
                        Activation::Tanh => {
                            let mut lanes = [0.0f32; BLOCK];
                            S::store(lanes.as_mut_ptr(), sum);
                            S::load(lanes.map(f32::tanh).as_ptr())
                        }
                    };
                }
                at.store::<S>(sum);
            }
        }
    }
}
