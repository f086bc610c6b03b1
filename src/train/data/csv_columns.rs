//! What the columns of a CSV file are.

use super::csv_options::CsvOptions;
use super::csv_paths::{PathColumn, describe_columns, files_named};
use super::csv_table::{Row, Table};
use super::picture_list::wrong;
use super::split_folders::Part;
use crate::vision::photo_files::is_photo;
use crate::{Error, Result};
use std::collections::BTreeSet;
use std::path::Path;

/// Names of columns of labels, in any case.
const LABELS: [&str; 5] = ["label", "labels", "class", "category", "target"];
/// Names of columns that say which part of the data set a picture is in.
const SPLITS: [&str; 3] = ["split", "subset", "partition"];

/// The columns that are used, by index.
pub(super) struct Columns {
    pub header: Option<Vec<String>>,
    pub label: usize,
    pub split: Option<usize>,
    pub ignored: Vec<usize>,
}

/// Finds the columns of a table.
pub(super) struct ColumnFinder<'a> {
    pub file: &'a Path,
    pub table: &'a Table,
}

impl ColumnFinder<'_> {
    /// The column of this name or number, and whether it is a name.
    pub fn chosen(&self, column: &str) -> Result<(usize, bool)> {
        let first = self.table.rows.first().map_or(&[][..], |row| &row.cells);
        if let Some(index) = first.iter().position(|name| name.eq_ignore_ascii_case(column)) {
            return Ok((index, true));
        }
        let number = column.parse().ok().and_then(|number: usize| number.checked_sub(1));
        match number.filter(|index| *index < self.table.width()) {
            Some(index) => Ok((index, false)),
            None => {
                let expected = format!("the column `{column}`, by its name or its number from 1");
                let found = self.described(&(0..self.table.width()).collect::<Vec<_>>());
                Err(wrong(self.file.display(), &expected, found))
            }
        }
    }

    /// All columns, if the paths are in `path`.
    pub fn columns(&self, path: &PathColumn, options: &CsvOptions) -> Result<Columns> {
        let label = options.label_column.as_deref().map(|it| self.chosen(it)).transpose()?;
        let is_named = |chosen: Option<&str>| match chosen {
            Some(column) => self.chosen(column).map(|(_, is_named)| is_named),
            None => Ok(false),
        };
        let names = is_named(options.path_column.as_deref())? || label.is_some_and(|it| it.1);
        let header = self.table.rows.first().filter(|row| names || is_header(row, path));
        let header = header.map(|row| row.cells.clone());
        let rows = self.table.rows.get(usize::from(header.is_some())..).unwrap_or_default();
        let label = label.map(|(column, _)| column);
        if label == Some(path.column) {
            let expected = "labels and paths in two columns";
            let found = format!("both in {}", self.described(&[path.column]));
            return Err(wrong(self.file.display(), expected, found));
        }
        let others = (0..self.table.width()).filter(|it| *it != path.column && Some(*it) != label);
        let others: Vec<usize> = others.collect();
        let split = self.split(&others, header.as_deref(), rows)?;
        let mut ignored: Vec<usize> = others.into_iter().filter(|it| Some(*it) != split).collect();
        let label = match label {
            Some(label) => label,
            None => self.label(&ignored, header.as_deref(), rows)?,
        };
        ignored.retain(|column| *column != label);
        let columns = Columns { header, label, split, ignored };
        if options.label_column.is_none() {
            self.expect_single_labels(label, rows)?;
        }
        Ok(columns)
    }

    /// The column whose values are all `train`, `val`, `test` and the like.
    fn split(
        &self,
        others: &[usize],
        header: Option<&[String]>,
        rows: &[Row],
    ) -> Result<Option<usize>> {
        let is_split =
            |column: usize| rows.iter().all(|row| Part::by_name(row.cell(column)).is_some());
        let name =
            |column: usize| header.map_or(String::new(), |names| names[column].to_lowercase());
        let named = others.iter().copied().find(|&it| SPLITS.contains(&&name(it)[..]));
        if let Some(column) = named
            && let Some(row) = rows.iter().find(|row| Part::by_name(row.cell(column)).is_none())
        {
            let place = format!("{}, line {}", self.file.display(), row.line);
            let expected = format!("train, val or test in the column `{}`", name(column));
            let found =
                format!("`{}`; if the column is something else, rename it", row.cell(column));
            return Err(wrong(place, &expected, found));
        }
        Ok(named.or_else(|| others.iter().copied().find(|&it| !rows.is_empty() && is_split(it))))
    }

    /// The only column that may have the labels, or the only one with a usual name.
    fn label(&self, others: &[usize], header: Option<&[String]>, rows: &[Row]) -> Result<usize> {
        let name = |column: usize| header.map_or("", |names| &names[column]);
        let is_unnamed = |column: usize| {
            header.is_some() && (name(column).is_empty() || name(column).starts_with("Unnamed:"))
        };
        let others: Vec<usize> = others.iter().copied().filter(|&it| !is_unnamed(it)).collect();
        let only = |columns: Vec<usize>| if let [only] = columns[..] { Some(only) } else { None };
        let among = |keep: &dyn Fn(usize) -> bool| {
            only(others.iter().copied().filter(|&it| keep(it)).collect())
        };
        let is_usual =
            |column: usize| LABELS.iter().any(|it| it.eq_ignore_ascii_case(name(column)));
        let found = only(others.clone()).or_else(|| among(&is_usual));
        found.or_else(|| among(&|column| !is_index(column, rows))).ok_or_else(|| {
            if others.is_empty() {
                return wrong(self.file.display(), "a column of labels beside the paths", "none");
            }
            let found = format!(
                "{}; choose by `CsvOptions::label_column` (`--label-column`)",
                self.described(&others)
            );
            wrong(self.file.display(), "one column of labels", found)
        })
    }

    /// `Ok` unless some labels are lists of other labels.
    fn expect_single_labels(&self, column: usize, rows: &[Row]) -> Result<()> {
        let labels: BTreeSet<&str> = rows.iter().map(|row| row.cell(column)).collect();
        let is_list = |label: &str| {
            [' ', '|', ',', ';', '/', '+'].into_iter().any(|separator| {
                let mut parts = label.split(separator).map(str::trim);
                label.contains(separator) && parts.all(|part| labels.contains(part))
            })
        };
        match rows.iter().find(|row| is_list(row.cell(column))) {
            None => Ok(()),
            Some(row) => {
                let place = format!("{}, line {}", self.file.display(), row.line);
                let found = format!(
                    "`{}`, whose parts are labels too; if it is a class of its own, choose its column by \
                     `CsvOptions::label_column` (`--label-column {}`)",
                    row.cell(column),
                    column + 1
                );
                Err(wrong(place, "one label for each picture", found))
            }
        }
    }

    fn described(&self, columns: &[usize]) -> String {
        describe_columns(self.table, columns)
    }
}

