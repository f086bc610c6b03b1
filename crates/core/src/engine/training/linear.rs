//! The product of a linear layer and its gradients, which read the weights where they lie.
#![allow(unsafe_code)]

use super::linear_kernels::{Band, Lanes, Product, Sizes, add_inputs, write_weights};
use super::run_items::run_items;
use super::value_count::expect_count;
use super::workspaces::Workspaces;
use crate::engine::simd::{BLOCK, CheckedPtr, Isa};
use crate::error::{Error, Result};
use std::ops::Range;

static WORKSPACES: Workspaces = Workspaces::new();

/// Rows of the weights that a thread takes at once.
const BAND: usize = 64;

/// Inputs that stay in the cache while one row of the weights after the other is read.
const TILE: usize = 512;

/// Blocks of inputs that stay in the cache, with their gradients or those of their weights, while one row of the weights
/// after the other is read or written.
const BLOCKS: usize = 32;

/// A linear layer that is trained. Its bias is the caller's.
///
/// ```
/// use alexnet_vgg_core::engine::training::Linear;
///
/// let linear = Linear::new(2, 16, 1)?;
/// let (input, weight) = ([[1.0; 16], [2.0; 16]].concat(), [0.5; 16]);
/// let mut output = [0.0; 2];
/// linear.forward(&input, &weight, &mut output)?;
/// assert_eq!(output, [8.0, 16.0]);
///
/// let mut gradient = [0.0; 16];
/// linear.weight_gradient(&input, &[1.0, 1.0], &mut gradient)?;
/// assert_eq!(gradient, [3.0; 16]);
/// # Ok::<(), alexnet_vgg_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Linear {
    sizes: Sizes,
    isa: Isa,
}

impl Linear {
    /// The kernels for `batch` vectors of `inputs` values, with the best instruction set of this machine.
    ///
    /// # Errors
    /// [`Error::Setting`] if a number is 0 or beyond any memory, or the inputs are not a multiple of 16.
    pub fn new(batch: usize, inputs: usize, outputs: usize) -> Result<Self> {
        let lanes = batch.checked_next_multiple_of(BLOCK);
        let is_small = |a: usize, b: Option<usize>| {
            b.and_then(|b| a.checked_mul(b)).is_some_and(|values| values <= isize::MAX as usize / 4)
        };
        let is_small =
            is_small(inputs, Some(outputs)) && is_small(inputs, lanes) && is_small(outputs, lanes);
        if ![batch, inputs, outputs].contains(&0) && inputs.is_multiple_of(BLOCK) && is_small {
            return Ok(Self { sizes: Sizes { batch, inputs, outputs }, isa: Isa::best() });
        }
        Err(Error::Setting {
            place: "linear layer".into(),
            expected: "sizes above 0 that fit in memory, and a multiple of 16 inputs".into(),
            found: format!("{batch} vectors of {inputs} inputs, and {outputs} outputs"),
        })
    }

    /// Vectors.
    pub fn batch(&self) -> usize {
        self.sizes.batch
    }

    /// Values of an input.
    pub fn inputs(&self) -> usize {
        self.sizes.inputs
    }

    /// Values of an output.
    pub fn outputs(&self) -> usize {
        self.sizes.outputs
    }

    /// The same with another instruction set.
    ///
    /// # Errors
    /// [`Error::Setting`] for one that this machine does not have.
    pub fn with_isa(self, isa: Isa) -> Result<Self> {
        isa.expect_available("linear layer")?;
        Ok(Self { isa, ..self })
    }

    /// Computes the output, `[N, out]`, of an input, `[N, in]`, and weights, `[out, in]`.
    ///
    /// # Errors
    /// [`Error::ValueCount`] for slices of other lengths; [`Error::OutOfMemory`] if memory runs out.
    pub fn forward(&self, input: &[f32], weight: &[f32], output: &mut [f32]) -> Result<()> {
        self.expect_counts(input, weight, output)?;
        let Sizes { batch, inputs, outputs } = self.sizes;
        let lanes = batch.next_multiple_of(BLOCK);
        let [input, weight] = [input, weight].map(pointer);
        let output = CheckedPtr::new(output.as_mut_ptr(), output.len());
        WORKSPACES.with(&[inputs * lanes, outputs * lanes], 0, |workspace| {
            let [x, y] = [0, 1].map(|index| workspace.buffer(index));
            let from = Lanes { images: input, batch, values: inputs, lanes: x };
            let to = Lanes { images: output, batch, values: outputs, lanes: y };
            for_each_range(inputs, TILE, |columns| from.gather(self.isa, columns));
            for_each_range(outputs, BAND, |rows| {
                clear(y.add(rows.start * lanes), rows.len() * lanes);
                for columns in ranges(inputs, TILE) {
                    let product = Product {
                        weight: weight.add(rows.start * inputs + columns.start),
                        stride: inputs,
                        vectors: x.add(columns.start * lanes),
                        sums: y.add(rows.start * lanes),
                        rows: rows.len(),
                        terms: columns.len(),
                        lanes,
                    };
                    product.add(self.isa);
                }
                to.scatter(self.isa, rows);
            });
        })
    }

