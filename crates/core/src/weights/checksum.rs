//! CRC-32 checksums of parts of a file. PyTorch's zip archives state one for each storage; the other
//! formats have none.

use super::file_source::FileSource;
use super::format_error::FormatError;
use crate::error::Result;
use crc32fast::Hasher;
use std::sync::atomic::{AtomicBool, Ordering};

/// A range of bytes of the file whose CRC-32 the file states.
#[derive(Debug)]
pub(super) struct Checksum {
    pub name: String,
    pub start: u64,
    pub length: u64,
    pub crc32: u32,
    /// Whether it has already been verified: several tensors may share one storage.
    pub is_verified: AtomicBool,
}

/// The ranges of a file that were hashed while their values were read, when they were in the processor's
/// cache. What is in here need not be read again for its checksum.
#[derive(Debug, Default)]
pub(super) struct HashedRanges {
    ranges: Vec<HashedRange>,
}

/// Bytes that were read, and their hash.
#[derive(Debug)]
pub(super) struct HashedRange {
    pub start: u64,
    pub length: u64,
    pub hasher: Hasher,
}

impl HashedRanges {
    pub fn add(&mut self, range: HashedRange) {
        self.ranges.push(range);
    }

    /// The CRC-32 of the checksum's bytes, if the hashed ranges that begin inside them cover them without
    /// gap or overlap.
    fn crc32_of(&self, checksum: &Checksum) -> Option<u32> {
        let end = checksum.start + checksum.length;
        let is_inside = |range: &&HashedRange| (checksum.start..end).contains(&range.start);
        let mut ranges: Vec<&HashedRange> = self.ranges.iter().filter(is_inside).collect();
        ranges.sort_by_key(|range| range.start);
        let mut combined = Hasher::new();
        let mut position = checksum.start;
        for range in ranges {
            if range.start != position {
                return None;
            }
            combined.combine(&range.hasher);
            position += range.length;
        }
        (position == end).then(|| combined.finalize())
    }
}

impl Checksum {
    pub fn contains(&self, byte: u64) -> bool {
        (self.start..self.start + self.length).contains(&byte)
    }

    pub fn is_verified(&self) -> bool {
        self.is_verified.load(Ordering::Relaxed)
    }

    /// Compares the stated CRC-32 with that of the bytes, which are read only if they are not in `hashed`.
    /// `format` is for the error.
    pub fn verify(&self, source: &FileSource, hashed: &HashedRanges, format: &str) -> Result<()> {
        let found = match hashed.crc32_of(self) {
            Some(crc32) => crc32,
            None => self.read_and_hash(source)?,
        };
        let is_right = found == self.crc32;
        self.is_verified.store(is_right, Ordering::Relaxed);
        if is_right {
            return Ok(());
        }
        let error = FormatError::new(
            format!("CRC-32 {:08x} of {}", self.crc32, self.name),
            format!("{found:08x}: the file is damaged"),
        );
        Err(source.error(format, error))
    }

    fn read_and_hash(&self, source: &FileSource) -> Result<u32> {
        const BUFFER: u64 = 1 << 18;
        let mut buffer = vec![0; BUFFER.min(self.length) as usize];
        let mut hasher = Hasher::new();
        let mut done = 0;
        while done < self.length {
            let part = &mut buffer[..BUFFER.min(self.length - done) as usize];
            source.read_into(self.start + done, part)?;
            hasher.update(part);
            done += part.len() as u64;
        }
        Ok(hasher.finalize())
    }
}
