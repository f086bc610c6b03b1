//! From a table to stages, for one size of input.
//!
//! The plan walks the steps of the table once. What follows a convolution and can be done while its
//! outputs are in registers joins it: batch norm (folded into the weights), ReLU, the 2×2 pool. A layer
//! whose output somebody asked for, by name, ends that: its map must exist.

use super::columns::{Back, COLUMNS_AT_ONCE, Columns, LinearColumns, Turn, Windows};
use super::convolution::{Algorithm, Convolution};
use super::cost::{self, Choice, Machine, Schedule};
use super::direct::Direct;
use super::linear::{Activate, Activation, Linear, Weights};
use super::map::Map;
use super::maps::{Average, Pack, Row, RowKind, Unpack};
use super::run::{Pass, Stages};
use super::simd::BLOCK;
use super::stage::{Memory, Stage};
use super::winograd::{Fused, Multiply, Phases, Restore, Transform, Winograd};
use crate::error::{Error, Result};
use crate::models::{Layer, Part, Shape, Step, places};
use std::sync::{Arc, Mutex, PoisonError};

/// What a layer has at run time; by the index of its step.
#[derive(Debug)]
pub(super) enum Prepared {
    Convolution {
        plain: Arc<Convolution>,
        /// With the batch norm that follows.
        folded: Option<Arc<Convolution>>,
    },
    Scale {
        factor: Vec<f32>,
        summand: Vec<f32>,
    },
    Linear(Arc<Weights>),
    /// Nothing but its row of the table.
    Plain,
}

/// Which way through the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// Images, as far as anybody wants.
    Images,
    /// Images to class scores at every place: dense evaluation.
    Places,
    /// Vectors, from this step of the classifier on.
    Vectors(usize),
}

/// What is planned for a layer or several: see [`Compiled::explain`](super::Compiled::explain).
#[derive(Clone, Debug, Default)]
pub struct Planned {
    /// The layers by the papers' names: `conv1_1 relu1_1`.
    pub layers: String,
    /// How the first of them is computed, if it is a convolution.
    pub algorithm: Option<Algorithm>,
    /// In which order.
    pub schedule: Option<Schedule>,
    /// Multiplications of the definition, for the whole batch.
    pub definition: u64,
    /// Multiplications that are done.
    pub multiplications: u64,
    /// Bytes of the weights as they are packed.
    pub bytes: u64,
    /// Estimated cycles of two cores: of their clock, see [`Isa::cycles_per_second`](super::Isa::cycles_per_second).
    pub cycles: f64,
    /// Its stages in the plan.
    pub(super) stages: std::ops::Range<usize>,
}

/// Everything for one shape of input.
#[derive(Debug)]
pub(super) struct Plan {
    pub stages: Stages,
    pub planned: Vec<Planned>,
    lengths: Vec<usize>,
    own: usize,
    /// Buffer of the planar images, or of the vectors.
    pub input: usize,
    /// Numbers from one of them to the next.
    pub input_stride: usize,
    pub outputs: Vec<Output>,
    idle: Mutex<Vec<Arc<Pass>>>,
}

/// Where an output that was asked for lies after a pass.
#[derive(Clone, Debug)]
pub(super) struct Output {
    pub buffer: usize,
    /// Numbers of one image.
    pub length: usize,
    /// Numbers from an image to the next.
    pub stride: usize,
}

impl Plan {
    /// A pass with memory of its own: one that has been used before, if it is free.
    pub fn pass(&self, workers: usize) -> Result<Arc<Pass>> {
        for _ in 0..LOOKS {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            if idle.is_empty() {
                break;
            }
            for at in 0..idle.len() {
                if let Some(pass) = Arc::get_mut(&mut idle[at]) {
                    pass.reset();
                    return Ok(idle.swap_remove(at));
                }
            }
            drop(idle);
            // A thread is still about to leave it.
            std::thread::yield_now();
        }
        self.new_pass(workers).map(Arc::new)
    }

    pub fn new_pass(&self, workers: usize) -> Result<Pass> {
        let memory = Memory::zeros(&self.lengths, self.own, workers)?;
        Ok(Pass::new(self.stages.clone(), memory))
    }