/// Whether the first line has names of columns: what it has for a path is no file and no name of a picture.
fn is_header(first: &Row, path: &PathColumn) -> bool {
    let value = first.cell(path.column);
    let is_number = value.bytes().all(|byte| byte.is_ascii_digit()) && !value.is_empty();
    let is_path = is_photo(value) || value.contains(['/', '\\']) || is_number;
    !is_path && files_named(&path.folder, value).is_empty()
}

/// Whether the values count the lines, from 0 or 1.
fn is_index(column: usize, rows: &[Row]) -> bool {
    let number = |row: &Row| row.cell(column).parse::<usize>().ok();
    let first = rows.first().and_then(number);
    first.is_some_and(|first| {
        first <= 1 && rows.iter().zip(first..).all(|(row, index)| number(row) == Some(index))
    })
}

impl Columns {
    /// A column for people: `column 2 "label"`.
    pub fn named(&self, column: usize) -> String {
        match &self.header {
            Some(names) if !names[column].is_empty() => {
                format!("column {} `{}`", column + 1, names[column])
            }
            _ => format!("column {}", column + 1),
        }
    }

    /// An error about a cell.
    pub fn wrong_cell(
        &self,
        file: &Path,
        line: u64,
        column: usize,
        expected: &str,
        found: String,
    ) -> Error {
        let place = format!("{}, line {line}, {}", file.display(), self.named(column));
        wrong(place, expected, found)
    }
}
