//! Options for CSV files that do not tell what their columns are.

use alexnet_vgg::train::CsvOptions;
use clap::Args;
use std::path::PathBuf;

#[derive(Args)]
pub struct CsvArgs {
    /// The column of a CSV file with the paths of the pictures: its name, or its number from 1. Default: the one that
    /// names files.
    #[arg(long, value_name = "COLUMN")]
    pub path_column: Option<String>,
    /// The column of a CSV file with the labels. Default: the other one, or the one named label, class and the like.
    #[arg(long, value_name = "COLUMN")]
    pub label_column: Option<String>,
    /// The folder that the paths in a CSV file are relative to. Default: that of the file, or one in it.
    #[arg(long, value_name = "FOLDER")]
    pub picture_folder: Option<PathBuf>,
}

impl CsvArgs {
    pub fn options(&self) -> CsvOptions {
        CsvOptions {
            path_column: self.path_column.clone(),
            label_column: self.label_column.clone(),
            folder: self.picture_folder.clone(),
        }
    }
}
