//! One forward pass, and the threads that do it together.
//!
//! A pass is a list of stages of items. Whoever takes part walks the stages in order, and in each takes
//! items by an atomic counter until none is left; it goes on to the next stage when all items are done.
//! Nobody has to take part: the caller alone finishes the pass, a thread that comes late or never
//! costs nothing, and a machine with fewer free cores than threads does not wait for those that are
//! not running. So any threads will do: this crate's own, which wait parked, or a rayon pool. What
//! waits for them in a queue is an [`Invitation`], which keeps no memory once the pass is over.

use super::parked::Parked;
use super::stage::{Memory, Stage};
use crate::error::{Error, Result};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What a pass goes through. A pass shares it with its plan, and not the plan itself: the plan keeps
/// passes, and neither would ever be dropped.
pub(super) type Stages = Arc<[Box<dyn Stage>]>;

/// A pass in progress.
pub(super) struct Pass {
    stages: Stages,
    pub memory: Memory,
    progress: Vec<Progress>,
    /// Places that are taken; the first is the caller's.
    workers: AtomicUsize,
    failed: AtomicBool,
    invitation: Arc<Invitation>,
    /// Nanoseconds of each stage, where they are wanted.
    pub times: Option<Mutex<Vec<Duration>>>,
}

#[derive(Default)]
#[repr(align(128))]
struct Progress {
    next: AtomicUsize,
    done: AtomicUsize,
}

impl std::fmt::Debug for Pass {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pass").field("stages", &self.progress.len()).finish_non_exhaustive()
    }
}

/// Looks at a counter that is about to change, before the processor is given to others.
const SPINS: usize = 2000;

impl Pass {
    pub fn new(stages: Stages, memory: Memory) -> Self {
        let progress = stages.iter().map(|_| Progress::default()).collect();
        let (workers, failed) = (AtomicUsize::new(1), AtomicBool::new(false));
        let invitation = Arc::default();
        Self { stages, memory, progress, workers, failed, invitation, times: None }
    }

    /// Begins again.
    pub fn reset(&mut self) {
        self.progress.iter_mut().for_each(|progress| *progress = Progress::default());
        self.workers = AtomicUsize::new(1);
        self.failed = AtomicBool::new(false);
    }

    /// Somebody who was invited takes part, if there is a place for one more. Of a pool more may come than
    /// there are places, from earlier invitations to the same memory: the caller's own, the first, is never
    /// given away.
    fn join(&self) {
        let worker = self.workers.fetch_add(1, Ordering::Relaxed);
        if worker < self.memory.workers() {
            self.work(worker);
        }
    }

    /// Takes part until the pass is finished.
    fn work(&self, worker: usize) {
        for (index, (stage, progress)) in self.stages.iter().zip(&self.progress).enumerate() {
            let start = (self.times.is_some() && worker == 0).then(Instant::now);
            let items = stage.items();
            loop {
                let item = progress.next.fetch_add(1, Ordering::Relaxed);
                if item >= items {
                    break;
                }
                let guard = Guard { pass: self, progress };
                stage.run(item, worker, &self.memory);
                drop(guard);
            }
            let mut spins = 0;
            while progress.done.load(Ordering::Acquire) < items {
                spins += 1;
                match spins < SPINS {
                    true => std::hint::spin_loop(),
                    false => std::thread::yield_now(),
                }
            }
            if let (Some(start), Some(times)) = (start, &self.times) {
                times.lock().unwrap_or_else(PoisonError::into_inner)[index] += start.elapsed();
            }
        }
    }

    pub fn expect_done(&self) -> Result<()> {
        // Whoever reads the outputs relies on it.
        let mut stages = self.stages.iter().zip(&self.progress);
        let all_done =
            stages.all(|(stage, progress)| progress.done.load(Ordering::Acquire) >= stage.items());
        match all_done && !self.failed.load(Ordering::Acquire) {
            true => Ok(()),
            false => Err(Error::Backend {
                backend: "compiled".into(),
                reason: "a worker panicked".into(),
            }),
        }
    }
}

/// What threads are given: the pass, as long as its caller is at work.
#[derive(Debug, Default)]
pub(super) struct Invitation(Mutex<Option<Arc<Pass>>>);

impl Invitation {
    fn pass(&self) -> std::sync::MutexGuard<'_, Option<Arc<Pass>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes part, if it is not too late.
    fn accept(&self) {
        let pass = self.pass().clone();
        if let Some(pass) = pass {
            // A panic is told to the caller; the thread lives on.
            let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| pass.join()));
        }
    }
}

