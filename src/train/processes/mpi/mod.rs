//! Processes of MPI: on one host or on many, started by `mpirun` or by a cluster's scheduler.
//!
//! - `member`: who this process is, and how the job ends because of it.
//! - `patience`: nobody waits for ever for those that are gone.
//! - `launcher`: whether the `mpirun` is that of the library.
//! - `cores`: how many threads each process computes with.

mod cores;
mod launcher;
mod member;
mod patience;

use super::Processes;
use crate::error::{Error, Result};
use member::Member;
use mpi::Threading;
use mpi::collective::SystemOperation;
use mpi::datatype::PartitionMut;
use mpi::environment::{Universe, initialize_with_threading};
use mpi::topology::SimpleCommunicator;
use mpi::traits::{Communicator, CommunicatorCollectives, Root};
use patience::Patience;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Values that go through MPI at once, 25 MB. MPI wants to read and write in different places, so a piece is
/// copied; MPI counts in `i32`. Measured (benches/sums): between two processes smaller pieces are up to twice
/// as fast, because a core has them in its cache, and whole gradients half as fast; among many, small pieces
/// are more messages than bytes: of 5 MB among 64 hosts at 10 Gbit/s, a third of the time is latency.
const PIECE: usize = 6_250_000;

/// One process of an MPI job (feature `mpi`): `mpirun -np 4 PROGRAM` starts four of them.
///
/// ```no_run
/// use alexnet_vgg::train::processes::{Mpi, Processes};
///
/// fn main() -> std::process::ExitCode {
///     let mpi = match Mpi::start() {
///         Ok(mpi) => mpi,
///         Err(error) => {
///             eprintln!("error: {error}");
///             return std::process::ExitCode::FAILURE;
///         }
///     };
///     match work(&mpi).and_then(|()| mpi.finish()) {
///         Ok(()) => std::process::ExitCode::SUCCESS,
///         // The others may be waiting for this one.
///         Err(error) => mpi.abort(error),
///     }
/// }
///
/// fn work(mpi: &Mpi) -> alexnet_vgg::Result<()> {
///     let mut ones = [1.0];
///     mpi.sum(&mut ones)?;
///     assert_eq!(ones[0], mpi.count() as f32);
///     Ok(())
/// }
/// ```
///
/// # How a job ends
/// - Well: all call [`finish`](Self::finish).
/// - By an error in one of them: it calls [`abort`](Self::abort), which ends all. Exiting with any code but
///   0 and without `finish` has the same effect, by `mpirun`. So dropping an `Mpi` ends nothing.
/// - By a panic in the thread that called [`start`](Self::start), or that drops the `Mpi`: as by `abort`,
///   after the panic's message. Panics of other threads are told, with the rank, and are up to those that
///   wait for the threads.
/// - By an error of MPI: MPI tells it and ends all.
/// - By the death of a process: `mpirun` ends the others.
/// - By a host that vanishes, or a process that hangs: one call has waited longer than the
///   [patience](Self::with_patience), and the processes that wait end the job.
///
/// # Sums
/// They have the same bits in all processes. They have the same bits at every repetition on as many
/// processes that are spread over the hosts in the same way; Intel's MPI needs `I_MPI_CBWR=1` for that.
pub struct Mpi {
    member: Arc<Member>,
    /// The hosts, by rank.
    hosts: Vec<String>,
    job: Mutex<Job>,
    patience: Arc<Patience>,
}

struct Job {
    /// None once the job has finished.
    universe: Option<Universe>,
    /// What this process adds to a piece of a sum.
    own: Vec<f32>,
}

impl Mpi {
    /// Joins the job that this process was started for; without `mpirun` it is a job of one. Call it first
    /// in `main`, from the main thread, once.
    ///
    /// Each process computes with its share of its host's cores, if `RAYON_NUM_THREADS` does not say
    /// otherwise: this sets up rayon's global pool of threads, if nobody has used it before.
    ///
    /// # Errors
    /// [`Error::Setting`] at a second call, or if `ALEXNET_VGG_MPI_PATIENCE` is no number of seconds.
    /// [`Error::Process`] if a launcher of another MPI than the one this program was built with has started
    /// several processes that know nothing of each other, if MPI has no support for threads, or if the
    /// processes run different versions of this crate.
    pub fn start() -> Result<Self> {
        let patience = Patience::new(patience::from_environment()?)?;
        let started =
            patience.wait("the start", || initialize_with_threading(Threading::Serialized));
        let (universe, threading) = started.ok_or_else(|| Error::Setting {
            place: "MPI".into(),
            expected: "one start in a process".into(),
            found: "a second one".into(),
        })?;
        let world = universe.world();
        let host = mpi::environment::processor_name().unwrap_or_else(|_| "a host".into());
        let member = Arc::new(Member::new(world.rank() as usize, world.size() as usize, host));
        patience.tell(&member);
        launcher::expect_fits(&member)?;
        if threading < Threading::Serialized {
            return Err(member.failed("this MPI supports one thread only".into()));
        }
        member.ends_the_job_by_a_panic();
        let job = Mutex::new(Job { universe: Some(universe), own: Vec::new() });
        let alone = Self { member, hosts: Vec::new(), job, patience };
        alone.meet()
    }

