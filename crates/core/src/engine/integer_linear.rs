//! A linear layer with 8-bit weights for one or a few vectors.
//!
//! As with [`linear`](super::linear), its time is the time to read the weights, a quarter as many bytes as in `f32`. The
//! vectors become integers of 14 bits first, with a scale for each. Each weight is multiplied by the factor of its
//! quantization group, which gives 13 bits. So products of many groups can be summed in 32 bits, before they are added in
//! `f32`.
#![allow(unsafe_code)]

use super::elementwise::Activation;
use super::linear::{ROWS_AT_ONCE, sum_of_lanes};
use super::packed_linear::{INT8_GROUP, MAX_INT8, MAX_INT8_FACTOR, PackedLinear};
use super::simd::{BLOCK, CheckedPtr, IntegerSimd, Isa, dispatch_integers, scale_of_values};
use super::stage::{Stage, Work};
use super::workspace::Workspace;
use std::sync::Arc;

/// Bytes ahead of their use that weights are prefetched.
const PREFETCH_BYTES: usize = 1024;
/// The largest magnitude of a quantized input.
const INPUT_LIMIT: u32 = (1 << 13) - 1;
/// Quantization groups whose products are summed as integers.
const GROUPS_AT_ONCE: usize = 16;
// Each of the sixteen lanes of a sum has its share of the products.
const _: () = assert!(
    (GROUPS_AT_ONCE * INT8_GROUP / BLOCK) as u64
        * (INPUT_LIMIT * MAX_INT8 * MAX_INT8_FACTOR) as u64
        <= i32::MAX as u64
);

/// Vectors as 16-bit integers: where they lie.
#[derive(Clone, Copy, Debug)]
pub(super) struct QuantizedVectors {
    /// Index of the buffer of the integers: `[N, inputs]`, each padded with zeros to whole quantization groups.
    pub integers: usize,
    /// Index of the buffer of the scales: `[N]`.
    pub scales: usize,
    /// Inputs of a vector.
    pub len: usize,
    pub batch: usize,
}

impl QuantizedVectors {
    /// From one vector to the next, in `f32` values.
    fn stride(self) -> usize {
        self.len.next_multiple_of(INT8_GROUP) / 2
    }

    /// Values of the buffers.
    pub fn lens(self) -> [usize; 2] {
        [self.batch.saturating_mul(self.stride()), self.batch]
    }
}

/// Vectors to integers.
#[derive(Debug)]
pub(super) struct QuantizeVectors {
    pub isa: Isa,
    /// Index of the buffer of the vectors, each of which starts at a multiple of [`BLOCK`].
    pub input: usize,
    pub output: QuantizedVectors,
}

impl Stage for QuantizeVectors {
    fn items(&self) -> usize {
        self.output.batch
    }

    fn work(&self, _: usize) -> Work {
        Work::of_vectors(self.output.len.div_ceil(BLOCK))
    }

    fn run(&self, item: usize, _: usize, workspace: &Workspace) {
        let input = workspace.buffer(self.input);
        let integers = workspace.buffer(self.output.integers);
        let scales = workspace.buffer(self.output.scales);
        let input = input.add(item * self.output.len.next_multiple_of(BLOCK));
        let integers = integers.add(item * self.output.stride());
        // SAFETY: the plan chose an available instruction set and reserved buffers of these lengths. No two items share
        // a vector.
        unsafe {
            dispatch_integers!(self.isa, quantize(
                len: usize = self.output.len, input: CheckedPtr = input, integers: CheckedPtr = integers,
                scale: CheckedPtr = scales.add(item),
            ))
        }
    }
}

/// # Safety
/// `S` must be available, the pointers valid for a vector and its scale, and no other thread may access them.
#[inline(always)]
unsafe fn quantize<S: IntegerSimd>(
    len: usize,
    input: CheckedPtr,
    integers: CheckedPtr,
    scale: CheckedPtr,
) {
    // SAFETY: guaranteed by the caller.
    unsafe {
        let unit = scale_of_values::<S>(input, len) / INPUT_LIMIT as f32;
        scale.write(unit);
        let inverse = S::splat(1.0 / unit);
        for i in (0..len).step_by(BLOCK) {
            let scaled = S::mul(input.add(i).load::<S>(), inverse);
            integers.add(i / 2).store_i16::<S>(scaled);
        }
    }
}

/// `[N, inputs]` as integers to `[N, outputs]`.
#[derive(Debug)]
pub(super) struct IntegerLinear {
    /// As `isa`, it has one for integers.
    pub weights: Arc<PackedLinear>,
    pub input: QuantizedVectors,
    /// Index of the buffer of the outputs, each of which starts at a multiple of [`BLOCK`].
    pub output: usize,
    pub activation: Activation,
    pub rows_per_item: usize,
}

impl Stage for IntegerLinear {
    fn items(&self) -> usize {
        self.weights.outputs.div_ceil(self.rows_per_item)
    }

    fn work(&self, item: usize) -> Work {
        let [_, rows] = self.weights.rows_of_item(item, self.rows_per_item);
        self.weights.work(rows, self.input.batch)
    }

