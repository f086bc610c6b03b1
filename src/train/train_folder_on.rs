//! `train_on_folder` on a backend that is chosen at run time, compiled here and not in every program.

use super::folder_options::FolderOptions;
use super::history::History;
use super::options::TrainOptions;
use super::outcome::StopReason;
use super::train_on_folder::train_named;
use crate::Result;
use crate::backend::{BackendName, Job};
use burn::tensor::backend::Backend;
use std::path::Path;

/// The result of a training run whose networks are in its [output folder](TrainOptions::output).
#[derive(Clone, Debug)]
pub struct RunResult {
    /// Every epoch.
    pub history: History,
    /// Why the run ended.
    pub stop_reason: StopReason,
    /// The examples that were skipped because they could not be read: name and reason, each once.
    pub skipped: Vec<(String, String)>,
}

/// [`train_on_folder`](super::train_on_folder) on the default device of a backend, or on the
/// [devices](FolderOptions::devices) of one.
///
/// # Errors
/// [`Error::Backend`](crate::Error::Backend) if the backend is not compiled in or has no device on this
/// machine, and as for [`train_on_folder`](super::train_on_folder).
pub fn train_folder_on(
    backend: BackendName,
    data: impl AsRef<Path>,
    folder: &FolderOptions,
    options: TrainOptions,
) -> Result<RunResult> {
    train_on(backend, data.as_ref(), folder, options)
}

// Not generic, so that it is compiled with this library, not again in every program.
fn train_on(
    backend: BackendName,
    data: &Path,
    folder: &FolderOptions,
    options: TrainOptions,
) -> Result<RunResult> {
    struct Train<'a>(BackendName, &'a Path, &'a FolderOptions, TrainOptions);
    impl Job for Train<'_> {
        type Output = RunResult;

        fn run<B: Backend>(self, device: &B::Device) -> Result<RunResult> {
            let Self(backend, data, folder, options) = self;
            let outcome = train_named::<B>(data, folder, options, device, Some(backend))?;
            let (history, stop_reason) = (outcome.history, outcome.stop_reason);
            Ok(RunResult { history, stop_reason, skipped: outcome.skipped })
        }
    }
    backend.run(Train(backend, data, folder, options))
}
