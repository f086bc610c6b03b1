//! A watch on the calls that wait for other processes: a host whose network is cut says nothing, and MPI
//! would wait for it for ever.

use super::member::{Member, say};
use crate::error::{Error, Result};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

const VARIABLE: &str = "ALEXNET_VGG_MPI_PATIENCE";
const DEFAULT: Duration = Duration::from_secs(600);

/// For MPI's own end, once all have come to it. MPICH 4.0 on TCP hangs there at times: one process waits in it
/// for an answer of another that no longer listens.
const END: Duration = Duration::from_secs(10);

/// How often the watch looks. A call costs two turns of a lock, whatever this is.
const LOOK: Duration = Duration::from_millis(250);

pub(super) struct Patience {
    now: Mutex<Now>,
    member: OnceLock<Arc<Member>>,
}

struct Now {
    limit: Duration,
    /// For what, and how long the watch has seen it wait: a job that was suspended has not waited.
    waiting: Option<(&'static str, Duration)>,
    /// All work is done.
    ends: bool,
}

/// The seconds of the environment variable, or the default.
pub(super) fn from_environment() -> Result<Duration> {
    let Some(text) = std::env::var_os(VARIABLE) else { return Ok(DEFAULT) };
    let text = text.to_string_lossy();
    let seconds = text.trim().parse().ok().filter(|&seconds| seconds >= 1);
    seconds.map(Duration::from_secs).ok_or_else(|| Error::Setting {
        place: VARIABLE.into(),
        expected: "a whole number of seconds, at least 1".into(),
        found: text.into(),
    })
}

impl Patience {
    /// Starts the watch. It ends with what it watches.
    pub fn new(limit: Duration) -> Result<Arc<Self>> {
        let now = Mutex::new(Now { limit, waiting: None, ends: false });
        let patience = Arc::new(Self { now, member: OnceLock::new() });
        let watched = Arc::downgrade(&patience);
        let watch = std::thread::Builder::new().name("patience".into());
        match watch.spawn(move || watch_over(&watched)) {
            Ok(_) => Ok(patience),
            Err(error) => Err(Error::Process {
                rank: 0,
                place: "this process".into(),
                reason: format!("no thread could be started: {error}"),
            }),
        }
    }

    pub fn set(&self, limit: Duration) {
        self.now().limit = limit;
    }

    /// Whose patience it is.
    pub fn tell(&self, member: &Arc<Member>) {
        self.member.get_or_init(|| member.clone());
    }

    /// A call that waits for the others.
    pub fn wait<T>(&self, what: &'static str, call: impl FnOnce() -> T) -> T {
        self.now().waiting = Some((what, Duration::ZERO));
        let value = call();
        self.now().waiting = None;
        value
    }

    /// MPI's end. If that hangs, the process ends without it, and well.
    pub fn wait_for_the_end(&self, call: impl FnOnce()) {
        let mut now = self.now();
        (now.limit, now.ends) = (END, true);
        drop(now);
        self.wait("the end", call);
    }

    fn now(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What has waited for longer than it may.
    fn overdue(&self) -> Option<(&'static str, Duration)> {
        let mut now = self.now();
        let limit = now.limit;
        let (what, waited) = now.waiting.as_mut()?;
        *waited += LOOK;
        (*waited > limit).then_some((*what, limit))
    }
}

fn watch_over(watched: &Weak<Patience>) {
    while let Some(patience) = watched.upgrade() {
        if let Some((what, limit)) = patience.overdue() {
            match patience.now().ends {
                true => leave(patience.member.get()),
                false => give_up(patience.member.get(), what, limit),
            }
        }
        drop(patience);
        std::thread::sleep(LOOK);
    }
}

fn give_up(member: Option<&Arc<Member>>, what: &str, limit: Duration) -> ! {
    let waited = format!("has waited {} s for the others in {what}", limit.as_secs_f32());
    match member {
        Some(member) => member.end_the_job(&format!("{member} {waited}")),
        // Before it knows its rank it has no job that it could end.
        None => {
            say(&format!("process {} {waited}", std::process::id()));
            std::process::abort()
        }
    }
}

fn leave(member: Option<&Arc<Member>>) -> ! {
    if let Some(member) = member {
        say(&format!("{member}: all is done, but MPI does not end; this process ends without it"));
    }
    std::process::exit(0)
}
