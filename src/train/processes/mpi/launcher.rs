//! A check that the launcher belongs to the MPI library of this program. Two MPI libraries are often installed
//! side by side. The `mpirun` of one starts a program of the other as many unconnected jobs of one process, each of
//! which would train by itself and write to the same folder.

use super::job_rank::JobRank;
use crate::Result;
use crate::train::processes::launched::launched_processes;

/// `Ok` if this process belongs to a job of as many processes as were launched.
pub(super) fn expect_connected(job_rank: &JobRank) -> Result<()> {
    let unconnected = |(_, count): &(&str, usize)| job_rank.count == 1 && *count > 1;
    let Some((name, count)) = launched_processes().filter(unconnected) else { return Ok(()) };
    let library = mpi::environment::library_version().unwrap_or_default();
    let library = library.lines().next().unwrap_or_default();
    Err(job_rank.failed(format!(
        "{count} processes were started ({name}), but they are not connected: this program was built with {}; \
         start it with the mpirun of the same MPI",
        library.trim_end_matches('\0').trim(),
    )))
}
