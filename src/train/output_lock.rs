//! A lock on the output folder of a run.

use crate::{Error, Result};
use alexnet_vgg_core::atomic_file;
use std::fs::{self, File, TryLockError};
use std::path::Path;
use std::thread;
use std::time::Duration;

/// How long a child process that has just been started may hold the files of this one.
const CHILD_START: Duration = Duration::from_millis(200);

/// Creates the folder if it does not exist, and keeps other processes from training in it until the result is
/// dropped. Removes the unfinished files of a run that was killed.
pub(super) fn lock_output(folder: &Path) -> Result<File> {
    fs::create_dir_all(folder).map_err(Error::io(folder))?;
    let path = folder.join(".lock");
    let lock = File::create(&path).map_err(Error::io(&path))?;
    // A child process inherits this process's files until it executes its own program.
    let locked = lock.try_lock().or_else(|_| {
        thread::sleep(CHILD_START);
        lock.try_lock()
    });
    match locked {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            return Err(Error::Setting {
                place: folder.display().to_string(),
                expected: "a folder that no other process trains in".into(),
                found: "a process that does".into(),
            });
        }
        Err(TryLockError::Error(source)) => return Err(Error::io(&path)(source)),
    }
    for entry in fs::read_dir(folder).map_err(Error::io(folder))? {
        let path = entry.map_err(Error::io(folder))?.path();
        if atomic_file::is_unfinished(&path) {
            fs::remove_file(&path).map_err(Error::io(&path))?;
        }
    }
    Ok(lock)
}
