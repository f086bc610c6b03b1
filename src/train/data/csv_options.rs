//! How a CSV file lists pictures, where the file itself does not tell.

use std::path::PathBuf;

/// How a CSV file lists pictures. What is `None` is found out from the file: see [`PictureList::csv`].
///
/// A column is chosen by its name in the file's first line, or by its number, from 1.
///
/// [`PictureList::csv`]: super::PictureList::csv
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CsvOptions {
    /// The column with the paths of the pictures.
    pub path_column: Option<String>,
    /// The column with the names of the classes.
    pub label_column: Option<String>,
    /// The folder that the paths are relative to.
    pub folder: Option<PathBuf>,
}
