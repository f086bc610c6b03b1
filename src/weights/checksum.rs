//! Whether the bytes are those that were written, where a format says what they were: a zip archive
//! has a CRC-32 of each of its files.

use super::Weights;
use super::source::Wrong;
use crate::error::Result;
use crc32fast::Hasher;
use std::sync::atomic::{AtomicBool, Ordering};

/// Bytes of the file whose CRC-32 it states.
#[derive(Debug)]
pub(super) struct Checksum {
    pub name: String,
    pub start: u64,
    pub length: u64,
    pub crc32: u32,
    /// Whether it was found to be right: many tensors may ask for one storage.
    pub is_known: AtomicBool,
}

/// What was read and hashed already: values are hashed on their way, while they are in the cache.
#[derive(Debug, Default)]
pub(super) struct Seen {
    runs: Vec<Run>,
}

/// Bytes that were read.
#[derive(Debug)]
pub(super) struct Run {
    pub start: u64,
    pub length: u64,
    pub hasher: Hasher,
}

impl Seen {
    pub fn add(&mut self, run: Run) {
        self.runs.push(run);
    }

    /// The hash of a range, if the runs that begin inside it are all of it, without gap or overlap.
    fn hash(&self, checksum: &Checksum) -> Option<u32> {
        let end = checksum.start + checksum.length;
        let is_inside = |run: &&Run| (checksum.start..end).contains(&run.start);
        let mut runs: Vec<&Run> = self.runs.iter().filter(is_inside).collect();
        runs.sort_by_key(|run| run.start);
        let mut whole = Hasher::new();
        let mut position = checksum.start;
        for run in runs {
            if run.start != position {
                return None;
            }
            whole.combine(&run.hasher);
            position += run.length;
        }
        (position == end).then(|| whole.finalize())
    }
}

impl Weights {
    /// Whether the values are those that were written, as far as the format says: PyTorch's zip files
    /// have checksums, the others do not. Loading and converting ask this, too.
    ///
    /// # Errors
    /// [`Error::WeightsFormat`](crate::Error::WeightsFormat) if they are not, and those of reading.
    pub fn verify(&self) -> Result<()> {
        self.verify_rest(&Seen::default())
    }

    /// The same, without reading again what was seen.
    pub(super) fn verify_rest(&self, seen: &Seen) -> Result<()> {
        self.contents.checksums.iter().try_for_each(|checksum| self.expect(checksum, seen))
    }

    /// The same for the storage that has this byte of the file.
    pub(super) fn verify_at(&self, byte: u64, seen: &Seen) -> Result<()> {
        let has = |checksum: &&Checksum| {
            (checksum.start..checksum.start + checksum.length).contains(&byte)
        };
        let checksum = self.contents.checksums.iter().find(has);
        match checksum.filter(|checksum| !checksum.is_known.load(Ordering::Relaxed)) {
            Some(checksum) => self.expect(checksum, seen),
            None => Ok(()),
        }
    }

    fn expect(&self, checksum: &Checksum, seen: &Seen) -> Result<()> {
        let found = match seen.hash(checksum) {
            Some(hash) => hash,
            None => self.hash(checksum)?,
        };
        checksum.is_known.store(found == checksum.crc32, Ordering::Relaxed);
        match found == checksum.crc32 {
            true => Ok(()),
            false => Err(self.wrong(Wrong::new(
                format!("CRC-32 {:08x} of {}", checksum.crc32, checksum.name),
                format!("{found:08x}: the file is damaged"),
            ))),
        }
    }

    fn hash(&self, checksum: &Checksum) -> Result<u32> {
        const BUFFER: u64 = 1 << 18;
        let mut buffer = vec![0; BUFFER.min(checksum.length) as usize];
        let mut hasher = Hasher::new();
        let mut done = 0;
        while done < checksum.length {
            let part = &mut buffer[..BUFFER.min(checksum.length - done) as usize];
            self.source.read_into(checksum.start + done, part)?;
            hasher.update(part);
            done += part.len() as u64;
        }
        Ok(hasher.finalize())
    }
}
