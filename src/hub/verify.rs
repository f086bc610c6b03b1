//! Is a file the published one? By its SHA-256, remembered as long as its size and time stay.

use super::registry::Published;
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::path::Path;
use std::time::SystemTime;

/// What the cache has under a file's name.
#[derive(Debug, PartialEq)]
pub(super) enum State {
    Missing,
    /// The published file.
    Whole,
    /// Something else: what was found.
    Damaged(String),
}

/// The last check of a file: what is in the small file beside it.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Checked {
    sha256: String,
    bytes: u64,
    modified: SystemTime,
}

impl Checked {
    /// Reads all of the file.
    pub(super) fn new(path: &Path) -> Result<Self> {
        let mut file = File::open(path).map_err(Error::io(path))?;
        // Before the content: a later change has a later time.
        let (bytes, modified) = stamp(&file, path)?;
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

    /// `None` if it was never written, or does not say what it should: both cost a check, no more.
    fn read(sidecar: &Path) -> Option<Self> {
        serde_json::from_slice(&fs::read(sidecar).ok()?).ok()
    }

    /// Where it cannot be written (a shared folder without permission), later runs check again.
    pub(super) fn write(&self, sidecar: &Path) {
        if let Ok(text) = serde_json::to_vec(self) {
            let _ = fs::write(sidecar, text);
        }
    }

    /// `Err` has what was found in place of the published file.
    pub(super) fn is(&self, published: &Published) -> Result<(), String> {
        if !published.size.range().contains(&self.bytes) {
            return Err(format!("{} bytes", self.bytes));
        }
        match self.sha256.starts_with(&*published.sha256) {
            true => Ok(()),
            false => Err(self.sha256.clone()),
        }
    }
}

/// Looks at the file; reads it only if it changed since the last check, or if `always`.
pub(super) fn check(
    path: &Path,
    sidecar: &Path,
    published: &Published,
    always: bool,
) -> Result<State> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(State::Missing),
        Err(error) => return Err(Error::io(path)(error)),
    };
    let (bytes, modified) = stamp(&file, path)?;
    if !published.size.range().contains(&bytes) {
        return Ok(State::Damaged(format!("{bytes} bytes")));
    }
    let known = Checked::read(sidecar)
        .filter(|known| !always && known.bytes == bytes && known.modified == modified);
    let checked = match known {
        Some(known) if known.is(published).is_ok() => return Ok(State::Whole),
        _ => Checked::new(path)?,
    };
    match checked.is(published) {
        Ok(()) => {
            checked.write(sidecar);
            Ok(State::Whole)
        }
        Err(found) => Ok(State::Damaged(found)),
    }
}

fn stamp(file: &File, path: &Path) -> Result<(u64, SystemTime)> {
    let data = file.metadata().map_err(Error::io(path))?;
    Ok((data.len(), data.modified().map_err(Error::io(path))?))
}
