//! [`Compiled`]: a network for the CPU.

use super::batch_parts::{BatchParts, MAX_PARTS};
use super::column_panels::MAX_COLUMNS;
use super::compile_options::{BatchSplit, CompileOptions, Threads};
use super::cost_model::{self, Machine};
use super::plan::{Plan, PlanKey, PlanMode, PlannedLayer, Planner};
use super::plan_cache::PlanCache;
use super::predicted_pass::PredictedPass;
use super::simd::Isa;
use super::thread_team::ThreadTeam;
use super::weight_packing::{PackedLayer, pack_weights};
use crate::architecture::{Architecture, IntoArchitecture, Parameter};
use crate::array::{Array, zeros};
use crate::error::{Error, Result};
use crate::metadata::Metadata;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// A network compiled for the CPU. By default, its logits are within 1e-5 of the exact ones, relative to the largest.
///
/// A clone shares weights and threads with the original. Several threads may call it at once: each call
/// uses memory of its own, which is kept for later calls. The logits have the same bits for any number of
/// threads, but the last bits of an image's logits may differ between batch sizes.
#[derive(Clone, Debug)]
pub struct Compiled {
    metadata: Metadata,
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    architecture: Architecture,
    machine: Machine,
    /// The most threads that compute at once.
    workers: usize,
    team: ThreadTeam,
    batch_split: BatchSplit,
    layers: Vec<PackedLayer>,
    classes: usize,
    plans: PlanCache,
}

/// The most images that go through the network at once. With more, the activations would not fit in the
/// caches, and reading the weights of the linear layers more often costs little by then.
const MAX_IMAGES: usize = 8;

/// The most vectors that go through the classifier at once.
const MAX_VECTORS: usize = MAX_COLUMNS;

/// How much faster parts of a batch must be predicted to be: they also compete for memory and caches, which the
/// prediction does not know.
const MIN_GAIN_OF_PARTS: f64 = 0.1;

impl Compiled {
    /// A compiled network with the weights that `values` returns. It is called with each parameter and a
    /// range of rows of its first dimension, and returns these rows, flat, in PyTorch's order.
    ///
    /// # Errors
    /// [`Error::Table`] if the architecture is not valid; [`Error::Setting`] for a number of
    /// threads out of range; [`Error::ValueCount`] if `values` returns a wrong number of values;
    /// [`Error::Backend`] if the machine does not have the instruction set, or a thread cannot be
    /// started; [`Error::OutOfMemory`] if memory runs out; and the errors of `values`.
    pub fn from_values(
        architecture: impl IntoArchitecture,
        options: impl Into<CompileOptions>,
        mut values: impl FnMut(&Parameter, Range<usize>) -> Result<Vec<f32>>,
    ) -> Result<Self> {
        let (architecture, options) = (architecture.into_architecture()?, options.into());
        let isa = options.isa.unwrap_or_else(Isa::best);
        if !isa.is_available() {
            return Err(Error::Backend {
                backend: "compiled".into(),
                reason: format!(
                    "this machine does not support the instruction set {isa}; the best that it supports \
                     is {}",
                    Isa::best()
                ),
            });
        }
        let workers = options.threads.count()?;
        let classes = architecture.num_classes();
        let precision = (options.linear_weights, options.convolution_arithmetic);
        let layers = pack_weights(architecture.steps(), isa, precision, &mut values)?;
        let inner = Inner {
            architecture,
            machine: Machine::detect(isa),
            workers,
            team: ThreadTeam::new(&options.threads)?,
            batch_split: options.batch_split,
            layers,
            classes,
            plans: PlanCache::default(),
        };
        Ok(Self { metadata: Metadata::default(), inner: Arc::new(inner) })
    }

    /// The architecture that it was compiled from.
    pub fn architecture(&self) -> &Architecture {
        &self.inner.architecture
    }

    /// The instruction set that it uses.
    pub fn isa(&self) -> Isa {
        self.inner.machine.isa
    }

