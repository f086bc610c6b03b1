//! [`Stage`]: a step of a plan, split into work items for any number of threads, and [`Work`]: what an
//! item costs.

use super::workspace::Workspace;

/// Work split into items. The items of a stage do not depend on each other, write to disjoint
/// memory, and compute the same bits on any thread.
///
/// How finely a stage is divided may depend on the number of threads; the bits may not. So each sum is
/// inside one item, in an order that the division does not change.
pub(super) trait Stage: std::fmt::Debug + Send + Sync {
    /// How many items there are.
    fn items(&self) -> usize;

    /// What an item costs, for the prediction of how well threads share the stage.
    fn work(&self, item: usize) -> Work;

    fn run(&self, item: usize, worker: usize, workspace: &Workspace);

    /// Values of scratch memory that each worker needs.
    fn scratch_len(&self) -> usize {
        0
    }
}

/// The work of an item, from which the cost model estimates its time on one core.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Work {
    /// `f32` multiply-adds of the microkernel, or as many as take the same time. Waiting for weights
    /// overlaps with them.
    pub multiply_adds: f64,
    /// Bytes of weights that are read for the first time in a pass: from memory.
    pub new_bytes: f64,
    /// Bytes of weights or intermediate values that another item has read or written before: from the L3
    /// cache.
    pub cached_bytes: f64,
    /// Vectors of sixteen values that are read, go through some arithmetic, and are written.
    pub vectors: f64,
    /// Bytes of intermediate values between stages, which nothing overlaps with.
    pub moved_bytes: f64,
}

impl Work {
    /// Reading, changing a little and writing a number of vectors, as most layers do that are not
    /// convolutions or linear.
    pub fn of_vectors(vectors: usize) -> Self {
        Self { vectors: vectors as f64, ..Self::default() }
    }
}
