//! The processes that this program is one of: started by `mpirun`, if it was built with the feature `mpi`.

use alexnet_vgg::train::processes::Processes;
#[cfg(not(feature = "mpi"))]
use alexnet_vgg::train::processes::started;
use std::error::Error;
use std::process::ExitCode;
use std::sync::Arc;

#[cfg(feature = "mpi")]
type Engine = alexnet_vgg::train::processes::Mpi;
#[cfg(not(feature = "mpi"))]
type Engine = alexnet_vgg::train::processes::Alone;

pub struct Job {
    engine: Arc<Engine>,
}

impl Job {
    #[cfg(feature = "mpi")]
    pub fn start() -> alexnet_vgg::Result<Self> {
        Ok(Self { engine: Arc::new(Engine::start()?) })
    }

    /// Several of this program, each for itself, would be as many runs into the same folder.
    #[cfg(not(feature = "mpi"))]
    pub fn start() -> alexnet_vgg::Result<Self> {
        match started().filter(|(_, count)| *count > 1) {
            None => Ok(Self { engine: Arc::default() }),
            Some((name, count)) => Err(alexnet_vgg::Error::Setting {
                place: name.into(),
                expected: "one process, or a program that was built with --features mpi".into(),
                found: count.to_string(),
            }),
        }
    }

    pub fn processes(&self) -> Arc<dyn Processes> {
        self.engine.clone()
    }

    /// Whether this is the process that speaks.
    pub fn is_first(&self) -> bool {
        self.engine.rank() == 0
    }

    /// Waits for the first process, as long as it [says](Self::still_works) now and then that it works.
    pub fn wait_for_first(&self) -> alexnet_vgg::Result<()> {
        while self.engine.gather(&[])?.first().is_some_and(Vec::is_empty) {}
        Ok(())
    }

    pub fn still_works(&self) -> alexnet_vgg::Result<()> {
        self.engine.gather(&[]).map(drop)
    }

    /// The first process is done with what it does alone.
    pub fn is_done(&self) -> alexnet_vgg::Result<()> {
        self.engine.gather(&[1]).map(drop)
    }

    /// By an error no process is left that waits for this one.
    pub fn end(&self, result: Result<(), Box<dyn Error>>) -> ExitCode {
        #[cfg(feature = "mpi")]
        let result = match result {
            Ok(()) => self.engine.finish().map_err(Into::into),
            Err(error) if self.engine.count() > 1 => self.engine.abort(error),
            alone => alone,
        };
        crate::cli::finish(result)
    }
}
