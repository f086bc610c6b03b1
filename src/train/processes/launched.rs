//! What a launcher tells the processes that it starts.

/// How many processes a launcher says it has started, and the environment variable that says so: that of Open
/// MPI; of MPICH, Intel MPI and MVAPICH; of Slurm. The first variable that is set counts, because Slurm may have
/// started the launcher.
pub fn launched_processes() -> Option<(&'static str, usize)> {
    let count = |name| Some((name, std::env::var(name).ok()?.parse().ok()?));
    ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS"].into_iter().find_map(count)
}
