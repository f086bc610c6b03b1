//! Several devices of one process, with a thread for each: collective operations in shared memory.

use super::process_group::ProcessGroup;
use crate::{Error, Result};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};

/// The reason of the error in a thread that waits for one that has ended.
pub(crate) const PROCESS_GONE: &str = "it has ended";

/// One of the threads that train together. Dropping it tells the others, which would otherwise wait for it
/// forever.
pub(crate) struct ThreadGroup {
    rank: usize,
    location: String,
    shared: Arc<Shared>,
}

/// What the threads share.
struct Shared {
    locations: Vec<String>,
    /// What each thread contributes to the current operation, by rank.
    contributions: Vec<RwLock<Contribution>>,
    barrier: Mutex<Barrier>,
    changed: Condvar,
}

#[derive(Default)]
struct Contribution {
    values: Vec<f32>,
    bytes: Vec<u8>,
}

/// A barrier that ends with an error if a thread is gone, which [`std::sync::Barrier`] does not.
#[derive(Default)]
struct Barrier {
    waiting: usize,
    /// How often all threads have met.
    round: u64,
    /// The rank of a thread that has ended.
    gone: Option<usize>,
}

impl ThreadGroup {
    /// One member for each of these locations.
    pub fn new(locations: Vec<String>) -> Vec<Self> {
        let contributions = locations.iter().map(|_| RwLock::default()).collect();
        let (barrier, changed) = Default::default();
        let shared = Shared { locations: locations.clone(), contributions, barrier, changed };
        let shared = Arc::new(shared);
        let member = |(rank, location)| Self { rank, location, shared: shared.clone() };
        locations.into_iter().enumerate().map(member).collect()
    }

    fn contribute(&self, change: impl FnOnce(&mut Contribution)) {
        let own = self.shared.contributions[self.rank].write();
        change(&mut own.unwrap_or_else(PoisonError::into_inner));
    }

    /// Calls `read` with what each thread contributes, by rank.
    fn for_each_contribution(&self, mut read: impl FnMut(&Contribution)) {
        for contribution in &self.shared.contributions {
            read(&contribution.read().unwrap_or_else(PoisonError::into_inner));
        }
    }

    /// Returns when all threads have called it.
    fn wait_for_all(&self) -> Result<()> {
        let mut barrier = self.shared.lock();
        let round = barrier.round;
        barrier.waiting += 1;
        if barrier.waiting == self.world_size() {
            (barrier.waiting, barrier.round) = (0, round + 1);
            self.shared.changed.notify_all();
            return Ok(());
        }
        while barrier.round == round {
            if let Some(rank) = barrier.gone {
                barrier.waiting -= 1;
                let (place, reason) = (self.location(rank), PROCESS_GONE.into());
                return Err(Error::Process { rank, place, reason });
            }
            barrier = self.shared.changed.wait(barrier).unwrap_or_else(PoisonError::into_inner);
        }
        Ok(())
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Barrier> {
        self.barrier.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ProcessGroup for ThreadGroup {
    fn rank(&self) -> usize {
        self.rank
    }

    fn world_size(&self) -> usize {
        self.shared.locations.len()
    }

    fn location(&self, rank: usize) -> String {
        self.shared.locations.get(rank).unwrap_or(&self.location).clone()
    }

    fn are_threads(&self) -> bool {
        true
    }

    fn all_reduce(&self, values: &mut [f32]) -> Result<()> {
        self.contribute(|own| {
            own.values.clear();
            own.values.extend_from_slice(values);
        });
        self.wait_for_all()?;
        // Each thread sums in the order of ranks, so all have the same bits.
        values.fill(0.0);
        self.for_each_contribution(|contribution| {
            values.iter_mut().zip(&contribution.values).for_each(|(sum, value)| *sum += value);
        });
        // The next contributions must wait until all threads have read these.
        self.wait_for_all()
    }

    fn broadcast(&self, values: &mut [f32]) -> Result<()> {
        if self.rank == 0 {
            self.contribute(|own| {
                own.values.clear();
                own.values.extend_from_slice(values);
            });
        }
        self.wait_for_all()?;
        let first = self.shared.contributions[0].read().unwrap_or_else(PoisonError::into_inner);
        values.iter_mut().zip(&first.values).for_each(|(value, first)| *value = *first);
        drop(first);
        self.wait_for_all()
    }

    fn all_gather(&self, bytes: &[u8]) -> Result<Vec<Vec<u8>>> {
        self.contribute(|own| own.bytes = bytes.to_vec());
        self.wait_for_all()?;
        let mut all = Vec::with_capacity(self.world_size());
        self.for_each_contribution(|contribution| all.push(contribution.bytes.clone()));
        self.wait_for_all()?;
        Ok(all)
    }
}

impl Drop for ThreadGroup {
    fn drop(&mut self) {
        self.shared.lock().gone.get_or_insert(self.rank);
        self.shared.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run_threads<T: Send>(count: usize, work: impl Fn(ThreadGroup) -> T + Sync) -> Vec<T> {
        let members = ThreadGroup::new((0..count).map(|rank| format!("thread {rank}")).collect());
        std::thread::scope(|scope| {
            let work = &work;
            let running: Vec<_> =
                members.into_iter().map(|member| scope.spawn(move || work(member))).collect();
            running.into_iter().map(|thread| thread.join().expect("no panic")).collect()
        })
    }

    #[test]
    fn all_threads_have_the_sums_and_the_values_of_rank_0() {
        let all = run_threads(3, |threads| {
            let rank = threads.rank();
            let mut values = vec![rank as f32 + 1.0; 1000];
            for _ in 0..50 {
                threads.all_reduce(&mut values)?;
                values.iter_mut().for_each(|value| *value /= 6.0);
                values[rank] += 0.5;
                threads.broadcast(&mut values)?;
                values.iter_mut().for_each(|value| *value *= rank as f32 + 1.0);
            }
            Ok::<_, Error>((values[0], threads.all_gather(&[rank as u8; 2])?))
        });
        let all: Vec<_> = all.into_iter().map(|result| result.expect("all are there")).collect();
        assert!(all[0].0 > 1.0);
        assert_eq!((all[1].0, all[2].0), (all[0].0 * 2.0, all[0].0 * 3.0));
        assert!(all.iter().all(|result| result.1 == [[0; 2], [1; 2], [2; 2]]));
    }

    #[test]
    fn no_thread_waits_for_one_that_is_gone() {
        let all = run_threads(3, |threads| match threads.rank() {
            1 => Ok(()),
            _ => threads.all_reduce(&mut [1.0]),
        });
        let message = all[2].as_ref().expect_err("thread 1 is gone").to_string();
        assert!(all[0].is_err() && message.contains("thread 1"), "{message}");
    }
}
