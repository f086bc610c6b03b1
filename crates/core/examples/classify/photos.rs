//! Finds the photos that the arguments name: files, folders, and patterns that the shell did not expand.

use std::error::Error;
use std::path::{Path, PathBuf};

/// The extensions of photos in folders.
const EXTENSIONS: &[&str] =
    &["jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff", "pnm", "pbm", "pgm", "ppm"];

/// The photos in the order of the arguments; those of a folder and its subfolders by name.
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
            return Err(format!("{argument}: no photos found").into());
        }
        photos.extend(found);
    }
    Ok(photos)
}

fn matches(pattern: &str) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let found = glob::glob(pattern).map_err(|error| format!("{pattern}: {error}"))?;
    // Folders that cannot be read are skipped.
    Ok(found.flatten().filter(|path| path.is_file()).collect())
}

fn is_photo(path: &Path) -> bool {
    let extension = path.extension().map(|it| it.to_string_lossy().to_lowercase());
    extension.is_some_and(|extension| EXTENSIONS.contains(&extension.as_str()))
}
