//! [`Stage`]: a step of a plan, split into work items for any number of threads.

use super::workspace::Workspace;

/// Work split into items. The items of a stage do not depend on each other, write to disjoint
/// memory, and compute the same bits on any thread.
pub(super) trait Stage: std::fmt::Debug + Send + Sync {
    /// How many items there are.
    fn items(&self) -> usize;

    fn run(&self, item: usize, worker: usize, workspace: &Workspace);

    /// Values of scratch memory that each worker needs.
    fn scratch_len(&self) -> usize {
        0
    }
}
