//! Atomic writing of files: a file appears under its name only once it is complete.

use crate::error::{Error, Result};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

const PREFIX: &str = ".alexnet-vgg-";
const SUFFIX: &str = ".part";

/// Whether this is the temporary file of [`replace`], left behind by a process that was killed.
pub fn is_unfinished(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.starts_with(PREFIX) && name.ends_with(SUFFIX)
}

/// Lets `write` fill a temporary file next to `path`, then renames it to `path`. If anything fails
/// before that, `path` stays as it was.
///
/// Anything other than a regular file, such as `/dev/stdout`, is written to directly. A symbolic link
/// stays, and the file that it points to is replaced.
///
/// # Errors
/// [`Error::Io`] with `path`, and those of `write`.
pub fn replace(path: &Path, write: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<()> {
    let target = match path.metadata() {
        Ok(found) if !found.is_file() => {
            let mut file = File::options().write(true).open(path).map_err(Error::io(path))?;
            return fill(&mut file, path, write);
        }
        Ok(_) => path.canonicalize().map_err(Error::io(path))?,
        // A dangling link: its target may be in another folder.
        Err(error) if path.is_symlink() => return Err(Error::io(path)(error)),
        Err(_) => path.to_path_buf(),
    };
    let mut file = temporary_file_beside(&target).map_err(Error::io(path))?;
    fill(file.as_file_mut(), path, write)?;
    file.as_file().sync_all().map_err(Error::io(path))?;
    file.persist(&target).map_err(|failed| Error::io(path)(failed.error))?;
    Ok(())
}

fn fill(
    file: &mut File,
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> Result<()>,
) -> Result<()> {
    let mut out = BufWriter::new(file);
    write(&mut out)?;
    out.flush().map_err(Error::io(path))
}

/// In the same folder, because a rename is atomic only within one file system.
fn temporary_file_beside(target: &Path) -> std::io::Result<tempfile::NamedTempFile> {
    let folder = match target.parent() {
        Some(folder) if folder != Path::new("") => folder.to_path_buf(),
        _ => PathBuf::from("."),
    };
    // If the folder is missing, the error of tempfile would name the temporary file.
    folder.metadata()?;
    let mut builder = tempfile::Builder::new();
    // tempfile makes files that only their owner can read. A new file gets the usual permissions,
    // 0o666 less the umask; a file that is replaced keeps its own.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let file = builder.prefix(PREFIX).suffix(SUFFIX).tempfile_in(folder)?;
    if let Ok(old) = target.metadata() {
        file.as_file().set_permissions(old.permissions())?;
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn names(folder: &Path) -> Vec<std::ffi::OsString> {
        let entries = fs::read_dir(folder).expect("a folder");
        entries.map(|entry| entry.expect("an entry").file_name()).collect()
    }

    fn hello(to: &mut dyn Write) -> Result<()> {
        to.write_all(b"hello").map_err(Error::io(Path::new("hello")))
    }

    #[test]
    fn a_failed_write_changes_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("model.onnx");
        let failing = |to: &mut dyn Write| {
            hello(to)?;
            Err(Error::io(&path)(std::io::Error::other("half way")))
        };
        assert!(replace(&path, failing).is_err());
        assert!(names(folder.path()).is_empty());
        fs::write(&path, "old").expect("a file");
        assert!(replace(&path, failing).is_err());
        assert_eq!(names(folder.path()), ["model.onnx"]);
        assert_eq!(fs::read(&path).expect("the old file"), b"old");

        replace(&path, hello).expect("a writable folder");
        assert_eq!(names(folder.path()), ["model.onnx"]);
        assert_eq!(fs::read(&path).expect("the new file"), b"hello");
    }

    #[test]
    #[cfg(unix)]
    fn links_and_permissions_stay() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = |name| folder.path().join(name);
        fs::write(file("ordinary"), "").expect("a file");
        replace(&file("new"), hello).expect("a writable folder");
        let permissions = |name| file(name).metadata().expect(name).permissions();
        assert_eq!(permissions("ordinary"), permissions("new"));

        std::os::unix::fs::symlink(file("ordinary"), file("link")).expect("a link");
        replace(&file("link"), hello).expect("a writable folder");
        assert!(file("link").is_symlink());
        assert_eq!(fs::read(file("ordinary")).expect("what it points to"), b"hello");
        std::os::unix::fs::symlink(file("nowhere"), file("dangling")).expect("a link");
        assert!(replace(&file("dangling"), hello).is_err());
        assert!(file("dangling").is_symlink());

        // A file that is replaced keeps its permissions.
        use std::os::unix::fs::PermissionsExt;
        let own = fs::Permissions::from_mode(0o664);
        fs::set_permissions(file("ordinary"), own).expect("its owner");
        replace(&file("ordinary"), hello).expect("a writable folder");
        assert_eq!(permissions("ordinary").mode() & 0o777, 0o664);
    }

    #[test]
    fn only_regular_files_are_replaced() {
        let folder = tempfile::tempdir().expect("a folder");
        assert!(replace(folder.path(), hello).is_err());
        assert!(replace(&folder.path().join("no/such/folder"), hello).is_err());
        #[cfg(target_os = "linux")]
        {
            replace(Path::new("/dev/null"), hello).expect("/dev/null takes anything");
            assert!(!Path::new("/dev/null").is_file());
            assert!(replace(Path::new("/dev/full"), hello).is_err());
        }
    }
}
