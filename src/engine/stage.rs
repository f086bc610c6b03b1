//! What a plan is made of: stages, one after the other, each of items that any thread may do.

use super::buffer::Buffer;
use super::simd::{BLOCK, Place};
use crate::error::Result;

/// The activations of one forward pass: maps, vectors, and what each worker has to itself, one after the
/// other in one buffer, so that small ones lie in large pages, too.
#[derive(Debug)]
pub(super) struct Memory {
    numbers: Buffer,
    /// Where each begins, and how many numbers it has, by the indices that the plan gave them.
    shared: Vec<[usize; 2]>,
    own: Vec<[usize; 2]>,
}

impl Memory {
    /// Zeros: of these lengths, and `own` for each worker.
    ///
    /// # Errors
    /// Those of [`Buffer::zeros`].
    pub fn zeros(shared: &[usize], own: usize, workers: usize) -> Result<Self> {
        let mut end = 0usize;
        let mut next = |length: usize| {
            let start = end;
            end = end.saturating_add(length.div_ceil(BLOCK).saturating_mul(BLOCK));
            [start, length]
        };
        let shared = shared.iter().map(|&length| next(length)).collect();
        let own = (0..workers).map(|_| next(own)).collect();
        Ok(Self { numbers: Buffer::zeros(end)?, shared, own })
    }

    pub fn workers(&self) -> usize {
        self.own.len()
    }

    pub fn place(&self, buffer: usize) -> Place {
        let [start, length] = self.shared[buffer];
        self.numbers.part(start, length)
    }

    pub fn own(&self, worker: usize) -> Place {
        let [start, length] = self.own[worker];
        self.numbers.part(start, length)
    }

    /// What a pass begins with, from `start` on.
    pub fn write(&mut self, buffer: usize, start: usize, numbers: &[f32]) {
        let [begin, length] = self.shared[buffer];
        let place = &mut self.numbers.as_mut_slice()[begin..begin + length];
        place[start..start + numbers.len()].copy_from_slice(numbers);
    }

    /// What a pass leaves, from `start` on.
    pub fn read(&self, buffer: usize, start: usize, numbers: &mut [f32]) {
        let [begin, length] = self.shared[buffer];
        assert!(start + numbers.len() <= length, "{start}, {} of {length}", numbers.len());
        self.numbers.read(begin + start, numbers);
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
