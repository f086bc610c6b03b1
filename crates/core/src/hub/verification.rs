//! Verifies that a file is the published one, by its SHA-256. The result is recorded, and is valid as long as
//! the size and the modification time of the file do not change.

use super::published::Published;
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::path::Path;
use std::time::SystemTime;

/// The state of a file in the cache.
#[derive(Debug, PartialEq)]
pub(super) enum CachedFile {
    Missing,
    /// It is the published file.
    Verified,
    /// It is not the published file; this is what was found instead.
    Damaged(String),
}

/// The SHA-256 of a file, and the size and modification time that it had then. It is kept in a small file
/// next to it.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Verification {
    sha256: String,
    bytes: u64,
    modified: SystemTime,
}

impl Verification {
    /// Reads and hashes all of the file.
    pub(super) fn new(path: &Path) -> Result<Self> {
        let mut file = File::open(path).map_err(Error::io(path))?;
        // Before the content is read, so that a change during that time is noticed.
        let (bytes, modified) = size_and_time(&file, path)?;
        let mut hash = Sha256::new();
        let mut buffer = vec![0; 1 << 20];
        loop {
            match file.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => hash.update(&buffer[..read]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::io(path)(error)),
            }
        }
        let sha256 = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Self { sha256, bytes, modified })
    }

    /// `None` if there is no record, or it is not valid; the file is then hashed.
    fn read(record: &Path) -> Option<Self> {
        serde_json::from_slice(&fs::read(record).ok()?).ok()
    }

    /// Writes the record. If that is not possible (in a read-only folder), later runs hash the file again.
    pub(super) fn write(&self, record: &Path) {
        if let Ok(text) = serde_json::to_vec(self) {
            let _ = fs::write(record, text);
        }
    }

    /// `Ok` if it is the published file, otherwise what was found instead.
    pub(super) fn compare(&self, published: &Published) -> Result<(), String> {
        if !published.size.range().contains(&self.bytes) {
            return Err(format!("{} bytes", self.bytes));
        }
        if self.sha256.starts_with(&*published.sha256) { Ok(()) } else { Err(self.sha256.clone()) }
    }
}

/// The state of a file. It is hashed only if it has changed since the last verification, or if `always`.
pub(super) fn check(
    path: &Path,
    record: &Path,
    published: &Published,
    always: bool,
) -> Result<CachedFile> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(CachedFile::Missing),
        Err(error) => return Err(Error::io(path)(error)),
    };
    let (bytes, modified) = size_and_time(&file, path)?;
    if !published.size.range().contains(&bytes) {
        return Ok(CachedFile::Damaged(format!("{bytes} bytes")));
    }
    let last = Verification::read(record)
        .filter(|last| !always && last.bytes == bytes && last.modified == modified);
    let verification = match last {
        Some(last) if last.compare(published).is_ok() => return Ok(CachedFile::Verified),
        _ => Verification::new(path)?,
    };
    match verification.compare(published) {
        Ok(()) => {
            verification.write(record);
            Ok(CachedFile::Verified)
        }
        Err(found) => Ok(CachedFile::Damaged(found)),
    }
}

fn size_and_time(file: &File, path: &Path) -> Result<(u64, SystemTime)> {
    let data = file.metadata().map_err(Error::io(path))?;
    Ok((data.len(), data.modified().map_err(Error::io(path))?))
}
