//! The processes that train together: those that `mpirun` started, if this program was built with the
//! feature `mpi`, and otherwise this one alone.

use alexnet_vgg::train::processes::ProcessGroup;
#[cfg(not(feature = "mpi"))]
use alexnet_vgg::train::processes::launched_processes;
use std::error::Error;
use std::process::ExitCode;
use std::sync::Arc;

#[cfg(feature = "mpi")]
type Group = alexnet_vgg::train::processes::Mpi;
#[cfg(not(feature = "mpi"))]
type Group = alexnet_vgg::train::processes::SingleProcess;

pub struct Job {
    group: Arc<Group>,
}

impl Job {
    #[cfg(feature = "mpi")]
    pub fn start() -> alexnet_vgg::Result<Self> {
        Ok(Self { group: Arc::new(Group::start()?) })
    }

    /// An error if several copies of this program were started: they would train separately, and
    /// write into the same folder.
    #[cfg(not(feature = "mpi"))]
    pub fn start() -> alexnet_vgg::Result<Self> {
        match launched_processes().filter(|(_, count)| *count > 1) {
            None => Ok(Self { group: Arc::default() }),
            Some((variable, count)) => Err(alexnet_vgg::Error::Setting {
                place: variable.into(),
                expected: "one process, or a program that was built with --features mpi".into(),
                found: count.to_string(),
            }),
        }
    }

    pub fn processes(&self) -> Arc<dyn ProcessGroup> {
        self.group.clone()
    }

    /// Whether this is the process that prints.
    pub fn is_first(&self) -> bool {
        self.group.rank() == 0
    }

    /// Ends the job. After an error, the other processes must not wait for this one.
    pub fn end(&self, result: Result<(), Box<dyn Error>>) -> ExitCode {
        #[cfg(feature = "mpi")]
        let result = match result {
            Ok(()) => self.group.finish().map_err(Into::into),
            Err(error) if self.group.world_size() > 1 => self.group.abort(error),
            alone => alone,
        };
        crate::cli::finish(result)
    }
}
