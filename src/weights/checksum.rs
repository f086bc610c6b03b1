//! Whether the bytes are those that were written, where a format says what they were: a zip archive
//! has a CRC-32 of each of its files.

use super::Weights;
use super::source::Wrong;
use crate::error::Result;
use crc32fast::Hasher;

/// Bytes of the file whose CRC-32 it states.
#[derive(Clone, Debug)]
pub(super) struct Checksum {
    pub name: String,
    pub start: u64,
    pub length: u64,
    pub crc32: u32,
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
        for checksum in &self.contents.checksums {
            let found = match seen.hash(checksum) {
                Some(hash) => hash,
                None => self.hash(checksum)?,
            };
            if found != checksum.crc32 {
                return Err(self.wrong(Wrong::new(
                    format!("CRC-32 {:08x} of {}", checksum.crc32, checksum.name),
                    format!("{found:08x}: the file is damaged"),
                )));
            }
        }
        Ok(())
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
