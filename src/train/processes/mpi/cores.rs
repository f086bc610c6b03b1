//! How many threads each process computes with. If every process on a host used all of its cores, they would
//! compete for them; and some launchers bind a process to one core, of which the user must be told.

use super::job_rank::{JobRank, print_line};

/// The cores that this process may run on, as text for the other processes.
pub(super) fn allowed() -> String {
    let cores: Vec<String> = list().iter().map(usize::to_string).collect();
    cores.join(",")
}

#[cfg(target_os = "linux")]
fn list() -> Vec<usize> {
    use rustix::thread::{CpuSet, sched_getaffinity};
    let Ok(set) = sched_getaffinity(None) else { return Vec::new() };
    (0..CpuSet::MAX_CPU).filter(|&core| set.is_set(core)).collect()
}

#[cfg(not(target_os = "linux"))]
fn list() -> Vec<usize> {
    (0..std::thread::available_parallelism().map_or(1, usize::from)).collect()
}

/// Sets up rayon's thread pool with this process's share of the cores. `own` are the cores that this process may
/// run on, `neighbors` those of every process of its host, including this one.
pub(super) fn limit_threads(own: &str, neighbors: &[&str], job_rank: &JobRank) {
    let threads = threads(own, neighbors);
    let cores = online_cores();
    if list().len() == 1 && neighbors.len() < cores {
        print_line(&format!(
            "{job_rank} is bound to 1 of {cores} cores, so it computes with one thread; \
             `mpirun --bind-to none` lets it use all of them"
        ));
    }
    if std::env::var_os("RAYON_NUM_THREADS").is_none() {
        // An error means that the program has set up the pool already, which then stays as it is.
        let _ = rayon::ThreadPoolBuilder::new().num_threads(threads).build_global();
    }
}

/// The threads of a process: a core counts as a fraction if several processes may run on it.
fn threads(own: &str, neighbors: &[&str]) -> usize {
    let among = |core: &str, cores: &str| cores.split(',').any(|one| one == core);
    let users = |core| neighbors.iter().filter(|cores| among(core, cores)).count();
    let share: f64 = own.split(',').map(|core| 1.0 / users(core).max(1) as f64).sum();
    // A container may be limited to less CPU time than it has cores; then the processes share that limit.
    let limit = std::thread::available_parallelism().map_or(usize::MAX, usize::from);
    let limit = if limit < list().len() { limit / neighbors.len().max(1) } else { limit };
    // The sum of thirds may be a little less than 1.
    ((share + 1e-6) as usize).clamp(1, limit.max(1))
}

/// The cores of the machine that are online, not only those that this process may run on.
fn online_cores() -> usize {
    let online = std::fs::read_to_string("/sys/devices/system/cpu/online").unwrap_or_default();
    let count = |range: &str| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        Some(last.parse::<usize>().ok()?.checked_sub(first.parse().ok()?)? + 1)
    };
    online.trim().split(',').filter_map(count).sum()
}

#[cfg(test)]
mod tests {
    use super::threads;

    #[test]
    fn processes_share_the_cores_that_they_may_run_on() {
        // The cores are those of a large machine, but the result is limited by those of this one.
        let limit = std::thread::available_parallelism().map_or(1, usize::from);
        let all = "0,1,2,3,4,5,6,7";
        assert_eq!(threads(all, &[all]), limit.min(8));
        assert_eq!(threads(all, &[all, all]), limit.min(4));
        assert_eq!(threads(all, &[all, all, all]), limit.min(2));
        assert_eq!(threads("0", &["0", "1"]), 1);
        assert_eq!(threads("0,1", &["0,1", "2,3"]), limit.min(2));
        assert_eq!(threads("", &[""]), 1);
    }
}