    /// The metadata of its weights: what the file that they came from contains, or empty.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// The same network with other metadata.
    pub fn with_metadata(self, metadata: Metadata) -> Self {
        Self { metadata, ..self }
    }

    /// Computes the logits of a batch: reads `images`, the flat values of a batch whose `shape` is
    /// `[N, C, H, W]`, and writes `logits`, the flat values of `[N, num_classes]`. An image that
    /// contains NaN or infinity gets NaN logits.
    ///
    /// The first call with a shape plans it and allocates its memory. Later calls allocate nothing, unless
    /// more calls run at once than ever before, or the threads are a rayon pool's, which allocates its
    /// jobs. The plans of the last sixteen shapes are kept with their memory, as long as that is below
    /// 1 GiB.
    ///
    /// # Errors
    /// [`Error::InputShape`] for a wrong number of channels, an empty batch, or slices of the wrong
    /// length; [`Error::InputTooSmall`]; [`Error::OutOfMemory`] if memory runs out.
    pub fn run(&self, images: &[f32], shape: [usize; 4], logits: &mut [f32]) -> Result<()> {
        self.check_input(shape, images.len())?;
        let expected = shape[0].saturating_mul(self.inner.classes);
        if logits.len() != expected {
            let expected = format!("a slice of {expected} values for the logits");
            return Err(self.wrong_input(expected, vec![logits.len()]));
        }
        self.run_in_chunks(PlanMode::Images, images, shape, &[self.last()], &mut [logits])
    }

    /// Dense evaluation (VGG paper, section 3.2): the class scores at every position of the classifier's
    /// window, `[N, C, H, W]` to `[N, num_classes, rows, columns]`. They equal the logits of the windows
    /// evaluated one by one.
    ///
    /// # Errors
    /// As for [`run`](Self::run).
    pub fn score_maps(&self, images: &[f32], shape: [usize; 4]) -> Result<Array> {
        self.check_input(shape, images.len())?;
        let [rows, columns] = self.architecture().score_map([shape[2], shape[3]])?;
        let mut maps = Array::zeros(&[shape[0], self.inner.classes, rows, columns])?;
        let outputs = &mut [&mut maps.values[..]];
        self.run_in_chunks(PlanMode::Dense, images, shape, &[self.last()], outputs)?;
        Ok(maps)
    }

    /// Computes some layers of the classifier, given by their indices in forward order: from the inputs
    /// of the first, `[N, features]`, flat, to the outputs of the last, flat.
    pub(crate) fn classify(&self, layers: Range<usize>, vectors: &[f32]) -> Result<Vec<f32>> {
        if layers.is_empty() {
            return Ok(vectors.to_vec());
        }
        let [count, features] = self.architecture().expect_vectors(&layers, vectors.len())?;
        let last = layers.end - 1;
        let output_len = self.architecture().steps()[last].output.elements() as usize;
        let mut result = zeros(&[count, output_len])?;
        let (mode, shape) =
            (PlanMode::Vectors { first_step: layers.start }, [count, features, 1, 1]);
        self.run_in_chunks(mode, vectors, shape, &[last], &mut [&mut result])?;
        Ok(result)
    }

    /// The outputs of the named layers, in the order of the names: `[N, C, H, W]` or `[N, features]`.
    ///
    /// # Errors
    /// [`Error::UnknownLayer`], and as for [`run`](Self::run).
    pub fn taps<S: AsRef<str>>(
        &self,
        images: &[f32],
        shape: [usize; 4],
        names: &[S],
    ) -> Result<Vec<Array>> {
        self.check_input(shape, images.len())?;
        let steps = self.architecture().walk([shape[2], shape[3]])?;
        let find = |name: &S| self.architecture().find(name.as_ref());
        let tapped: Vec<usize> = names.iter().map(find).collect::<Result<_>>()?;
        let zeroed = |&index: &usize| {
            let mut tap_shape = vec![shape[0]];
            tap_shape.extend(steps[index].output.dims());
            Array::zeros(&tap_shape)
        };
        let mut taps: Vec<Array> = tapped.iter().map(zeroed).collect::<Result<_>>()?;
        if !taps.is_empty() {
            let mut outputs: Vec<&mut [f32]> =
                taps.iter_mut().map(|tap| &mut tap.values[..]).collect();
            self.run_in_chunks(PlanMode::Images, images, shape, &tapped, &mut outputs)?;
        }
        Ok(taps)
    }

