//! The compiled CPU engine: the forward pass, several times faster than a tensor framework's.
//!
//! [`Network::compile`] takes a network's weights, packs them once, and gives a [`Compiled`] that
//! answers the same logits. It needs no burn at run time: slices in, slices out.
//!
//! ```
//! use alexnet_vgg::{backend::Cpu, engine::{CompileOptions, Precision}, models::{Vgg, VggConfig}};
//!
//! let device = Default::default();
//! let vgg: Vgg<Cpu> = VggConfig::vgg11().with_width(0.05).with_num_classes(10).init(&device);
//! let compiled = vgg.compile(Precision::F32)?;
//!
//! let images = vec![0.5; 2 * 3 * 64 * 64];
//! let mut logits = vec![0.0; 2 * 10];
//! compiled.run(&images, [2, 3, 64, 64], &mut logits)?;
//! # Ok::<(), alexnet_vgg::Error>(())
//! ```
//!
//! # How it is built
//!
//! - `simd`: sixteen numbers at a time, on AVX-512, AVX2 or whatever the compiler makes of plain Rust;
//!   `product`: the microkernel, a matrix product in registers, where all the time is spent.
//! - `winograd`: 3×3 and 5×5 convolutions with a fraction of the multiplications; `direct`: all others;
//!   `linear`: layers as fast as their weights can be read; `columns`: the same for many vectors at once;
//!   `maps`: what is between.
//! - `map`, `buffer`: how activations lie in memory; `convolution`, `prepare`: weights, packed.
//! - `cost`: what each way would cost on this machine; `plan`: from the table to stages, for one shape
//!   of input; `run`, `parked`: the threads that go through them.
//!
//! The engine reads the same table as everything else. It keeps no list of layers.

mod buffer;
mod columns;
mod convolution;
mod cost;
mod direct;
#[cfg(test)]
mod every_way;
mod linear;
mod map;
mod maps;
mod parked;
mod plan;
mod prepare;
mod product;
mod run;
mod simd;
mod stage;
mod winograd;

pub use convolution::Algorithm;
pub use cost::Schedule;
pub use plan::Planned;
pub use run::Threads;
pub use simd::Isa;

use crate::backend;
use crate::error::{Error, Result};
use crate::models::{Architecture, Network, Parameter};
use crate::vision::{Labels, Preset};
use burn::tensor::backend::Backend;
use burn::tensor::{Tensor, TensorData};
use cost::Machine;
use plan::{Plan, Planner, Prepared, Way};
use run::Team;
use std::borrow::Cow;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// What the engine computes with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// All arithmetic in `f32`: within 1e-5 of the largest logit of the exact ones. The weights of the
    /// linear layers take 24 bits: integers with a scale for every 512, of which the largest lose no more
    /// than the last bit that they had as `f32`.
    #[default]
    F32,
    /// For who would take bf16: all arithmetic still in `f32`, but the weights of the linear layers
    /// take 16 bits, half of what one image has to wait for. They are integers with a scale for every
    /// 512, which loses some hundred times less than computing in bf16 does: 1e-4 of the largest
    /// logit.
    Bf16,
}

impl std::fmt::Display for Precision {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
        })
    }
}

impl std::str::FromStr for Precision {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        match name {
            "f32" => Ok(Self::F32),
            "bf16" => Ok(Self::Bf16),
            _ => Err(Error::Setting {
                place: "precision".into(),
                expected: "f32 or bf16".into(),
                found: name.into(),
            }),
        }
    }
}

/// How to compile. The default is f32, all of the machine's threads, and its best instruction set.
#[derive(Clone, Debug, Default)]
pub struct CompileOptions {
    /// What to compute with.
    pub precision: Precision,
    /// Who computes.
    pub threads: Threads,
    /// Instructions to use instead of the machine's best: for tests and comparisons.
    pub isa: Option<Isa>,
}

impl From<Precision> for CompileOptions {
    fn from(precision: Precision) -> Self {
        Self { precision, ..Self::default() }
    }
}

