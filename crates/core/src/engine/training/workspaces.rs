//! Memory that one call after the other uses: fresh pages cost more than many a kernel.

use super::run_items::threads;
use crate::engine::buffer::Buffer;
use crate::engine::workspace::Workspace;
use crate::error::Result;
use std::sync::{Mutex, PoisonError};

/// Of all convolutions: one layer after the other uses the same memory.
pub static CONVOLUTIONS: Workspaces = Workspaces::new();

/// The memory that no call uses: as many buffers as there were calls at once, each as large as the largest call.
#[derive(Debug)]
pub struct Workspaces(Mutex<Vec<Buffer>>);

impl Workspaces {
    pub const fn new() -> Self {
        Self(Mutex::new(Vec::new()))
    }

    /// Calls `compute` with buffers of these lengths, and `scratch_len` values for each thread. They hold what an
    /// earlier call left in them.
    ///
    /// # Errors
    /// As for [`Buffer::zeros`].
    pub fn with(
        &self,
        lens: &[usize],
        scratch_len: usize,
        compute: impl FnOnce(&Workspace),
    ) -> Result<()> {
        let idle = self.idle().pop();
        let workspace = Workspace::reuse(idle, lens, scratch_len, threads())?;
        compute(&workspace);
        self.give(workspace.into_memory());
        Ok(())
    }

    /// Memory of at least this length, which is to be given back.
    ///
    /// # Errors
    /// As for [`Buffer::zeros`].
    pub fn take(&self, len: usize) -> Result<Buffer> {
        let idle = self.idle().pop();
        idle.filter(|memory| memory.len() >= len).map_or_else(|| Buffer::zeros(len), Ok)
    }

    /// Gives memory back.
    pub fn give(&self, memory: Buffer) {
        self.idle().push(memory);
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Buffer>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