/// Open while its caller is at work, and not longer, even if it panics.
struct Open<'a>(&'a Invitation);

impl<'a> Open<'a> {
    fn new(pass: &'a Arc<Pass>) -> Self {
        *pass.invitation.pass() = Some(pass.clone());
        Self(&pass.invitation)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        *self.0.pass() = None;
    }
}

/// Counts an item as done, even if it panics: others wait for it.
struct Guard<'a> {
    pass: &'a Pass,
    progress: &'a Progress,
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.pass.failed.store(true, Ordering::Release);
        }
        self.progress.done.fetch_add(1, Ordering::Release);
    }
}

/// The threads that help a caller.
#[derive(Clone, Debug)]
pub enum Threads {
    /// This many in all, the caller's among them; the others are the compiled network's own, and
    /// wait parked. 1 is the caller alone.
    Own(usize),
    /// A rayon pool's.
    Rayon(Arc<rayon::ThreadPool>),
}

impl Default for Threads {
    /// As many as the machine has.
    fn default() -> Self {
        Self::Own(std::thread::available_parallelism().map_or(1, usize::from))
    }
}

impl Threads {
    pub(super) fn count(&self) -> usize {
        match self {
            Self::Own(count) => *count,
            Self::Rayon(pool) => pool.current_num_threads().max(1),
        }
    }
}

/// Threads that wait for passes.
#[derive(Debug)]
pub(super) enum Team {
    Own(Vec<Worker>),
    Rayon {
        pool: Arc<rayon::ThreadPool>,
        /// Invitations in its queue.
        waiting: Arc<AtomicUsize>,
    },
}

/// A thread of the network's own.
#[derive(Debug)]
pub(super) struct Worker {
    invitations: SyncSender<Arc<Invitation>>,
    parked: Arc<Parked>,
}

/// Invitations that may wait for a thread; more callers than that help themselves.
const WAITING: usize = 4;

impl Team {
    pub fn new(threads: &Threads) -> Result<Self> {
        match threads {
            Threads::Own(count) => {
                let threads = (1..*count).map(|index| {
                    let parked = Arc::<Parked>::default();
                    let worker = parked.clone();
                    let (invitations, received) = sync_channel::<Arc<Invitation>>(WAITING);
                    std::thread::Builder::new()
                        .name(format!("alexnet-vgg {index}"))
                        .spawn(move || serve(&received, &worker))
                        .map_err(|error| Error::Backend {
                            backend: "compiled".into(),
                            reason: format!("a thread could not be started: {error}"),
                        })?;
                    Ok(Worker { invitations, parked })
                });
                threads.collect::<Result<_>>().map(Self::Own)
            }
            Threads::Rayon(pool) => Ok(Self::Rayon { pool: pool.clone(), waiting: Arc::default() }),
        }
    }

    /// Does a pass, with the caller's thread and whichever of the others come.
    pub fn run(&self, pass: &Arc<Pass>) -> Result<()> {
        let open = Open::new(pass);
        match self {
            Self::Own(threads) => {
                for thread in threads {
                    thread.parked.keep_off_this_core();
                    // A thread that has enough to do is not needed.
                    let _ = thread.invitations.try_send(pass.invitation.clone());
                }
            }
            Self::Rayon { pool, waiting } => {
                let threads = pool.current_num_threads();
                for _ in 1..threads {
                    // Its threads may never come to them, if all of them are callers.
                    if waiting.load(Ordering::Relaxed) >= WAITING * threads {
                        break;
                    }
                    waiting.fetch_add(1, Ordering::Relaxed);
                    let (invitation, waiting) = (pass.invitation.clone(), waiting.clone());
                    pool.spawn(move || {
                        waiting.fetch_sub(1, Ordering::Relaxed);
                        invitation.accept();
                    });
                }
            }
        }
        pass.work(0);
        drop(open);
        pass.expect_done()
    }
}

/// Before a thread parks, it looks for the next pass for this long.
const PATIENCE: Duration = Duration::from_micros(50);

/// Ends when the network is dropped.
fn serve(invitations: &Receiver<Arc<Invitation>>, parked: &Parked) {
    loop {
        let start = Instant::now();
        let next = loop {
            match invitations.try_recv() {
                Ok(invitation) => break Some(invitation),
                Err(std::sync::mpsc::TryRecvError::Disconnected) => return,
                Err(_) if start.elapsed() > PATIENCE => break None,
                Err(_) => std::hint::spin_loop(),
            }
        };
        let next = next.or_else(|| parked.wait(|| invitations.recv().ok()));
        let Some(invitation) = next else { return };
        invitation.accept();
    }
}
