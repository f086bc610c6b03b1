//! A run of `train_on_folder` as its output folder remembers it.

use super::checkpoint::Checkpoints;
use super::checkpoint_tensors::write_text;
use super::fit::continues_whole_network;
use super::folder_options::FolderOptions;
use super::options::{Event, TrainOptions};
use super::processes::ProcessGroup;
use super::setting::expect_setting;
use crate::backend::BackendName;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const FILE: &str = "run.toml";
const HEADER: &str = "# What this run trains, and on which pictures: with it, the folder alone is enough to continue the run.\n\n";

/// Everything that [`train_on_folder`](super::train_on_folder) needs to continue a run, as it is stored in the file
/// `run.toml` of the run's [output folder](TrainOptions::output).
///
/// ```no_run
/// use alexnet_vgg::backend::BackendName;
/// use alexnet_vgg::train::processes::SingleProcess;
/// use alexnet_vgg::train::{StoredRun, TrainOptions, train_folder_on};
///
/// if let Some(run) = StoredRun::read("run", &SingleProcess)? {
///     run.expect_files("run")?;
///     let options = TrainOptions { output: Some("run".into()), resume: true, ..TrainOptions::default() };
///     let backend = run.backend.unwrap_or(BackendName::preferred());
///     let result = train_folder_on(backend, &run.data, &run.options, options)?;
///     println!("{:?}", result.stop_reason);
/// }
/// # Ok::<(), alexnet_vgg::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoredRun {
    /// The folder or the CSV file of the pictures. It is stored as an absolute path.
    pub data: PathBuf,
    /// The backend, if it was chosen by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend: Option<BackendName>,
    /// What is trained. Its paths are stored as absolute ones.
    pub options: FolderOptions,
}

impl StoredRun {
    /// The run whose output folder is `folder`, the same in all processes, of which only rank 0 reads the file. `None`
    /// if the folder has no such file, as that of a run by [`fit`](super::fit).
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be read, [`Error::Setting`] if it is not valid, and those of the processes.
    pub fn read(folder: impl AsRef<Path>, processes: &dyn ProcessGroup) -> Result<Option<Self>> {
        let path = folder.as_ref().join(FILE);
        let text = match std::fs::read_to_string(&path) {
            _ if processes.rank() > 0 => Ok(String::new()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(String::new()),
            text => text.map_err(Error::io(&path)),
        };
        let text = processes.bytes_of_rank_0(processes.expect_all_ok(text)?.as_bytes())?;
        if text.is_empty() {
            return Ok(None);
        }
        let parsed = toml::from_str(&String::from_utf8_lossy(&text));
        parsed.map(Some).map_err(|error| Error::Setting {
            place: path.display().to_string(),
            expected: "the settings of a run".into(),
            found: error.to_string().trim_end().into(),
        })
    }

    /// `Ok` if the pictures, and the weights where they are still needed, are where they were when the run in `folder`
    /// began.
    ///
    /// # Errors
    /// [`Error::Setting`] that says what is missing, and how to say where it is now.
    pub fn expect_files(&self, folder: impl AsRef<Path>) -> Result<()> {
        let place = |what: &str| format!("{what} of {}", folder.as_ref().display());
        let missing = |option: &str| {
            format!("nothing there; if it was moved, give its new path as well: `{option}`")
        };
        let expected = format!("the pictures at {}", self.data.display());
        let found = missing("train DATA --resume RUN");
        expect_setting(&place("data"), self.data.exists(), &expected, found)?;
        let output = Checkpoints::new(folder.as_ref());
        let needed = !continues_whole_network(&self.options.recipe, output.exist());
        let Some(weights) = self.options.weights.as_ref().filter(|_| needed) else { return Ok(()) };
        let expected = format!("the weights that it began with, {}", weights.display());
        let found = missing("train --resume RUN --weights FILE");
        expect_setting(&place("weights"), weights.exists(), &expected, found)
    }

    /// The same run with absolute paths.
    pub(super) fn with_absolute_paths(self) -> Self {
        let absolute = |path: PathBuf| std::path::absolute(&path).unwrap_or(path);
        let Self { data, backend, mut options } = self;
        options.weights = options.weights.map(absolute);
        options.csv.folder = options.csv.folder.map(absolute);
        Self { data: absolute(data), backend, options }
    }

    /// Training options that store this run as soon as it has begun: a run that is refused must not change what the
    /// folder of another one remembers.
    pub(super) fn stored_by(self, options: TrainOptions) -> TrainOptions {
        let Some(folder) = options.output.clone() else { return options };
        let (stored, on_event) = (AtomicBool::new(false), options.on_event.clone());
        let on_event = move |event: Event| {
            let has_begun = matches!(event, Event::TrainingClassifier | Event::Step(_));
            if has_begun
                && !stored.swap(true, Ordering::Relaxed)
                && let Err(error) = self.save(&folder)
            {
                on_event(Event::SaveFailed(&error));
            }
            on_event(event);
        };
        TrainOptions { on_event: Arc::new(on_event), ..options }
    }

    fn save(&self, folder: &Path) -> Result<()> {
        let text = toml::to_string(self).map_err(|error| Error::Setting {
            place: folder.join(FILE).display().to_string(),
            expected: "values that TOML can express".into(),
            found: error.to_string(),
        })?;
        write_text(&folder.join(FILE), &format!("{HEADER}{text}"))
    }
}
