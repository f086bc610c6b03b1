//! [`ThreadTeam`]: the threads that run forward passes together with their callers.

use super::compile_options::Threads;
use super::forward_pass::{ForwardPass, Job};
use super::parking::ParkedThread;
use crate::error::{Error, Result};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::time::{Duration, Instant};

/// Threads that wait for forward passes to join.
#[derive(Debug)]
pub(super) enum ThreadTeam {
    Dedicated(Vec<Worker>),
    RayonPool {
        pool: Arc<rayon::ThreadPool>,
        /// Jobs in its queue.
        queued: Arc<AtomicUsize>,
    },
}

/// A dedicated thread.
#[derive(Debug)]
pub(super) struct Worker {
    jobs: SyncSender<Arc<Job>>,
    parked: Arc<ParkedThread>,
}

/// The most jobs that wait in a thread's queue. Beyond that, callers compute without it.
const QUEUE_LEN: usize = 4;

impl ThreadTeam {
    /// Starts the threads.
    ///
    /// # Errors
    /// [`Error::Backend`] if the system refuses to start a thread.
    pub fn new(threads: &Threads) -> Result<Self> {
        match threads {
            Threads::Dedicated(count) => {
                (1..*count).map(Worker::spawn).collect::<Result<_>>().map(Self::Dedicated)
            }
            Threads::RayonPool(pool) => {
                Ok(Self::RayonPool { pool: pool.clone(), queued: Arc::default() })
            }
        }
    }

    /// Runs a pass on the caller's thread and on those of the team that are free.
    ///
    /// # Errors
    /// [`Error::Backend`] if a thread panicked.
    pub fn run(&self, pass: &Arc<ForwardPass>) -> Result<()> {
        let accept = pass.accept_workers();
        match self {
            Self::Dedicated(workers) => {
                for worker in workers {
                    worker.parked.avoid_this_core();
                    // A thread whose queue is full is not needed.
                    let _ = worker.jobs.try_send(pass.job().clone());
                }
            }
            Self::RayonPool { pool, queued } => queue_in_pool(pool, queued, pass.job()),
        }
        pass.run_as_caller();
        drop(accept);
        pass.expect_finished()
    }
}

/// Queues a job for each thread of the pool but one. If all of the pool's threads are callers
/// themselves, they may never get to their queue, so its length is limited.
fn queue_in_pool(pool: &rayon::ThreadPool, queued: &Arc<AtomicUsize>, job: &Arc<Job>) {
    let threads = pool.current_num_threads();
    for _ in 1..threads {
        if queued.load(Ordering::Relaxed) >= QUEUE_LEN * threads {
            break;
        }
        queued.fetch_add(1, Ordering::Relaxed);
        let (job, queued) = (job.clone(), queued.clone());
        pool.spawn(move || {
            queued.fetch_sub(1, Ordering::Relaxed);
            job.execute();
        });
    }
}

impl Worker {
    fn spawn(index: usize) -> Result<Self> {
        let parked = Arc::<ParkedThread>::default();
        let (jobs, received) = sync_channel::<Arc<Job>>(QUEUE_LEN);
        let of_thread = parked.clone();
        std::thread::Builder::new()
            .name(format!("alexnet-vgg {index}"))
            .spawn(move || execute_jobs(&received, &of_thread))
            .map_err(|error| Error::Backend {
                backend: "compiled".into(),
                reason: format!("cannot start thread {index} of the engine: {error}"),
            })?;
        Ok(Self { jobs, parked })
    }
}

/// How long a thread polls its queue before it parks.
const POLL_TIME: Duration = Duration::from_micros(50);

/// The loop of a dedicated thread. It ends when the network is dropped.
fn execute_jobs(jobs: &Receiver<Arc<Job>>, parked: &ParkedThread) {
    loop {
        let start = Instant::now();
        let next = loop {
            match jobs.try_recv() {
                Ok(job) => break Some(job),
                Err(TryRecvError::Disconnected) => return,
                Err(_) if start.elapsed() > POLL_TIME => break None,
                Err(_) => std::hint::spin_loop(),
            }
        };
        let next = next.or_else(|| parked.park(|| jobs.recv().ok()));
        let Some(job) = next else { return };
        job.execute();
    }
}
