//! Bytes at a place: of a file, or of memory.

use crate::error::{Error, Result};
use rawzip::{FileReader, ReaderAt};
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// Where a weights file's bytes come from. Reading does not move a position, so that several
/// threads can read at once.
#[derive(Debug)]
pub(super) struct Source {
    place: PathBuf,
    length: u64,
    bytes: Bytes,
}

#[derive(Debug)]
enum Bytes {
    File(FileReader),
    Memory(Vec<u8>),
}

/// What a format asks for and what was there instead, before anybody knows in which file.
#[derive(Debug)]
pub(super) struct Wrong {
    pub expected: String,
    pub found: String,
}

impl Wrong {
    pub fn new(expected: impl Into<String>, found: impl Into<String>) -> Self {
        Self { expected: expected.into(), found: found.into() }
    }
}

impl Source {
    pub fn open(path: &Path) -> Result<Self> {
        // Before it is opened: opening a pipe waits for a writer.
        let info = fs::metadata(path).map_err(Error::io(path))?;
        if !info.is_file() {
            let found = if info.is_dir() { "a folder" } else { "a device or pipe" };
            return Err(Error::WeightsFormat {
                path: path.into(),
                format: "weights".into(),
                expected: "a regular file".into(),
                found: found.into(),
            });
        }
        let file = File::open(path).map_err(Error::io(path))?;
        let length = file.metadata().map_err(Error::io(path))?.len();
        Ok(Self { place: path.into(), length, bytes: Bytes::File(file.into()) })
    }

    pub fn memory(name: &str, bytes: Vec<u8>) -> Self {
        Self { place: name.into(), length: bytes.len() as u64, bytes: Bytes::Memory(bytes) }
    }

    pub fn place(&self) -> &Path {
        &self.place
    }

    /// Bytes in all.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Fills `buffer` with the bytes from `start`.
    pub fn read_into(&self, start: u64, buffer: &mut [u8]) -> Result<()> {
        self.read_exact_at(buffer, start).map_err(Error::io(&self.place))
    }

    /// `length` bytes from `start`. What a file says of lengths must be checked before this
    /// allocates.
    pub fn read(&self, start: u64, length: usize) -> Result<Vec<u8>> {
        let mut buffer = vec![0; length];
        self.read_into(start, &mut buffer)?;
        Ok(buffer)
    }

    /// The error for a file that is not what `format` says.
    pub fn wrong(&self, format: &str, wrong: Wrong) -> Error {
        Error::WeightsFormat {
            path: self.place.clone(),
            format: format.into(),
            expected: wrong.expected,
            found: wrong.found,
        }
    }
}

impl ReaderAt for Source {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> std::io::Result<usize> {
        match &self.bytes {
            Bytes::File(file) => file.read_at(buffer, offset),
            Bytes::Memory(bytes) => bytes.read_at(buffer, offset),
        }
    }
}