    /// Bytes of the maps and vectors of a pass.
    pub fn bytes(&self) -> usize {
        self.lengths
            .iter()
            .fold(0, |all: usize, &length| all.saturating_add(length))
            .saturating_mul(4)
    }

    pub fn give_back(&self, pass: Arc<Pass>) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(pass);
    }
}

/// Vectors that `linear` is faster for: columns come in blocks of sixteen, of which some would be empty.
const MOST_ROWS: usize = 28;

/// How often a call looks for a pass that is free before it takes memory for another.
const LOOKS: usize = 100;

type Draft = Box<dyn FnOnce(&[Map]) -> Box<dyn Stage>>;

/// What the layer at hand has before it.
#[derive(Clone, Copy)]
enum Value {
    /// Index of a map.
    Map(usize),
    Vectors {
        buffer: usize,
        length: usize,
    },
}

/// Chooses how a convolution of `batch` maps of `[height, width]` outputs is computed.
type Choose<'a> = &'a dyn Fn(&Convolution, usize, [usize; 2]) -> Choice;

pub(super) struct Planner<'a> {
    machine: Machine,
    choose: Choose<'a>,
    batch: usize,
    steps: &'a [Step],
    prepared: &'a [Prepared],
    /// Indices of the steps whose outputs are asked for.
    wanted: &'a [usize],
    maps: Vec<Map>,
    lengths: Vec<usize>,
    drafts: Vec<Draft>,
    planned: Vec<Planned>,
    outputs: Vec<Option<Output>>,
    value: Value,
}

impl<'a> Planner<'a> {
    pub fn plan(
        machine: Machine,
        choose: Choose<'a>,
        (batch, way): (usize, Way),
        steps: &'a [Step],
        prepared: &'a [Prepared],
        wanted: &'a [usize],
    ) -> Result<Plan> {
        let mut planner = Self {
            machine,
            choose,
            batch,
            steps,
            prepared,
            wanted,
            maps: Vec::new(),
            lengths: Vec::new(),
            drafts: Vec::new(),
            planned: Vec::new(),
            outputs: vec![None; wanted.len()],
            value: Value::Map(0),
        };
        let (input, mut index) = match way {
            Way::Vectors(first) => (planner.vectors(first)?, first),
            _ => (planner.images(), 0),
        };
        while index < planner.end() {
            let first = planner.drafts.len();
            let next = match (way, planner.value) {
                (Way::Places, Value::Map(map)) if steps[index].part == Part::AvgPool => {
                    planner.places(index, map)?
                }
                (Way::Vectors(_), Value::Vectors { buffer, length }) if batch > MOST_ROWS => {
                    planner.turned(index, buffer, length)?
                }
                _ => planner.layer(index)?,
            };
            planner.name(index..next, first);
            planner.tap(next - 1);
            index = next;
        }
        planner.finish(input)
    }

    fn finish(mut self, [input, input_stride]: [usize; 2]) -> Result<Plan> {
        for map in &self.maps {
            self.lengths[map.buffer] = map.numbers(self.batch).ok_or_else(|| too_large(map))?;
        }
        let maps = self.maps;
        let stages: Stages = self.drafts.into_iter().map(|draft| draft(&maps)).collect();
        let own = stages.iter().map(|stage| stage.own()).max().unwrap_or(0);
        Ok(Plan {
            own,
            stages,
            planned: self.planned,
            lengths: self.lengths,
            input,
            input_stride,
            outputs: self.outputs.into_iter().flatten().collect(),
            idle: Mutex::default(),
        })
    }

    fn buffer(&mut self, length: usize) -> usize {
        self.lengths.push(length);
        self.lengths.len() - 1
    }

    fn map(&mut self, shape: Shape) -> Result<usize> {
        let &[channels, height, width] = shape.dims() else { return Err(contradiction(shape)) };
        let buffer = self.buffer(0);
        self.maps.push(Map::blocked(buffer, channels, height, width));
        Ok(self.maps.len() - 1)
    }