/// A network for the CPU: the same logits as [`Network::forward`], faster.
///
/// A clone is the same network: it shares weights and threads. It may be used from many threads at
/// once; each call has memory of its own, which is kept for the next. The logits have the same bits
/// whatever the number of threads, but an image's may differ in the last ones between batches of
/// different sizes.
#[derive(Clone, Debug)]
pub struct Compiled {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    architecture: Architecture,
    preset: Option<Preset>,
    labels: Option<Labels>,
    machine: Machine,
    workers: usize,
    team: Team,
    prepared: Vec<Prepared>,
    classes: usize,
    /// What was used last is last.
    plans: Mutex<Vec<(Key<'static>, Arc<Plan>)>>,
}

/// What a plan is for.
#[derive(Debug, PartialEq)]
struct Key<'a> {
    way: Way,
    /// Images, or vectors, at once.
    batch: usize,
    /// Height and width.
    size: [usize; 2],
    /// The steps whose outputs are asked for.
    wanted: Cow<'a, [usize]>,
}

/// Images that go through at once. Larger batches go through in parts: their activations would leave
/// the caches, and the weights of the linear layers have been read often enough by then.
const IMAGES_AT_ONCE: usize = 8;

/// Vectors that go through at once: as many as there may be columns.
const VECTORS_AT_ONCE: usize = columns::COLUMNS_AT_ONCE;

/// Plans that are kept, each with its memory.
const MOST_PLANS: usize = 16;

/// Bytes of memory beyond which plans that were not used lately are dropped: photos of all sizes, seen
/// whole, would keep gigabytes. (VGG's three scales take 800 MiB, eight images of 224x224 470.)
const MOST_BYTES: usize = 1 << 30;

/// The output of a layer: see [`Compiled::taps`].
#[derive(Clone, Debug, PartialEq)]
pub struct Values {
    /// The shape, batch first: `[N, C, H, W]` or `[N, features]`.
    pub shape: Vec<usize>,
    /// As many values, in PyTorch's order.
    pub values: Vec<f32>,
}

impl<B: Backend> Network<B> {
    /// The network for the CPU, with its weights packed. The network itself is used up: for a moment
    /// both are in memory. [`Compiled::load`] packs a file without it.
    ///
    /// # Errors
    /// As for [`Compiled::from_values`].
    pub fn compile(self, options: impl Into<CompileOptions>) -> Result<Compiled> {
        let (preset, labels) = (self.preset().cloned(), self.labels().cloned());
        let architecture = self.architecture().clone();
        let values = |parameter: &Parameter, rows| self.values(parameter, rows);
        Ok(Compiled::from_values(architecture, options, values)?.stating(preset, labels))
    }
}