    /// Computes the gradient of the input, `[N, in]`, from that of the output, `[N, out]`, and the weights,
    /// `[out, in]`.
    ///
    /// # Errors
    /// As for [`forward`](Self::forward).
    pub fn input_gradient(
        &self,
        output_gradient: &[f32],
        weight: &[f32],
        input_gradient: &mut [f32],
    ) -> Result<()> {
        self.expect_counts(input_gradient, weight, output_gradient)?;
        let weight = pointer(weight);
        WORKSPACES.with(&[input_gradient.len(), output_gradient.len()], 0, |workspace| {
            let [dx, dy] = [0, 1].map(|index| workspace.buffer(index));
            self.transpose(output_gradient, dy);
            let to = CheckedPtr::new(input_gradient.as_mut_ptr(), input_gradient.len());
            for_each_range(self.sizes.inputs / BLOCK, BLOCKS, |blocks| {
                let band = Band { rows: 0..self.sizes.outputs, blocks };
                add_inputs(self.isa, &self.sizes, &band, [dy, weight, dx]);
                self.unpack(band.blocks, dx, to);
            });
        })
    }

    /// Computes the gradient of the weights, `[out, in]`, from the input, `[N, in]`, and the gradient of the output,
    /// `[N, out]`.
    ///
    /// # Errors
    /// As for [`forward`](Self::forward).
    pub fn weight_gradient(
        &self,
        input: &[f32],
        output_gradient: &[f32],
        weight_gradient: &mut [f32],
    ) -> Result<()> {
        self.expect_counts(input, weight_gradient, output_gradient)?;
        let weight = CheckedPtr::new(weight_gradient.as_mut_ptr(), weight_gradient.len());
        WORKSPACES.with(&[input.len(), output_gradient.len()], 0, |workspace| {
            let [x, dy] = [0, 1].map(|index| workspace.buffer(index));
            self.pack(input, x);
            self.transpose(output_gradient, dy);
            for_each_range(self.sizes.outputs, BAND, |rows| {
                for blocks in self.tiles() {
                    write_weights(
                        self.isa,
                        &self.sizes,
                        &Band { rows: rows.clone(), blocks },
                        [x, dy, weight],
                    );
                }
            });
        })
    }

    fn expect_counts(&self, input: &[f32], weight: &[f32], output: &[f32]) -> Result<()> {
        let Sizes { batch, inputs, outputs } = self.sizes;
        expect_count("a linear layer's inputs", input, batch * inputs)?;
        expect_count("a linear layer's weights", weight, inputs * outputs)?;
        expect_count("a linear layer's outputs", output, batch * outputs)
    }

    fn tiles(&self) -> impl Iterator<Item = Range<usize>> {
        let blocks = self.sizes.inputs / BLOCK;
        ranges(blocks, BLOCKS)
    }

    /// `[N, in]` to `[in / 16][N][16]`. In `[N, in]`, the vectors often lie a multiple of 4 KiB apart, and share the
    /// same few lines of the cache.
    fn pack(&self, planar: &[f32], packed: CheckedPtr) {
        for_each_range(self.sizes.inputs / BLOCK, BLOCKS, |blocks| {
            for (image, values) in planar.chunks_exact(self.sizes.inputs).enumerate() {
                for block in blocks.clone() {
                    let to = packed.add((block * self.sizes.batch + image) * BLOCK);
                    for (lane, value) in values[block * BLOCK..][..BLOCK].iter().enumerate() {
                        // SAFETY: inside the buffer, and only this item accesses these blocks.
                        unsafe { to.add(lane).write(*value) }
                    }
                }
            }
        });
    }

    /// The reverse of [`pack`](Self::pack), of some blocks.
    fn unpack(&self, blocks: Range<usize>, packed: CheckedPtr, planar: CheckedPtr) {
        for image in 0..self.sizes.batch {
            for block in blocks.clone() {
                let from = packed.add((block * self.sizes.batch + image) * BLOCK);
                let to = planar.add(image * self.sizes.inputs + block * BLOCK);
                for lane in 0..BLOCK {
                    // SAFETY: inside the buffers, and only this item accesses these blocks.
                    unsafe { to.add(lane).write(from.add(lane).read()) }
                }
            }
        }
    }

    /// `[N, out]` to `[out, N]`.
    fn transpose(&self, gradient: &[f32], transposed: CheckedPtr) {
        for_each_range(self.sizes.outputs, BAND, |rows| {
            for (image, values) in gradient.chunks_exact(self.sizes.outputs).enumerate() {
                for row in rows.clone() {
                    // SAFETY: inside the buffer, and only this item accesses these rows.
                    unsafe { transposed.add(row * self.sizes.batch + image).write(values[row]) }
                }
            }
        });
    }
}

/// Ranges that together are `0..len`.
fn ranges(len: usize, step: usize) -> impl Iterator<Item = Range<usize>> {
    (0..len).step_by(step).map(move |first| first..len.min(first + step))
}

/// Writes zeros.
fn clear(values: CheckedPtr, len: usize) {
    for at in 0..len {
        // SAFETY: inside the buffer, and only this item accesses these values.
        unsafe { values.add(at).write(0.0) }
    }
}

/// Calls `run` with ranges that together are `0..len`, on all threads.
fn for_each_range(len: usize, step: usize, run: impl Fn(Range<usize>) + Sync) {
    run_items(len.div_ceil(step), |item, _| run(item * step..len.min((item + 1) * step)));
}

/// Values that are only read.
fn pointer(values: &[f32]) -> CheckedPtr {
    CheckedPtr::new(values.as_ptr().cast_mut(), values.len())
}
