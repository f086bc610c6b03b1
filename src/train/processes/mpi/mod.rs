//! MPI processes on one or more hosts, started by `mpirun` or by a cluster's scheduler.
//!
//! - `job_rank`: the identity of a process, and how it ends the job.
//! - `watchdog`: aborts calls that wait for too long.
//! - `launcher`: checks that `mpirun` belongs to the MPI library.
//! - `cores`: how many threads each process computes with.

mod cores;
mod job_rank;
mod launcher;
mod watchdog;

use super::process_group::ProcessGroup;
use crate::{Error, Result};
use job_rank::JobRank;
use mpi::Threading;
use mpi::collective::SystemOperation;
use mpi::datatype::PartitionMut;
use mpi::environment::{Universe, initialize_with_threading};
use mpi::topology::SimpleCommunicator;
use mpi::traits::{Communicator, CommunicatorCollectives, Root};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use watchdog::Watchdog;

/// Values of one MPI call, 25 MB. MPI reads and writes at different addresses, so each chunk is
/// copied, and it counts in `i32`. Measured by benches/all_reduce: between two processes, smaller
/// chunks are up to twice as fast, because they fit into a core's cache, and whole gradients are
/// half as fast. Among many processes, small chunks are dominated by latency: a third of the time
/// for 5 MB among 64 hosts at 10 Gbit/s.
const CHUNK: usize = 6_250_000;

/// One process of an MPI job (feature `mpi`): `mpirun -np 4 PROGRAM` starts four of them.
///
/// ```no_run
/// use alexnet_vgg::train::processes::{Mpi, ProcessGroup};
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
///         // The other processes may be waiting for this one.
///         Err(error) => mpi.abort(error),
///     }
/// }
///
/// fn work(mpi: &Mpi) -> alexnet_vgg::Result<()> {
///     let mut ones = [1.0];
///     mpi.all_reduce(&mut ones)?;
///     assert_eq!(ones[0], mpi.world_size() as f32);
///     Ok(())
/// }
/// ```
///
/// # How a job ends
/// - Success: all processes call [`finish`](Self::finish).
/// - An error in one process: it calls [`abort`](Self::abort), which ends all of them. If a process exits with a
///   code other than 0 and without `finish`, `mpirun` does the same. Dropping an `Mpi` does not end the job.
/// - A panic in the thread that called [`start`](Self::start) or that drops the `Mpi`: the job is aborted after
///   the panic's message. Panics of other threads are printed with the rank; the threads that join them must
///   handle them.
/// - An error in MPI: MPI prints it and ends all processes.
/// - A process that is killed: `mpirun` ends the others.
/// - A host that fails, or a process that hangs: when a call has waited longer than the
///   [timeout](Self::with_timeout), the processes that wait abort the job.
///
/// # Reproducibility
/// Sums are the same to the bit in all processes. They are also the same in every run with the same
/// number of processes, distributed over the hosts in the same way; Intel MPI needs `I_MPI_CBWR=1`
/// for that.
pub struct Mpi {
    job_rank: Arc<JobRank>,
    /// The hosts, by rank.
    hosts: Vec<String>,
    job: Mutex<Job>,
    watchdog: Arc<Watchdog>,
}

struct Job {
    /// `None` once the job has finished.
    universe: Option<Universe>,
    /// A copy of this process's values in an all-reduce.
    own: Vec<f32>,
}

impl Mpi {
    /// Joins the job that this process was started for; without `mpirun`, a job of one process. Call it once,
    /// first in `main`, from the main thread.
    ///
    /// Each process computes with its share of its host's cores, unless `RAYON_NUM_THREADS` is set: this sets up
    /// rayon's global thread pool, unless it was used before.
    ///
    /// # Errors
    /// [`Error::Setting`] on a second call, or if `ALEXNET_VGG_MPI_TIMEOUT` is not a number of
    /// seconds. [`Error::Process`] if the processes are not connected, because the launcher belongs
    /// to another MPI than the one that this program was built with; if MPI does not support
    /// threads; or if the processes run different versions of this crate.
    pub fn start() -> Result<Self> {
        let watchdog = Watchdog::new(watchdog::timeout_from_environment()?)?;
        let started =
            watchdog.wait("the startup", || initialize_with_threading(Threading::Serialized));
        let (universe, threading) = started.ok_or_else(|| Error::Setting {
            place: "MPI".into(),
            expected: "one call of `Mpi::start` in a process".into(),
            found: "a second call".into(),
        })?;
        let world = universe.world();
        let host = mpi::environment::processor_name().unwrap_or_else(|_| "a host".into());
        let job_rank = Arc::new(JobRank::new(world.rank() as usize, world.size() as usize, host));
        watchdog.set_job_rank(&job_rank);
        launcher::expect_connected(&job_rank)?;
        if threading < Threading::Serialized {
            return Err(job_rank.failed("this MPI library supports only one thread".into()));
        }
        job_rank.abort_on_panic();
        let job = Mutex::new(Job { universe: Some(universe), own: Vec::new() });
        let mpi = Self { job_rank, hosts: Vec::new(), job, watchdog };
        mpi.exchange_hosts()
    }

