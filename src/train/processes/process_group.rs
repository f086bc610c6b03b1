//! The collective operations of processes that train together.

use crate::Result;

/// Processes that train together, and their collective operations, named as in MPI and PyTorch.
///
/// Every process must make the same calls in the same order; a call waits for the other processes. Calls may
/// come from several threads of a process, one at a time.
///
/// # Errors
/// [`Error::Process`](crate::Error::Process) if another process is gone. No call can succeed after that.
pub trait ProcessGroup: Send + Sync {
    /// The number of this process, from 0 to below [`world_size`](Self::world_size). Rank 0 reports the
    /// progress of a run, and writes its files.
    fn rank(&self) -> usize;

    /// The number of processes, at least 1.
    fn world_size(&self) -> usize;

    /// Where a process runs, for messages: the name of a host, or a device.
    fn location(&self, rank: usize) -> String;

    /// Whether they are threads of one process.
    fn are_threads(&self) -> bool {
        false
    }

    /// Replaces every value with its sum over all processes: the same to the bit in all of them,
    /// and every time. All processes pass the same number of values.
    fn all_reduce(&self, values: &mut [f32]) -> Result<()>;

    /// Replaces the values with those of rank 0. All processes pass the same number of values.
    fn broadcast(&self, values: &mut [f32]) -> Result<()>;

    /// The bytes that each process passes, by rank.
    fn all_gather(&self, bytes: &[u8]) -> Result<Vec<Vec<u8>>>;
}

impl dyn ProcessGroup + '_ {
    /// The bytes that rank 0 passes.
    pub(in crate::train) fn bytes_of_rank_0(&self, bytes: &[u8]) -> Result<Vec<u8>> {
        let own = if self.rank() == 0 { bytes } else { &[] };
        Ok(self.all_gather(own)?.into_iter().next().unwrap_or_default())
    }
}