    /// Learns what the others are.
    fn meet(mut self) -> Result<Self> {
        let mine = [env!("CARGO_PKG_VERSION"), &self.member.host, &cores::allowed()];
        let all = self.gather(mine.join("\n").as_bytes())?;
        let all: Vec<_> = all.iter().map(|text| String::from_utf8_lossy(text)).collect();
        let all: Vec<Vec<&str>> = all.iter().map(|text| text.split('\n').collect()).collect();
        let of = |rank: usize, field: usize| all[rank].get(field).copied().unwrap_or_default();
        self.hosts = (0..all.len()).map(|rank| of(rank, 1).into()).collect();
        if let Some(rank) = (0..all.len()).find(|&rank| of(rank, 0) != of(0, 0)) {
            return Err(Error::Process {
                rank,
                place: self.place(rank),
                reason: format!(
                    "version {} of this crate, and rank 0 has {}",
                    of(rank, 0),
                    of(0, 0)
                ),
            });
        }
        let neighbors = (0..all.len()).filter(|&rank| of(rank, 1) == self.member.host);
        let neighbors: Vec<&str> = neighbors.map(|rank| of(rank, 2)).collect();
        cores::share(of(self.member.rank, 2), &neighbors, &self.member);
        Ok(self)
    }

    /// With another limit for the time that one call, or one piece of 25 MB of it, may wait for the other
    /// processes, instead of ten minutes or of the seconds in the environment variable
    /// `ALEXNET_VGG_MPI_PATIENCE`. Choose more than the longest time that one process may work alone. Whoever
    /// has waited that long says so and ends the job.
    pub fn with_patience(self, limit: Duration) -> Self {
        self.patience.set(limit);
        self
    }

    /// Ends MPI in this process, when all have come to this call. Calls after it are errors. Do it last: if
    /// MPI itself does not end within ten seconds, the process does, with exit code 0.
    ///
    /// # Errors
    /// [`Error::Process`] at a second call.
    pub fn finish(&self) -> Result<()> {
        let mut job = self.job();
        let universe = job.universe.take().ok_or_else(|| self.has_finished())?;
        self.patience.wait("the end", || universe.world().barrier());
        self.patience.wait_for_the_end(|| drop(universe));
        self.member.leaves();
        Ok(())
    }

    /// Ends the job, all its processes, with exit code 1, after saying why on stderr: `rank 1 of 4 (HOST):
    /// message`.
    pub fn abort(&self, message: impl std::fmt::Display) -> ! {
        self.member.end_the_job(&format!("{}: {message}", self.member))
    }

    fn job(&self) -> MutexGuard<'_, Job> {
        self.job.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A call of all processes.
    fn together<T>(
        &self,
        what: &'static str,
        mut call: impl FnMut(&SimpleCommunicator, &mut Vec<f32>) -> T,
    ) -> Result<T> {
        let mut job = self.job();
        let Job { universe, own } = &mut *job;
        let world = universe.as_ref().ok_or_else(|| self.has_finished())?.world();
        Ok(self.patience.wait(what, || call(&world, own)))
    }

    fn has_finished(&self) -> Error {
        self.member.failed("it has finished".into())
    }
}

impl Processes for Mpi {
    fn rank(&self) -> usize {
        self.member.rank
    }

    fn count(&self) -> usize {
        self.member.count
    }

    fn place(&self, rank: usize) -> String {
        self.hosts.get(rank).unwrap_or(&self.member.host).clone()
    }

    fn sum(&self, values: &mut [f32]) -> Result<()> {
        for piece in values.chunks_mut(PIECE) {
            self.together("a sum", |world, own| {
                own.clear();
                own.extend_from_slice(piece);
                world.all_reduce_into(&own[..], piece, SystemOperation::sum());
            })?;
        }
        Ok(())
    }

    fn broadcast(&self, values: &mut [f32]) -> Result<()> {
        for piece in values.chunks_mut(PIECE) {
            self.together("a broadcast", |world, _| {
                world.process_at_rank(0).broadcast_into(piece)
            })?;
        }
        Ok(())
    }

    fn gather(&self, bytes: &[u8]) -> Result<Vec<Vec<u8>>> {
        // One more, as nothing must be empty: that would be at address 1, by which Open MPI means that
        // the values are in their place already.
        let own = [bytes, &[0]].concat();
        let mut lengths = vec![0; self.count()];
        self.together("a gather", |world, _| {
            world.all_gather_into(&(own.len() as u64), &mut lengths[..]);
        })?;
        let (counts, starts) = partition(&lengths)?;
        let mut all = vec![0; lengths.iter().sum::<u64>() as usize];
        let mut parts = PartitionMut::new(&mut all[..], counts, starts);
        self.together("a gather", |world, _| {
            world.all_gather_varcount_into(&own[..], &mut parts);
        })?;
        let mut rest = &all[..];
        let split = |&length: &u64| {
            let (one, others) = rest.split_at(length as usize);
            rest = others;
            one[..one.len() - 1].to_vec()
        };
        Ok(lengths.iter().map(split).collect())
    }
}

/// Counts and beginnings as MPI wants them.
fn partition(lengths: &[u64]) -> Result<(Vec<i32>, Vec<i32>)> {
    let mut end = 0;
    let next = |&length: &u64| {
        let start = end;
        end = i32::try_from(length).ok()?.checked_add(end)?;
        Some((length as i32, start))
    };
    let parts: Option<Vec<_>> = lengths.iter().map(next).collect();
    let parts = parts.ok_or_else(|| Error::Setting {
        place: "gather".into(),
        expected: "less than 2 GB from all processes".into(),
        found: format!("{lengths:?} bytes"),
    })?;
    Ok(parts.into_iter().unzip())
}

impl Drop for Mpi {
    /// Without [`finish`](Mpi::finish), MPI is left as it is: to end it would wait for the others, which
    /// may wait for this process.
    fn drop(&mut self) {
        if let Some(universe) = self.job().universe.take() {
            std::mem::forget(universe);
            if std::thread::panicking() {
                self.abort("a panic");
            }
        }
    }
}

impl std::fmt::Debug for Mpi {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.member)
    }
}
