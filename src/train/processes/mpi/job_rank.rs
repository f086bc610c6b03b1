//! The identity of a process in an MPI job, and how it ends the job.

use crate::{Error, printable};
use mpi::topology::SimpleCommunicator;
use mpi::traits::Communicator;
use std::fmt;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How long aborting the job may take: it needs the other hosts, which may be gone.
const ABORT_TIMEOUT: Duration = Duration::from_secs(5);

/// The time that mpirun needs to forward the last output of a process; MPICH's drops it when the job is aborted.
const OUTPUT_DELAY: Duration = Duration::from_millis(300);

pub(super) struct JobRank {
    pub rank: usize,
    pub count: usize,
    pub host: String,
    has_finished: AtomicBool,
}

impl JobRank {
    pub fn new(rank: usize, count: usize, host: String) -> Self {
        Self { rank, count, host, has_finished: AtomicBool::new(false) }
    }

    pub fn failed(&self, reason: String) -> Error {
        Error::Process { rank: self.rank, place: self.host.clone(), reason }
    }

    /// Notes that MPI has ended in this process, so that later panics no longer abort the job.
    pub fn set_finished(&self) {
        self.has_finished.store(true, Ordering::Relaxed);
    }

    /// From now on, a panic of this thread aborts the job. Panics of other threads may be caught, like those of
    /// the threads that read pictures, and are only printed.
    pub fn abort_on_panic(self: &Arc<Self>) {
        let (job_rank, thread) = (self.clone(), std::thread::current().id());
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            before(panic);
            if job_rank.has_finished.load(Ordering::Relaxed) {
                return;
            }
            let line = format!("{job_rank}: {}", printable(&panic.to_string()));
            if std::thread::current().id() == thread {
                job_rank.abort(&line);
            }
            print_line(&line);
        }));
    }

    /// Prints the reason, and ends all processes of the job with exit code 1.
    pub fn abort(&self, line: &str) -> ! {
        print_line(line);
        std::thread::sleep(OUTPUT_DELAY);
        // In a separate thread, because it hangs if MPI hangs or waits for a host that is gone. If no thread can
        // be started, this process ends below, and mpirun ends the others.
        let _ = std::thread::Builder::new().spawn(|| SimpleCommunicator::world().abort(1));
        std::thread::sleep(ABORT_TIMEOUT);
        // Not by `exit`, which would run the exit handlers of MPI.
        std::process::abort()
    }
}

/// `rank 1 of 4 (HOST)`.
impl fmt::Display for JobRank {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rank {} of {} ({})", self.rank, self.count, printable(&self.host))
    }
}

/// Prints a line to stderr in one write, because all processes write to the same terminal. If that fails, there is
/// nowhere left to report it.
pub(super) fn print_line(line: &str) {
    let _ = std::io::stderr().write_all(format!("{line}\n").as_bytes());
}
