//! [`Planner`]: from the layers of an architecture to the stages of a [`Plan`].
//!
//! The planner goes through the layers once. What follows a convolution and can be done while its outputs
//! are in registers is fused into it: batch norm (folded into the weights), ReLU, the 2×2 max pool. A
//! layer whose output is returned ends the fusion, since its feature map must be in memory.

use super::{Plan, PlanKey, PlanMode, PlanOutput, PlannedLayer};
use crate::architecture::{Layer, Section, Shape, Step};
use crate::engine::algorithm::Algorithm;
use crate::engine::cost_model::{Candidate, Machine, Outputs};
use crate::engine::division::{Division, halves_of};
use crate::engine::elementwise::{Activation, MapElementwise, MapOperation};
use crate::engine::feature_map::FeatureMap;
use crate::engine::forward_pass::Stages;
use crate::engine::integer_packing::input_limit;
use crate::engine::lrn::{LocalResponseNorm, LrnWindow};
use crate::engine::packed_convolution::{InputLayout, PackedConvolution};
use crate::engine::patches::Patches;
use crate::engine::pooling::{AdaptiveAvgPool, MaxPool, POOLED_ROWS_PER_ITEM};
use crate::engine::quantized_images::{QuantizeImages, pixel_len};
use crate::engine::reorder::{BlockedToPlanar, PlanarToBlocked, ROWS_PER_ITEM};
use crate::engine::simd::BLOCK;
use crate::engine::stage::Stage;
use crate::engine::weight_packing::PackedLayer;
use crate::error::{Error, Result};
use std::ops::Range;
use std::sync::{Mutex, OnceLock};

/// Builds a stage once the padding of all feature maps is known: it is that of the convolution that reads
/// the map, which is planned later.
type StageBuilder = Box<dyn FnOnce(&[FeatureMap]) -> Box<dyn Stage>>;

/// The most vectors that go through the linear layers a few at a time. Beyond that, matrix products
/// are faster, though their columns come in blocks of sixteen, which may be partly empty.
const MAX_UNBATCHED_VECTORS: usize = 28;

/// Where the input of the next layer lies.
#[derive(Clone, Copy)]
pub(super) enum LayerInput {
    /// Index of a feature map.
    Map(usize),
    /// Index of a buffer of vectors of this length, each starting at a multiple of [`BLOCK`].
    Vectors { buffer: usize, len: usize },
}

/// Chooses how to compute a convolution.
pub(in crate::engine) type ChooseCandidate<'a> =
    &'a dyn Fn(&PackedConvolution, Outputs) -> Candidate;

/// A plan in progress.
pub(in crate::engine) struct Planner<'a> {
    pub(super) machine: Machine,
    /// How the stages are divided among threads.
    pub(super) division: Division,
    pub(super) choose: ChooseCandidate<'a>,
    pub(super) batch: usize,
    pub(super) steps: &'a [Step],
    pub(super) packed: &'a [PackedLayer],
    /// Indices of the steps whose outputs are returned.
    output_steps: &'a [usize],
    pub(super) maps: Vec<FeatureMap>,
    pub(super) buffer_lens: Vec<usize>,
    /// Index of the buffer of the images' scales, if the first convolution reads quantized images.
    pub(super) image_scales: Option<usize>,
    stages: Vec<StageBuilder>,
    pub(super) layers: Vec<PlannedLayer>,
    outputs: Vec<Option<PlanOutput>>,
    pub(super) current: LayerInput,
}

impl<'a> Planner<'a> {
    /// Plans what `key` asks for. `steps` are the layers for its image size, and `packed` their weights.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] if memory runs out, and [`Error::Table`] for a layer that the engine does not
    /// support at its place.
    pub fn plan(
        machine: Machine,
        choose: ChooseCandidate<'a>,
        key: &'a PlanKey,
        steps: &'a [Step],
        packed: &'a [PackedLayer],
    ) -> Result<Plan> {
        let mut planner = Self {
            machine,
            division: Division { machine, threads: key.threads },
            choose,
            batch: key.batch,
            steps,
            packed,
            output_steps: &key.outputs,
            maps: Vec::new(),
            buffer_lens: Vec::new(),
            image_scales: None,
            stages: Vec::new(),
            layers: Vec::new(),
            outputs: vec![None; key.outputs.len()],
            current: LayerInput::Map(0),
        };
        let (input, mut index) = match key.mode {
            PlanMode::Vectors { first_step } => (planner.input_vectors(first_step)?, first_step),
            PlanMode::Images | PlanMode::Dense => (planner.input_images()?, 0),
        };
        while index < planner.end() {
            let first_stage = planner.stages.len();
            let next = planner.next_layers(key.mode, index)?;
            planner.label(index..next, first_stage);
            planner.keep_output(next - 1);
            index = next;
        }
        planner.finish(input)
    }

