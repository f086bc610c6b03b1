//! A run on disk, whole: weights, velocities, where it is and how it went, in one file that is there or
//! not there.
//!
//! A checkpoint is a safetensors file: `model.*`, `velocity.*`, and last a tensor `sha256` with the hash of
//! all bytes before it. It is written under another name and renamed; the one before stays beside it. So
//! whenever a run is killed, one of the two is whole, and a torn one is known as such. (burn-train writes
//! model, optimizer and scheduler apart, over the old ones.)

use super::state::State;
use crate::error::{Error, Result};
use crate::weights::{Dtype, Weights, safetensors_header};
use crate::whole_file;
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

const HASH: &str = "sha256";
const HASH_BYTES: usize = 32;
/// What the state is called in the file's metadata.
const STATE: &str = "run";

/// A tensor of a checkpoint to write, and its values in pieces.
pub(super) struct Entry<'a> {
    pub name: String,
    pub shape: Vec<usize>,
    pub values: Box<dyn Fn(WriteValues) -> Result<()> + 'a>,
}

type WriteValues<'w> = &'w mut dyn FnMut(&[f32]) -> Result<()>;

/// Where a run's checkpoints are.
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

    /// The newest file that is there.
    pub fn last(&self) -> Option<PathBuf> {
        [self.newest(), self.previous()].into_iter().find(|path| path.exists())
    }

    pub fn newest(&self) -> PathBuf {
        self.folder.join("checkpoint.safetensors")
    }

    fn previous(&self) -> PathBuf {
        self.folder.join("checkpoint.previous.safetensors")
    }

    /// Writes a checkpoint; the one before becomes the previous one first, so that the disk never holds
    /// three.
    pub fn save(&self, state: &State, entries: &[Entry]) -> Result<()> {
        let newest = self.newest();
        if newest.exists() {
            fs::rename(&newest, self.previous()).map_err(Error::io(&newest))?;
        }
        whole_file::replace(&newest, |out| {
            let mut sealed = Sealed { out, hash: Sha256::new() };
            write(&newest, state, entries, &mut sealed)?;
            sealed.seal().map_err(Error::io(&newest))
        })?;
        // A rename is on the disk once its folder is; not everywhere can one be opened.
        #[cfg(unix)]
        File::open(&self.folder)
            .and_then(|folder| folder.sync_all())
            .map_err(Error::io(&self.folder))?;
        Ok(())
    }

    /// The newest checkpoint that is whole, and what was wrong with a newer one, which is put aside. `None`
    /// where there was none at all.
    ///
    /// # Errors
    /// The newest one's, if neither is whole; those of reading one that is.
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
                // The next checkpoint must not push the whole one out.
                if damage.is_some() {
                    let aside = self.folder.join("checkpoint.damaged.safetensors");
                    fs::rename(&newest, &aside).map_err(Error::io(&aside))?;
                }
                Ok(Some((Checkpoint::read(&previous)?, damage)))
            }
        }
    }
}

/// A checkpoint that was found whole.
#[derive(Debug)]
pub(super) struct Checkpoint {
    pub path: PathBuf,
    pub state: State,
    pub tensors: Weights,
}

impl Checkpoint {
    fn read(path: &Path) -> Result<Self> {
        let tensors = Weights::open(path)?;
        let text = tensors.metadata().find(|(key, _)| *key == STATE).map(|(_, text)| text);
        let state = State::parse(path, text.unwrap_or_default())?;
        Ok(Self { path: path.into(), state, tensors })
    }
}

/// Whether the hash at the end is that of what is before it.
fn verify(path: &Path) -> Result<()> {
    let torn = |expected: &str, found: String| Error::WeightsFormat {
        path: path.into(),
        format: "checkpoint".into(),
        expected: expected.into(),
        found,
    };
    let mut file = File::open(path).map_err(Error::io(path))?;
    let length = file.metadata().map_err(Error::io(path))?.len();
    let Some(before) = length.checked_sub(HASH_BYTES as u64) else {
        return Err(torn("a hash at its end", format!("{length} bytes")));
    };
    let mut hash = Sha256::new();
    let mut hashing = io::BufWriter::with_capacity(1 << 20, HashOnly(&mut hash));
    io::copy(&mut (&file).take(before), &mut hashing).map_err(Error::io(path))?;
    hashing.flush().map_err(Error::io(path))?;
    drop(hashing);
    let mut written = [0; HASH_BYTES];
    file.read_exact(&mut written).map_err(Error::io(path))?;
    match hash.finalize().as_slice() == written {
        true => Ok(()),
        false => {
            Err(torn("the bytes that were written", "others: the file is torn or damaged".into()))
        }
    }
}

fn write(path: &Path, state: &State, entries: &[Entry], out: &mut dyn Write) -> Result<()> {
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

/// Passes everything on, and the hash of it at the end.
struct Sealed<'a> {
    out: &'a mut dyn Write,
    hash: Sha256,
}

impl Sealed<'_> {
    fn seal(self) -> io::Result<()> {
        self.out.write_all(&self.hash.finalize())
    }
}

impl Write for Sealed<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.hash.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

struct HashOnly<'a>(&'a mut Sha256);

impl Write for HashOnly<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