    fn run(&self, item: usize, _: usize, workspace: &Workspace) {
        let input = workspace.buffer(self.input.integers);
        let scales = workspace.buffer(self.input.scales);
        let output = workspace.buffer(self.output);
        // SAFETY: the plan chose an available instruction set and reserved buffers of these lengths. No two items share
        // an output.
        unsafe {
            dispatch_integers!(self.weights.isa.with_integers(), multiply(
                stage: &IntegerLinear = self, item: usize = item, input: CheckedPtr = input,
                scales: CheckedPtr = scales, output: CheckedPtr = output,
            ))
        }
    }
}

/// # Safety
/// `S` must be available, the buffers as long as the layer requires, and no other thread may access the item's
/// outputs.
#[inline(always)]
unsafe fn multiply<S: IntegerSimd>(
    stage: &IntegerLinear,
    item: usize,
    input: CheckedPtr,
    scales: CheckedPtr,
    output: CheckedPtr,
) {
    let batch = stage.input.batch;
    let [first, rows] = stage.weights.rows_of_item(item, stage.rows_per_item);
    let end = first + rows;
    let mut image = 0;
    while image < batch {
        let vectors = Vectors { image, input, scales, output };
        // SAFETY: guaranteed by the caller.
        image += unsafe {
            match batch - image {
                8.. if S::NR_BLOCKS > 1 => multiply_rows::<S, 8>(stage, [first, end], vectors),
                4.. if S::NR_BLOCKS > 1 => multiply_rows::<S, 4>(stage, [first, end], vectors),
                2.. => multiply_rows::<S, 2>(stage, [first, end], vectors),
                _ => multiply_rows::<S, 1>(stage, [first, end], vectors),
            }
        };
    }
}

/// Some vectors from `image` on.
#[derive(Clone, Copy)]
struct Vectors {
    image: usize,
    input: CheckedPtr,
    scales: CheckedPtr,
    output: CheckedPtr,
}

/// Rows `first..end` with `N` vectors. Returns N.
///
/// # Safety
/// As for [`multiply`].
#[inline(always)]
unsafe fn multiply_rows<S: IntegerSimd, const N: usize>(
    stage: &IntegerLinear,
    [first, end]: [usize; 2],
    vectors: Vectors,
) -> usize {
    let mut row = first;
    while row < end {
        // SAFETY: guaranteed by the caller.
        row += unsafe {
            match end - row {
                ROWS_AT_ONCE.. => multiply_some_rows::<S, N, ROWS_AT_ONCE>(stage, row, vectors),
                _ => multiply_some_rows::<S, N, 1>(stage, row, vectors),
            }
        };
    }
    N
}

/// `R` rows with `N` vectors. Returns R.
///
/// # Safety
/// As for [`multiply`].
#[inline(always)]
unsafe fn multiply_some_rows<S: IntegerSimd, const N: usize, const R: usize>(
    stage: &IntegerLinear,
    first: usize,
    vectors: Vectors,
) -> usize {
    let w = &*stage.weights;
    let stride = stage.input.stride();
    let input = vectors.input.add(vectors.image * stride);
    // SAFETY: guaranteed by the caller.
    unsafe {
        let rows: [[CheckedPtr; 3]; R] = std::array::from_fn(|r| w.int8_row(first + r));
        let mut totals = [[S::splat(0.0); R]; N];
        let groups = w.inputs.div_ceil(INT8_GROUP);
        for start in (0..groups).step_by(GROUPS_AT_ONCE) {
            let mut sums = [[S::splat_integer(0); R]; N];
            // Half a group at a time: for more, there are not enough registers.
            for half in 2 * start..2 * groups.min(start + GROUPS_AT_ONCE) {
                let mut weights = [S::splat_integer(0); R];
                for (weights, [row, factors, _]) in weights.iter_mut().zip(&rows) {
                    let row = row.add(half * INT8_GROUP / 8);
                    row.add(PREFETCH_BYTES / 4).prefetch::<S>();
                    let factor = factors.add(half / 2).splat_integer::<S>();
                    *weights = S::mul_i16(row.load_i8_pairs::<S>(), factor);
                }
                for (n, sums) in sums.iter_mut().enumerate() {
                    let x = input.add(n * stride + half * BLOCK).load_integers::<S>();
                    for (sum, weights) in sums.iter_mut().zip(weights) {
                        *sum = S::add_products(*sum, weights, x);
                    }
                }
            }
            for (totals, sums) in totals.iter_mut().zip(sums) {
                for (total, sum) in totals.iter_mut().zip(sums) {
                    *total = S::add(*total, S::to_float(sum));
                }
            }
        }
        for (n, totals) in totals.iter().enumerate() {
            let image = vectors.image + n;
            let unit = vectors.scales.add(image).read();
            for (r, total) in totals.iter().enumerate() {
                let mut lanes = [0.0f32; BLOCK];
                S::store(lanes.as_mut_ptr(), *total);
                let [_, _, scale] = rows[r];
                let value = sum_of_lanes(lanes) * (scale.read() * unit) + w.bias[first + r];
                let at = image * w.outputs.next_multiple_of(BLOCK) + first + r;
                vectors.output.add(at).write(stage.activation.apply(value));
            }
        }
    }
    R
}
