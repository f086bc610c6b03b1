//! Writes the results of an evaluation to files.

use crate::tally::Tally;
use alexnet_vgg::train::report::Mistake;
use serde::Serialize;
use std::error::Error;
use std::path::Path;

pub fn write(folder: &Path, tally: &Tally, mistakes: usize) -> Result<(), Box<dyn Error>> {
    std::fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    tally.confusion.save_svg(folder.join("confusion.svg"))?;
    Mistake::save_page(&tally.worst(mistakes), folder.join("mistakes.html"))?;
    write_csv(&folder.join("classes.csv"), tally.confusion.per_class())?;
    write_csv(&folder.join("predictions.csv"), &tally.predictions)
}

/// The columns are named after the rows' fields.
fn write_csv(
    path: &Path,
    rows: impl IntoIterator<Item = impl Serialize>,
) -> Result<(), Box<dyn Error>> {
    let mut file = csv::Writer::from_path(path).map_err(|e| format!("{}: {e}", path.display()))?;
    rows.into_iter().try_for_each(|row| file.serialize(row))?;
    Ok(file.flush()?)
}
