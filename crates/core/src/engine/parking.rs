//! [`ParkedThread`]: on which core a parked thread wakes up.
//!
//! If the other cores seem busy, Linux may wake a thread on the core of the thread that wakes it; in a
//! virtual machine, idle cores can seem busy to the guest. The woken thread then queues behind its waker,
//! which is about to compute, until the scheduler's next tick: 4 ms, half the time of an AlexNet pass.
//! So a parked thread's CPU affinity is set to exclude the waker's core before it is woken.

#[cfg(target_os = "linux")]
pub(super) use linux::ParkedThread;
#[cfg(not(target_os = "linux"))]
pub(super) use others::ParkedThread;

#[cfg(target_os = "linux")]
mod linux {
    use rustix::thread::{CpuSet, Pid, gettid, sched_getaffinity, sched_getcpu, sched_setaffinity};
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::{Mutex, OnceLock, PoisonError};

    /// What other threads know about a thread that may be parked.
    #[derive(Debug, Default)]
    pub struct ParkedThread {
        is_parked: AtomicBool,
        thread: OnceLock<Pid>,
        affinity: Mutex<Affinity>,
    }

    #[derive(Debug, Default)]
    struct Affinity {
        /// The thread's affinity as others set it, without the exclusion.
        original: Option<CpuSet>,
        /// The affinity that was last set here.
        last_set: Option<CpuSet>,
    }

    impl ParkedThread {
        /// Called by the thread itself, with the call that blocks.
        pub fn park<T>(&self, block: impl FnOnce() -> T) -> T {
            self.thread.get_or_init(gettid);
            self.is_parked.store(true, Ordering::Relaxed);
            let value = block();
            self.is_parked.store(false, Ordering::Relaxed);
            value
        }

        /// Called by the thread that is about to wake it: excludes the caller's core, if the thread is
        /// parked and may use another core. If the system refuses, nothing changes.
        pub fn avoid_this_core(&self) {
            let this_core = sched_getcpu();
            let (Some(&thread), true) = (self.thread.get(), self.is_parked.load(Ordering::Relaxed))
            else {
                return;
            };
            let mut affinity = self.affinity.lock().unwrap_or_else(PoisonError::into_inner);
            let Ok(current) = sched_getaffinity(Some(thread)) else { return };
            // An affinity that was not set here is the user's or the system's, and takes precedence.
            if affinity.last_set != Some(current) {
                affinity.original = Some(current);
            }
            let mut others = affinity.original.unwrap_or(current);
            if this_core < CpuSet::MAX_CPU {
                others.unset(this_core);
            }
            if others.count() > 0
                && others != current
                && sched_setaffinity(Some(thread), &others).is_ok()
            {
                affinity.last_set = Some(others);
            }
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod others {
    /// Does nothing: other systems are not known to need it.
    #[derive(Debug, Default)]
    pub struct ParkedThread;

    impl ParkedThread {
        pub fn park<T>(&self, block: impl FnOnce() -> T) -> T {
            block()
        }

        pub fn avoid_this_core(&self) {}
    }
}
