//! Finds the photos that the arguments name: files, folders, and patterns that the shell did not expand.

use crate::cli;
use alexnet_vgg_core::printable;
use alexnet_vgg_core::vision::photo_files::{LeftOut, is_hidden, is_photo};
use std::error::Error;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// The photos in the order of the arguments; those of a folder and its subfolders by name. Says which files of a
/// folder are left out.
pub fn find(arguments: &[String]) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let mut photos = Vec::new();
    for argument in arguments {
        let path = Path::new(argument);
        let found = if path.is_dir() {
            in_folder(argument, path)?
        } else if path.exists() || !argument.contains(['*', '?', '[']) {
            vec![path.into()]
        } else {
            matches(argument)?
        };
        if found.is_empty() {
            return Err(format!("{argument}: no photos found").into());
        }
        photos.extend(found);
    }
    Ok(photos)
}

fn in_folder(argument: &str, folder: &Path) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let mut files = matches(&format!("{}/**/*", glob::Pattern::escape(argument)))?;
    let depth = names(folder).count();
    files.retain(|file| !names(file).skip(depth).any(is_hidden));
    let (photos, others): (Vec<PathBuf>, Vec<PathBuf>) =
        files.into_iter().partition(|file| is_photo(file));
    let mut left_out = LeftOut::default();
    others.iter().for_each(|file| left_out.add(file));
    if !left_out.is_empty() {
        cli::warn(printable(&format!("{argument}: {left_out}")));
        cli::warn("\n");
    }
    Ok(photos)
}

fn matches(pattern: &str) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let found = glob::glob(pattern).map_err(|error| format!("{pattern}: {error}"))?;
    // Folders that cannot be read are skipped.
    Ok(found.flatten().filter(|path| path.is_file()).collect())
}

/// The parts of a path. (`glob` drops `./`.)
fn names(path: &Path) -> impl Iterator<Item = &OsStr> {
    path.iter().filter(|name| *name != ".")
}
