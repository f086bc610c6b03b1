//! What stays of an evaluation.

use crate::tally::Tally;
use alexnet_vgg::train::report::Mistake;
use serde::Serialize;
use std::error::Error;
use std::path::Path;

pub fn write(folder: &Path, tally: &Tally, mistakes: usize) -> Result<(), Box<dyn Error>> {
    let at = |error: &dyn std::fmt::Display| format!("{}: {error}", folder.display());
    std::fs::create_dir_all(folder).map_err(|error| at(&error))?;
    tally.confusion.picture().save(folder.join("confusion.png")).map_err(|error| at(&error))?;
    let sheet = Mistake::sheet(&tally.worst(mistakes))?;
    sheet.save(folder.join("mistakes.png")).map_err(|error| at(&error))?;
    table(&folder.join("classes.csv"), tally.confusion.per_class())?;
    table(&folder.join("predictions.csv"), &tally.predictions)
}

/// Under the names of their fields.
fn table(
    path: &Path,
    rows: impl IntoIterator<Item = impl Serialize>,
) -> Result<(), Box<dyn Error>> {
    let mut file = csv::Writer::from_path(path).map_err(|e| format!("{}: {e}", path.display()))?;
    rows.into_iter().try_for_each(|row| file.serialize(row))?;
    Ok(file.flush()?)
}
