//! Folders with one folder of pictures per class, as torchvision's `ImageFolder` reads them.

use crate::vision::photo_files::{LeftOut, is_hidden, is_photo};
use crate::{Error, Result};
use std::ffi::OsStr;
use std::path::Path;
use walkdir::WalkDir;

/// All pictures in the class folders of `folder`, relative to it, each with its class, in torchvision's order, and
/// the files that are none.
pub(super) fn pictures(folder: &Path) -> Result<(Vec<(String, String)>, LeftOut)> {
    let labels = folders_in(folder)?;
    if labels.is_empty() {
        return Err(Error::Setting {
            place: folder.display().to_string(),
            expected: "a folder that contains a folder of pictures for each class".into(),
            found: "no folders in it; if a CSV file lists the pictures, pass the path of that file"
                .into(),
        });
    }
    let mut pictures = Vec::new();
    let mut left_out = LeftOut::default();
    for label in labels {
        let files = pictures_below(folder, &label, &mut left_out)?;
        if files.is_empty() {
            return Err(Error::Setting {
                place: folder.join(&label).display().to_string(),
                expected: "pictures of this class".into(),
                found: if left_out.is_empty() {
                    "no file with the extension of a supported format".into()
                } else {
                    format!("no file with the extension of a supported format; so far {left_out}")
                },
            });
        }
        pictures.extend(files.into_iter().map(|file| (file, label.clone())));
    }
    Ok((pictures, left_out))
}

/// The names of the folders in a folder, sorted.
pub(super) fn folders_in(folder: &Path) -> Result<Vec<String>> {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
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
fn pictures_below(folder: &Path, label: &str, left_out: &mut LeftOut) -> Result<Vec<String>> {
    let class = folder.join(label);
    let mut files = Vec::new();
    let entries = WalkDir::new(&class).follow_links(true).into_iter();
    for entry in entries.filter_entry(|entry| entry.depth() == 0 || !is_hidden(entry.file_name())) {
        let entry = entry.map_err(|error| {
            let path = error.path().unwrap_or(&class).into();
            Error::Io { path, error: error.into() }
        })?;
        if !entry.file_type().is_file() {
            continue;
        }
        if is_photo(entry.path()) {
            let relative = entry.path().strip_prefix(folder).unwrap_or(entry.path());
            files.push(utf8(relative, folder)?);
        } else {
            left_out.add(entry.path());
        }
    }
    // torchvision sorts the folders first, and then the files in each.
    files.sort_by(|a, b| a.rsplit_once('/').cmp(&b.rsplit_once('/')));
    Ok(files)
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
