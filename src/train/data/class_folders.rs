//! Folders with one folder of pictures per class, as torchvision's `ImageFolder` reads them.

use crate::{Error, Result};
use image::ImageFormat;
use std::ffi::OsStr;
use std::path::Path;
use walkdir::WalkDir;

/// All pictures in the class folders of `folder`, relative to it, each with its class, in torchvision's order.
pub(super) fn pictures(folder: &Path) -> Result<Vec<(String, String)>> {
    let labels = class_folders(folder)?;
    if labels.is_empty() {
        return Err(Error::Setting {
            place: folder.display().to_string(),
            expected: "a folder that contains a folder of pictures for each class".into(),
            found: "no folders in it".into(),
        });
    }
    let mut pictures = Vec::new();
    for label in labels {
        let files = pictures_below(folder, &label)?;
        if files.is_empty() {
            return Err(Error::Setting {
                place: folder.join(&label).display().to_string(),
                expected: "pictures of this class".into(),
                found: "no file with the extension of a supported format".into(),
            });
        }
        pictures.extend(files.into_iter().map(|file| (file, label.clone())));
    }
    Ok(pictures)
}

/// The names of the class folders, sorted.
fn class_folders(folder: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(Error::io(folder))? {
        let path = entry.map_err(Error::io(folder))?.path();
        let name = path.file_name().unwrap_or_default();
        if !is_hidden(name) && path.is_dir() {
            names.push(utf8(Path::new(name), folder)?);
        }
    }
    names.sort();
    Ok(names)
}

/// The pictures in the folder of a class, at any depth, including through symbolic links.
fn pictures_below(folder: &Path, label: &str) -> Result<Vec<String>> {
    let class = folder.join(label);
    let mut files = Vec::new();
    let entries = WalkDir::new(&class).follow_links(true).into_iter();
    for entry in entries.filter_entry(|entry| entry.depth() == 0 || !is_hidden(entry.file_name())) {
        let entry = entry.map_err(|error| {
            let path = error.path().unwrap_or(&class).into();
            Error::Io { path, error: error.into() }
        })?;
        let format = ImageFormat::from_path(entry.path());
        if entry.file_type().is_file() && format.is_ok_and(|format| format.reading_enabled()) {
            let relative = entry.path().strip_prefix(folder).unwrap_or(entry.path());
            files.push(utf8(relative, folder)?);
        }
    }
    // torchvision sorts the folders first, and then the files in each.
    files.sort_by(|a, b| a.rsplit_once('/').cmp(&b.rsplit_once('/')));
    Ok(files)
}

/// Names that begin with a dot, and the folder that macOS adds to archives.
pub(super) fn is_hidden(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b".") || name == "__MACOSX"
}

/// A relative path with slashes, whatever the system.
fn utf8(relative: &Path, folder: &Path) -> Result<String> {
    let parts: Option<Vec<_>> = relative.iter().map(OsStr::to_str).collect();
    parts.map(|parts| parts.join("/")).ok_or_else(|| Error::Setting {
        place: folder.display().to_string(),
        expected: "file names in UTF-8".into(),
        found: relative.display().to_string(),
    })
}
