//! Two MPI libraries are often installed side by side, and the `mpirun` of the one starts programs of the
//! other as so many jobs of one: each would train alone, and all would write to the same folder.

use super::member::Member;
use crate::error::Result;
use crate::train::processes::started;

/// `Ok` if the process is one of as many as were started.
pub(super) fn expect_fits(member: &Member) -> Result<()> {
    let apart = |(_, count): &(&str, usize)| member.count == 1 && *count > 1;
    let Some((name, count)) = started().filter(apart) else { return Ok(()) };
    let library = mpi::environment::library_version().unwrap_or_default();
    let library = library.lines().next().unwrap_or_default();
    Err(member.failed(format!(
        "{count} processes were started ({name}), but they are not connected: this program was built with {}; \
         start it with the mpirun of the same MPI",
        library.trim_end_matches('\0').trim(),
    )))
}