    fn finish(mut self, [input, input_stride]: [usize; 2]) -> Result<Plan> {
        for map in &self.maps {
            self.buffer_lens[map.buffer] =
                map.len(self.batch).ok_or_else(|| size_overflows(map, self.batch))?;
        }
        let maps = self.maps;
        let stages: Stages = self.stages.into_iter().map(|build| build(&maps)).collect();
        let scratch_len = stages.iter().map(|stage| stage.scratch_len()).max().unwrap_or(0);
        Ok(Plan {
            stages,
            layers: self.layers,
            buffer_lens: self.buffer_lens,
            scratch_len,
            input,
            input_stride,
            outputs: self.outputs.into_iter().flatten().collect(),
            parts: OnceLock::new(),
            idle: Mutex::default(),
        })
    }

    /// Adds a stage.
    pub(super) fn push<S: Stage + 'static>(
        &mut self,
        build: impl FnOnce(&[FeatureMap]) -> S + 'static,
    ) {
        self.stages.push(Box::new(move |maps| Box::new(build(maps))));
    }

    /// Adds a buffer of `len` values, and returns its index.
    pub(super) fn add_buffer(&mut self, len: usize) -> usize {
        self.buffer_lens.push(len);
        self.buffer_lens.len() - 1
    }

    /// Adds a feature map, and returns its index.
    pub(super) fn add_map(&mut self, shape: Shape) -> Result<usize> {
        let &[channels, height, width] = shape.dims() else { return Err(unsupported(shape)) };
        let buffer = self.add_buffer(0);
        self.maps.push(FeatureMap::new(buffer, channels, height, width));
        Ok(self.maps.len() - 1)
    }

    /// Adds the input images and their conversion. Returns the index of their buffer and their stride.
    fn input_images(&mut self) -> Result<[usize; 2]> {
        let shape = self.steps.first().map_or(Shape::Map([1; 3]), |step| step.input);
        let image_len = shape.elements() as usize;
        let planar = self.add_buffer(self.batch * image_len);
        let first = match self.packed.first() {
            Some(PackedLayer::Convolution { convolution, .. }) => Some(&**convolution),
            _ => None,
        };
        let layout = first.map_or(InputLayout::BLOCKS, |convolution| convolution.layout);
        let map = match (first, self.steps.first().map(|step| step.output.dims())) {
            (Some(convolution), Some(&[_, height, width])) if layout.patches != Patches::PIXELS => {
                let [height, width] =
                    [height, width].map(|outputs| outputs + convolution.kernel - 1);
                self.add_map(Shape::Map([convolution.inputs, height, width]))?
            }
            _ => self.add_map(shape)?,
        };
        self.maps[map].channels_per_block = layout.channels_per_block;
        match first.filter(|convolution| convolution.reads_quantized_images()) {
            Some(convolution) => self.quantize_images(planar, map, convolution),
            None => self.reorder_images(planar, shape, layout.patches, map)?,
        }
        let (layers, stages) = ("input".into(), 0..1);
        self.layers.push(PlannedLayer { layers, stages, ..PlannedLayer::default() });
        self.current = LayerInput::Map(map);
        Ok([planar, image_len])
    }

    fn reorder_images(
        &mut self,
        planar: usize,
        shape: Shape,
        patches: Patches,
        map: usize,
    ) -> Result<()> {
        let &[channels, height, width] = shape.dims() else { return Err(unsupported(shape)) };
        let shape = [channels, height, width];
        let (batch, division) = (self.batch, self.division);
        self.push(move |maps| {
            let map = maps[map];
            let most = ROWS_PER_ITEM.min(map.height);
            division.choose(most, halves_of(most), |rows_per_item| PlanarToBlocked {
                planar,
                shape,
                patches,
                map,
                batch,
                rows_per_item,
            })
        });
        Ok(())
    }

    /// For the first convolution on integers.
    fn quantize_images(&mut self, planar: usize, map: usize, convolution: &PackedConvolution) {
        let (isa, batch, division) = (self.machine.isa, self.batch, self.division);
        let scales = self.add_buffer(batch);
        self.image_scales = Some(scales);
        let limit = input_limit(convolution.inner_len(Algorithm::Direct));
        let pixel_len = pixel_len(convolution.inputs, convolution.stride);
        self.push(move |maps| {
            let map = maps[map];
            division.choose(map.height, halves_of(map.height), |rows_per_item| QuantizeImages {
                isa,
                planar,
                map,
                scales,
                batch,
                pixel_len,
                limit,
                rows_per_item,
            })
        });
    }

    /// The step after the last whose output is returned.
    pub(super) fn end(&self) -> usize {
        self.output_steps.iter().max().map_or(0, |last| last + 1)
    }

    fn is_output(&self, index: usize) -> bool {
        self.output_steps.contains(&index)
    }

    /// Whether the layer after `index` is a `kind` that may be fused into it.
    pub(super) fn can_fuse_next(&self, index: usize, kind: impl Fn(&Layer) -> bool) -> bool {
        let next = self.steps.get(index + 1);
        !self.is_output(index) && next.is_some_and(|step| kind(&step.layer))
    }

    /// Plans the layer at `index` and those that are fused into it, and returns the index after them.
    fn next_layers(&mut self, mode: PlanMode, index: usize) -> Result<usize> {
        match (mode, self.current) {
            (PlanMode::Dense, LayerInput::Map(map))
                if self.steps[index].section == Section::AvgPool =>
            {
                self.dense_classifier(index, map)
            }
            (PlanMode::Vectors { .. }, LayerInput::Vectors { buffer, len })
                if self.batch > MAX_UNBATCHED_VECTORS =>
            {
                self.batched_classifier(index, buffer, len)
            }
            _ => self.layer(index),
        }
    }

    fn layer(&mut self, index: usize) -> Result<usize> {
        let step = &self.steps[index];
        match (&self.packed[index], &step.layer, self.current) {
            (PackedLayer::Convolution { .. }, _, LayerInput::Map(map)) => {
                self.convolution(index, map)
            }
            (PackedLayer::Linear(weights), _, LayerInput::Vectors { buffer, .. }) => {
                Ok(self.linear(index, weights.clone(), buffer))
            }
            (PackedLayer::BatchNorm { scale, shift }, _, LayerInput::Map(map)) => {
                let (scale, shift) = (scale.clone(), shift.clone());
                self.elementwise(index, map, MapOperation::ScaleShift { scale, shift })
            }
            (_, Layer::AdaptiveAvgPool { size }, LayerInput::Map(map)) => {
                Ok(self.average_pool(index, *size, map))
            }
            (_, Layer::Dropout { .. }, _) => Ok(index + 1),
            (_, &Layer::MaxPool { kernel, stride }, LayerInput::Map(map)) => {
                self.max_pool(index, map, kernel, stride)
            }
            (_, Layer::Lrn { .. }, LayerInput::Map(map)) => self.lrn(index, map),
            (_, Layer::Relu, LayerInput::Map(map)) => {
                self.elementwise(index, map, MapOperation::Relu)
            }
            (_, Layer::Tanh, LayerInput::Map(map)) => {
                self.elementwise(index, map, MapOperation::Tanh)
            }
            (_, Layer::Relu, LayerInput::Vectors { buffer, len }) => {
                Ok(self.activation(index, Activation::Relu, buffer, len))
            }
            (_, Layer::Tanh, LayerInput::Vectors { buffer, len }) => {
                Ok(self.activation(index, Activation::Tanh, buffer, len))
            }
            _ => Err(unsupported(step.layer)),
        }
    }

    /// Adds the output of a layer from map to map that is a stage of its own; returns its index.
    fn add_output_map(&mut self, index: usize, input: usize) -> Result<usize> {
        if self.maps[input].channels_per_block != BLOCK {
            return Err(unsupported("a first layer of another block size"));
        }
        let output = self.add_map(self.steps[index].output)?;
        self.current = LayerInput::Map(output);
        Ok(output)
    }

    fn elementwise(
        &mut self,
        index: usize,
        input: usize,
        operation: MapOperation,
    ) -> Result<usize> {
        let output = self.add_output_map(index, input)?;
        let (isa, batch, division) = (self.machine.isa, self.batch, self.division);
        self.push(move |maps| {
            let (input, output) = (maps[input], maps[output]);
            let blocks = output.blocks();
            division.choose(blocks, halves_of(blocks), |blocks_per_item| {
                let operation = operation.clone();
                MapElementwise { isa, operation, input, output, batch, blocks_per_item }
            })
        });
        Ok(index + 1)
    }

    fn max_pool(
        &mut self,
        index: usize,
        input: usize,
        kernel: usize,
        stride: usize,
    ) -> Result<usize> {
        let output = self.add_output_map(index, input)?;
        let (isa, batch, division) = (self.machine.isa, self.batch, self.division);
        self.push(move |maps| {
            let (input, output) = (maps[input], maps[output]);
            let most = POOLED_ROWS_PER_ITEM * output.blocks();
            division.choose(most, halves_of(most), |block_rows_per_item| MaxPool {
                isa,
                kernel,
                stride,
                input,
                output,
                batch,
                block_rows_per_item,
            })
        });
        Ok(index + 1)
    }

    fn lrn(&mut self, index: usize, input: usize) -> Result<usize> {
        let step = &self.steps[index];
        let Layer::Lrn { size, alpha, beta, k, groups } = step.layer else {
            return Err(unsupported(step.layer));
        };
        let window = LrnWindow { size, group: step.input.channels() / groups };
        let output = self.add_output_map(index, input)?;
        let (isa, batch, division) = (self.machine.isa, self.batch, self.division);
        self.push(move |maps| {
            let (input, output) = (maps[input], maps[output]);
            division.choose(output.width, halves_of(output.width), |pixels_per_item| {
                LocalResponseNorm {
                    isa,
                    window,
                    alpha,
                    beta,
                    k,
                    input,
                    output,
                    batch,
                    pixels_per_item,
                }
            })
        });
        Ok(index + 1)
    }

    fn average_pool(&mut self, index: usize, size: [usize; 2], map: usize) -> usize {
        let len = self.steps[index].output.elements() as usize;
        let vectors = self.add_buffer(self.batch * len.next_multiple_of(BLOCK));
        let (batch, division, cells) = (self.batch, self.division, size[0] * size[1]);
        self.push(move |maps| {
            let map = maps[map];
            division.choose(cells, halves_of(cells), |cells_per_item| AdaptiveAvgPool {
                map,
                size,
                vectors,
                batch,
                cells_per_item,
            })
        });
        self.current = LayerInput::Vectors { buffer: vectors, len };
        index + 1
    }

    /// Names the layers whose stages are those since `first_stage`.
    fn label(&mut self, steps: Range<usize>, first_stage: usize) {
        let stages = first_stage..self.stages.len();
        let names: Vec<&str> = self.steps[steps].iter().map(|step| step.name.as_str()).collect();
        let layers = names.join(" ");
        match self.layers.last_mut() {
            Some(layer) if layer.layers.is_empty() => {
                layer.layers = layers;
                layer.stages = stages;
            }
            _ if !stages.is_empty() => {
                self.layers.push(PlannedLayer { layers, stages, ..PlannedLayer::default() });
            }
            _ => {}
        }
    }

    /// If the output of the step at `index` is returned, records where it lies.
    fn keep_output(&mut self, index: usize) {
        if !self.is_output(index) {
            return;
        }
        let output = match self.current {
            LayerInput::Vectors { buffer, len } => {
                PlanOutput { buffer, len, stride: len.next_multiple_of(BLOCK) }
            }
            LayerInput::Map(map) => {
                let len = self.steps[index].output.elements() as usize;
                let planar = self.add_buffer(self.batch * len);
                let batch = self.batch;
                self.push(move |maps| BlockedToPlanar { map: maps[map], planar, batch });
                PlanOutput { buffer: planar, len, stride: len }
            }
        };
        for (slot, &step) in self.outputs.iter_mut().zip(self.output_steps) {
            if step == index {
                *slot = Some(output.clone());
            }
        }
    }
}

/// `walk` limits the size of a layer's output, but not its padding.
fn size_overflows(map: &FeatureMap, batch: usize) -> Error {
    Error::OutOfMemory {
        what: format!(
            "a batch of {batch} feature maps of {} channels of {}x{}, padding included,",
            map.channels, map.padded_height, map.padded_width
        ),
    }
}

/// A layer at a place where the engine cannot compute it. A valid architecture does not have one.
pub(super) fn unsupported(found: impl std::fmt::Debug) -> Error {
    Error::Table {
        place: "compiled".into(),
        expected: "a layer that the engine supports at this place".into(),
        found: format!("{found:?}"),
    }
}