impl Compiled {
    /// A compiled network whose values come from `values`, as those of [`Network::from_values`] do.
    ///
    /// # Errors
    /// [`Error::Table`] if the table is contradictory; [`Error::Setting`] for no threads, and if
    /// `values` returns a wrong number of them; [`Error::Backend`] if the machine has not the
    /// instructions or not the memory; and those of `values`.
    pub fn from_values(
        architecture: impl Into<Architecture>,
        options: impl Into<CompileOptions>,
        mut values: impl FnMut(&Parameter, Range<usize>) -> Result<Vec<f32>>,
    ) -> Result<Self> {
        let (architecture, options) = (architecture.into(), options.into());
        let isa = options.isa.unwrap_or_else(Isa::best);
        if !isa.is_available() {
            let reason = format!("this machine has no {isa}");
            return Err(Error::Backend { backend: "compiled".into(), reason });
        }
        let workers = options.threads.count();
        if !(1..=MOST_THREADS).contains(&workers) {
            return Err(Error::Setting {
                place: "threads".into(),
                expected: format!("1 to {MOST_THREADS}"),
                found: workers.to_string(),
            });
        }
        let steps = architecture.steps()?;
        let classes = architecture.num_classes()?;
        let prepared = prepare::prepare(&steps, isa, options.precision, &mut values)?;
        let inner = Inner {
            architecture,
            preset: None,
            labels: None,
            machine: Machine::this(isa),
            workers,
            team: Team::new(&options.threads)?,
            prepared,
            classes,
            plans: Mutex::default(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The table that this network was compiled from.
    pub fn architecture(&self) -> &Architecture {
        &self.inner.architecture
    }

    /// The instructions that it uses.
    pub fn isa(&self) -> Isa {
        self.inner.machine.isa
    }

    /// The preprocessing that the weights want, if the file that they came from says so.
    pub fn preset(&self) -> Option<&Preset> {
        self.inner.preset.as_ref()
    }

    /// The names of the classes, if the file that the weights came from says them.
    pub fn labels(&self) -> Option<&Labels> {
        self.inner.labels.as_ref()
    }

    pub(crate) fn stating(self, preset: Option<Preset>, labels: Option<Labels>) -> Self {
        match Arc::try_unwrap(self.inner) {
            Ok(inner) => Self { inner: Arc::new(Inner { preset, labels, ..inner }) },
            // Nobody else has it yet.
            Err(inner) => Self { inner },
        }
    }

    /// The logits of a batch: `images` are `shape`, `[N, C, H, W]`, flat; `logits` takes
    /// `[N, num_classes]`. An image with a NaN or an infinity in it gets NaN logits.
    ///
    /// The first calls with a shape plan it and take its memory; later ones allocate nothing (a rayon
    /// pool does, for its jobs), unless as many calls run at once as never before. The plans of up to sixteen
    /// shapes are kept, with their memory, as long as that is below 1 GiB: those that were used last.
    ///
    /// # Errors
    /// [`Error::InputShape`] for a wrong number of channels, an empty batch, or slices of other
    /// lengths; [`Error::InputTooSmall`]; [`Error::Backend`] for sizes that memory does not hold.
    pub fn run(&self, images: &[f32], shape: [usize; 4], logits: &mut [f32]) -> Result<()> {
        self.check(shape, images.len())?;
        let room = shape[0].saturating_mul(self.inner.classes);
        if logits.len() != room {
            return Err(self.wrong_input(format!("room for {room} logits"), vec![logits.len()]));
        }
        self.each_part(Way::Images, images, shape, &[self.last()], &mut [logits])
    }

    /// Dense evaluation (VGG paper, section 3.2): the class scores at every place, `[N, C, H, W]` to
    /// `[N, num_classes, rows, columns]`, as [`Network::score_maps`] has them.
    ///
    /// # Errors
    /// As for [`run`](Self::run).
    pub fn score_maps(&self, images: &[f32], shape: [usize; 4]) -> Result<Values> {
        self.check(shape, images.len())?;
        let [rows, columns] = self.architecture().score_map([shape[2], shape[3]])?;
        let shape_of_maps = vec![shape[0], self.inner.classes, rows, columns];
        let mut maps = Values { values: zeros(&shape_of_maps)?, shape: shape_of_maps };
        self.each_part(Way::Places, images, shape, &[self.last()], &mut [&mut maps.values])?;
        Ok(maps)
    }

    /// Some layers of the classifier, by their indices in forward order: vectors, flat, as the first of
    /// them takes them, to as many as the last of them gives.
    pub(crate) fn classify(&self, layers: Range<usize>, vectors: &[f32]) -> Result<Vec<f32>> {
        if layers.is_empty() {
            return Ok(vectors.to_vec());
        }
        let [count, features] = self.architecture().expect_vectors(&layers, vectors.len())?;
        let steps = self.architecture().steps()?;
        let mut result = zeros(&[count, steps[layers.end - 1].output.elements() as usize])?;
        let (way, shape) = (Way::Vectors(layers.start), [count, features, 1, 1]);
        self.each_part(way, vectors, shape, &[layers.end - 1], &mut [&mut result])?;
        Ok(result)
    }

    /// The logits of burn's tensors, `[N, C, H, W]` to `[N, num_classes]`, of any backend: from there,
    /// and back to the same device.
    ///
    /// # Errors
    /// As for [`run`](Self::run), and [`Error::Backend`] if the images' device failed.
    pub fn try_forward<B: Backend>(&self, images: Tensor<B, 4>) -> Result<Tensor<B, 2>> {
        let (device, shape) = (images.device(), images.dims());
        let classes = self.inner.classes;
        let images: Vec<f32> = backend::read(images)?.iter::<f32>().collect();
        let mut logits = vec![0.0; shape[0] * classes];
        self.run(&images, shape, &mut logits)?;
        Ok(Tensor::from_data(TensorData::new(logits, [shape[0], classes]), &device))
    }

    /// [`try_forward`](Self::try_forward), as burn's layers do it.
    ///
    /// # Panics
    /// Where [`try_forward`](Self::try_forward) has an error, with its message.
    pub fn forward<B: Backend>(&self, images: Tensor<B, 4>) -> Tensor<B, 2> {
        self.try_forward(images).unwrap_or_else(|error| panic!("{error}"))
    }

    /// The outputs of the named layers, in the order of the names, as [`Network::taps`] has them.
    ///
    /// # Errors
    /// [`Error::UnknownLayer`], and as for [`run`](Self::run).
    pub fn taps<S: AsRef<str>>(
        &self,
        images: &[f32],
        shape: [usize; 4],
        names: &[S],
    ) -> Result<Vec<Values>> {
        self.check(shape, images.len())?;
        let steps = self.architecture().walk([shape[2], shape[3]])?;
        let find = |name: &S| self.architecture().find(name.as_ref());
        let wanted: Vec<usize> = names.iter().map(find).collect::<Result<_>>()?;
        let empty = |&index: &usize| {
            let mut all = vec![shape[0]];
            all.extend(steps[index].output.dims());
            Ok(Values { values: zeros(&all)?, shape: all })
        };
        let mut taps: Vec<Values> = wanted.iter().map(empty).collect::<Result<_>>()?;
        if !taps.is_empty() {
            let mut outputs: Vec<&mut [f32]> =
                taps.iter_mut().map(|tap| &mut tap.values[..]).collect();
            self.each_part(Way::Images, images, shape, &wanted, &mut outputs)?;
        }
        Ok(taps)
    }

    /// What is planned for a shape, layer by layer, and how long each of `passes` passes took on
    /// average: on zeros, with all threads. Of more than 8 images those that go through at once are
    /// planned, the first 8.
    ///
    /// # Errors
    /// As for [`run`](Self::run).
    pub fn explain(&self, shape: [usize; 4], passes: u32) -> Result<Vec<(Planned, Duration)>> {
        self.check(shape, shape.into_iter().fold(1, usize::saturating_mul))?;
        let batch = shape[0].min(IMAGES_AT_ONCE);
        let (way, size, wanted) = (Way::Images, [shape[2], shape[3]], vec![self.last()].into());
        let plan = self.plan(Key { way, batch, size, wanted })?;
        let mut pass = plan.new_pass(self.inner.workers)?;
        let stages = plan.stages.len();
        let mut total = vec![Duration::ZERO; stages];
        for round in 0..=passes {
            pass.reset();
            pass.times = Some(Mutex::new(vec![Duration::ZERO; stages]));
            let shared = Arc::new(pass);
            self.inner.team.run(&shared)?;
            // The others let go of it soon.
            let mut shared = shared;
            pass = loop {
                match Arc::try_unwrap(shared) {
                    Ok(pass) => break pass,
                    Err(still) => shared = still,
                }
                std::thread::yield_now();
            };
            // The first pass takes the memory.
            if let (Some(times), 1..) = (&pass.times, round) {
                let times = times.lock().unwrap_or_else(PoisonError::into_inner);
                total.iter_mut().zip(times.iter()).for_each(|(total, time)| *total += *time);
            }
        }
        Ok((plan.planned.iter())
            .map(|planned| {
                let time: Duration = total[planned.stages.clone()].iter().sum();
                (planned.clone(), time / passes.max(1))
            })
            .collect())
    }

    fn wrong_input(&self, expected: String, found: Vec<usize>) -> Error {
        Error::InputShape { network: self.architecture().name.clone(), expected, found }
    }

    /// Index of the layer whose output is the logits.
    fn last(&self) -> usize {
        self.inner.prepared.len() - 1
    }

    fn check(&self, shape: [usize; 4], length: usize) -> Result<()> {
        let expected = self.architecture().input[0];
        if shape[0] == 0 || shape[1] != expected {
            return Err(self.wrong_input(format!("[N >= 1, {expected}, H, W]"), shape.to_vec()));
        }
        let values = shape.iter().try_fold(1usize, |values, &dim| values.checked_mul(dim));
        match values == Some(length) {
            true => Ok(()),
            false => {
                Err(self.wrong_input(format!("as many values as {shape:?} has"), vec![length]))
            }
        }
    }

    fn plan(&self, key: Key) -> Result<Arc<Plan>> {
        let plans = || self.inner.plans.lock().unwrap_or_else(PoisonError::into_inner);
        // What is used goes to the end, away from what is dropped for others.
        let known = |plans: &mut [(Key<'static>, Arc<Plan>)]| {
            let at = plans.iter().position(|(known, _)| *known == key)?;
            plans[at..].rotate_left(1);
            plans.last().map(|(_, plan)| plan.clone())
        };
        if let Some(plan) = known(&mut plans()) {
            return Ok(plan);
        }
        // Not under the lock: others know their shapes, and packing waits for rayon's threads, which may
        // be asking for a plan themselves.
        let steps = match key.way {
            Way::Vectors(_) => self.architecture().steps()?,
            _ => self.architecture().walk(key.size)?,
        };
        let choose = |convolution: &_, batch, size| {
            cost::choose(&self.inner.machine, convolution, batch, size)
        };
        let (machine, prepared) = (self.inner.machine, &self.inner.prepared);
        let (batch, wanted) = ((key.batch, key.way), &key.wanted);
        let plan = Arc::new(Planner::plan(machine, &choose, batch, &steps, prepared, wanted)?);
        let mut plans = plans();
        if let Some(plan) = known(&mut plans) {
            return Ok(plan);
        }
        let mut bytes = plan.bytes();
        let kept = plans.iter().rev().take(MOST_PLANS - 1).take_while(|(_, plan)| {
            bytes = bytes.saturating_add(plan.bytes());
            bytes <= MOST_BYTES
        });
        let dropped = plans.len() - kept.count();
        plans.drain(..dropped);
        let key = Key { wanted: key.wanted.into_owned().into(), ..key };
        plans.push((key, plan.clone()));
        Ok(plan)
    }

    /// Computes the wanted outputs part by part of the batch; `outputs` has room for each, for all of
    /// the batch.
    fn each_part(
        &self,
        way: Way,
        images: &[f32],
        shape: [usize; 4],
        wanted: &[usize],
        outputs: &mut [&mut [f32]],
    ) -> Result<()> {
        let [batch, channels, height, width] = shape;
        let size = [height, width];
        let image = channels * height * width;
        let at_once = match way {
            Way::Images => IMAGES_AT_ONCE,
            Way::Places => {
                let [_, height, width] = self.architecture().input;
                let designed = IMAGES_AT_ONCE.saturating_mul(height).saturating_mul(width);
                (designed / (size[0] * size[1])).clamp(1, IMAGES_AT_ONCE)
            }
            Way::Vectors(_) => VECTORS_AT_ONCE,
        };
        for first in (0..batch).step_by(at_once) {
            let count = at_once.min(batch - first);
            let images = &images[first * image..][..count * image];
            let plan = self.plan(Key { way, batch: count, size, wanted: wanted.into() })?;
            let mut pass = plan.pass(self.inner.workers)?;
            let memory = Arc::get_mut(&mut pass).map(|pass| &mut pass.memory).ok_or_else(in_use)?;
            for (i, image) in images.chunks(image).enumerate() {
                memory.write(plan.input, i * plan.input_stride, image);
            }
            self.inner.team.run(&pass)?;
            for (i, image) in images.chunks(image).enumerate() {
                // A vector may hold what came out of a layer, and its NaN find their way by themselves.
                let is_finite = matches!(way, Way::Vectors(_)) || are_finite(image);
                for (output, numbers) in plan.outputs.iter().zip(outputs.iter_mut()) {
                    let length = output.length;
                    let numbers = &mut numbers[(first + i) * length..][..length];
                    match is_finite {
                        true => pass.memory.read(output.buffer, i * output.stride, numbers),
                        false => numbers.fill(f32::NAN),
                    }
                }
            }
            plan.give_back(pass);
        }
        Ok(())
    }
}

/// A pass that was handed out is nobody else's.
fn in_use() -> Error {
    Error::Backend { backend: "compiled".into(), reason: "memory of a pass is in use".into() }
}

/// Zeros of a shape, or an error where memory does not hold them.
pub(crate) fn zeros(shape: &[usize]) -> Result<Vec<f32>> {
    let length = shape.iter().try_fold(1usize, |all, &dim| all.checked_mul(dim));
    let mut zeros = Vec::new();
    match length.map(|length| (length, zeros.try_reserve_exact(length))) {
        Some((length, Ok(()))) => {
            zeros.resize(length, 0.0);
            Ok(zeros)
        }
        _ => Err(Error::Backend {
            backend: "compiled".into(),
            reason: format!("{shape:?} does not fit in memory"),
        }),
    }
}

/// Threads that anyone could have use for.
const MOST_THREADS: usize = 1024;

/// The largest exponent is that of infinity and NaN. Written so that the compiler vectorizes it.
fn are_finite(values: &[f32]) -> bool {
    const INFINITY: u32 = f32::INFINITY.to_bits();
    values.iter().fold(0, |largest, value| largest.max(value.to_bits() & INFINITY)) < INFINITY
}
