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
    use rustix::thread::{CpuSet, Pid};
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    /// What others know of a thread.
    #[derive(Debug)]
    pub struct Parked {
        waits: AtomicBool,
        /// The thread, and the cores that it began with.
        thread: OnceLock<(Pid, CpuSet)>,
        /// The core that it was last told to keep off.
        off: AtomicUsize,
    }

    impl Default for Parked {
        fn default() -> Self {
            let off = AtomicUsize::new(usize::MAX);
            Self { waits: AtomicBool::new(false), thread: OnceLock::new(), off }
        }
    }

    impl Parked {
        /// The thread itself, around what it waits for.
        pub fn wait<T>(&self, wait: impl FnOnce() -> T) -> T {
            if self.thread.get().is_none()
                && let Ok(cores) = rustix::thread::sched_getaffinity(None)
            {
                let _ = self.thread.set((rustix::thread::gettid(), cores));
            }
            self.waits.store(true, Ordering::Relaxed);
            let value = wait();
            self.waits.store(false, Ordering::Relaxed);
            value
        }

        /// Who is about to wake it: if it waits, and has another core to wake on. A wish, no condition.
        pub fn keep_off_this_core(&self) {
            let Some(&(thread, mut cores)) = self.thread.get() else { return };
            let here = rustix::thread::sched_getcpu();
            if !self.waits.load(Ordering::Relaxed)
                || here >= CpuSet::MAX_CPU
                || self.off.swap(here, Ordering::Relaxed) == here
            {
                return;
            }
            cores.unset(here);
            if cores.count() > 0 {
                let _ = rustix::thread::sched_setaffinity(Some(thread), &cores);
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