    /// The images, planar, and the map that they become.
    fn images(&mut self) -> [usize; 2] {
        let shape = self.steps.first().map_or(Shape::Map([1; 3]), |step| step.input);
        let image = shape.elements() as usize;
        let images = self.buffer(self.batch * image);
        if let Ok(map) = self.map(shape) {
            if let Some(Prepared::Convolution { plain, .. }) = self.prepared.first() {
                self.maps[map].interleave = plain.interleave;
            }
            let batch = self.batch;
            self.drafts
                .push(Box::new(move |maps| Box::new(Pack { images, map: maps[map], batch })));
        }
        self.planned.push(Planned { layers: "input".into(), stages: 0..1, ..Planned::default() });
        [images, image]
    }

    /// The vectors that a step of the classifier takes, each from a whole block on.
    fn vectors(&mut self, step: usize) -> Result<[usize; 2]> {
        let input = self.steps.get(step).map(|step| step.input);
        let Some(Shape::Vector([length])) = input else { return Err(contradiction(input)) };
        let stride = length.next_multiple_of(BLOCK);
        let buffer = self.buffer(self.batch * stride);
        self.value = Value::Vectors { buffer, length };
        Ok([buffer, stride])
    }

    /// All of the classifier from the pool at `index` on, at every place of its window.
    fn places(&mut self, index: usize, map: usize) -> Result<usize> {
        let (Layer::AdaptiveAvgPool { size: window }, &[channels, height, width]) =
            (self.steps[index].layer, self.steps[index].input.dims())
        else {
            return Err(contradiction(self.steps[index].layer));
        };
        let places = places([height, width], window);
        let features = channels * window[0] * window[1];
        let draft = move |planner: &mut Self, first: usize, columns: Columns| {
            planner.drafts.push(Box::new(move |maps| {
                Box::new(Windows { map: maps[map], window, places, first, columns })
            }));
        };
        self.as_columns(index + 1, features, places[0] * places[1], draft)
    }

    /// The same for many vectors.
    fn turned(&mut self, index: usize, vectors: usize, features: usize) -> Result<usize> {
        self.as_columns(index, features, 1, |planner, _, columns| {
            planner.drafts.push(Box::new(move |_| Box::new(Turn { vectors, columns })));
        })
    }

    /// All steps from `index` on for columns of so many features, a few columns at a time; `fill` plans
    /// what fills them, from one of them on.
    fn as_columns(
        &mut self,
        index: usize,
        features: usize,
        places: usize,
        fill: impl Fn(&mut Self, usize, Columns),
    ) -> Result<usize> {
        let layers = self.layers_of_columns(index)?;
        let (all, width) = (self.batch * places, self.machine.isa.width());
        let room = all.min(COLUMNS_AT_ONCE);
        // Between the layers; all parts of the columns use the same memory.
        let mut between = vec![Columns { buffer: 0, features, room, count: room, width }];
        for (weights, _) in &layers {
            let before = between[between.len() - 1];
            let features = weights.as_ref().map_or(before.features, |weights| weights.outputs);
            between.push(Columns { features, ..before });
        }
        for columns in &mut between {
            columns.buffer = self.buffer(columns.numbers());
        }
        let last = between[layers.len()];
        let length = last.features * places;
        let output = self.buffer(self.batch * length.next_multiple_of(BLOCK));
        for first in (0..all).step_by(room) {
            let part = |columns: Columns| Columns { count: room.min(all - first), ..columns };
            fill(self, first, part(between[0]));
            for ((weights, activation), pair) in layers.iter().zip(between.windows(2)) {
                let (input, output, activation) = (part(pair[0]), part(pair[1]), *activation);
                let weights = weights.clone();
                self.drafts.push(Box::new(move |_| match weights {
                    Some(weights) => Box::new(LinearColumns { weights, input, output, activation }),
                    None => {
                        let (length, input, output) =
                            (input.numbers(), input.buffer, output.buffer);
                        Box::new(Activate { input, output, length, activation })
                    }
                }));
            }
            let columns = part(last);
            self.drafts.push(Box::new(move |_| Box::new(Back { columns, first, places, output })));
        }
        self.value = Value::Vectors { buffer: output, length };
        Ok(self.end())
    }

