//! A CSV file as lines and columns.

use super::picture_list::wrong;
use crate::{Error, Result};
use csv::{ReaderBuilder, Trim};
use std::path::Path;

const SEPARATORS: [(u8, &str); 3] = [(b',', "commas"), (b';', "semicolons"), (b'\t', "tabs")];
const EXPECTED: &str =
    "at least two columns, path and label, separated by commas, semicolons or tabs";

/// The lines of a CSV file, if its columns are separated in this way.
pub(super) struct Table {
    /// What separates the columns: `commas`.
    pub separated_by: &'static str,
    /// Lines that are not blank.
    pub rows: Vec<Row>,
}

pub(super) struct Row {
    /// The number of the line, from 1.
    pub line: u64,
    pub cells: Vec<String>,
}

impl Row {
    /// The cell in a column; nothing in a row that is too short.
    pub fn cell(&self, column: usize) -> &str {
        self.cells.get(column).map_or("", String::as_str)
    }
}

/// The file as a table for each separator that is in its first line, at least one. Nothing is checked yet.
pub(super) fn read(file: &Path) -> Result<Vec<Table>> {
    let bytes = std::fs::read(file).map_err(Error::io(file))?;
    let text = text(file, &bytes)?;
    let is_blank = |line: &&str| line.trim().is_empty();
    let Some(first) = text.split(['\n', '\r']).find(|line| !is_blank(line)) else {
        return Err(wrong(file.display(), EXPECTED, "no picture"));
    };
    let separators = SEPARATORS.into_iter().filter(|(byte, _)| first.contains(char::from(*byte)));
    let tables: Vec<Table> = separators
        .map(|(byte, separated_by)| Ok(Table { separated_by, rows: rows(file, text, byte)? }))
        .collect::<Result<_>>()?;
    if tables.is_empty() {
        return Err(wrong(file.display(), EXPECTED, format!("`{first}` in the first line")));
    }
    Ok(tables)
}

fn text<'a>(file: &Path, bytes: &'a [u8]) -> Result<&'a str> {
    let expected = "a CSV file in UTF-8";
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        return Err(wrong(file.display(), expected, "UTF-16; save it as UTF-8"));
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let valid = bytes.get(..error.valid_up_to()).unwrap_or_default();
        let line = 1 + valid.iter().filter(|byte| **byte == b'\n').count();
        wrong(file.display(), expected, format!("bytes that are not UTF-8 in line {line}"))
    })?;
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}

fn rows(file: &Path, text: &str, separator: u8) -> Result<Vec<Row>> {
    let mut reader = ReaderBuilder::new();
    let reader = reader.has_headers(false).flexible(true).trim(Trim::All).delimiter(separator);
    let mut rows = Vec::new();
    for record in reader.from_reader(text.as_bytes()).into_records() {
        let record = record.map_err(|error| wrong(file.display(), EXPECTED, error))?;
        let line = record.position().map_or(0, csv::Position::line);
        // Spreadsheets end with lines that have nothing but separators.
        if !record.iter().all(str::is_empty) {
            rows.push(Row { line, cells: record.iter().map(unquoted).collect() });
        }
    }
    Ok(rows)
}

/// Quotes behind a space, which the CSV reader takes for a part of the cell.
fn unquoted(cell: &str) -> String {
    let inner = cell.strip_prefix('"').and_then(|cell| cell.strip_suffix('"'));
    inner.map_or(cell.into(), |inner| inner.replace("\"\"", "\""))
}

impl Table {
    /// The number of columns, which is that of the first line.
    pub fn width(&self) -> usize {
        self.rows.first().map_or(0, |row| row.cells.len())
    }

    /// `Ok` if all lines have the same number of columns, and no cell goes over several lines.
    pub fn expect_regular(&self, file: &Path) -> Result<()> {
        let expected = format!("{} columns, separated by {}", self.width(), self.separated_by);
        for Row { line, cells } in &self.rows {
            let place = || format!("{}, line {line}", file.display());
            if cells.len() != self.width() {
                let found = format!("{}: `{}`", cells.len(), cells.join("`, `"));
                return Err(wrong(place(), &format!("{expected}, as in the first line"), found));
            }
            if cells.iter().any(|cell| cell.contains(['\n', '\r'])) {
                let found = "a cell of several lines, perhaps because a quote is not closed";
                return Err(wrong(place(), &expected, found));
            }
        }
        Ok(())
    }
}
