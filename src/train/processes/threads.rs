//! Several devices of one process, a thread for each: the sums are made in memory.

use super::Processes;
use crate::error::{Error, Result};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};

/// Why it does not come.
pub(crate) const GONE: &str = "it has ended";

/// One of the threads that train together. Dropping one before the work is over tells the others, which
/// would wait for it for ever.
pub(crate) struct Threads {
    rank: usize,
    place: String,
    meeting: Arc<Meeting>,
}

/// Where they meet.
struct Meeting {
    places: Vec<String>,
    /// What each has brought, by rank.
    brought: Vec<RwLock<Brought>>,
    arrived: Mutex<Arrived>,
    moved: Condvar,
}

#[derive(Default)]
struct Brought {
    values: Vec<f32>,
    bytes: Vec<u8>,
}

#[derive(Default)]
struct Arrived {
    waiting: usize,
    /// How often all have met.
    round: u64,
    /// Who will not come any more.
    gone: Option<usize>,
}

impl Threads {
    /// One for each of these places.
    pub fn new(places: Vec<String>) -> Vec<Self> {
        let brought = places.iter().map(|_| RwLock::default()).collect();
        let (arrived, moved) = Default::default();
        let meeting = Arc::new(Meeting { places: places.clone(), brought, arrived, moved });
        let of = |(rank, place)| Self { rank, place, meeting: meeting.clone() };
        places.into_iter().enumerate().map(of).collect()
    }

    fn bring(&self, change: impl FnOnce(&mut Brought)) {
        let mine = self.meeting.brought[self.rank].write();
        change(&mut mine.unwrap_or_else(PoisonError::into_inner));
    }

    /// What all have brought, by rank.
    fn each(&self, mut look: impl FnMut(&Brought)) {
        for brought in &self.meeting.brought {
            look(&brought.read().unwrap_or_else(PoisonError::into_inner));
        }
    }

    /// Comes back when all have come.
    fn meet(&self) -> Result<()> {
        let mut arrived = self.meeting.lock();
        let round = arrived.round;
        arrived.waiting += 1;
        if arrived.waiting == self.count() {
            (arrived.waiting, arrived.round) = (0, round + 1);
            self.meeting.moved.notify_all();
            return Ok(());
        }
        while arrived.round == round {
            if let Some(rank) = arrived.gone {
                arrived.waiting -= 1;
                return Err(Error::Process { rank, place: self.place(rank), reason: GONE.into() });
            }
            arrived = self.meeting.moved.wait(arrived).unwrap_or_else(PoisonError::into_inner);
        }
        Ok(())
    }
}

impl Meeting {
    fn lock(&self) -> MutexGuard<'_, Arrived> {
        self.arrived.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Processes for Threads {
    fn rank(&self) -> usize {
        self.rank
    }

    fn count(&self) -> usize {
        self.meeting.places.len()
    }

    fn place(&self, rank: usize) -> String {
        self.meeting.places.get(rank).unwrap_or(&self.place).clone()
    }

    fn are_threads(&self) -> bool {
        true
    }

    fn sum(&self, values: &mut [f32]) -> Result<()> {
        self.bring(|mine| {
            mine.values.clear();
            mine.values.extend_from_slice(values);
        });
        self.meet()?;
        // In the order of the ranks in each of them: all come to the same bits.
        values.fill(0.0);
        self.each(|brought| {
            values.iter_mut().zip(&brought.values).for_each(|(sum, value)| *sum += value);
        });
        // Nobody brings the next until all have seen these.
        self.meet()
    }

    fn broadcast(&self, values: &mut [f32]) -> Result<()> {
        if self.rank == 0 {
            self.bring(|mine| {
                mine.values.clear();
                mine.values.extend_from_slice(values);
            });
        }
        self.meet()?;
        let first = self.meeting.brought[0].read().unwrap_or_else(PoisonError::into_inner);
        values.iter_mut().zip(&first.values).for_each(|(value, first)| *value = *first);
        drop(first);
        self.meet()
    }

    fn gather(&self, bytes: &[u8]) -> Result<Vec<Vec<u8>>> {
        self.bring(|mine| mine.bytes = bytes.to_vec());
        self.meet()?;
        let mut all = Vec::with_capacity(self.count());
        self.each(|brought| all.push(brought.bytes.clone()));
        self.meet()?;
        Ok(all)
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.meeting.lock().gone.get_or_insert(self.rank);
        self.meeting.moved.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn together<T: Send>(count: usize, work: impl Fn(Threads) -> T + Sync) -> Vec<T> {
        let threads = Threads::new((0..count).map(|rank| format!("thread {rank}")).collect());
        std::thread::scope(|scope| {
            let work = &work;
            let running: Vec<_> =
                threads.into_iter().map(|one| scope.spawn(move || work(one))).collect();
            running.into_iter().map(|thread| thread.join().expect("no panic")).collect()
        })
    }

    #[test]
    fn all_have_the_sums_and_the_first_ones_values() {
        let all = together(3, |threads| {
            let rank = threads.rank();
            let mut values = vec![rank as f32 + 1.0; 1000];
            for _ in 0..50 {
                threads.sum(&mut values)?;
                values.iter_mut().for_each(|value| *value /= 6.0);
                values[rank] += 0.5;
                threads.broadcast(&mut values)?;
                values.iter_mut().for_each(|value| *value *= rank as f32 + 1.0);
            }
            Ok::<_, Error>((values[0], threads.gather(&[rank as u8; 2])?))
        });
        let all: Vec<_> = all.into_iter().map(|of| of.expect("all are there")).collect();
        assert!(all[0].0 > 1.0);
        assert_eq!((all[1].0, all[2].0), (all[0].0 * 2.0, all[0].0 * 3.0));
        assert!(all.iter().all(|of| of.1 == [[0; 2], [1; 2], [2; 2]]));
    }

    #[test]
    fn nobody_waits_for_one_that_is_gone() {
        let all = together(3, |threads| match threads.rank() {
            1 => Ok(()),
            _ => threads.sum(&mut [1.0]),
        });
        let message = all[2].as_ref().expect_err("thread 1 is gone").to_string();
        assert!(all[0].is_err() && message.contains("thread 1"), "{message}");
    }
}
