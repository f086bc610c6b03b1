//! Plans the layers on vectors: the classifier, for a few vectors or, as matrix products, for many.

use super::PlannedLayer;
use super::planner::{LayerInput, Planner, unsupported};
use crate::architecture::{Layer, Shape, window_positions};
use crate::engine::batched_linear::{self, BatchedLinear};
use crate::engine::column_panels::{
    ColumnPanels, ColumnsToVectors, FEATURES_PER_ITEM, MAX_COLUMNS, VectorsToColumns,
    WindowsToColumns,
};
use crate::engine::compile_options::LinearWeights;
use crate::engine::cost_model::linear_cycles;
use crate::engine::division::halves_of;
use crate::engine::elementwise::{Activation, VALUES_PER_ITEM, VectorActivation};
use crate::engine::integer_linear::{IntegerLinear, QuantizeVectors, QuantizedVectors};
use crate::engine::linear::{self, Linear};
use crate::engine::packed_linear::PackedLinear;
use crate::engine::simd::{BLOCK, Isa};
use crate::engine::weight_packing::PackedLayer;
use crate::error::Result;
use std::sync::Arc;

/// A linear layer (`None` for an activation alone) and the activation after it.
type ColumnLayer = (Option<Arc<PackedLinear>>, Activation);

impl Planner<'_> {
    /// Adds the input vectors of a step of the classifier, each starting at a multiple of [`BLOCK`].
    /// Returns the index of their buffer and their stride.
    pub(super) fn input_vectors(&mut self, step: usize) -> Result<[usize; 2]> {
        let input = self.steps.get(step).map(|step| step.input);
        let Some(Shape::Vector([len])) = input else { return Err(unsupported(input)) };
        let stride = len.next_multiple_of(BLOCK);
        let buffer = self.add_buffer(self.batch * stride);
        self.current = LayerInput::Vectors { buffer, len };
        Ok([buffer, stride])
    }

    /// Plans a linear layer for a few vectors, and returns the index after it and its activation.
    pub(super) fn linear(
        &mut self,
        index: usize,
        weights: Arc<PackedLinear>,
        input: usize,
    ) -> usize {
        let activation = self.activation_after(index);
        let last = index + usize::from(activation != Activation::Identity);
        let len = weights.outputs;
        let output = self.add_buffer(self.batch * len.next_multiple_of(BLOCK));
        let multiplications = self.steps[index].multiply_adds * self.batch as u64;
        let multiply_adds = weights.f32_multiply_adds(multiplications as f64);
        let weight_bytes = weights.weight_bytes() as u64;
        self.layers.push(PlannedLayer {
            direct_multiplications: multiplications,
            multiplications,
            weight_bytes,
            estimated_cycles: linear_cycles(&self.machine, multiply_adds, weight_bytes as f64),
            ..PlannedLayer::default()
        });
        let (batch, division) = (self.batch, self.division);
        let fewer_rows = [2 * linear::ROWS_AT_ONCE, linear::ROWS_AT_ONCE];
        if weights.format == LinearWeights::Int8 {
            let input = self.quantized_vectors(weights.isa, input, weights.inputs);
            self.push(move |_| {
                division.choose(linear::ROWS_PER_ITEM, fewer_rows, |rows_per_item| {
                    let weights = weights.clone();
                    IntegerLinear { weights, input, output, activation, rows_per_item }
                })
            });
        } else {
            self.push(move |_| {
                division.choose(linear::ROWS_PER_ITEM, fewer_rows, |rows_per_item| {
                    let weights = weights.clone();
                    Linear { weights, input, output, batch, activation, rows_per_item }
                })
            });
        }
        self.current = LayerInput::Vectors { buffer: output, len };
        last + 1
    }

    /// Plans the vectors of a buffer as integers.
    fn quantized_vectors(&mut self, isa: Isa, input: usize, len: usize) -> QuantizedVectors {
        let (integers, scales) = (self.add_buffer(0), self.add_buffer(0));
        let output = QuantizedVectors { integers, scales, len, batch: self.batch };
        [self.buffer_lens[integers], self.buffer_lens[scales]] = output.lens();
        let isa = isa.with_integers();
        self.push(move |_| QuantizeVectors { isa, input, output });
        output
    }

    /// The activation that is fused into the linear layer at `index`.
    fn activation_after(&self, index: usize) -> Activation {
        match self.steps.get(index + 1) {
            Some(next) if self.can_fuse_next(index, |_| true) => Activation::from(&next.layer),
            _ => Activation::Identity,
        }
    }

    /// Plans an activation of vectors that is not fused, and returns the index after it.
    pub(super) fn activation(
        &mut self,
        index: usize,
        activation: Activation,
        input: usize,
        vector_len: usize,
    ) -> usize {
        let len = self.batch * vector_len.next_multiple_of(BLOCK);
        let output = self.add_buffer(len);
        self.push_activation([input, output], len, activation);
        self.current = LayerInput::Vectors { buffer: output, len: vector_len };
        index + 1
    }

    /// Adds the stage of an activation, from one buffer of `len` values to another.
    fn push_activation(&mut self, [input, output]: [usize; 2], len: usize, activation: Activation) {
        let division = self.division;
        self.push(move |_| {
            division.choose(VALUES_PER_ITEM, halves_of(VALUES_PER_ITEM), |values_per_item| {
                VectorActivation { input, output, len, activation, values_per_item }
            })
        });
    }

    /// Plans dense evaluation: the whole classifier, from the pool at `index` on, at every position of
    /// its window.
    pub(super) fn dense_classifier(&mut self, index: usize, map: usize) -> Result<usize> {
        let step = &self.steps[index];
        let (Layer::AdaptiveAvgPool { size: window }, &[channels, height, width]) =
            (step.layer, step.input.dims())
        else {
            return Err(unsupported(step.layer));
        };
        let positions = window_positions([height, width], window);
        let features = channels * window[0] * window[1];
        let fill = move |planner: &mut Self, first: usize, columns: ColumnPanels| {
            let division = planner.division;
            planner.push(move |maps| {
                let map = maps[map];
                division.choose(columns.count, halves_of(columns.count), |columns_per_item| {
                    WindowsToColumns { map, window, positions, first, columns, columns_per_item }
                })
            });
        };
        self.on_columns(index + 1, features, positions[0] * positions[1], fill)
    }

    /// Plans the classifier from `index` on for many vectors.
    pub(super) fn batched_classifier(
        &mut self,
        index: usize,
        vectors: usize,
        features: usize,
    ) -> Result<usize> {
        self.on_columns(index, features, 1, |planner, _, columns| {
            let division = planner.division;
            planner.push(move |_| {
                division.choose(FEATURES_PER_ITEM, halves_of(FEATURES_PER_ITEM), |features| {
                    VectorsToColumns { vectors, columns, features_per_item: features }
                })
            });
        })
    }

    /// Plans all steps from `index` on for columns of `features`, at most [`MAX_COLUMNS`] at a time. Each
    /// image has `positions` columns. `fill` plans the stage that fills columns, given the first of them.
    fn on_columns(
        &mut self,
        index: usize,
        features: usize,
        positions: usize,
        fill: impl Fn(&mut Self, usize, ColumnPanels),
    ) -> Result<usize> {
        let layers = self.column_layers(index)?;
        let total = self.batch * positions;
        let capacity = total.min(MAX_COLUMNS);
        let panels = self.add_panels(&layers, features, capacity);
        let last = panels[layers.len()];
        let len = last.features * positions;
        let output = self.add_buffer(self.batch * len.next_multiple_of(BLOCK));
        for first in (0..total).step_by(capacity) {
            let count = capacity.min(total - first);
            let with_count = |columns: ColumnPanels| ColumnPanels { count, ..columns };
            fill(self, first, with_count(panels[0]));
            for ((weights, activation), pair) in layers.iter().zip(panels.windows(2)) {
                let (input, output) = (with_count(pair[0]), with_count(pair[1]));
                let activation = *activation;
                match weights.clone() {
                    Some(weights) => {
                        let division = self.division;
                        let fewer_rows = batched_linear::FEWER_ROWS_PER_ITEM;
                        self.push(move |_| {
                            division.choose(batched_linear::ROWS_PER_ITEM, fewer_rows, |rows| {
                                let (weights, rows_per_item) = (weights.clone(), rows);
                                BatchedLinear { weights, input, output, activation, rows_per_item }
                            })
                        });
                    }
                    None => {
                        let buffers = [input.buffer, output.buffer];
                        self.push_activation(buffers, input.len(), activation);
                    }
                }
            }
            let columns = with_count(last);
            self.push(move |_| ColumnsToVectors { columns, first, positions, output });
        }
        self.current = LayerInput::Vectors { buffer: output, len };
        Ok(self.end())
    }

    /// Adds the columns before, between and after the layers. All columns that go through use the same
    /// memory, one part after the other.
    fn add_panels(
        &mut self,
        layers: &[ColumnLayer],
        features: usize,
        capacity: usize,
    ) -> Vec<ColumnPanels> {
        let blocks_per_panel = self.machine.isa.nr_blocks();
        let mut panels =
            vec![ColumnPanels { buffer: 0, features, capacity, count: capacity, blocks_per_panel }];
        for (weights, _) in layers {
            let before = panels[panels.len() - 1];
            let features = weights.as_ref().map_or(before.features, |weights| weights.outputs);
            panels.push(ColumnPanels { features, ..before });
        }
        for columns in &mut panels {
            columns.buffer = self.add_buffer(columns.len());
        }
        panels
    }

    /// The linear layers from `index` on with the activations that are fused into them, and activations
    /// alone.
    fn column_layers(&self, index: usize) -> Result<Vec<ColumnLayer>> {
        let mut layers = Vec::new();
        let mut index = index;
        while index < self.end() {
            match (&self.packed[index], &self.steps[index].layer) {
                (PackedLayer::Linear(weights), _) => {
                    let activation = self.activation_after(index);
                    layers.push((Some(weights.clone()), activation));
                    index += usize::from(activation != Activation::Identity);
                }
                (_, layer @ (Layer::Relu | Layer::Tanh)) => layers.push((None, layer.into())),
                (_, Layer::Dropout { .. }) => {}
                (_, layer) => return Err(unsupported(layer)),
            }
            index += 1;
        }
        Ok(layers)
    }
}
