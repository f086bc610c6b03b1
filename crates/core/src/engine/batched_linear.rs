//! A linear layer for many vectors at once: dense evaluation, where each position of the classifier's
//! window gives a vector, and repeated passes with dropout.
//!
//! With a few vectors, a linear layer is bound by reading its weights, and [`linear`](super::linear) reads
//! each once. With many it is a matrix product, computed here by the same microkernel as convolutions:
//! the vectors are columns, sixteen side by side in a register, and each weight is multiplied with all of
//! them. The weights are those of [`packed_linear`](super::packed_linear); a part of a few rows is decoded
//! to `f32` in the cache, once for all columns.
#![allow(unsafe_code)]

use super::column_panels::ColumnPanels;
use super::compile_options::LinearWeights;
use super::elementwise::Activation;
use super::microkernel::{OutputPanel, PanelWeights, StridedInput, multiply_panel, rows_in_time};
use super::packed_linear::{PackedLinear, RowSegment};
use super::simd::{BLOCK, CheckedPtr, Isa, Simd, dispatch};
use super::stage::{Stage, Work};
use super::workspace::Workspace;
use std::sync::Arc;

/// Features that are multiplied before the products are added to the sums: KC, in the terms of BLIS. It
/// divides a quantization group, and this many features of a panel (32 KB) stay in the cache while the
/// rows of an item go by.
const KC: usize = 256;

/// Rows of weights in an item for few threads: whole register tiles with every instruction set.
pub(super) const ROWS_PER_ITEM: usize = 84;
/// Rows of weights in an item for many threads: fewer would fill a register tile only in part.
pub(super) const FEWER_ROWS_PER_ITEM: [usize; 3] = [42, 28, 14];

/// A linear layer from columns to columns.
#[derive(Debug)]
pub(super) struct BatchedLinear {
    pub weights: Arc<PackedLinear>,
    pub input: ColumnPanels,
    pub output: ColumnPanels,
    pub activation: Activation,
    /// Rows of weights in an item, at most [`ROWS_PER_ITEM`].
    pub rows_per_item: usize,
}

impl BatchedLinear {
    /// Values of the products of KC features with a panel: `[block][row][16]`.
    fn products_len(isa: Isa) -> usize {
        ROWS_PER_ITEM * isa.nr_blocks() * BLOCK
    }
}

impl Stage for BatchedLinear {
    fn items(&self) -> usize {
        self.weights.outputs.div_ceil(self.rows_per_item)
    }

    /// Decoding a vector of weights counts as a vector; the columns are read again by each item.
    fn work(&self, item: usize) -> Work {
        let [_, rows] = self.weights.rows_of_item(item, self.rows_per_item);
        let (columns, inputs) = (self.input.panel_columns(), self.weights.inputs);
        let share = rows as f64 / self.weights.outputs as f64;
        Work {
            multiply_adds: (rows_in_time(self.weights.isa, rows) * inputs * columns) as f64,
            new_bytes: share * self.weights.weight_bytes() as f64,
            cached_bytes: (4 * inputs * columns) as f64,
            vectors: (rows * inputs / BLOCK) as f64,
            ..Work::default()
        }
    }

    /// The decoded weights, and the products.
    fn scratch_len(&self) -> usize {
        ROWS_PER_ITEM * KC + Self::products_len(self.weights.isa)
    }

    fn run(&self, item: usize, worker: usize, workspace: &Workspace) {
        let input = workspace.buffer(self.input.buffer);
        let output = workspace.buffer(self.output.buffer);
        let scratch = workspace.scratch(worker);
        // SAFETY: the plan chose an available instruction set and reserved buffers of these lengths. No
        // two items share a row, and the scratch memory belongs to this worker.
        unsafe {
            dispatch!(self.weights.isa, multiply(
                stage: &BatchedLinear = self, item: usize = item,
                input: CheckedPtr = input, output: CheckedPtr = output, scratch: CheckedPtr = scratch,
            ))
        }
    }
}

