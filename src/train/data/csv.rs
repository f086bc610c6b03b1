//! Pictures and their classes as a table of two columns.

use crate::error::{Error, Result};
use csv::{ErrorKind, ReaderBuilder, StringRecord, Trim};
use std::path::Path;

const EXPECTED: &str = "two columns, path and label, in UTF-8";

/// The lines of `file`, as they are. Paths are relative to `folder`, in which it lies.
pub(super) fn pictures(file: &Path, folder: &Path) -> Result<Vec<(String, String)>> {
    let failed = |error: csv::Error| {
        let found = error.to_string();
        match error.into_kind() {
            ErrorKind::Io(source) => Error::Io { path: file.into(), source },
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
    match pictures.is_empty() {
        true => Err(wrong(file, None, "no picture".into())),
        false => Ok(pictures),
    }
}

/// Both are words for what is in the columns, and there is no picture of that name.
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
