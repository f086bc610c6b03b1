//! Random access to the bytes of a weights file, on disk or in memory.

use super::format_error::FormatError;
use crate::error::{Error, Result};
use rawzip::{FileReader, ReaderAt};
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// The bytes of a weights file. Reading moves no position, so several threads can read at once.
#[derive(Debug)]
pub(super) struct FileSource {
    path: PathBuf,
    length: u64,
    bytes: Bytes,
}

#[derive(Debug)]
enum Bytes {
    File(FileReader),
    Memory(Vec<u8>),
}

impl FileSource {
    pub fn open(path: &Path) -> Result<Self> {
        // Before the file is opened: opening a pipe would wait for a writer.
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
        Ok(Self { path: path.into(), length, bytes: Bytes::File(file.into()) })
    }

    /// Bytes in memory; `name` takes the place of the path in errors.
    pub fn from_bytes(name: &str, bytes: Vec<u8>) -> Self {
        Self { path: name.into(), length: bytes.len() as u64, bytes: Bytes::Memory(bytes) }
    }

    /// The file's path, or the name of bytes in memory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The number of bytes.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Fills `buffer` with the bytes from `start` on.
    pub fn read_into(&self, start: u64, buffer: &mut [u8]) -> Result<()> {
        self.read_exact_at(buffer, start).map_err(Error::io(&self.path))
    }

    /// `length` bytes from `start` on. A length that comes from the file must be checked before, because
    /// this allocates it.
    pub fn read(&self, start: u64, length: usize) -> Result<Vec<u8>> {
        let mut buffer = vec![0; length];
        self.read_into(start, &mut buffer)?;
        Ok(buffer)
    }

    /// The error for a file that violates `format`.
    pub fn error(&self, format: &str, error: FormatError) -> Error {
        Error::WeightsFormat {
            path: self.path.clone(),
            format: format.into(),
            expected: error.expected,
            found: error.found,
        }
    }
}

impl ReaderAt for FileSource {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> std::io::Result<usize> {
        match &self.bytes {
            Bytes::File(file) => file.read_at(buffer, offset),
            Bytes::Memory(bytes) => bytes.read_at(buffer, offset),
        }
    }
}