/// # Safety
/// `S` must be available, the buffers and the scratch memory as long as the layer requires, and no other
/// thread may access the item's outputs.
#[inline(always)]
unsafe fn multiply<S: Simd>(
    stage: &BatchedLinear,
    item: usize,
    input: CheckedPtr,
    output: CheckedPtr,
    scratch: CheckedPtr,
) {
    let w = &*stage.weights;
    let [first, rows] = w.rows_of_item(item, stage.rows_per_item);
    let padded_inputs = w.inputs.next_multiple_of(BLOCK);
    let (decoded, products) = (scratch, scratch.add(ROWS_PER_ITEM * KC));
    let mut start = 0;
    while start < padded_inputs {
        let len = KC.min(padded_inputs - start);
        // SAFETY: guaranteed by the caller.
        unsafe { decode::<S>(w, [first, rows], [start, len], decoded) };
        for panel in 0..stage.input.panels() {
            let (offset, blocks) = stage.input.panel(panel);
            let x = input.add(offset + start * blocks * BLOCK);
            // The weights take the place of the pixels, and the columns that of the output channels.
            let strides = StridedInput {
                blocks: len / BLOCK,
                block_stride: rows * BLOCK,
                rows: 1,
                row_stride: 0,
                row_len: BLOCK,
                pixel_stride: BLOCK,
                blocks_of_sum: len / BLOCK,
            };
            let (bias, relu) = (None, false);
            let product = OutputPanel { ptr: products, block_stride: rows * BLOCK, bias, relu };
            let (offset, _) = stage.output.panel(panel);
            let sums = output.add(offset + first * blocks * BLOCK);
            // SAFETY: guaranteed by the caller.
            unsafe {
                let x = PanelWeights::in_sequence(x);
                multiply_panel(w.isa, rows, blocks, &strides, decoded, x, product);
                add_products::<S>(stage, [first, rows, blocks], [start, len], products, sums);
            }
        }
        start += len;
    }
}

/// Decodes a part of some rows to `f32`, in the order in which the microkernel reads it:
/// `[feature / 16][row][16]`.
///
/// # Safety
/// As for [`multiply`].
#[inline(always)]
unsafe fn decode<S: Simd>(
    w: &PackedLinear,
    [first, rows]: [usize; 2],
    [start, len]: [usize; 2],
    decoded: CheckedPtr,
) {
    for r in 0..rows {
        let row = decoded.add(r * BLOCK);
        for group in (0..len).step_by(w.format.group().min(len)) {
            let segment = RowSegment { row: first + r, start: start + group, len };
            let end = len.min(group + w.format.group());
            // SAFETY: guaranteed by the caller.
            unsafe {
                let scale = segment.scale::<S>(w, 0);
                // The format is matched once per group, not for each vector. The next part of the row is
                // fetched during the arithmetic, so that memory is never idle.
                macro_rules! decode {
                    ($load:ident) => {
                        for i in (group..end).step_by(BLOCK) {
                            let at = segment.ptr(w, 0, i - group);
                            let integers = at.$load::<S>();
                            row.add(i * rows).store::<S>(S::mul(integers, scale));
                            segment.ptr(w, 0, len + i - group).prefetch::<S>();
                        }
                    };
                }
                match w.format {
                    LinearWeights::Int8 => decode!(load_i8),
                    LinearWeights::Int16 => decode!(load_i16),
                    LinearWeights::Int20 => decode!(load_i20),
                    LinearWeights::Int24 => decode!(load_i24),
                }
            }
        }
    }
}

/// Adds the products to the sums. The first part is added to the bias, and after the last the activation
/// is applied.
///
/// # Safety
/// As for [`multiply`].
#[inline(always)]
unsafe fn add_products<S: Simd>(
    stage: &BatchedLinear,
    [first, rows, blocks]: [usize; 3],
    [start, len]: [usize; 2],
    products: CheckedPtr,
    sums: CheckedPtr,
) {
    let w = &*stage.weights;
    let is_last = start + len >= w.inputs;
    // SAFETY: guaranteed by the caller.
    unsafe {
        for r in 0..rows {
            for j in 0..blocks {
                let at = sums.add((r * blocks + j) * BLOCK);
                let before = match start {
                    0 => S::splat(w.bias[first + r]),
                    _ => at.load::<S>(),
                };
                let product = products.add((j * rows + r) * BLOCK).load::<S>();
                let mut sum = S::add(before, product);
                if is_last {
                    sum = match stage.activation {
                        Activation::Identity => sum,
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
