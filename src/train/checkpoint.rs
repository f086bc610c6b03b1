//! The checkpoint files of a run. A checkpoint is one file with everything: weights, velocities, state and history.
//!
//! It is a safetensors file with the tensors `model.*`, `average.*` (with a weight average), `velocity.*` and, at the end, `sha256`, the hash of all bytes
//! before it. It is written under another name and then renamed, and the previous checkpoint is kept. Whenever a run
//! is killed, one of the two is therefore complete, and a damaged one is recognized. (burn-train writes model,
//! optimizer and scheduler into separate files, overwriting the old ones.)

use super::run_state::RunState;
use crate::weights::{Dtype, Weights};
use crate::{Error, Result};
use alexnet_vgg_core::atomic_file;
use alexnet_vgg_core::internal::safetensors_header;
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

const HASH: &str = "sha256";
const HASH_BYTES: usize = 32;
/// The key of the state in the file's metadata.
const STATE: &str = "run";

/// A tensor to write, whose values come in chunks.
pub(super) struct Entry<'a> {
    pub name: String,
    pub shape: Vec<usize>,
    pub values: Box<dyn Fn(WriteValues) -> Result<()> + 'a>,
}

type WriteValues<'w> = &'w mut dyn FnMut(&[f32]) -> Result<()>;

/// The checkpoint files in the folder of a run.
#[derive(Clone, Debug)]
pub(super) struct Checkpoints {
    folder: PathBuf,
}

impl Checkpoints {
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    pub fn exist(&self) -> bool {
        self.last().is_some()
    }

    /// The newest file that exists.
    pub fn last(&self) -> Option<PathBuf> {
        [self.newest(), self.previous()].into_iter().find(|path| path.exists())
    }

    pub fn newest(&self) -> PathBuf {
        self.folder.join("checkpoint.safetensors")
    }

    fn previous(&self) -> PathBuf {
        self.folder.join("checkpoint.previous.safetensors")
    }

    /// Writes a checkpoint. The existing one becomes the previous one first, so that there are never three files.
    pub fn save(&self, state: &RunState, entries: &[Entry]) -> Result<()> {
        let newest = self.newest();
        if newest.exists() {
            fs::rename(&newest, self.previous()).map_err(Error::io(&newest))?;
        }
        atomic_file::replace(&newest, |out| {
            let mut hashing = HashingWriter { out, hash: Sha256::new() };
            write(&newest, state, entries, &mut hashing)?;
            hashing.write_hash().map_err(Error::io(&newest))
        })?;
        // A rename is on the disk only when the folder is synchronized, which not every system allows.
        #[cfg(unix)]
        File::open(&self.folder)
            .and_then(|folder| folder.sync_all())
            .map_err(Error::io(&self.folder))?;
        Ok(())
    }

    /// The newest intact checkpoint, and what was wrong with a newer one, which is renamed. `None` if there is no
    /// checkpoint.
    ///
    /// # Errors
    /// That of the newest checkpoint, if none is intact; those of reading an intact one.
    pub fn open(&self) -> Result<Option<(Checkpoint, Option<Error>)>> {
        let (newest, previous) = (self.newest(), self.previous());
        let damage = match verify(&newest) {
            _ if !newest.exists() => None,
            Ok(()) => return Ok(Some((Checkpoint::read(&newest)?, None))),
            Err(damage @ Error::WeightsFormat { .. }) => Some(damage),
            Err(error) => return Err(error),
        };
        match (previous.exists(), damage) {
            (false, None) => Ok(None),
            (false, Some(damage)) => Err(damage),
            (true, damage) => {
                if let Err(error) = verify(&previous) {
                    return Err(damage.unwrap_or(error));
                }
                // Renamed, so that the next checkpoint does not replace the intact one.
                if damage.is_some() {
                    let renamed = self.folder.join("checkpoint.damaged.safetensors");
                    fs::rename(&newest, &renamed).map_err(Error::io(&renamed))?;
                }
                Ok(Some((Checkpoint::read(&previous)?, damage)))
            }
        }
    }
}

/// An intact checkpoint.
#[derive(Debug)]
pub(super) struct Checkpoint {
    pub path: PathBuf,
    pub state: RunState,
    pub tensors: Weights,
}

impl Checkpoint {
    fn read(path: &Path) -> Result<Self> {
        let tensors = Weights::open(path)?;
        let text = tensors.metadata().find(|(key, _)| *key == STATE).map(|(_, text)| text);
        let state = RunState::parse(path, text.unwrap_or_default())?;
        Ok(Self { path: path.into(), state, tensors })
    }
}

/// `Ok` if the hash at the end of the file is that of the bytes before it.
fn verify(path: &Path) -> Result<()> {
    let damaged = |expected: &str, found: String| Error::WeightsFormat {
        path: path.into(),
        format: "checkpoint".into(),
        expected: expected.into(),
        found,
    };
    let mut file = File::open(path).map_err(Error::io(path))?;
    let length = file.metadata().map_err(Error::io(path))?.len();
    let Some(before) = length.checked_sub(HASH_BYTES as u64) else {
        return Err(damaged("a hash at its end", format!("{length} bytes")));
    };
    let mut hash = Sha256::new();
    let mut hashing = io::BufWriter::with_capacity(1 << 20, HashSink(&mut hash));
    io::copy(&mut (&file).take(before), &mut hashing).map_err(Error::io(path))?;
    hashing.flush().map_err(Error::io(path))?;
    drop(hashing);
    let mut written = [0; HASH_BYTES];
    file.read_exact(&mut written).map_err(Error::io(path))?;
    if hash.finalize().as_slice() == written {
        return Ok(());
    }
    let expected = "contents whose SHA-256 is the one at the end of the file";
    Err(damaged(expected, "other contents: the file is incomplete or damaged".into()))
}

fn write(path: &Path, state: &RunState, entries: &[Entry], out: &mut dyn Write) -> Result<()> {
    let metadata = [("format".into(), "pt".into()), (STATE.into(), state.to_toml()?)];
    let hash = (HASH.to_string(), Dtype::U8, vec![HASH_BYTES]);
    let tensors = entries.iter().map(|entry| (entry.name.clone(), Dtype::F32, entry.shape.clone()));
    let header = safetensors_header(path, metadata, tensors.chain([hash]))?;
    out.write_all(&header).map_err(Error::io(path))?;
    for entry in entries {
        (entry.values)(&mut |values| {
            if let Some(index) = values.iter().position(|value| !value.is_finite()) {
                let count = values.iter().filter(|value| !value.is_finite()).count();
                return Err(Error::NotFinite { place: entry.name.clone(), count, first: index });
            }
            out.write_all(bytemuck::cast_slice(values)).map_err(Error::io(path))
        })?;
    }
    Ok(())
}

/// Writes to `out`, and computes the hash of what it writes.
struct HashingWriter<'a> {
    out: &'a mut dyn Write,
    hash: Sha256,
}

impl HashingWriter<'_> {
    fn write_hash(self) -> io::Result<()> {
        self.out.write_all(&self.hash.finalize())
    }
}

impl Write for HashingWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.hash.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Hashes what is written to it.
struct HashSink<'a>(&'a mut Sha256);

impl Write for HashSink<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
