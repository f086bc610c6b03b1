//! Finds the photos that the arguments name: files, folders, and patterns that the shell did not expand.

use crate::cli;
use alexnet_vgg_core::printable;
use std::collections::BTreeMap;
use std::error::Error;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// The extensions of photos in folders.
const EXTENSIONS: &[&str] = &[
    "jpg", "jpeg", "jpe", "jfif", "png", "webp", "gif", "bmp", "tif", "tiff", "pnm", "pbm", "pgm",
    "ppm",
];

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
        files.into_iter().partition(|file| EXTENSIONS.contains(&extension(file).as_str()));
    if !others.is_empty() {
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        others.iter().for_each(|file| *counts.entry(extension(file)).or_default() += 1);
        let counts: Vec<String> =
            counts.iter().map(|(kind, count)| describe(kind, *count)).collect();
        cli::warn(printable(&format!(
            "{argument}: left out {}; read are JPEG, PNG, WebP, GIF, BMP, TIFF and PNM",
            counts.join(", ")
        )));
        cli::warn("\n");
    }
    Ok(photos)
}

fn describe(extension: &str, count: usize) -> String {
    match extension {
        "" => format!("{count} without an extension"),
        "heic" | "heif" | "avif" => format!("{count} .{extension} (convert them to JPEG)"),
        _ => format!("{count} .{extension}"),
    }
}

fn matches(pattern: &str) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let found = glob::glob(pattern).map_err(|error| format!("{pattern}: {error}"))?;
    // Folders that cannot be read are skipped.
    Ok(found.flatten().filter(|path| path.is_file()).collect())
}

/// What editors and systems put beside photos: names that begin with a dot, and the folder that macOS adds to archives.
fn is_hidden(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b".") || name == "__MACOSX"
}

/// The parts of a path. (`glob` drops `./`.)
fn names(path: &Path) -> impl Iterator<Item = &OsStr> {
    path.iter().filter(|name| *name != ".")
}

fn extension(path: &Path) -> String {
    path.extension().map(|it| it.to_string_lossy().to_lowercase()).unwrap_or_default()
}
