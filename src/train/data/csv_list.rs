//! Lists of pictures and their classes as CSV files.

use crate::{Error, Result};
use csv::{ErrorKind, ReaderBuilder, StringRecord, Trim};
use std::path::Path;

const EXPECTED: &str = "two columns, path and label, in UTF-8";

/// The lines of `file`: path and label. Paths are relative to `folder`, which contains the file.
pub(super) fn pictures(file: &Path, folder: &Path) -> Result<Vec<(String, String)>> {
    let failed = |error: csv::Error| {
        let found = error.to_string();
        match error.into_kind() {
            ErrorKind::Io(error) => Error::Io { path: file.into(), error },
            _ => wrong(file, None, found),
        }
    };
    let mut reader = ReaderBuilder::new();
    let reader = reader.has_headers(false).flexible(true).trim(Trim::All);
    let mut pictures = Vec::new();
    for (index, record) in reader.from_path(file).map_err(failed)?.into_records().enumerate() {
        let record = record.map_err(failed)?;
        let line = record.position().map(csv::Position::line);
        match record.iter().collect::<Vec<_>>()[..] {
            [path, label] if index == 0 && is_header(path, label, folder) => {}
            [path, label] if !path.is_empty() && !label.is_empty() => {
                pictures.push((path.into(), label.into()));
            }
            _ => return Err(wrong(file, line, shown(&record))),
        }
    }
    if pictures.is_empty() {
        return Err(wrong(file, None, "no picture".into()));
    }
    Ok(pictures)
}

/// Whether the first line names the columns: both are known names, and there is no picture with that name.
fn is_header(path: &str, label: &str, folder: &Path) -> bool {
    let among = |word: &str, words: &[&str]| words.iter().any(|w| w.eq_ignore_ascii_case(word));
    among(path, &["path", "file", "filename", "image"])
        && among(label, &["label", "class"])
        && !folder.join(path).exists()
}

fn shown(record: &StringRecord) -> String {
    record.iter().collect::<Vec<_>>().join(",")
}

fn wrong(file: &Path, line: Option<u64>, found: String) -> Error {
    let line = line.map(|line| format!(", line {line}")).unwrap_or_default();
    Error::Setting { place: format!("{}{line}", file.display()), expected: EXPECTED.into(), found }
}
