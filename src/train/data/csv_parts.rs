//! CSV files as lists of pictures, whole or in parts.

use super::csv_list::{self, CsvList};
use super::csv_options::CsvOptions;
use super::label_order;
use super::picture_list::{PictureList, wrong};
use super::split_folders::Part;
use crate::Result;
use std::path::Path;

impl PictureList {
    /// All pictures of a CSV file.
    pub(super) fn read_csv(file: &Path, options: &CsvOptions) -> Result<Self> {
        let list = read(file, options)?;
        if list.pictures.iter().any(|picture| picture.part.is_some()) {
            let mut all = of_part(file, &list, None)?;
            all.notes
                .push(format!("{}: all pictures are used, whatever their split", file.display()));
            return Ok(all);
        }
        of_part(file, &list, None)
    }

    /// The training set, and the validation set if a column of the file says which pictures are in it.
    pub(super) fn open_csv(file: &Path, options: &CsvOptions) -> Result<(Self, Option<Self>)> {
        let list = read(file, options)?;
        let count = |part| list.pictures.iter().filter(|it| it.part == Some(part)).count();
        let [train, valid, test] = [Part::Training, Part::Validation, Part::Test].map(count);
        if train + valid + test == 0 {
            return Ok((of_part(file, &list, None)?.expect_two_classes()?, None));
        }
        if train == 0 {
            let found =
                format!("{valid} for validation and {test} for testing in the column of the split");
            return Err(wrong(file.display(), "pictures for training", found));
        }
        let mut training = of_part(file, &list, Some(Part::Training))?.expect_two_classes()?;
        let validation = match (valid, test) {
            (0, 0) => return Ok((training, None)),
            (0, _) => Part::Test,
            _ => Part::Validation,
        };
        if validation == Part::Validation && test > 0 {
            let note = format!("{}: left out the {test} pictures for testing", file.display());
            training.notes.push(note);
        }
        let validation = of_part(file, &list, Some(validation))?.with_labels(training.labels())?;
        Ok((training, Some(validation)))
    }

    /// The pictures for testing, or else those for validation, or else all.
    pub(super) fn test_part_of_csv(file: &Path, options: &CsvOptions) -> Result<Self> {
        let list = read(file, options)?;
        let has = |part: &Part| list.pictures.iter().any(|it| it.part == Some(*part));
        let part = [Part::Test, Part::Validation].into_iter().find(has);
        let mut pictures = of_part(file, &list, part)?;
        if let Some(part) = part {
            let name = if part == Part::Test { "testing" } else { "validation" };
            let note =
                format!("{}: only the {} pictures for {name}", file.display(), pictures.len());
            pictures.notes.push(note);
        }
        Ok(pictures)
    }
}

fn read(file: &Path, options: &CsvOptions) -> Result<CsvList> {
    csv_list::pictures(file, file.parent().unwrap_or(Path::new("")), options)
}

/// The pictures of a part, or all.
fn of_part(file: &Path, list: &CsvList, part: Option<Part>) -> Result<PictureList> {
    let pictures = list.pictures.iter().filter(|it| part.is_none() || it.part == part);
    let (names, of): (Vec<String>, Vec<String>) =
        pictures.map(|it| (it.name.clone(), it.label.clone())).unzip();
    let labels = label_order::sorted(file, of.iter().cloned())?;
    let all = PictureList::of_files(list.folder.clone(), names, &of, labels)?;
    Ok(PictureList { source: file.into(), notes: list.notes.clone(), ..all })
}
