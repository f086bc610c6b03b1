//! Files that are whole or not there: written beside their place, then renamed.

use crate::error::{Error, Result};
use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write};
use std::path::Path;

const BUFFER: usize = 1 << 18;

/// Writes a file by `write`. Until it is whole, what was at `path` stays there; if `write` fails,
/// nothing is left. A device or pipe (`/dev/stdout`) is written to as it is.
pub(crate) fn write(path: &Path, write: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<()> {
    if path.metadata().is_ok_and(|info| !info.is_file()) {
        let file = OpenOptions::new().write(true).open(path).map_err(Error::io(path))?;
        return fill(file, path, write).map(drop);
    }
    // A link stays a link: what it points to is replaced.
    let target = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
    let folder = match target.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    let mut builder = tempfile::Builder::new();
    builder.prefix(".alexnet-vgg-").suffix(".part");
    #[cfg(unix)]
    {
        use std::os::unix::fs::{MetadataExt, PermissionsExt};
        // As any new file, less what the user's mask takes; an old file's own, if there is one.
        let mode = target.metadata().map_or(0o666, |info| info.mode() & 0o777);
        builder.permissions(std::fs::Permissions::from_mode(mode));
    }
    let part = builder.tempfile_in(folder).map_err(Error::io(path))?;
    let file = part.as_file().try_clone().map_err(Error::io(path))?;
    fill(file, path, write)?.sync_all().map_err(Error::io(path))?;
    part.persist(&target).map_err(|error| Error::Io { path: path.into(), source: error.error })?;
    Ok(())
}

fn fill(file: File, path: &Path, write: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<File> {
    let mut out = BufWriter::with_capacity(BUFFER, file);
    write(&mut out)?;
    out.into_inner().map_err(|error| Error::Io { path: path.into(), source: error.into_error() })
}
