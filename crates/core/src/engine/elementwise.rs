//! Elementwise layers that are not fused into the layer before them.
#![allow(unsafe_code)]

use super::feature_map::{FeatureMap, RowPart};
use super::simd::{BLOCK, CheckedPtr, Isa, Simd, dispatch};
use super::stage::{Stage, Work};
use super::workspace::Workspace;
use crate::architecture::Layer;
use std::ops::Range;

/// The activation function after a linear layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Activation {
    Identity,
    Relu,
    Tanh,
}

impl From<&Layer> for Activation {
    fn from(layer: &Layer) -> Self {
        match layer {
            Layer::Relu => Self::Relu,
            Layer::Tanh => Self::Tanh,
            _ => Self::Identity,
        }
    }
}

impl Activation {
    pub fn apply(self, value: f32) -> f32 {
        match self {
            // Propagates NaN.
            Activation::Relu if value <= 0.0 => 0.0,
            Activation::Tanh => value.tanh(),
            _ => value,
        }
    }
}

/// An activation function on vectors.
#[derive(Debug)]
pub(super) struct VectorActivation {
    /// Indices of the buffers.
    pub input: usize,
    pub output: usize,
    /// Values of the whole batch, each vector padded to whole blocks.
    pub len: usize,
    pub activation: Activation,
    /// Values of an item.
    pub values_per_item: usize,
}

/// Values of an item of [`VectorActivation`] for few threads.
pub(super) const VALUES_PER_ITEM: usize = 512;

impl VectorActivation {
    /// The values of an item.
    fn values(&self, item: usize) -> Range<usize> {
        item * self.values_per_item..self.len.min((item + 1) * self.values_per_item)
    }
}

impl Stage for VectorActivation {
    fn items(&self) -> usize {
        self.len.div_ceil(self.values_per_item)
    }

    fn work(&self, item: usize) -> Work {
        Work::of_vectors(
            self.values(item).len() / if self.activation == Activation::Tanh { 1 } else { 4 },
        )
    }

    fn run(&self, item: usize, _: usize, workspace: &Workspace) {
        let (from, to) = (workspace.buffer(self.input), workspace.buffer(self.output));
        for i in self.values(item) {
            // SAFETY: both buffers have this length, and only this item accesses these values.
            unsafe { to.add(i).write(self.activation.apply(from.add(i).read())) }
        }
    }
}

/// An elementwise operation on a feature map.
#[derive(Clone, Debug)]
pub(super) enum MapOperation {
    /// `x * scale + shift` for each channel: a batch norm that does not follow a convolution. Both are
    /// padded to whole blocks.
    ScaleShift {
        scale: Vec<f32>,
        shift: Vec<f32>,
    },
    Relu,
    Tanh,
}

/// An elementwise operation on a feature map. An item is a row, or some blocks of channels of one.
#[derive(Debug)]
pub(super) struct MapElementwise {
    pub isa: Isa,
    pub operation: MapOperation,
    pub input: FeatureMap,
    pub output: FeatureMap,
    pub batch: usize,
    /// Blocks of channels of an item.
    pub blocks_per_item: usize,
}

impl Stage for MapElementwise {
    fn items(&self) -> usize {
        self.output.row_parts(self.batch, self.blocks_per_item)
    }

    fn work(&self, item: usize) -> Work {
        let blocks = self.output.row_part(item, self.blocks_per_item).blocks.len();
        let is_tanh = matches!(self.operation, MapOperation::Tanh);
        Work::of_vectors(blocks * self.output.width * if is_tanh { BLOCK } else { 1 })
    }

    fn run(&self, item: usize, _: usize, workspace: &Workspace) {
        let input = workspace.buffer(self.input.buffer);
        let output = workspace.buffer(self.output.buffer);
        // SAFETY: the plan chose an available instruction set and reserved both maps. No two items share
        // a row of a block.
        unsafe {
            dispatch!(self.isa, apply_to_row(
                stage: &MapElementwise = self, item: usize = item,
                input: CheckedPtr = input, output: CheckedPtr = output,
            ))
        }
    }
}

/// # Safety
/// `S` must be available, both maps reserved, and no other thread may access the item's row.
#[inline(always)]
unsafe fn apply_to_row<S: Simd>(
    stage: &MapElementwise,
    item: usize,
    input: CheckedPtr,
    output: CheckedPtr,
) {
    let (from, to) = (&stage.input, &stage.output);
    let RowPart { image, y, blocks } = to.row_part(item, stage.blocks_per_item);
    for block in blocks {
        let row = output.add(to.offset(image, block, y, 0));
        for x in 0..to.width {
            // SAFETY: guaranteed by the caller.
            unsafe {
                let value = input.add(from.offset(image, block, y, x)).load::<S>();
                row.add(x * BLOCK).store::<S>(apply::<S>(&stage.operation, block, value));
            }
        }
    }
}

/// # Safety
/// `S` must be available.
#[inline(always)]
unsafe fn apply<S: Simd>(operation: &MapOperation, block: usize, value: S::Vector) -> S::Vector {
    // SAFETY: guaranteed by the caller; the slices are as long as a vector.
    unsafe {
        match operation {
            MapOperation::Relu => S::max(S::splat(0.0), value),
            MapOperation::ScaleShift { scale, shift } => {
                let scale = S::load(scale[block * BLOCK..][..BLOCK].as_ptr());
                let shift = S::load(shift[block * BLOCK..][..BLOCK].as_ptr());
                S::mul_add(value, scale, shift)
            }
            MapOperation::Tanh => {
                let mut lanes = [0.0f32; BLOCK];
                S::store(lanes.as_mut_ptr(), value);
                for lane in &mut lanes {
                    *lane = lane.tanh();
                }
                S::load(lanes.as_ptr())
            }
        }
    }
}