    /// The linear layers from `index` on with what joins them, and activations by themselves.
    fn layers_of_columns(&self, index: usize) -> Result<Vec<(Option<Arc<Weights>>, Activation)>> {
        let mut layers = Vec::new();
        let mut index = index;
        while index < self.end() {
            match (&self.prepared[index], &self.steps[index].layer) {
                (Prepared::Linear(weights), _) => {
                    let activation = self.activation_after(index);
                    layers.push((Some(weights.clone()), activation));
                    index += usize::from(activation != Activation::None);
                }
                (_, layer @ (Layer::Relu | Layer::Tanh)) => layers.push((None, layer.into())),
                (_, Layer::Dropout { .. }) => {}
                (_, layer) => return Err(contradiction(layer)),
            }
            index += 1;
        }
        Ok(layers)
    }

    /// The step after the last that anybody wants.
    fn end(&self) -> usize {
        self.wanted.iter().max().map_or(0, |last| last + 1)
    }

    fn is_wanted(&self, index: usize) -> bool {
        self.wanted.contains(&index)
    }

    /// Whether the layer after `index` is there to join it.
    fn joins(&self, index: usize, what: impl Fn(&Layer) -> bool) -> bool {
        let is_last = Some(&index) == self.wanted.iter().max();
        let next = self.steps.get(index + 1);
        !is_last && !self.is_wanted(index) && next.is_some_and(|step| what(&step.layer))
    }

    /// Plans a layer and those that join it; returns the index after them.
    fn layer(&mut self, index: usize) -> Result<usize> {
        let step = &self.steps[index];
        match (&self.prepared[index], &step.layer, self.value) {
            (Prepared::Convolution { .. }, _, Value::Map(map)) => self.convolution(index, map),
            (Prepared::Linear(weights), _, Value::Vectors { buffer, .. }) => {
                Ok(self.linear(index, weights.clone(), buffer))
            }
            (Prepared::Scale { factor, summand }, _, Value::Map(_)) => {
                let (factor, summand) = (factor.clone(), summand.clone());
                self.row(index, RowKind::Scale { factor, summand })
            }
            (_, Layer::AdaptiveAvgPool { size }, Value::Map(map)) => {
                Ok(self.average(index, *size, map))
            }
            (_, Layer::Dropout { .. }, _) => Ok(index + 1),
            (_, &Layer::MaxPool { kernel, stride }, Value::Map(_)) => {
                self.row(index, RowKind::MaxPool { kernel, stride })
            }
            (_, &Layer::Lrn { size, alpha, beta, k, groups }, Value::Map(_)) => {
                let group = step.input.channels() / groups;
                self.row(index, RowKind::Lrn { size, alpha, beta, k, group })
            }
            (_, Layer::Relu, Value::Map(_)) => self.row(index, RowKind::Relu),
            (_, Layer::Tanh, Value::Map(_)) => self.row(index, RowKind::Tanh),
            (_, Layer::Relu, Value::Vectors { .. }) => Ok(self.activate(index, Activation::Relu)),
            (_, Layer::Tanh, Value::Vectors { .. }) => Ok(self.activate(index, Activation::Tanh)),
            _ => Err(contradiction(step.layer)),
        }
    }

