//! [`Workspace`]: the memory of a forward pass.

use super::buffer::Buffer;
use super::simd::{BLOCK, CheckedPtr};
use crate::error::Result;

/// The activations of one forward pass and the scratch memory of each worker, one after the other in a
/// single allocation, so that small buffers lie in huge pages, too.
#[derive(Debug)]
pub(super) struct Workspace {
    memory: Buffer,
    /// Start and length of each activation buffer, by the index that the plan gave it.
    buffers: Vec<[usize; 2]>,
    /// Start and length of each worker's scratch memory.
    scratch: Vec<[usize; 2]>,
}

impl Workspace {
    /// Zeroed buffers of these lengths, and `scratch_len` values for each worker.
    ///
    /// # Errors
    /// As for [`Buffer::zeros`].
    pub fn zeros(lens: &[usize], scratch_len: usize, workers: usize) -> Result<Self> {
        Self::reuse(None, lens, scratch_len, workers)
    }

    /// The same in this memory, which is not zeroed, if it is large enough, and else in new memory.
    ///
    /// # Errors
    /// As for [`Buffer::zeros`].
    pub fn reuse(
        memory: Option<Buffer>,
        lens: &[usize],
        scratch_len: usize,
        workers: usize,
    ) -> Result<Self> {
        let mut end = 0usize;
        let mut next = |len: usize| {
            let start = end;
            end = end.saturating_add(len.div_ceil(BLOCK).saturating_mul(BLOCK));
            [start, len]
        };
        let buffers = lens.iter().map(|&len| next(len)).collect();
        let scratch = (0..workers).map(|_| next(scratch_len)).collect();
        let memory = match memory.filter(|memory| memory.len() >= end) {
            Some(memory) => memory,
            None => Buffer::zeros(end)?,
        };
        Ok(Self { memory, buffers, scratch })
    }

    /// Its memory, for [`reuse`](Self::reuse).
    pub fn into_memory(self) -> Buffer {
        self.memory
    }

    pub fn workers(&self) -> usize {
        self.scratch.len()
    }

    /// A pointer to an activation buffer.
    pub fn buffer(&self, index: usize) -> CheckedPtr {
        let [start, len] = self.buffers[index];
        self.memory.slice_ptr(start, len)
    }

    /// A pointer to a worker's scratch memory.
    pub fn scratch(&self, worker: usize) -> CheckedPtr {
        let [start, len] = self.scratch[worker];
        self.memory.slice_ptr(start, len)
    }

    /// Copies an input of a pass into a buffer, from `offset` on.
    pub fn write(&mut self, buffer: usize, offset: usize, values: &[f32]) {
        let [start, len] = self.buffers[buffer];
        let memory = &mut self.memory.as_mut_slice()[start..start + len];
        memory[offset..offset + values.len()].copy_from_slice(values);
    }

    /// Copies an output of a finished pass from a buffer, from `offset` on.
    pub fn read(&self, buffer: usize, offset: usize, values: &mut [f32]) {
        let [start, len] = self.buffers[buffer];
        assert!(
            offset + values.len() <= len,
            "{} values at offset {offset} of {len}",
            values.len()
        );
        self.memory.read(start + offset, values);
    }
}