    /// Learns the hosts of all processes, and checks that their versions are the same.
    fn exchange_hosts(mut self) -> Result<Self> {
        let own = [env!("CARGO_PKG_VERSION"), &self.job_rank.host, &cores::allowed()];
        let all = self.all_gather(own.join("\n").as_bytes())?;
        let all: Vec<_> = all.iter().map(|text| String::from_utf8_lossy(text)).collect();
        let all: Vec<Vec<&str>> = all.iter().map(|text| text.split('\n').collect()).collect();
        let field = |rank: usize, field: usize| all[rank].get(field).copied().unwrap_or_default();
        self.hosts = (0..all.len()).map(|rank| field(rank, 1).into()).collect();
        if let Some(rank) = (0..all.len()).find(|&rank| field(rank, 0) != field(0, 0)) {
            return Err(Error::Process {
                rank,
                place: self.location(rank),
                reason: format!(
                    "it runs version {} of this crate, and rank 0 version {}",
                    field(rank, 0),
                    field(0, 0)
                ),
            });
        }
        let neighbors = (0..all.len()).filter(|&rank| field(rank, 1) == self.job_rank.host);
        let neighbors: Vec<&str> = neighbors.map(|rank| field(rank, 2)).collect();
        cores::limit_threads(field(self.job_rank.rank, 2), &neighbors, &self.job_rank);
        Ok(self)
    }

    /// The same job with another timeout: how long one call, or one chunk of 25 MB of it, may wait for the other
    /// processes before this one aborts the job. It must be longer than the longest time that one process works
    /// alone. Default: the seconds in the environment variable `ALEXNET_VGG_MPI_TIMEOUT`, or ten minutes.
    pub fn with_timeout(self, timeout: Duration) -> Self {
        self.watchdog.set_timeout(timeout);
        self
    }

    /// Ends MPI in this process when all processes have called it; later calls are errors. Call it last: if MPI
    /// does not end within ten seconds, the process exits with code 0.
    ///
    /// # Errors
    /// [`Error::Process`] on a second call.
    pub fn finish(&self) -> Result<()> {
        let mut job = self.job();
        let universe = job.universe.take().ok_or_else(|| self.has_finished())?;
        self.watchdog.wait("the shutdown", || universe.world().barrier());
        self.watchdog.finalize(|| drop(universe));
        self.job_rank.set_finished();
        Ok(())
    }

    /// Ends all processes of the job with exit code 1, after printing to stderr: `rank 1 of 4 (HOST): message`.
    pub fn abort(&self, message: impl std::fmt::Display) -> ! {
        self.job_rank.abort(&format!("{}: {message}", self.job_rank))
    }

    fn job(&self) -> MutexGuard<'_, Job> {
        self.job.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A collective call.
    fn collective<T>(
        &self,
        what: &'static str,
        mut call: impl FnMut(&SimpleCommunicator, &mut Vec<f32>) -> T,
    ) -> Result<T> {
        let mut job = self.job();
        let Job { universe, own } = &mut *job;
        let world = universe.as_ref().ok_or_else(|| self.has_finished())?.world();
        Ok(self.watchdog.wait(what, || call(&world, own)))
    }

    fn has_finished(&self) -> Error {
        self.job_rank.failed("it has finished".into())
    }
}

impl ProcessGroup for Mpi {
    fn rank(&self) -> usize {
        self.job_rank.rank
    }

    fn world_size(&self) -> usize {
        self.job_rank.count
    }

    fn location(&self, rank: usize) -> String {
        self.hosts.get(rank).unwrap_or(&self.job_rank.host).clone()
    }

    fn all_reduce(&self, values: &mut [f32]) -> Result<()> {
        for chunk in values.chunks_mut(CHUNK) {
            self.collective("an all-reduce", |world, own| {
                own.clear();
                own.extend_from_slice(chunk);
                world.all_reduce_into(&own[..], chunk, SystemOperation::sum());
            })?;
        }
        Ok(())
    }

    fn broadcast(&self, values: &mut [f32]) -> Result<()> {
        for chunk in values.chunks_mut(CHUNK) {
            self.collective("a broadcast", |world, _| {
                world.process_at_rank(0).broadcast_into(chunk)
            })?;
        }
        Ok(())
    }

    fn all_gather(&self, bytes: &[u8]) -> Result<Vec<Vec<u8>>> {
        // One more byte, because an empty slice has address 1, which Open MPI takes for `MPI_IN_PLACE`.
        let own = [bytes, &[0]].concat();
        let mut lengths = vec![0; self.world_size()];
        self.collective("an all-gather", |world, _| {
            world.all_gather_into(&(own.len() as u64), &mut lengths[..]);
        })?;
        let (counts, starts) = partition(&lengths)?;
        let mut all = vec![0; lengths.iter().sum::<u64>() as usize];
        let mut parts = PartitionMut::new(&mut all[..], counts, starts);
        self.collective("an all-gather", |world, _| {
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

/// Counts and displacements, as MPI takes them.
fn partition(lengths: &[u64]) -> Result<(Vec<i32>, Vec<i32>)> {
    let mut end = 0;
    let next = |&length: &u64| {
        let start = end;
        end = i32::try_from(length).ok()?.checked_add(end)?;
        Some((length as i32, start))
    };
    let parts: Option<Vec<_>> = lengths.iter().map(next).collect();
    let parts = parts.ok_or_else(|| Error::Setting {
        place: "all-gather".into(),
        expected: "less than 2 GB from all processes together".into(),
        found: format!("{lengths:?} bytes"),
    })?;
    Ok(parts.into_iter().unzip())
}

impl Drop for Mpi {
    /// Without [`finish`](Mpi::finish), MPI is not finalized: that would wait for the other processes, which may
    /// be waiting for this one.
    fn drop(&mut self) {
        if let Some(universe) = self.job().universe.take() {
            std::mem::forget(universe);
            if std::thread::panicking() {
                self.abort("this process panicked");
            }
        }
    }
}

impl std::fmt::Debug for Mpi {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.job_rank)
    }
}
