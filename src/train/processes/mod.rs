//! The processes that train a network together: each works on its share of every batch, and all sum their
//! gradients, so that all have the same weights after every step.
//!
//! [`ProcessGroup`] is the interface that training uses. It is implemented by [`SingleProcess`], by `ThreadGroup`
//! for several devices of one process, and by `Mpi` (a feature) for several processes and hosts.

mod launched;
#[cfg(feature = "mpi")]
mod mpi;
mod process_group;
mod single_process;
mod thread_group;

pub use launched::launched_processes;
#[cfg(feature = "mpi")]
pub use mpi::Mpi;
pub use process_group::ProcessGroup;
pub use single_process::SingleProcess;
pub(crate) use thread_group::{PROCESS_GONE, ThreadGroup};
