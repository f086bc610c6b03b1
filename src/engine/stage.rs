//! What a plan is made of: stages, one after the other, each of items that any thread may do.

use super::buffer::Buffer;
use super::simd::Place;

/// The activations of one forward pass.
#[derive(Debug)]
pub(super) struct Memory {
    /// Maps and vectors, by the indices that the plan gave them.
    pub shared: Vec<Buffer>,
    /// What a worker has to itself.
    pub own: Vec<Buffer>,
}

impl Memory {
    pub fn place(&self, buffer: usize) -> Place {
        self.shared[buffer].place()
    }

    pub fn own(&self, worker: usize) -> Place {
        self.own[worker].place()
    }
}

/// Work that is split into items. An item depends on nothing in its own stage, writes what no other
/// item of it touches, and gives the same bits whoever does it.
pub(super) trait Stage: std::fmt::Debug + Send + Sync {
    fn items(&self) -> usize;

    fn run(&self, item: usize, worker: usize, memory: &Memory);

    /// Numbers of memory that a worker needs to itself.
    fn own(&self) -> usize {
        0
    }
}
