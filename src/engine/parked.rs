//! Where a thread that waits is woken.
//!
//! Linux may wake a thread on the core of who wakes it, if the others seem to be taken: on a virtual machine
//! an idle one does, to the guest. There it queues behind its waker, which is about to compute, until the
//! scheduler's next tick: 4 ms, half of what AlexNet takes. So a thread that waits is told to keep off the
//! waker's core before it is woken.

#[cfg(target_os = "linux")]
pub(super) use linux::Parked;
#[cfg(not(target_os = "linux"))]
pub(super) use others::Parked;

#[cfg(target_os = "linux")]
mod linux {
    use rustix::thread::{CpuSet, Pid, gettid, sched_getaffinity, sched_getcpu, sched_setaffinity};
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::{Mutex, OnceLock, PoisonError};

    /// What others know of a thread.
    #[derive(Debug, Default)]
    pub struct Parked {
        waits: AtomicBool,
        thread: OnceLock<Pid>,
        cores: Mutex<Cores>,
    }

    #[derive(Debug, Default)]
    struct Cores {
        /// Those that it may use, if nobody is to be kept off.
        its: Option<CpuSet>,
        /// Those that it was last told to use.
        told: Option<CpuSet>,
    }

    impl Parked {
        /// The thread itself, around what it waits for.
        pub fn wait<T>(&self, wait: impl FnOnce() -> T) -> T {
            self.thread.get_or_init(gettid);
            self.waits.store(true, Ordering::Relaxed);
            let value = wait();
            self.waits.store(false, Ordering::Relaxed);
            value
        }

        /// Who is about to wake it: if it waits, and has another core to wake on. A wish, no condition.
        pub fn keep_off_this_core(&self) {
            let here = sched_getcpu();
            let (Some(&thread), true) = (self.thread.get(), self.waits.load(Ordering::Relaxed))
            else {
                return;
            };
            let mut cores = self.cores.lock().unwrap_or_else(PoisonError::into_inner);
            let Ok(now) = sched_getaffinity(Some(thread)) else { return };
            // Not what it was told here: it is somebody else's wish, and goes first.
            if cores.told != Some(now) {
                cores.its = Some(now);
            }
            let mut others = cores.its.unwrap_or(now);
            if here < CpuSet::MAX_CPU {
                others.unset(here);
            }
            if others.count() > 0
                && others != now
                && sched_setaffinity(Some(thread), &others).is_ok()
            {
                cores.told = Some(others);
            }
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod others {
    /// Nothing is known to be needed elsewhere.
    #[derive(Debug, Default)]
    pub struct Parked;

    impl Parked {
        pub fn wait<T>(&self, wait: impl FnOnce() -> T) -> T {
            wait()
        }

        pub fn keep_off_this_core(&self) {}
    }
}
