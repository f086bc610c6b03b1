//! The processes that train a network together: each sees its share of every batch, and all add up their
//! gradients, so that all have the same weights after every step.
//!
//! The engines: [`Alone`], one process; `threads`, several devices of one process; `mpi`, several
//! processes and hosts. The training loop knows the trait only.

#[cfg(feature = "mpi")]
mod mpi;
mod threads;

#[cfg(feature = "mpi")]
pub use mpi::Mpi;
pub(crate) use threads::{GONE, Threads};

use crate::error::Result;

/// What processes that train together do with each other. Every call is one of all of them: each makes the
/// same calls in the same order, and waits in it for the others. Calls come from several threads, one at a
/// time.
///
/// # Errors
/// [`Error::Process`](crate::Error::Process) if one of the others is gone. Nothing can be said to them after
/// that.
pub trait Processes: Send + Sync {
    /// Which of them this is, from 0 to below [`count`](Self::count). The first one shows how the run
    /// goes, and writes it down.
    fn rank(&self) -> usize;

    /// How many there are, at least 1.
    fn count(&self) -> usize;

    /// Where one of them is, for messages: a host's name, or a device.
    fn place(&self, rank: usize) -> String;

    /// Whether they are threads of one process.
    fn are_threads(&self) -> bool {
        false
    }

    /// Makes every value the sum of all processes' values: the same bits in all of them, and at every
    /// repetition. All give as many values.
    fn sum(&self, values: &mut [f32]) -> Result<()>;

    /// Replaces the values by those of rank 0. All give as many.
    fn broadcast(&self, values: &mut [f32]) -> Result<()>;

    /// What each of them gives, by rank.
    fn gather(&self, bytes: &[u8]) -> Result<Vec<Vec<u8>>>;
}

impl dyn Processes + '_ {
    /// What the first of them gives.
    pub(super) fn of_first(&self, bytes: &[u8]) -> Result<Vec<u8>> {
        let own = if self.rank() == 0 { bytes } else { &[] };
        Ok(self.gather(own)?.into_iter().next().unwrap_or_default())
    }
}

/// How many processes a launcher says that it started, and by which variable: Open MPI; MPICH, Intel and MVAPICH;
/// Slurm. The first one that is set counts, as Slurm may have started the launcher.
pub fn started() -> Option<(&'static str, usize)> {
    let count = |name| Some((name, std::env::var(name).ok()?.parse().ok()?));
    ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS"].into_iter().find_map(count)
}

/// A job of one.
#[derive(Clone, Copy, Debug, Default)]
pub struct Alone;

impl Processes for Alone {
    fn rank(&self) -> usize {
        0
    }

    fn count(&self) -> usize {
        1
    }

    fn place(&self, _: usize) -> String {
        "this process".into()
    }

    fn sum(&self, _: &mut [f32]) -> Result<()> {
        Ok(())
    }

    fn broadcast(&self, _: &mut [f32]) -> Result<()> {
        Ok(())
    }

    fn gather(&self, bytes: &[u8]) -> Result<Vec<Vec<u8>>> {
        Ok(vec![bytes.to_vec()])
    }
}
