//! A watchdog for the calls that wait for other processes: if the network of a host fails, MPI would wait for it
//! forever.

use super::job_rank::{JobRank, print_line};
use crate::{Error, Result};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

const VARIABLE: &str = "ALEXNET_VGG_MPI_TIMEOUT";
const DEFAULT: Duration = Duration::from_secs(600);

/// The timeout of MPI's finalization, once all processes have reached it. MPICH 4.0 on TCP sometimes hangs there:
/// one process waits for an answer of another that no longer listens.
const FINALIZE_TIMEOUT: Duration = Duration::from_secs(10);

/// How often the watchdog checks. The cost of a call, locking twice, does not depend on it.
const INTERVAL: Duration = Duration::from_millis(250);

pub(super) struct Watchdog {
    state: Mutex<State>,
    job_rank: OnceLock<Arc<JobRank>>,
}

struct State {
    timeout: Duration,
    /// The call that is waiting, and for how long the watchdog has seen it wait: the time in which the job was
    /// suspended does not count.
    waiting: Option<(&'static str, Duration)>,
    /// Whether all work is done and MPI is being finalized.
    finalizing: bool,
}

/// The timeout of the environment variable, or the default.
pub(super) fn timeout_from_environment() -> Result<Duration> {
    let Some(text) = std::env::var_os(VARIABLE) else { return Ok(DEFAULT) };
    let text = text.to_string_lossy();
    let seconds = text.trim().parse().ok().filter(|&seconds| seconds >= 1);
    seconds.map(Duration::from_secs).ok_or_else(|| Error::Setting {
        place: VARIABLE.into(),
        expected: "a whole number of seconds, at least 1".into(),
        found: text.into(),
    })
}

impl Watchdog {
    /// Starts the watchdog's thread, which ends when the watchdog is dropped.
    pub fn new(timeout: Duration) -> Result<Arc<Self>> {
        let state = Mutex::new(State { timeout, waiting: None, finalizing: false });
        let watchdog = Arc::new(Self { state, job_rank: OnceLock::new() });
        let watched = Arc::downgrade(&watchdog);
        let thread = std::thread::Builder::new().name("watchdog".into());
        match thread.spawn(move || watch(&watched)) {
            Ok(_) => Ok(watchdog),
            Err(error) => Err(Error::Process {
                rank: 0,
                place: "this process".into(),
                reason: format!("the watchdog's thread could not be started: {error}"),
            }),
        }
    }

    pub fn set_timeout(&self, timeout: Duration) {
        self.lock().timeout = timeout;
    }

    /// Sets the process that it belongs to.
    pub fn set_job_rank(&self, job_rank: &Arc<JobRank>) {
        self.job_rank.get_or_init(|| job_rank.clone());
    }

    /// Runs a call that waits for other processes. If it takes longer than the timeout, the job is aborted.
    pub fn wait<T>(&self, what: &'static str, call: impl FnOnce() -> T) -> T {
        self.lock().waiting = Some((what, Duration::ZERO));
        let value = call();
        self.lock().waiting = None;
        value
    }

    /// Runs the finalization of MPI. If that hangs, the process exits with success.
    pub fn finalize(&self, call: impl FnOnce()) {
        let mut state = self.lock();
        (state.timeout, state.finalizing) = (FINALIZE_TIMEOUT, true);
        drop(state);
        self.wait("the shutdown", call);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The call that has waited for longer than the timeout, and the timeout.
    fn overdue(&self) -> Option<(&'static str, Duration)> {
        let mut state = self.lock();
        let timeout = state.timeout;
        let (what, waited) = state.waiting.as_mut()?;
        *waited += INTERVAL;
        (*waited > timeout).then_some((*what, timeout))
    }
}

fn watch(watched: &Weak<Watchdog>) {
    while let Some(watchdog) = watched.upgrade() {
        if let Some((what, timeout)) = watchdog.overdue() {
            if watchdog.lock().finalizing {
                exit_without_finalizing(watchdog.job_rank.get());
            }
            abort(watchdog.job_rank.get(), what, timeout);
        }
        drop(watchdog);
        std::thread::sleep(INTERVAL);
    }
}

fn abort(job_rank: Option<&Arc<JobRank>>, what: &str, timeout: Duration) -> ! {
    let waited = format!("has waited {} s for the others in {what}", timeout.as_secs_f32());
    match job_rank {
        Some(job_rank) => job_rank.abort(&format!("{job_rank} {waited}")),
        // Before the process knows its rank, it has no job to abort.
        None => {
            print_line(&format!("process {} {waited}", std::process::id()));
            std::process::abort()
        }
    }
}

fn exit_without_finalizing(job_rank: Option<&Arc<JobRank>>) -> ! {
    if let Some(job_rank) = job_rank {
        print_line(&format!(
            "{job_rank}: all work is done, but MPI does not shut down; this process exits anyway"
        ));
    }
    std::process::exit(0)
}
