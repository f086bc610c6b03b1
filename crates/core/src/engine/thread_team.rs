//! [`ThreadTeam`]: the threads that run forward passes together with their callers.

use super::batch_parts::{MAX_PARTS, part_of_thread};
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

    /// Runs passes at the same time, each on its share of the team's threads, as far as they are free, and on
    /// the caller's thread, which takes part in one after the other. There are at most [`MAX_PARTS`].
    ///
    /// # Errors
    /// [`Error::Backend`] if a thread panicked.
    pub fn run(&self, passes: &[Option<Arc<ForwardPass>>]) -> Result<()> {
        let parts = passes.iter().flatten().count();
        let mut accept = [const { None }; MAX_PARTS];
        for (accept, pass) in accept.iter_mut().zip(passes.iter().flatten()) {
            *accept = Some(pass.accept_workers());
        }
        let jobs = |thread: usize, threads: usize| {
            let pass = passes.iter().flatten().nth(part_of_thread(thread, threads, parts));
            pass.map(|pass| pass.job())
        };
        match self {
            Self::Dedicated(workers) => {
                for (index, worker) in workers.iter().enumerate() {
                    let Some(job) = jobs(index + 1, workers.len() + 1) else { continue };
                    worker.parked.avoid_this_core();
                    // A thread whose queue is full is not needed.
                    let _ = worker.jobs.try_send(job.clone());
                }
            }
            Self::RayonPool { pool, queued } => queue_in_pool(pool, queued, jobs),
        }
        passes.iter().flatten().for_each(|pass| pass.run_as_caller());
        drop(accept);
        passes.iter().flatten().try_for_each(|pass| pass.expect_finished())
    }
}

/// Queues a job for each thread of the pool but one. If all of the pool's threads are callers
/// themselves, they may never get to their queue, so its length is limited.
fn queue_in_pool<'a>(
    pool: &rayon::ThreadPool,
    queued: &Arc<AtomicUsize>,
    jobs: impl Fn(usize, usize) -> Option<&'a Arc<Job>>,
) {
    let threads = pool.current_num_threads();
    for job in (1..threads).filter_map(|thread| jobs(thread, threads)) {
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