    /// Explains how each layer is computed for a shape `[N, C, H, W]`, and measures how long it takes: the
    /// average over `passes` passes on zeros, with all threads. Layers that are fused are one entry. If N
    /// is above 8, it explains the first 8 images, since that is the most that are computed at once.
    ///
    /// # Errors
    /// As for [`run`](Self::run).
    pub fn explain(&self, shape: [usize; 4], passes: u32) -> Result<Vec<(PlannedLayer, Duration)>> {
        self.check_input(shape, shape.into_iter().fold(1, usize::saturating_mul))?;
        let plan = self.plan(self.key_of_images(shape, self.inner.workers))?;
        let stage_times = self.time_stages(&plan, passes)?;
        Ok((plan.layers.iter())
            .map(|layer| {
                let time: Duration = stage_times[layer.stages.clone()].iter().sum();
                (layer.clone(), time / passes.max(1))
            })
            .collect())
    }

    /// Predicts how a number of threads would share a pass of a shape `[N, C, H, W]`, with a plan for as many.
    /// The machine need not have so many cores. No pass is made, but the weights are packed for the plan. If N is
    /// above 8, it predicts the pass of the first 8 images, all in one part.
    ///
    /// # Errors
    /// [`Error::Setting`] for a number of threads that is not 1 to 1024, and as for [`run`](Self::run).
    pub fn predict(&self, shape: [usize; 4], threads: usize) -> Result<PredictedPass> {
        let threads = Threads::Dedicated(threads).count()?;
        self.check_input(shape, shape.into_iter().fold(1, usize::saturating_mul))?;
        let plan = self.new_plan(&self.key_of_images(shape, threads))?;
        Ok(plan.predict(&self.inner.machine, threads))
    }

    /// In how many parts a batch of a shape `[N, C, H, W]` would be computed by a number of threads: see
    /// [`BatchSplit`]. If N is above 8, the first 8 images.
    ///
    /// # Errors
    /// As for [`predict`](Self::predict).
    pub fn batch_parts(&self, shape: [usize; 4], threads: usize) -> Result<usize> {
        let threads = Threads::Dedicated(threads).count()?;
        self.check_input(shape, shape.into_iter().fold(1, usize::saturating_mul))?;
        Ok(self.fastest_parts(&self.key_of_images(shape, threads))?.parts)
    }

