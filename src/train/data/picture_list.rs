//! Lists of picture files and their classes.

use super::broken_picture::BrokenPicture;
use super::csv_options::CsvOptions;
use super::{class_folders, split_folders};
use crate::train::hex_digest::hex_digest;
use crate::vision::augment::{ColorPca, ColorStatistics};
use crate::vision::decode_file;
use crate::{Error, Result};
use rayon::prelude::*;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::fmt::Display;
use std::path::{Path, PathBuf};

/// Picture files and their classes. No file is read before it is needed.
///
/// ```no_run
/// use alexnet_vgg::train::PictureList;
///
/// let (train, valid) = match PictureList::open("flowers")? {
///     (train, Some(valid)) => (train, valid),
///     (all, None) => all.split(0.1, 0)?,
/// };
/// println!("{} pictures of {:?}, {} to validate", train.len(), train.labels(), valid.len());
/// # Ok::<(), alexnet_vgg::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PictureList {
    /// The folder or file that the list was read from, for messages.
    pub(super) source: PathBuf,
    /// The folder that the file names are relative to.
    pub(super) folder: PathBuf,
    pub(super) labels: Vec<String>,
    pub(super) files: Vec<File>,
    /// The class of each file, an index into `labels`.
    pub(super) classes: Vec<usize>,
    pub(super) notes: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct File {
    /// With slashes, whatever the system.
    name: String,
    bytes: u64,
}

impl PictureList {
    /// The training set at `path`, and the validation set if there is one.
    ///
    /// - A folder with `train` or `training`, and with `val`, `valid`, `validation`, `test` or `testing` (the first
    ///   that exists), in any case, has both. Each is a [folder of classes](Self::folder) or, with the extension
    ///   `.csv`, a [CSV file](Self::csv). Both lists have the classes of the training set.
    /// - A CSV file with a column that says `train`, `val` or `test` (or the other names above) of each picture has
    ///   both too. With `val` and `test`, the pictures of `test` are left out.
    /// - Otherwise `path` is one folder of classes or CSV file, without a validation set: see
    ///   [`split`](Self::split).
    ///
    /// # Errors
    /// As for [`folder`](Self::folder) and [`csv`](Self::csv), and [`Error::Setting`] for a class that only the
    /// validation set has, and for a folder in which a training set or a validation set seems to be missing.
    pub fn open(path: impl AsRef<Path>) -> Result<(Self, Option<Self>)> {
        Self::open_with(path, &CsvOptions::default())
    }

    /// Like [`open`](Self::open), with options for CSV files.
    ///
    /// # Errors
    /// As for [`open`](Self::open), and [`Error::Setting`] for options where no CSV file is read.
    pub fn open_with(path: impl AsRef<Path>, csv: &CsvOptions) -> Result<(Self, Option<Self>)> {
        let path = path.as_ref();
        if !path.is_dir() {
            return Self::open_csv(path, csv);
        }
        match split_folders::parts(path)? {
            Some((train, valid)) => {
                let train = Self::read(&train, csv)?.expect_two_classes()?;
                let valid = Self::read(&valid, csv)?.with_labels(train.labels())?;
                Ok((train, Some(valid)))
            }
            None => Ok((Self::read(path, csv)?.expect_two_classes()?, None)),
        }
    }

    /// The pictures to test a trained network on: in a folder, the folder of classes or CSV file `test`, `testing`,
    /// `val`, `valid` or `validation` (the first that exists), and likewise the part of a CSV file;
    /// otherwise all pictures at `path`.
    ///
    /// # Errors
    /// As for [`open_with`](Self::open_with).
    pub fn open_test(path: impl AsRef<Path>, csv: &CsvOptions) -> Result<Self> {
        let path = path.as_ref();
        if !path.is_dir() {
            return Self::test_part_of_csv(path, csv);
        }
        for part in split_folders::to_test_on(path)? {
            let list = match Self::read(&part, csv) {
                // A folder `test` without subfolders does not tell the classes of its pictures.
                Err(_) if part.is_dir() => continue,
                list => list?,
            };
            if !part.is_dir() || list.labels.len() > 1 {
                let note = format!("testing on {}", part.display());
                return Ok(Self { notes: [vec![note], list.notes].concat(), ..list });
            }
        }
        Self::open_with(path, csv).map(|(all, valid)| valid.unwrap_or(all))
    }

