//! Who a process of the job is, and how the job ends because of it.

use crate::error::{Error, printable};
use mpi::topology::SimpleCommunicator;
use mpi::traits::Communicator;
use std::fmt;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How long the end of a job may take. It needs the other hosts, which may be what is gone.
const END: Duration = Duration::from_secs(5);

/// What mpirun takes to pass on what a process has said last; MPICH's forgets it when it is told to end.
const HEARD: Duration = Duration::from_millis(300);

pub(super) struct Member {
    pub rank: usize,
    pub count: usize,
    pub host: String,
    has_left: AtomicBool,
}

impl Member {
    pub fn new(rank: usize, count: usize, host: String) -> Self {
        Self { rank, count, host, has_left: AtomicBool::new(false) }
    }

    pub fn failed(&self, reason: String) -> Error {
        Error::Process { rank: self.rank, place: self.host.clone(), reason }
    }

    /// MPI has ended in this process: its panics are its own from now on.
    pub fn leaves(&self) {
        self.has_left.store(true, Ordering::Relaxed);
    }

    /// From now on, a panic of this thread ends the job. Other threads' panics may be caught, as those of
    /// the readers of pictures are; they are told only.
    pub fn ends_the_job_by_a_panic(self: &Arc<Self>) {
        let (member, thread) = (self.clone(), std::thread::current().id());
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            before(panic);
            if member.has_left.load(Ordering::Relaxed) {
                return;
            }
            let line = format!("{member}: {}", printable(&panic.to_string()));
            match std::thread::current().id() == thread {
                true => member.end_the_job(&line),
                false => say(&line),
            }
        }));
    }

    /// Says why, and ends all processes with exit code 1.
    pub fn end_the_job(&self, line: &str) -> ! {
        say(line);
        std::thread::sleep(HEARD);
        // In a thread of its own: who hangs in MPI, or waits for a host that is gone, would hang here, too.
        // (Where there is none, this process ends, and mpirun the others.)
        let _ = std::thread::Builder::new().spawn(|| SimpleCommunicator::world().abort(1));
        std::thread::sleep(END);
        // Then this process alone, not by `exit`, which calls what MPI has left for the end.
        std::process::abort()
    }
}

/// `rank 1 of 4 (HOST)`.
impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rank {} of {} ({})", self.rank, self.count, printable(&self.host))
    }
}

/// In one piece, as all processes write to the same terminal. Where nobody listens, nothing can be done.
pub(super) fn say(line: &str) {
    let _ = std::io::stderr().write_all(format!("{line}\n").as_bytes());
}
