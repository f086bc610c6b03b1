//! From arguments to photos: files, folders, and patterns that the shell did not expand.

use std::error::Error;
use std::path::{Path, PathBuf};

/// What a folder's files are taken for photos by.
const ENDINGS: &[&str] =
    &["jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff", "pnm", "pbm", "pgm", "ppm"];

/// The photos that are meant, in order: those of a folder (and of folders in it) by name.
pub fn find(arguments: &[String]) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let mut photos = Vec::new();
    for argument in arguments {
        let path = Path::new(argument);
        let found = if path.is_dir() {
            let pattern = format!("{}/**/*", glob::Pattern::escape(argument));
            matches(&pattern)?.into_iter().filter(|path| is_photo(path)).collect()
        } else if path.exists() || !argument.contains(['*', '?', '[']) {
            vec![path.into()]
        } else {
            matches(argument)?
        };
        if found.is_empty() {
            return Err(format!("{argument}: no photos there").into());
        }
        photos.extend(found);
    }
    Ok(photos)
}

fn matches(pattern: &str) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let found = glob::glob(pattern).map_err(|error| format!("{pattern}: {error}"))?;
    // A folder that cannot be read has no photos for us.
    Ok(found.flatten().filter(|path| path.is_file()).collect())
}

fn is_photo(path: &Path) -> bool {
    let ending = path.extension().map(|ending| ending.to_string_lossy().to_lowercase());
    ending.is_some_and(|ending| ENDINGS.contains(&ending.as_str()))
}