    /// A folder with one folder per class, as torchvision's `ImageFolder` reads it. The classes are the names of
    /// the folders, sorted as text, as by torchvision: `0`, `1`, `10`, `2`. The pictures of a class are all files in
    /// its folder, at any depth, whose extension is of a format that [`decode_file`] supports. What systems put beside
    /// pictures is [passed over](crate::vision::photo_files::is_hidden).
    ///
    /// # Errors
    /// [`Error::Io`] if a folder cannot be read, [`Error::Setting`] for fewer than two classes, a class without
    /// pictures, or a file name that is not UTF-8.
    pub fn folder(path: impl AsRef<Path>) -> Result<Self> {
        Self::read_folder(path.as_ref())?.expect_two_classes()
    }

    /// A CSV file with a line for each picture, separated by commas, semicolons or tabs.
    ///
    /// - The paths are in the column whose values name files, in the folder of the CSV file or in one of the folders
    ///   in it. An ending such as `.jpg` may be missing.
    /// - The first line is a header if it names no file.
    /// - The labels are in the other column, or in the one named `label`, `labels`, `class`, `category` or `target`.
    ///   The classes are sorted by name, or by number if all are whole numbers: `0`, `1`, `2`, `10`.
    /// - Other columns are ignored, and named in the [`notes`](Self::notes).
    ///
    /// All pictures are listed, also if a column divides them: see [`open`](Self::open).
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be read; [`Error::Setting`] if the columns cannot be told apart (choose them by
    /// [`CsvOptions`]), a picture does not exist, a picture has two labels, or there are fewer than two classes.
    pub fn csv(path: impl AsRef<Path>) -> Result<Self> {
        Self::read(path.as_ref(), &CsvOptions::default())?.expect_two_classes()
    }

    /// A list of `(path, label)`: files, relative to `folder`, and the names of their classes, which are sorted.
    ///
    /// # Errors
    /// [`Error::Io`] for a file that does not exist, [`Error::Setting`] if there are no files.
    pub fn new(
        folder: impl Into<PathBuf>,
        pictures: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self> {
        let folder = folder.into();
        let (names, of): (Vec<String>, Vec<String>) = pictures.into_iter().unzip();
        if names.is_empty() {
            return Err(wrong(folder.display(), "pictures", "none"));
        }
        let mut labels = of.clone();
        labels.sort();
        labels.dedup();
        Self::of_files(folder, names, &of, labels)
    }

    pub(super) fn of_files(
        folder: PathBuf,
        names: Vec<String>,
        of: &[String],
        labels: Vec<String>,
    ) -> Result<Self> {
        let class_of: HashMap<&String, usize> = labels.iter().zip(0..).collect();
        // The search always succeeds.
        let class = |label| class_of.get(label).copied().unwrap_or_default();
        let classes = of.iter().map(class).collect();
        let file = |name: String| {
            let path = folder.join(&name);
            let bytes = path.metadata().map_err(Error::io(&path))?.len();
            Ok(File { name, bytes })
        };
        let files = names.into_iter().map(file).collect::<Result<_>>()?;
        Ok(Self { source: folder.clone(), folder, labels, files, classes, notes: Vec::new() })
    }

    fn read(path: &Path, csv: &CsvOptions) -> Result<Self> {
        if !path.is_dir() {
            return Self::read_csv(path, csv);
        }
        if *csv != CsvOptions::default() {
            return Err(wrong(
                path.display(),
                "a CSV file, for which there are options",
                "a folder",
            ));
        }
        Self::read_folder(path)
    }

    fn read_folder(path: &Path) -> Result<Self> {
        let (pictures, left_out) = class_folders::pictures(path)?;
        let mut list = Self::new(path, pictures)?;
        if !left_out.is_empty() {
            list.notes.push(format!("{}: {left_out}", path.display()));
        }
        Ok(list)
    }

    pub(super) fn expect_two_classes(self) -> Result<Self> {
        match &self.labels[..] {
            [only] => {
                let list = "if a CSV file lists the pictures, pass the path of that file";
                let hint = if self.source.is_dir() { format!("; {list}") } else { String::new() };
                let found = format!("only `{only}`{hint}");
                Err(wrong(self.source.display(), "at least two classes", found))
            }
            _ => Ok(self),
        }
    }

    /// The number of pictures.
    pub fn len(&self) -> usize {
        self.files.len()
    }

    /// Whether there is no picture.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// The names of the classes.
    pub fn labels(&self) -> &[String] {
        &self.labels
    }

    /// What people should know about how the list was read, a line each: what the columns of a CSV file are taken for,
    /// and which files are left out.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The class of each picture, an index into [`labels`](Self::labels).
    pub fn classes(&self) -> &[usize] {
        &self.classes
    }

    /// The file of each picture, in order.
    pub fn paths(&self) -> impl ExactSizeIterator<Item = PathBuf> + '_ {
        self.files.iter().map(|file| self.folder.join(&file.name))
    }

    /// The file of one picture.
    ///
    /// # Panics
    /// If `index` is not below [`len`](Self::len).
    pub fn path(&self, index: usize) -> PathBuf {
        self.folder.join(&self.files[index].name)
    }

    /// The number of pictures of each class.
    pub fn per_class(&self) -> Vec<usize> {
        let mut counts = vec![0; self.labels.len()];
        self.classes.iter().for_each(|&class| counts[class] += 1);
        counts
    }

    /// The same pictures with their classes numbered as in `labels`, which may have classes without pictures: the
    /// labels of the training set for a validation set, or those of the weights for a test set.
    ///
    /// # Errors
    /// [`Error::Setting`] for a class that is not in `labels`.
    pub fn with_labels(mut self, labels: &[String]) -> Result<Self> {
        let place = |label: &String| labels.iter().position(|other| other == label);
        let places: Vec<_> = self.labels.iter().map(place).collect();
        for class in &mut self.classes {
            *class = places[*class].ok_or_else(|| {
                let expected = format!("the classes {}", few_names(labels.iter()));
                wrong(self.source.display(), &expected, format!("`{}`", self.labels[*class]))
            })?;
        }
        self.labels = labels.to_vec();
        Ok(self)
    }

    /// `Ok` if the classes are `labels`, in this order.
    ///
    /// # Errors
    /// [`Error::Setting`] with the classes that are missing or not expected.
    pub fn expect_labels(&self, labels: &[String]) -> Result<()> {
        if self.labels == labels {
            return Ok(());
        }
        let missing: Vec<_> = labels.iter().filter(|l| !self.labels.contains(l)).collect();
        let extra: Vec<_> = self.labels.iter().filter(|l| !labels.contains(l)).collect();
        let found = match (missing.is_empty(), extra.is_empty()) {
            (true, true) => format!("another order, {}", few_names(self.labels.iter())),
            (false, true) => format!("no {}", few_names(missing)),
            (true, false) => format!("also {}", few_names(extra)),
            (false, false) => format!("no {}, but {}", few_names(missing), few_names(extra)),
        };
        let expected = format!("the classes {}", few_names(labels.iter()));
        Err(wrong(self.source.display(), &expected, found))
    }

    /// The principal components of the colors of all pixels (AlexNet paper, section 4.1). Every file is read
    /// once, on rayon's threads.
    ///
    /// # Errors
    /// Those of [`decode_file`], unless broken pictures are skipped; [`Error::Setting`] if there is no pixel.
    pub fn principal_colors(&self, broken: BrokenPicture) -> Result<ColorPca> {
        let of = |file: &File| match decode_file(self.folder.join(&file.name)) {
            Ok(photo) => Ok(ColorStatistics::from_photo(&photo)),
            Err(error) if broken.skips(&error) => Ok(ColorStatistics::default()),
            Err(error) => Err(error),
        };
        let merge = |mut all: ColorStatistics, other: ColorStatistics| {
            all.merge(&other);
            Ok(all)
        };
        let all = self.files.par_iter().map(of).try_reduce(ColorStatistics::default, merge)?;
        all.pca()
    }

    /// The SHA-256 of the labels, and of each file's name, class and size.
    pub(super) fn sha256(&self) -> String {
        let mut hash = Sha256::new();
        // Zero bytes separate names, which contain none.
        self.labels.iter().for_each(|label| hash.update(format!("{label}\0")));
        for (File { name, bytes }, class) in self.files.iter().zip(&self.classes) {
            hash.update(format!("{name}\0{class}\0{bytes}\0"));
        }
        hex_digest(hash)
    }
}

/// The first few names, as text.
fn few_names<'a>(names: impl IntoIterator<Item = &'a String>) -> String {
    const SHOWN: usize = 12;
    let mut names: Vec<_> = names.into_iter().map(|name| format!("`{name}`")).collect();
    if names.len() > SHOWN {
        let more = names.len() - SHOWN;
        names.truncate(SHOWN);
        names.push(format!("{more} more"));
    }
    names.join(", ")
}

pub(super) fn wrong(place: impl Display, expected: &str, found: impl Display) -> Error {
    Error::Setting { place: place.to_string(), expected: expected.into(), found: found.to_string() }
}