    /// The plan from images to logits.
    fn key_of_images(&self, [batch, _, height, width]: [usize; 4], threads: usize) -> PlanKey<'_> {
        let batch = batch.min(MAX_IMAGES);
        PlanKey {
            mode: PlanMode::Images,
            batch,
            part_of: batch,
            threads,
            size: [height, width],
            outputs: vec![self.last()].into(),
        }
    }

    /// The time of each stage of a plan, summed over `passes` passes.
    fn time_stages(&self, plan: &Plan, passes: u32) -> Result<Vec<Duration>> {
        let mut pass = plan.new_pass(self.inner.workers)?;
        let stages = plan.stages.len();
        let mut total = vec![Duration::ZERO; stages];
        // Pass 0 is a warm-up, in which the system allocates the memory.
        for number in 0..=passes {
            pass.reset();
            pass.stage_times = Some(Mutex::new(vec![Duration::ZERO; stages]));
            let shared = [Some(Arc::new(pass))];
            self.inner.team.run(&shared)?;
            let [Some(mut shared)] = shared else { return Err(pass_in_use()) };
            // The other threads release it soon.
            pass = loop {
                match Arc::try_unwrap(shared) {
                    Ok(pass) => break pass,
                    Err(in_use) => shared = in_use,
                }
                std::thread::yield_now();
            };
            if let (Some(times), 1..) = (&pass.stage_times, number) {
                let times = times.lock().unwrap_or_else(PoisonError::into_inner);
                total.iter_mut().zip(times.iter()).for_each(|(total, time)| *total += *time);
            }
        }
        Ok(total)
    }

    fn wrong_input(&self, expected: String, found: Vec<usize>) -> Error {
        Error::InputShape { network: self.architecture().name.clone(), expected, found }
    }

    /// The index of the layer whose output is the logits.
    fn last(&self) -> usize {
        self.inner.layers.len() - 1
    }

    fn check_input(&self, shape: [usize; 4], len: usize) -> Result<()> {
        let channels = self.architecture().input[0];
        if shape[0] == 0 || shape[1] != channels {
            return Err(self.wrong_input(format!("[N >= 1, {channels}, H, W]"), shape.to_vec()));
        }
        let expected = shape.iter().try_fold(1usize, |values, &dim| values.checked_mul(dim));
        if expected == Some(len) {
            Ok(())
        } else {
            let expected = format!("a slice of as many values as {shape:?} has");
            Err(self.wrong_input(expected, vec![len]))
        }
    }

    fn plan(&self, key: PlanKey) -> Result<Arc<Plan>> {
        self.inner.plans.get_or_build(key, |key| self.new_plan(key))
    }

    fn new_plan(&self, key: &PlanKey) -> Result<Plan> {
        let Inner { machine, layers, .. } = &*self.inner;
        let steps = match key.mode {
            PlanMode::Vectors { .. } => self.architecture().steps().to_vec(),
            PlanMode::Images | PlanMode::Dense => self.architecture().walk(key.size)?,
        };
        let choose = |convolution: &_, outputs| {
            cost_model::cheapest_of_part(machine, convolution, key.part_of, outputs)
        };
        Planner::plan(*machine, &choose, key, &steps, layers)
    }

    /// The division of a batch into parts that is predicted to be fastest, or that was asked for.
    fn fastest_parts(&self, whole: &PlanKey) -> Result<BatchParts> {
        let PlanKey { batch, threads, .. } = *whole;
        let together = BatchParts::new(batch, threads, 1);
        match (self.inner.batch_split, whole.mode) {
            (BatchSplit::Together, _) | (_, PlanMode::Dense | PlanMode::Vectors { .. }) => {
                return Ok(together);
            }
            (BatchSplit::Parts(parts), _) => return Ok(BatchParts::new(batch, threads, parts)),
            (BatchSplit::Auto, PlanMode::Images) => {}
        }
        if BatchParts::new(batch, threads, MAX_PARTS) == together {
            return Ok(together);
        }
        let mut fastest = (together, f64::INFINITY);
        for parts in BatchParts::all(batch, threads) {
            let mut keys: Vec<PlanKey> =
                (0..parts.parts).map(|part| part_key(whole, parts, part)).collect();
            // Most parts are equal.
            keys.dedup();
            let mut slowest = 0.0f64;
            for key in keys {
                let time = self.new_plan(&key)?.predict(&self.inner.machine, key.threads).cycles();
                slowest = slowest.max(time);
            }
            let gain = if parts == together { 0.0 } else { MIN_GAIN_OF_PARTS };
            if slowest < fastest.1 * (1.0 - gain) {
                fastest = (parts, slowest);
            }
        }
        Ok(fastest.0)
    }

    /// The most images or vectors that go through at once.
    fn max_batch(&self, mode: PlanMode, [height, width]: [usize; 2]) -> usize {
        match mode {
            PlanMode::Images => MAX_IMAGES,
            // Larger images than the network's input size count as several.
            PlanMode::Dense => {
                let [_, input_height, input_width] = self.architecture().input;
                let max_pixels =
                    MAX_IMAGES.saturating_mul(input_height).saturating_mul(input_width);
                (max_pixels / (height * width)).clamp(1, MAX_IMAGES)
            }
            PlanMode::Vectors { .. } => MAX_VECTORS,
        }
    }

    /// Computes the outputs of the given layers chunk by chunk of the batch. Each of `outputs` has space
    /// for the whole batch.
    fn run_in_chunks(
        &self,
        mode: PlanMode,
        images: &[f32],
        shape: [usize; 4],
        layers: &[usize],
        outputs: &mut [&mut [f32]],
    ) -> Result<()> {
        let [batch, channels, height, width] = shape;
        let size = [height, width];
        let image_len = channels * height * width;
        let max_batch = self.max_batch(mode, size);
        for first in (0..batch).step_by(max_batch) {
            let count = max_batch.min(batch - first);
            let chunk = &images[first * image_len..][..count * image_len];
            let threads = self.inner.workers;
            let outputs_of = layers.into();
            let key =
                PlanKey { mode, batch: count, part_of: count, threads, size, outputs: outputs_of };
            self.run_key(&key, chunk, image_len, first, outputs)?;
        }
        Ok(())
    }

    /// Runs a chunk of the batch, which starts at image `first`, in one or several parts.
    fn run_key(
        &self,
        key: &PlanKey,
        chunk: &[f32],
        image_len: usize,
        first: usize,
        outputs: &mut [&mut [f32]],
    ) -> Result<()> {
        let whole = self.plan(key.clone())?;
        let parts = match whole.parts.get() {
            Some(&parts) => BatchParts::new(key.batch, key.threads, parts),
            None => self.fastest_parts(key)?,
        };
        whole.parts.get_or_init(|| parts.parts);
        let mut plans = [const { None }; MAX_PARTS];
        let mut passes = [const { None }; MAX_PARTS];
        for part in 0..parts.parts {
            let plan = match parts.parts {
                1 => whole.clone(),
                _ => self.plan(part_key(key, parts, part))?,
            };
            let mut pass = plan.take_pass(parts.workers(part))?;
            let workspace =
                Arc::get_mut(&mut pass).map(|pass| &mut pass.workspace).ok_or_else(pass_in_use)?;
            for (i, image) in parts.images(part).enumerate() {
                let image = &chunk[image * image_len..][..image_len];
                workspace.write(plan.input, i * plan.input_stride, image);
            }
            (plans[part], passes[part]) = (Some(plan), Some(pass));
        }
        self.inner.team.run(&passes)?;
        for (part, (plan, pass)) in
            plans.iter().flatten().zip(passes.into_iter().flatten()).enumerate()
        {
            for (i, image) in parts.images(part).enumerate() {
                // Max pools and ReLU may drop a NaN on the way from an image. Vectors may be outputs of
                // layers, and their NaN reach the outputs without help.
                let is_valid = matches!(key.mode, PlanMode::Vectors { .. })
                    || are_finite(&chunk[image * image_len..][..image_len]);
                for (output, values) in plan.outputs.iter().zip(outputs.iter_mut()) {
                    let values = &mut values[(first + image) * output.len..][..output.len];
                    if is_valid {
                        pass.workspace.read(output.buffer, i * output.stride, values);
                    } else {
                        values.fill(f32::NAN);
                    }
                }
            }
            plan.return_pass(pass);
        }
        Ok(())
    }
}

/// The key of a part of a batch.
fn part_key<'a>(whole: &PlanKey<'a>, parts: BatchParts, part: usize) -> PlanKey<'a> {
    let (batch, threads) = (parts.images(part).len(), parts.threads(part));
    PlanKey { batch, threads, ..whole.clone() }
}

/// Cannot happen: [`Plan::take_pass`] returns a pass that no other thread uses.
fn pass_in_use() -> Error {
    Error::Backend {
        backend: "compiled".into(),
        reason: "the memory of a forward pass is already in use".into(),
    }
}

/// Whether no value is NaN or infinite: both have the largest exponent. Written so that the compiler
/// vectorizes it.
fn are_finite(values: &[f32]) -> bool {
    const INFINITY: u32 = f32::INFINITY.to_bits();
    values.iter().fold(0, |largest, value| largest.max(value.to_bits() & INFINITY)) < INFINITY
}
