//! Where a published file lies, and who may write there.

use super::Options;
use crate::error::{Error, Result};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// The paths of one published file. Only whole, checked files ever have the name `file`.
pub(super) struct Entry {
    folder: PathBuf,
    pub file: PathBuf,
    /// What was downloaded so far.
    pub part: PathBuf,
    /// The server's name for the version that `part` is the beginning of.
    pub etag: PathBuf,
    /// The last check of `file`.
    pub checked: PathBuf,
    lock: PathBuf,
}

impl Entry {
    pub fn new(options: &Options, name: &str) -> Self {
        let folder = options.cache.clone();
        let path = |ending: &str| folder.join(format!("{name}{ending}"));
        Self {
            file: path(""),
            part: path(".part"),
            etag: path(".part.etag"),
            checked: path(".checked"),
            lock: path(".lock"),
            folder,
        }
    }

    /// Only who holds this writes `part` and `file`; a killed process lets go of it. The lock's file
    /// stays: if it were deleted, two could hold a lock of that name.
    pub fn lock(&self, options: &Options) -> Result<File> {
        fs::create_dir_all(&self.folder).map_err(Error::io(&self.folder))?;
        let lock = (OpenOptions::new().create(true).append(true).open(&self.lock))
            .map_err(Error::io(&self.lock))?;
        match lock.try_lock() {
            Ok(()) => Ok(lock),
            Err(TryLockError::WouldBlock) => {
                let file = self.file.display();
                options.say(format_args!("waiting for another process that fetches {file}"));
                lock.lock().map_err(Error::io(&self.lock))?;
                Ok(lock)
            }
            Err(TryLockError::Error(error)) => Err(Error::io(&self.lock)(error)),
        }
    }

    /// Bytes downloaded so far.
    pub fn have(&self) -> Result<u64> {
        match fs::metadata(&self.part) {
            Ok(data) => Ok(data.len()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(0),
            Err(error) => Err(Error::io(&self.part)(error)),
        }
    }

    /// The part to write on: a fresh one, which the server calls `etag`, or the one that is there.
    pub fn open_part(&self, fresh: bool, etag: Option<&str>) -> Result<File> {
        let mut options = OpenOptions::new();
        if !fresh {
            return options.append(true).open(&self.part).map_err(Error::io(&self.part));
        }
        let part = options.create(true).write(true).truncate(true).open(&self.part);
        let part = part.map_err(Error::io(&self.part))?;
        // Before the first byte: a part never has another version's name beside it.
        match etag {
            Some(etag) => fs::write(&self.etag, etag).map_err(Error::io(&self.etag))?,
            None => remove(&self.etag)?,
        }
        Ok(part)
    }

    /// Meaningless without a part. What no server can have sent is not sent back to one.
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
