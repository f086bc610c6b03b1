//! Folders with a training set and a validation set.

use crate::vision::photo_files::is_hidden;
use crate::{Error, Result};
use std::path::{Path, PathBuf};

/// What people call them, in any case.
const TRAINING: [&str; 2] = ["train", "training"];
/// The first that exists is taken.
const VALIDATION: [&str; 5] = ["val", "valid", "validation", "test", "testing"];
/// Those to test on.
const TEST: [&str; 5] = ["test", "testing", "val", "valid", "validation"];

/// A part of a data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Training,
    Validation,
    Test,
}

impl Part {
    /// By the names that the folders have.
    pub fn by_name(name: &str) -> Option<Self> {
        let name = name.to_lowercase();
        let is_in = |names: &[&str]| names.contains(&&name[..]);
        if is_in(&TRAINING) {
            return Some(Self::Training);
        }
        if is_in(&["test", "testing"]) {
            return Some(Self::Test);
        }
        is_in(&VALIDATION).then_some(Self::Validation)
    }
}

/// The folders in `folder`, or CSV files, that may be a test set, the first choice first.
pub(super) fn to_test_on(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = entries(folder)?;
    Ok(TEST.iter().filter_map(|name| named(&entries, name)).collect())
}

/// The training set and the validation set in `folder`, each a folder of classes or a CSV file; `None` if `folder` has
/// classes itself, or is a file.
pub(super) fn parts(folder: &Path) -> Result<Option<(PathBuf, PathBuf)>> {
    if !folder.is_dir() {
        return Ok(None);
    }
    let entries = entries(folder)?;
    let find = |names: &[&str]| names.iter().find_map(|name| named(&entries, name));
    match (find(&TRAINING), find(&VALIDATION)) {
        (Some(training), Some(validation)) => Ok(Some((training, validation))),
        // A class may be called `train`, but then its folder has pictures, and not folders.
        (Some(only), None) | (None, Some(only))
            if has_folders(&only) && entries.iter().filter(|entry| is_class(entry)).count() < 2 =>
        {
            Err(Error::Setting {
                place: folder.display().to_string(),
                expected: format!(
                    "folders of classes, or a training set ({}) and a validation set ({})",
                    TRAINING.join(", "),
                    VALIDATION.join(", ")
                ),
                found: format!(
                    "only {}, which looks like one of them; to use it alone, pass its path",
                    only.display()
                ),
            })
        }
        _ => Ok(None),
    }
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut entries = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(Error::io(folder))? {
        entries.push(entry.map_err(Error::io(folder))?.path());
    }
    // Of `train` and `TRAIN`, always the same.
    entries.sort();
    Ok(entries)
}

/// The folder of this name, or the CSV file.
fn named(entries: &[PathBuf], name: &str) -> Option<PathBuf> {
    let is_named = |entry: &&PathBuf| {
        let found = entry.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
        found == name && entry.is_dir() || found == format!("{name}.csv")
    };
    entries.iter().find(is_named).cloned()
}

/// Whether this is a folder of pictures alone.
fn is_class(path: &Path) -> bool {
    path.is_dir() && !is_hidden(path.file_name().unwrap_or_default()) && !has_folders(path)
}

fn has_folders(path: &Path) -> bool {
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    entries.into_iter().any(|entry| !is_hidden(&entry.file_name()) && entry.path().is_dir())
}