    fn convolution(&mut self, index: usize, input: usize) -> Result<usize> {
        let Prepared::Convolution { plain, folded } = &self.prepared[index] else {
            return Err(contradiction(index));
        };
        let mut last = index;
        let mut conv = plain;
        if let Some(folded) = folded
            && self.joins(last, |next| matches!(next, Layer::BatchNorm))
        {
            conv = folded;
            last += 1;
        }
        let relu = self.joins(last, |next| matches!(next, Layer::Relu));
        last += usize::from(relu);
        let &[_, height, width] = self.steps[index].output.dims() else {
            return Err(contradiction(self.steps[index].output));
        };
        let choice = (self.choose)(conv, self.batch, [height, width]);
        let conv = conv.clone();
        conv.packed(choice.algorithm)?;
        let pool = choice.algorithm.pools()
            && self.joins(last, |next| matches!(next, Layer::MaxPool { kernel: 2, stride: 2 }));
        last += usize::from(pool);
        let output = self.map(self.steps[last].output)?;
        let tiles = cost::tiles(choice.algorithm, [height, width]);
        let reach = |outputs, tiles| match choice.algorithm.tile() {
            None => (outputs - 1) * conv.stride + conv.kernel,
            Some((m, r, _)) => tiles * m + r - 1,
        };
        let (rows, columns) = (reach(height, tiles[0]), reach(width, tiles[1]));
        self.maps[input].reserve(conv.padding, rows, columns);
        let plan = Draw { choice, conv, input, output, batch: self.batch, relu, pool, tiles };
        self.draw(plan);
        self.value = Value::Map(output);
        let step = &self.steps[index];
        self.planned.push(Planned {
            layers: String::new(),
            algorithm: Some(choice.algorithm),
            schedule: Some(choice.schedule),
            definition: step.multiply_adds * self.batch as u64,
            multiplications: choice.multiplications,
            bytes: plan_bytes(&self.prepared[index], choice.algorithm),
            cycles: choice.cycles,
            stages: 0..0,
        });
        Ok(last + 1)
    }

    fn draw(&mut self, it: Draw) {
        let Draw { choice, conv, input, output, batch, relu, pool, tiles } = it;
        let l2 = self.machine.l2;
        let winograd = move |maps: &[Map]| Winograd {
            convolution: conv.clone(),
            algorithm: choice.algorithm,
            input: maps[input],
            output: maps[output],
            batch,
            relu,
            pool,
            tiles,
        };
        match choice.schedule {
            Schedule::Rows => self.drafts.push(Box::new(move |maps| {
                let Winograd { convolution, input, output, batch, relu, .. } = winograd(maps);
                Box::new(Direct { convolution, input, output, batch, relu })
            })),
            Schedule::Fused { items, .. } => self
                .drafts
                .push(Box::new(move |maps| Box::new(Fused { winograd: winograd(maps), items }))),
            Schedule::Phases => {
                let (v, m) = (self.buffer(0), self.buffer(0));
                let phases = move |maps: &[Map]| Phases { winograd: winograd(maps), v, m };
                [self.lengths[v], self.lengths[m]] = phases(&self.maps).lengths();
                let (first, second) = (phases.clone(), phases.clone());
                self.drafts.push(Box::new(move |maps| Box::new(Transform(first(maps)))));
                self.drafts.push(Box::new(move |maps| {
                    let phases = second(maps);
                    let conv = &phases.winograd.convolution;
                    let tile = conv.input_blocks() * BLOCK * 4;
                    let rows = conv.isa.tiles();
                    let at_once = (l2 / 2 / tile / rows).max(1) * rows;
                    // Two or more items a product: the last ones must not leave a thread waiting.
                    let parts = conv.parts().div_ceil(4).max(1);
                    Box::new(Multiply { phases, parts, at_once })
                }));
                self.drafts.push(Box::new(move |maps| Box::new(Restore(phases(maps)))));
            }
        }
    }

    fn row(&mut self, index: usize, kind: RowKind) -> Result<usize> {
        let Value::Map(input) = self.value else { return Err(contradiction(index)) };
        if self.maps[input].interleave != BLOCK {
            return Err(contradiction("a first layer in another layout"));
        }
        let output = self.map(self.steps[index].output)?;
        let (isa, batch) = (self.machine.isa, self.batch);
        self.drafts.push(Box::new(move |maps| {
            Box::new(Row { isa, kind, input: maps[input], output: maps[output], batch })
        }));
        self.value = Value::Map(output);
        Ok(index + 1)
    }

    fn average(&mut self, index: usize, size: [usize; 2], map: usize) -> usize {
        let length = self.steps[index].output.elements() as usize;
        let vectors = self.buffer(self.batch * length.next_multiple_of(BLOCK));
        let batch = self.batch;
        self.drafts
            .push(Box::new(move |maps| Box::new(Average { map: maps[map], size, vectors, batch })));
        self.value = Value::Vectors { buffer: vectors, length };
        index + 1
    }

