//! Which files in a folder are photos, by their names.

use image::ImageFormat;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt;
use std::path::Path;

/// Whether a file or a folder of this name is what editors and systems put beside photos: names that begin with a dot
/// (`.DS_Store`, `._x.png`, `.ipynb_checkpoints`), `__MACOSX`, `@eaDir`, `Thumbs.db`, `desktop.ini`.
pub fn is_hidden(name: &OsStr) -> bool {
    let is = |hidden: &str| name.eq_ignore_ascii_case(hidden);
    name.as_encoded_bytes().starts_with(b".")
        || ["__MACOSX", "@eaDir", "Thumbs.db", "desktop.ini"].into_iter().any(is)
}

/// Whether the extension is that of a format that [`decode_file`](super::decode_file) reads.
pub fn is_photo(path: impl AsRef<Path>) -> bool {
    let format = match &extension(path.as_ref())[..] {
        "jpe" => Some(ImageFormat::Jpeg),
        other => ImageFormat::from_extension(other),
    };
    format.is_some_and(|format| format.reading_enabled())
}

/// The files of a folder that are not photos by their extensions, counted by extension. `Display` says how many were
/// left out, and which formats are read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeftOut {
    counts: BTreeMap<String, usize>,
}

impl LeftOut {
    /// Counts a file.
    pub fn add(&mut self, path: impl AsRef<Path>) {
        *self.counts.entry(extension(path.as_ref())).or_default() += 1;
    }

    /// Whether no file was counted.
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts: Vec<String> =
            self.counts.iter().map(|(extension, count)| describe(extension, *count)).collect();
        let formats = "JPEG, PNG, WebP, GIF, BMP, TIFF and PNM";
        write!(f, "left out {}; supported: {formats}", counts.join(", "))
    }
}

fn describe(extension: &str, count: usize) -> String {
    match extension {
        "" => format!("{count} without an extension"),
        "heic" | "heif" | "avif" => format!("{count} .{extension} (convert them to JPEG)"),
        _ => format!("{count} .{extension}"),
    }
}

fn extension(path: &Path) -> String {
    path.extension().map(|it| it.to_string_lossy().to_lowercase()).unwrap_or_default()
}
