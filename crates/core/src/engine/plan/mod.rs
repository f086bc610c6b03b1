//! [`Plan`]: the stages and the memory layout of a network for one shape of input.
//!
//! - `planner`: goes through the layers once and plans their stages.
//! - `convolution`: convolutions, and what is fused into them.
//! - `classifier`: layers on vectors.

mod classifier;
mod convolution;
mod planner;

pub(super) use planner::Planner;

use super::algorithm::{Algorithm, Schedule};
use super::compile_options::ConvolutionArithmetic;
use super::cost_model::Machine;
use super::forward_pass::{ForwardPass, Stages};
use super::predicted_pass::{PredictedPass, PredictedStage};
use super::team_simulation::simulate;
use super::workspace::Workspace;
use crate::error::Result;
use std::borrow::Cow;
use std::ops::Range;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// What a plan computes, and from what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PlanMode {
    /// From images to the outputs of any layers.
    Images,
    /// From images to score maps: dense evaluation.
    Dense,
    /// From vectors to the output of a layer of the classifier, starting at this step.
    Vectors { first_step: usize },
}

/// Identifies a plan of a network.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct PlanKey<'a> {
    pub mode: PlanMode,
    /// Images, or vectors.
    pub batch: usize,
    /// The batch that they are a part of. It determines the algorithms, so that each part has the bits of
    /// the whole.
    pub part_of: usize,
    /// Threads that the work is divided among. They do not change the bits.
    pub threads: usize,
    /// Height and width of the images.
    pub size: [usize; 2],
    /// Indices of the steps whose outputs are returned.
    pub outputs: Cow<'a, [usize]>,
}

impl PlanKey<'_> {
    pub fn into_owned(self) -> PlanKey<'static> {
        PlanKey { outputs: self.outputs.into_owned().into(), ..self }
    }
}

/// How a layer is computed, together with the layers that are fused into it: see
/// [`Compiled::explain`](super::Compiled::explain).
#[derive(Clone, Debug, Default)]
pub struct PlannedLayer {
    /// The names of the layers in the papers, separated by spaces: `conv1_1 relu1_1`. The input is
    /// `input`.
    pub layers: String,
    /// The algorithm, if the first of them is a convolution.
    pub algorithm: Option<Algorithm>,
    /// What the algorithm computes with, if the first of them is a convolution.
    pub arithmetic: Option<ConvolutionArithmetic>,
    /// The order of the computation, if the first of them is a convolution.
    pub schedule: Option<Schedule>,
    /// Multiplications of the whole batch by the definition of the layer.
    pub direct_multiplications: u64,
    /// Multiplications of the whole batch by the chosen algorithm.
    pub multiplications: u64,
    /// Bytes of the packed weights.
    pub weight_bytes: u64,
    /// Estimated clock cycles of two cores (see [`Isa::cycles_per_second`](super::Isa::cycles_per_second)). If a 2×2 max
    /// pool follows a convolution and could not be fused into it, it is included.
    pub estimated_cycles: f64,
    /// Its stages in the plan.
    pub(super) stages: Range<usize>,
}

/// The stages and the memory layout of a network for one [`PlanKey`], and the idle passes that ran it.
#[derive(Debug)]
pub(super) struct Plan {
    pub stages: Stages,
    pub layers: Vec<PlannedLayer>,
    /// Values of each buffer of the workspace.
    buffer_lens: Vec<usize>,
    /// Values of scratch memory of each worker.
    scratch_len: usize,
    /// Index of the buffer of the planar images, or of the vectors.
    pub input: usize,
    /// Values from one image or vector of the input to the next.
    pub input_stride: usize,
    pub outputs: Vec<PlanOutput>,
    /// How many parts the batch is divided into, once that is known.
    pub parts: OnceLock<usize>,
    idle: Mutex<Vec<Arc<ForwardPass>>>,
}

/// Where a returned output lies after a pass.
#[derive(Clone, Debug)]
pub(super) struct PlanOutput {
    /// Index of its buffer.
    pub buffer: usize,
    /// Values of one image.
    pub len: usize,
    /// Values from one image to the next.
    pub stride: usize,
}

/// How often a call looks for an idle pass that no thread is using before it allocates another.
const MAX_POLLS: usize = 100;

impl Plan {
    /// A pass for exclusive use: an idle one if possible, or a new one.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`](crate::Error::OutOfMemory) if memory runs out.
    pub fn take_pass(&self, workers: usize) -> Result<Arc<ForwardPass>> {
        for _ in 0..MAX_POLLS {
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
            // A thread is about to release its reference to a pass.
            std::thread::yield_now();
        }
        self.new_pass(workers).map(Arc::new)
    }

    /// A new pass, with memory of its own.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`](crate::Error::OutOfMemory) if memory runs out.
    pub fn new_pass(&self, workers: usize) -> Result<ForwardPass> {
        let workspace = Workspace::zeros(&self.buffer_lens, self.scratch_len, workers)?;
        Ok(ForwardPass::new(self.stages.clone(), workspace))
    }

    /// Keeps a pass for later calls.
    pub fn return_pass(&self, pass: Arc<ForwardPass>) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(pass);
    }

    /// How so many threads would share a pass.
    pub fn predict(&self, machine: &Machine, threads: usize) -> PredictedPass {
        let stages = (self.stages.iter().enumerate()).map(|(index, stage)| {
            let layer = self.layers.iter().find(|layer| layer.stages.contains(&index));
            let layers = layer.map_or("output", |layer| &layer.layers);
            PredictedStage::new(layers.into(), threads, simulate(&**stage, machine, threads))
        });
        PredictedPass::new(threads, stages.collect())
    }

    /// Bytes of the activations of a pass.
    pub fn activation_bytes(&self) -> usize {
        (self.buffer_lens.iter())
            .fold(0, |sum: usize, &len| sum.saturating_add(len))
            .saturating_mul(4)
    }
}
