//! How a CSV file lists pictures, where the file itself does not tell.

use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// How a CSV file lists pictures. What is `None` is found out from the file: see [`PictureList::csv`].
///
/// A column is chosen by its name in the file's first line, or by its number, from 1.
///
/// [`PictureList::csv`]: super::PictureList::csv
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CsvOptions {
    /// The column with the paths of the pictures.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_column: Option<String>,
    /// The column with the names of the classes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label_column: Option<String>,
    /// The folder that the paths are relative to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<PathBuf>,
}
