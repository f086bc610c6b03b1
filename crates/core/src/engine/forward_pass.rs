//! [`ForwardPass`]: one run of a plan's stages, by any number of threads.
//!
//! A pass is a list of stages, each split into items. Every participating thread walks the stages
//! in order. In each stage it takes items with an atomic counter until none is left, and goes on to
//! the next stage when all items are done. No particular thread has to participate: the caller
//! alone finishes the pass, a thread that joins late or never costs nothing, and a machine with
//! fewer free cores than threads does not wait for those that are not scheduled. So any threads
//! will do: see [`ThreadTeam`](super::thread_team::ThreadTeam). Their queues hold [`Job`]s, which
//! do not keep the pass's memory alive after it is over.

use super::stage::Stage;
use super::workspace::Workspace;
use crate::error::{Error, Result};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The stages of a plan. A pass shares these with its plan rather than holding the plan itself: the plan
/// keeps idle passes, and the reference cycle would never be dropped.
pub(super) type Stages = Arc<[Box<dyn Stage>]>;

/// A forward pass: its memory, and how far it has progressed.
pub(super) struct ForwardPass {
    stages: Stages,
    pub workspace: Workspace,
    progress: Vec<StageProgress>,
    /// How many threads have joined so far. Worker 0 is the caller.
    joined: AtomicUsize,
    panicked: AtomicBool,
    job: Arc<Job>,
    /// How long each stage took, if this is to be measured.
    pub stage_times: Option<Mutex<Vec<Duration>>>,
}

#[derive(Default)]
struct StageProgress {
    next: Counter,
    done: Counter,
}

/// A counter in cache lines of its own: many threads that wait for one counter must not slow down those that
/// count up the other.
#[derive(Default)]
#[repr(align(128))]
struct Counter(AtomicUsize);

impl std::fmt::Debug for ForwardPass {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ForwardPass").field("stages", &self.progress.len()).finish_non_exhaustive()
    }
}

/// How often a thread polls the counter of a stage before it yields its core.
const SPINS_BEFORE_YIELD: usize = 2000;

impl ForwardPass {
    pub fn new(stages: Stages, workspace: Workspace) -> Self {
        let progress = stages.iter().map(|_| StageProgress::default()).collect();
        let (joined, panicked) = (AtomicUsize::new(1), AtomicBool::new(false));
        let job = Arc::default();
        Self { stages, workspace, progress, joined, panicked, job, stage_times: None }
    }

    /// Prepares for another run.
    pub fn reset(&mut self) {
        self.progress.iter_mut().for_each(|progress| *progress = StageProgress::default());
        self.joined = AtomicUsize::new(1);
        self.panicked = AtomicBool::new(false);
    }

    /// The job to queue for the threads that are to join.
    pub fn job(&self) -> &Arc<Job> {
        &self.job
    }

    /// Runs the pass on the caller's thread, together with every thread that executes the pass's job
    /// meanwhile. Call [`accept_workers`](Self::accept_workers) first.
    pub fn run_as_caller(&self) {
        self.work(0);
    }

    /// Lets threads join through the pass's job, until the guard is dropped.
    pub fn accept_workers(self: &Arc<Self>) -> AcceptWorkers<'_> {
        *self.job.pass() = Some(self.clone());
        AcceptWorkers(&self.job)
    }

    /// Joins as another worker, if there is scratch memory for one more. In a pool, more threads
    /// than that may come, from jobs queued for earlier runs of the same pass. They never get
    /// worker 0, the caller's.
    fn join(&self) {
        let worker = self.joined.fetch_add(1, Ordering::Relaxed);
        if worker < self.workspace.workers() {
            self.work(worker);
        }
    }

    /// Computes items until the pass is finished.
    fn work(&self, worker: usize) {
        for (index, (stage, progress)) in self.stages.iter().zip(&self.progress).enumerate() {
            let start = (self.stage_times.is_some() && worker == 0).then(Instant::now);
            let items = stage.items();
            self.take_items(&**stage, progress, worker);
            let mut spins = 0;
            while progress.done.0.load(Ordering::Acquire) < items {
                spins += 1;
                if spins < SPINS_BEFORE_YIELD {
                    std::hint::spin_loop();
                } else {
                    std::thread::yield_now();
                }
            }
            if let (Some(start), Some(times)) = (start, &self.stage_times) {
                times.lock().unwrap_or_else(PoisonError::into_inner)[index] += start.elapsed();
            }
        }
    }

    /// Computes items of a stage until none is left.
    fn take_items(&self, stage: &dyn Stage, progress: &StageProgress, worker: usize) {
        let items = stage.items();
        let mut taken = TakenItems { pass: self, progress, count: 0 };
        loop {
            let item = progress.next.0.fetch_add(1, Ordering::Relaxed);
            if item >= items {
                break;
            }
            taken.count += 1;
            stage.run(item, worker, &self.workspace);
        }
    }

    /// Checks that every item is done and none panicked, so that the outputs may be read.
    ///
    /// # Errors
    /// [`Error::Backend`] if a thread panicked.
    pub fn expect_finished(&self) -> Result<()> {
        let mut stages = self.stages.iter().zip(&self.progress);
        let all_done = stages
            .all(|(stage, progress)| progress.done.0.load(Ordering::Acquire) >= stage.items());
        if all_done && !self.panicked.load(Ordering::Acquire) {
            Ok(())
        } else {
            Err(Error::Backend {
                backend: "compiled".into(),
                reason: "a thread of the forward pass panicked".into(),
            })
        }
    }
}

/// Counts the items that a thread has taken as done when it has computed all of them, and also if one panics:
/// the other threads wait for them.
struct TakenItems<'a> {
    pass: &'a ForwardPass,
    progress: &'a StageProgress,
    count: usize,
}

impl Drop for TakenItems<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.pass.panicked.store(true, Ordering::Release);
        }
        if self.count > 0 {
            self.progress.done.0.fetch_add(self.count, Ordering::Release);
        }
    }
}

/// An entry of a thread's queue: the pass to join, while its caller is running it.
#[derive(Debug, Default)]
pub(super) struct Job(Mutex<Option<Arc<ForwardPass>>>);

impl Job {
    fn pass(&self) -> std::sync::MutexGuard<'_, Option<Arc<ForwardPass>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Joins the pass, if it is not over yet.
    pub fn execute(&self) {
        let pass = self.pass().clone();
        if let Some(pass) = pass {
            // The caller learns of a panic from the pass; the thread lives on.
            let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| pass.join()));
        }
    }
}

/// Threads may join the pass while this guard lives. Dropping it, also by a panic, empties the job.
pub(super) struct AcceptWorkers<'a>(&'a Job);

impl Drop for AcceptWorkers<'_> {
    fn drop(&mut self) {
        *self.0.pass() = None;
    }
}
