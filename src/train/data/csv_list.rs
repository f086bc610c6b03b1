//! Lists of pictures and their classes as CSV files.

use super::csv_columns::{ColumnFinder, Columns};
use super::csv_options::CsvOptions;
use super::csv_paths::{PathColumn, files_named, path_column};
use super::csv_table::{Row, Table, read};
use super::label_order;
use super::picture_list::wrong;
use super::split_folders::Part;
use crate::{Error, Result};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// What a CSV file lists.
pub(super) struct CsvList {
    /// The folder that the names are relative to.
    pub folder: PathBuf,
    pub pictures: Vec<ListedPicture>,
    /// How the file was read, for people.
    pub notes: Vec<String>,
}

pub(super) struct ListedPicture {
    pub name: String,
    pub label: String,
    /// If the file has a column that says it.
    pub part: Option<Part>,
}

/// Reads a list. `folder` is the one that the file is in.
pub(super) fn pictures(file: &Path, folder: &Path, options: &CsvOptions) -> Result<CsvList> {
    let (table, path) = table(file, folder, options)?;
    let columns = ColumnFinder { file, table: &table }.columns(&path, options)?;
    let rows = table.rows.get(usize::from(columns.header.is_some())..).unwrap_or_default();
    if let (Some(names), Some(first)) = (&columns.header, table.rows.first())
        && rows.iter().any(|row| row.cell(columns.label) == names[columns.label])
    {
        // A picture that is missing, and not the names of the columns.
        return Err(no_file(file, first, &path, &columns));
    }
    if rows.is_empty() {
        return Err(wrong(file.display(), "lines of path and label", "no picture"));
    }
    let picture = |row: &Row| listed(file, row, &path, &columns);
    let pictures: Vec<ListedPicture> = rows.iter().map(picture).collect::<Result<_>>()?;
    let repeated = repeated(file, rows, &pictures)?;
    let mut notes = vec![summary(file, &table, &path, &columns, pictures.len())];
    if repeated > 0 {
        let note = "pictures that are listed again, perhaps both in training and in validation";
        notes.push(format!("{}: {note}: {repeated}", file.display()));
    }
    let labels = pictures.iter().map(|picture| picture.label.clone());
    if let Some(remark) = label_order::remark(&label_order::sorted(file, labels)?) {
        notes.push(format!("{}: {remark}", file.display()));
    }
    Ok(CsvList { folder: path.folder, pictures, notes })
}

/// The table, and the column of its paths: with the separator for which there is one.
fn table(file: &Path, folder: &Path, options: &CsvOptions) -> Result<(Table, PathColumn)> {
    // The error for the most columns is the one that helps.
    let mut failed: Option<(usize, Error)> = None;
    for table in read(file)? {
        let finder = ColumnFinder { file, table: &table };
        let chosen = options.path_column.as_deref().map(|it| finder.chosen(it)).transpose();
        let path = chosen.and_then(|chosen| {
            path_column(file, folder, &table, chosen.map(|(column, _)| column), options)
        });
        match path {
            Ok(path) => {
                table.expect_regular(file)?;
                return Ok((table, path));
            }
            Err(error) if failed.as_ref().is_none_or(|(width, _)| *width < table.width()) => {
                failed = Some((table.width(), error));
            }
            Err(_) => {}
        }
    }
    let none = || wrong(file.display(), "lines of path and label", "none");
    Err(failed.map_or_else(none, |(_, error)| error))
}

fn listed(file: &Path, row: &Row, path: &PathColumn, columns: &Columns) -> Result<ListedPicture> {
    let value = row.cell(path.column);
    let name = match &files_named(&path.folder, value)[..] {
        [] => return Err(no_file(file, row, path, columns)),
        [name] => name.clone(),
        several => {
            let found = format!("`{value}`, which may be {}", several.join(" or "));
            return Err(columns.wrong_cell(
                file,
                row.line,
                path.column,
                "the name of one file",
                found,
            ));
        }
    };
    let label = row.cell(columns.label).to_string();
    if label.is_empty() {
        let found = format!("nothing for `{value}`");
        return Err(columns.wrong_cell(file, row.line, columns.label, "a label", found));
    }
    let part = columns.split.and_then(|column| Part::by_name(row.cell(column)));
    Ok(ListedPicture { name, label, part })
}

fn no_file(file: &Path, row: &Row, path: &PathColumn, columns: &Columns) -> Error {
    let folder = Path::new(".").join(&path.folder);
    let expected = format!("the name of a file in {}", folder.display());
    let header = if row.line == 1 && columns.header.is_none() {
        "; if this is the name of the column, pass it as `CsvOptions::path_column` (`--path-column`)"
    } else {
        ""
    };
    let found = format!("`{}`, which does not exist{header}", row.cell(path.column));
    columns.wrong_cell(file, row.line, path.column, &expected, found)
}

/// How many lines list a picture again.
///
/// # Errors
/// If the labels differ.
fn repeated(file: &Path, rows: &[Row], pictures: &[ListedPicture]) -> Result<usize> {
    let mut seen: HashMap<PathBuf, (&str, u64)> = HashMap::new();
    let mut repeated = 0;
    for (picture, row) in pictures.iter().zip(rows) {
        // Without `./`.
        let name = Path::new(".").join(&picture.name).components().collect();
        let Some((label, line)) = seen.insert(name, (&picture.label, row.line)) else { continue };
        if label != picture.label {
            let place = format!("{}, line {}", file.display(), row.line);
            let expected = format!("one label for {}", picture.name);
            let found = format!("`{}`, but `{label}` in line {line}", picture.label);
            return Err(wrong(place, &expected, found));
        }
        repeated += 1;
    }
    Ok(repeated)
}

/// What was found out about the file, in a line.
fn summary(
    file: &Path,
    table: &Table,
    path: &PathColumn,
    columns: &Columns,
    count: usize,
) -> String {
    let mut parts =
        vec![format!("{count} pictures in columns separated by {}", table.separated_by)];
    if columns.header.is_none() {
        parts.push("no header".into());
    }
    let beside = file.parent() == Some(&path.folder);
    let folder = if beside { String::new() } else { format!(" in {}", path.folder.display()) };
    let endings = if path.has_endings { "" } else { ", without endings" };
    parts.push(format!("paths: {}{folder}{endings}", columns.named(path.column)));
    parts.push(format!("labels: {}", columns.named(columns.label)));
    if let Some(split) = columns.split {
        parts.push(format!("split: {}", columns.named(split)));
    }
    if !columns.ignored.is_empty() {
        let ignored: Vec<String> = columns.ignored.iter().map(|it| columns.named(*it)).collect();
        parts.push(format!("ignored: {}", ignored.join(", ")));
    }
    format!("{}: {}", file.display(), parts.join("; "))
}
