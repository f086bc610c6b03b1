//! How many threads each process computes with. Processes on one host that took all of its cores each would
//! fight for them; and some launchers bind a process to one core, which nobody should find out by waiting.

use super::member::{Member, say};

/// The cores that this process may run on, as text for the others.
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

/// Sets up rayon's threads: this process's share of the cores, where the processes of its host (itself
/// among them) may run on these.
pub(super) fn share(mine: &str, neighbors: &[&str], member: &Member) {
    let threads = threads(mine, neighbors);
    let machine = machine();
    if list().len() == 1 && neighbors.len() < machine {
        say(&format!(
            "{member} is bound to 1 of {machine} cores, so it computes with one thread: \
             `mpirun --bind-to none` leaves it all of them"
        ));
    }
    if std::env::var_os("RAYON_NUM_THREADS").is_none() {
        // An error says that the pool is there already: then somebody else has chosen.
        let _ = rayon::ThreadPoolBuilder::new().num_threads(threads).build_global();
    }
}

/// A core that several may run on is shared by them.
fn threads(mine: &str, neighbors: &[&str]) -> usize {
    let among = |core: &str, cores: &str| cores.split(',').any(|one| one == core);
    let users = |core| neighbors.iter().filter(|cores| among(core, cores)).count();
    let share: f64 = mine.split(',').map(|core| 1.0 / users(core).max(1) as f64).sum();
    // A container may have less time than cores; then that is shared, too.
    let limit = std::thread::available_parallelism().map_or(usize::MAX, usize::from);
    let limit = if limit < list().len() { limit / neighbors.len().max(1) } else { limit };
    // The sum of thirds may be a little less than 1.
    ((share + 1e-6) as usize).clamp(1, limit.max(1))
}

/// The cores of the machine that are there, not only those that this process may run on.
fn machine() -> usize {
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
    fn cores_are_shared_by_those_that_may_run_on_them() {
        // As if on a large machine: the share is limited by this one's cores, of which there is one at least.
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
