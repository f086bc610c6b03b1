//! The files of the cache that belong to a published file, and their lock.

use super::hub_options::HubOptions;
use crate::error::{Error, Result};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// The paths for one published file.
pub(super) struct CacheEntry {
    folder: PathBuf,
    /// The file itself. Only complete and verified files get this name.
    pub file: PathBuf,
    /// What has been downloaded so far.
    pub part: PathBuf,
    /// The ETag of the version whose beginning is in `part`.
    pub etag: PathBuf,
    /// The record of the last verification of `file`.
    pub verified: PathBuf,
    lock: PathBuf,
}

impl CacheEntry {
    pub fn new(options: &HubOptions, name: &str) -> Self {
        let folder = options.cache.clone();
        let path = |ending: &str| folder.join(format!("{name}{ending}"));
        Self {
            file: path(""),
            part: path(".part"),
            etag: path(".part.etag"),
            verified: path(".checked"),
            lock: path(".lock"),
            folder,
        }
    }

    /// Waits for the lock and takes it. Only its holder may write `part` and `file`. The lock of a process
    /// that is killed is released. The lock file is never deleted: two processes could then hold locks on
    /// different files of that name.
    pub fn lock(&self, options: &HubOptions) -> Result<File> {
        fs::create_dir_all(&self.folder).map_err(Error::io(&self.folder))?;
        let lock = (OpenOptions::new().create(true).append(true).open(&self.lock))
            .map_err(Error::io(&self.lock))?;
        match lock.try_lock() {
            Ok(()) => Ok(lock),
            Err(TryLockError::WouldBlock) => {
                let file = self.file.display();
                options
                    .report(format_args!("waiting for another process that is downloading {file}"));
                lock.lock().map_err(Error::io(&self.lock))?;
                Ok(lock)
            }
            Err(TryLockError::Error(error)) => Err(Error::io(&self.lock)(error)),
        }
    }

    /// The number of bytes that have been downloaded so far.
    pub fn part_length(&self) -> Result<u64> {
        match fs::metadata(&self.part) {
            Ok(data) => Ok(data.len()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(0),
            Err(error) => Err(Error::io(&self.part)(error)),
        }
    }

    /// Opens the part for writing: a new one of the version `etag`, or the existing one, to append to it.
    pub fn open_part(&self, is_new: bool, etag: Option<&str>) -> Result<File> {
        let mut options = OpenOptions::new();
        if !is_new {
            return options.append(true).open(&self.part).map_err(Error::io(&self.part));
        }
        let part = options.create(true).write(true).truncate(true).open(&self.part);
        let part = part.map_err(Error::io(&self.part))?;
        // Before the first byte is written, so that a part never has the ETag of another version.
        match etag {
            Some(etag) => fs::write(&self.etag, etag).map_err(Error::io(&self.etag))?,
            None => remove(&self.etag)?,
        }
        Ok(part)
    }

    /// The ETag of the part, if the file has a valid one. Anything else must not be sent to a server.
    pub fn etag(&self) -> Option<String> {
        let etag = fs::read_to_string(&self.etag).ok()?;
        let quoted = etag.starts_with('"') && etag.ends_with('"') && etag.len() <= 1024;
        (quoted && etag.bytes().all(|byte| (b'!'..=b'~').contains(&byte))).then_some(etag)
    }

    pub fn discard_part(&self) -> Result<()> {
        remove(&self.part)?;
        remove(&self.etag)
    }
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(Error::io(path)(error)),
        _ => Ok(()),
    }
}
