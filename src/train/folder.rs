//! The folder of a run, for one process alone.

use crate::error::{Error, Result};
use crate::whole_file;
use std::fs::{self, File, TryLockError};
use std::path::Path;
use std::thread;
use std::time::Duration;

const STARTS_A_CHILD: Duration = Duration::from_millis(200);

/// Makes the folder if it is not there, and keeps others from training in it as long as the result lives.
/// What a killed run was writing when it ended is taken away.
pub(super) fn take(folder: &Path) -> Result<File> {
    fs::create_dir_all(folder).map_err(Error::io(folder))?;
    let path = folder.join(".lock");
    let lock = File::create(&path).map_err(Error::io(&path))?;
    // A child that this process starts at the moment holds its files until it runs its own program.
    let locked = lock.try_lock().or_else(|_| {
        thread::sleep(STARTS_A_CHILD);
        lock.try_lock()
    });
    match locked {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            return Err(Error::Setting {
                place: folder.display().to_string(),
                expected: "a folder that no other process trains in".into(),
                found: "one".into(),
            });
        }
        Err(TryLockError::Error(source)) => return Err(Error::io(&path)(source)),
    }
    for entry in fs::read_dir(folder).map_err(Error::io(folder))? {
        let path = entry.map_err(Error::io(folder))?.path();
        if whole_file::is_unfinished(&path) {
            fs::remove_file(&path).map_err(Error::io(&path))?;
        }
    }
    Ok(lock)
}
