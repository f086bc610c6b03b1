//! Which column of a CSV file names files, and in which folder.

use super::class_folders::folders_in;
use super::csv_options::CsvOptions;
use super::csv_table::{Row, Table};
use super::picture_list::wrong;
use crate::vision::photo_files::is_photo;
use crate::{Error, Result};
use std::path::{Path, PathBuf};

/// Endings that are tried where a list has none.
const ENDINGS: [&str; 10] =
    ["jpg", "jpeg", "png", "webp", "bmp", "gif", "tif", "tiff", "jfif", "ppm"];
/// Lines that are looked at to find the column.
const SAMPLE: usize = 32;

/// A column whose values name files.
#[derive(Clone, Debug)]
pub(super) struct PathColumn {
    pub column: usize,
    /// The folder that the paths are relative to.
    pub folder: PathBuf,
    /// How many lines of the sample name a file.
    found: usize,
    /// Whether the paths end with the ending of the file.
    pub has_endings: bool,
}

/// The column whose values name files in `folder`, the folder of the CSV file, or in one of the folders in it.
pub(super) fn path_column(
    file: &Path,
    folder: &Path,
    table: &Table,
    chosen: Option<usize>,
    options: &CsvOptions,
) -> Result<PathColumn> {
    let columns: Vec<usize> = chosen.map_or((0..table.width()).collect(), |only| vec![only]);
    let rows = sample(&table.rows);
    let base = options.folder.as_deref().unwrap_or(folder);
    if let Some(chosen) = options.folder.as_ref().filter(|chosen| !chosen.is_dir()) {
        let expected = "a folder that the paths of the list are relative to";
        return Err(wrong(chosen.display(), expected, "no such folder"));
    }
    let mut candidates = candidates(base, &columns, &rows);
    let fits = |candidate: &PathColumn| 2 * candidate.found >= rows.len();
    if !candidates.iter().any(fits) && options.folder.is_none() {
        for name in folders_in(folder)? {
            candidates.extend(self::candidates(&folder.join(name), &columns, &rows));
        }
    }
    let most = candidates.iter().max_by_key(|candidate| candidate.found).cloned();
    candidates.retain(fits);
    if candidates.iter().any(|candidate| candidate.has_endings) {
        candidates.retain(|candidate| candidate.has_endings);
    }
    match &candidates[..] {
        [only] => Ok(only.clone()),
        [] => most.ok_or_else(|| none_names_files(file, base, &columns, table)),
        several => Err(several_name_files(file, several, table)),
    }
}

/// Lines from the whole table.
fn sample(rows: &[Row]) -> Vec<&Row> {
    rows.iter().step_by(rows.len().div_ceil(SAMPLE).max(1)).collect()
}

/// The columns with values that name files in `folder`.
fn candidates(folder: &Path, columns: &[usize], rows: &[&Row]) -> Vec<PathColumn> {
    let candidate = |&column: &usize| {
        // So that folders with many folders take no time.
        let mut first = rows.iter().take(4).chain(rows.last());
        if first.all(|row| files_named(folder, row.cell(column)).is_empty()) {
            return None;
        }
        let values = || rows.iter().map(|row| row.cell(column));
        let found = values().filter(|value| !files_named(folder, value).is_empty()).count();
        let exact = values().filter(|value| exact(folder, value).is_some()).count();
        Some(PathColumn { column, folder: folder.into(), found, has_endings: 2 * exact >= found })
    };
    columns.iter().filter_map(candidate).collect()
}

/// The files in `folder` that a value names, relative to `folder`: itself, or with any ending.
pub(super) fn files_named(folder: &Path, value: &str) -> Vec<String> {
    if let Some(name) = exact(folder, value) {
        return vec![name];
    }
    if value.is_empty() || is_photo(value) {
        return Vec::new();
    }
    let with = |ending: String| exact(folder, &format!("{value}.{ending}"));
    let lower: Vec<String> = ENDINGS.iter().filter_map(|it| with(it.to_string())).collect();
    // Some file systems do not tell the cases apart.
    if lower.is_empty() {
        ENDINGS.iter().filter_map(|it| with(it.to_uppercase())).collect()
    } else {
        lower
    }
}

fn exact(folder: &Path, value: &str) -> Option<String> {
    let slashes = value.replace('\\', "/");
    let is_file = |name: &&str| !name.is_empty() && folder.join(name).is_file();
    [value, &slashes].into_iter().find(is_file).map(String::from)
}

/// The columns, each with its first values.
pub(super) fn describe_columns(table: &Table, columns: &[usize]) -> String {
    let describe = |&column: &usize| {
        let values: Vec<_> =
            table.rows.iter().take(3).map(|row| format!("`{}`", row.cell(column))).collect();
        format!("column {} ({}, ...)", column + 1, values.join(", "))
    };
    columns.iter().map(describe).collect::<Vec<_>>().join(", ")
}

fn none_names_files(file: &Path, base: &Path, columns: &[usize], table: &Table) -> Error {
    let base = if base.as_os_str().is_empty() { Path::new(".") } else { base };
    let expected = format!(
        "a column with the names of files in {} or a folder in it (also without an ending such as .jpg)",
        base.display()
    );
    let found = format!(
        "no file of these names: {}, separated by {}; if they are relative to another folder, name it by \
         `CsvOptions::folder` (`--picture-folder`)",
        describe_columns(table, columns),
        table.separated_by
    );
    wrong(file.display(), &expected, found)
}

fn several_name_files(file: &Path, several: &[PathColumn], table: &Table) -> Error {
    let describe = |candidate: &PathColumn| {
        let column = describe_columns(table, &[candidate.column]);
        format!("{column} in {}", Path::new(".").join(&candidate.folder).display())
    };
    let found = format!(
        "several: {}; choose by `CsvOptions::path_column` (`--path-column`) or `CsvOptions::folder` \
         (`--picture-folder`)",
        several.iter().map(describe).collect::<Vec<_>>().join("; ")
    );
    wrong(file.display(), "one column that names files in one folder", found)
}
