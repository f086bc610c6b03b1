//! [`PredictedPass`]: how a number of threads would share a pass, by the cost model.

use super::team_simulation::StageTime;

/// How a number of threads would share a pass, and how long they would take. It is computed from the plan and
/// the number of threads, not measured: the machine need not have so many cores. See
/// [`Compiled::predict`](super::Compiled::predict).
///
/// The model takes every thread to have a core of its own, all equally fast, and memory and the L3 cache to get
/// faster with each core, as with two cores of a Zen 4, where it was measured. Beyond two cores, nothing was.
#[derive(Clone, Debug)]
pub struct PredictedPass {
    /// Threads that share the pass.
    pub threads: usize,
    /// The stages in the order in which they are computed. All threads finish one before the next starts.
    pub stages: Vec<PredictedStage>,
}

/// A stage of a plan. A layer has one stage, or three if its schedule is not fused.
#[derive(Clone, Debug)]
pub struct PredictedStage {
    /// The layers: see [`PlannedLayer::layers`](super::PlannedLayer::layers). The conversion of an inner layer's
    /// output for the caller is `output`.
    pub layers: String,
    /// Work items, which the threads take one by one.
    pub items: usize,
    /// Clock cycles of all items, if one thread did all of them.
    pub work_cycles: f64,
    /// Clock cycles of the items of the thread that has most work.
    pub longest_cycles: f64,
    /// Clock cycles until every thread goes on to the next stage: the work, taking items, and waiting.
    pub cycles: f64,
    /// Threads that take items.
    threads: usize,
}

impl PredictedPass {
    pub(super) fn new(threads: usize, stages: Vec<PredictedStage>) -> Self {
        Self { threads, stages }
    }

    /// Clock cycles of the whole pass.
    pub fn cycles(&self) -> f64 {
        self.stages.iter().map(|stage| stage.cycles).sum()
    }

    /// The share of the threads' time that is work, from 0 to 1: the rest is waiting and taking items.
    pub fn efficiency(&self) -> f64 {
        let work: f64 = self.stages.iter().map(|stage| stage.work_cycles).sum();
        work / (self.cycles() * self.threads as f64)
    }
}

impl PredictedStage {
    pub(super) fn new(layers: String, threads: usize, time: StageTime) -> Self {
        let StageTime { items, work, longest, time } = time;
        Self { layers, items, work_cycles: work, longest_cycles: longest, cycles: time, threads }
    }

    /// The work of the thread that has most, divided by the mean: 1 if all have the same.
    pub fn longest_share(&self) -> f64 {
        self.longest_cycles * self.threads as f64 / self.work_cycles.max(1.0)
    }

    /// The share of the threads' time that is work, from 0 to 1.
    pub fn efficiency(&self) -> f64 {
        self.work_cycles / (self.cycles * self.threads as f64)
    }
}