    fn linear(&mut self, index: usize, weights: Arc<Weights>, input: usize) -> usize {
        let activation = self.activation_after(index);
        let last = index + usize::from(activation != Activation::None);
        let length = weights.outputs;
        let output = self.buffer(self.batch * length.next_multiple_of(BLOCK));
        let multiplications = self.steps[index].multiply_adds * self.batch as u64;
        let bytes = weights.bytes() as u64;
        self.planned.push(Planned {
            layers: String::new(),
            definition: multiplications,
            multiplications,
            bytes,
            cycles: cost::linear(&self.machine, multiplications, bytes),
            ..Planned::default()
        });
        let batch = self.batch;
        self.drafts.push(Box::new(move |_| {
            Box::new(Linear { weights, input, output, batch, activation })
        }));
        self.value = Value::Vectors { buffer: output, length };
        last + 1
    }

    /// What joins a linear layer.
    fn activation_after(&self, index: usize) -> Activation {
        match self.steps.get(index + 1) {
            Some(next) if self.joins(index, |_| true) => Activation::from(&next.layer),
            _ => Activation::None,
        }
    }

    fn activate(&mut self, index: usize, activation: Activation) -> usize {
        let Value::Vectors { buffer: input, length } = self.value else { return index + 1 };
        let whole = self.batch * length.next_multiple_of(BLOCK);
        let output = self.buffer(whole);
        self.drafts.push(Box::new(move |_| {
            Box::new(Activate { input, output, length: whole, activation })
        }));
        self.value = Value::Vectors { buffer: output, length };
        index + 1
    }

    /// Says which layers the stages since `first` are of.
    fn name(&mut self, layers: std::ops::Range<usize>, first: usize) {
        let stages = first..self.drafts.len();
        let names: Vec<&str> =
            self.steps[layers.clone()].iter().map(|step| step.name.as_str()).collect();
        let layers = names.join(" ");
        match self.planned.last_mut() {
            Some(planned) if planned.layers.is_empty() => {
                planned.layers = layers;
                planned.stages = stages;
            }
            _ if !stages.is_empty() => {
                self.planned.push(Planned { layers, stages, ..Planned::default() });
            }
            _ => {}
        }
    }

    /// Keeps the output of the layer at `index`, if somebody wants it.
    fn tap(&mut self, index: usize) {
        if !self.is_wanted(index) {
            return;
        }
        let output = match self.value {
            Value::Vectors { buffer, length } => {
                Output { buffer, length, stride: length.next_multiple_of(BLOCK) }
            }
            Value::Map(map) => {
                let length = self.steps[index].output.elements() as usize;
                let images = self.buffer(self.batch * length);
                let batch = self.batch;
                self.drafts
                    .push(Box::new(move |maps| Box::new(Unpack { map: maps[map], images, batch })));
                Output { buffer: images, length, stride: length }
            }
        };
        for (slot, _) in self.outputs.iter_mut().zip(self.wanted).filter(|(_, w)| **w == index) {
            *slot = Some(output.clone());
        }
    }
}

/// A convolution that is decided on.
struct Draw {
    choice: Choice,
    conv: Arc<Convolution>,
    input: usize,
    output: usize,
    batch: usize,
    relu: bool,
    pool: bool,
    tiles: [usize; 2],
}

fn plan_bytes(prepared: &Prepared, algorithm: Algorithm) -> u64 {
    match prepared {
        Prepared::Convolution { plain, .. } => plain.bytes(algorithm) as u64,
        _ => 0,
    }
}

/// The walk bounds what a layer puts out, but not how far it pads.
fn too_large(map: &Map) -> Error {
    Error::Backend {
        backend: "compiled".into(),
        reason: format!(
            "{} maps of {}x{}, padding included, do not fit in memory",
            map.channels, map.rows, map.columns
        ),
    }
}

/// The walk has refused tables that lead here.
fn contradiction(found: impl std::fmt::Debug) -> Error {
    Error::Table {
        place: "compiled".into(),
        expected: "a layer that the engine knows, where the table allows it".into(),
        found: format!("{found:?}"),
    }
}
